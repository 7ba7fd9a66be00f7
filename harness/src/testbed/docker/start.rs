//! From a topology to running containers.
//!
//! The order matters where addresses do: proxies are bound first, since brokers advertise them;
//! then all containers start at once; then each is awaited by what it says and answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all, try_join_all};
use tokio::time::Instant;

use super::change_data_capture as cdc;
use super::container::{Container, Door, Handle, Specification};
use super::engine::Engine;
use super::entrances::{Entrances, url};
use super::images::{ImageKind, ImageSet, ResolvedImage};
use super::kafka::{self, BrokerPlan};
use super::run::Run;
use super::{DockerTestbed, store};
use crate::observer::Brokers;
use crate::testbed::cluster::Cluster;
use crate::testbed::{Part, TestbedError, Topology};

/// One question to a part that is starting; a part that is up answers much faster.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// A topic of the harness, whose records bear the broker's time.
const CLOCK_TOPIC: &str = "streamlake-harness.clock";
/// A part that is awaited is asked this often.
const POLL: Duration = Duration::from_millis(50);

/// Starts a testbed; on failure, nothing of it is left.
pub(super) async fn start(
    topology: &Topology,
    images: &ImageSet,
) -> Result<DockerTestbed, TestbedError> {
    kafka::check_properties(topology)?;
    let engine = Engine::connect().await?;
    let images = images.resolve(&engine, &kinds(topology)).await?;
    let run = Run::new();
    // A pull may take minutes and says nothing about the parts: it does not count.
    let begun = Instant::now();
    let entrances = Entrances::bind(topology).await?;
    engine.create_network(&run.network(), &run.labels()).await?;
    let starting = Starting { engine, run, topology, images, entrances, begun };
    let (launched, handles) = starting.launch().await;
    let ready = async {
        let containers = launched?;
        let (cluster, startup) = starting.await_all(&containers).await?;
        Ok((containers, cluster, startup))
    };
    match ready.await {
        Ok((containers, cluster, startup)) => {
            Ok(starting.finish(containers, handles, cluster, startup))
        }
        Err(error) => {
            if let Err(left) = take_down(&starting.engine, &starting.run, handles).await {
                tracing::warn!(%left, "a testbed that did not start left something behind");
            }
            Err(error)
        }
    }
}

/// Removes everything that a run made, and sees that it is gone.
pub(super) async fn take_down(
    engine: &Engine,
    run: &Run,
    handles: Vec<Handle>,
) -> Result<(), TestbedError> {
    // What testcontainers cannot remove is removed by its label; a container that somebody else
    // removed meanwhile is no failure.
    join_all(handles.into_iter().map(Handle::rm)).await;
    run.remove(engine).await
}

fn kinds(topology: &Topology) -> Vec<ImageKind> {
    let mut kinds = vec![ImageKind::Kafka];
    if !topology.buckets.is_empty() {
        kinds.push(ImageKind::FakeGcs);
    }
    kinds.extend(topology.database.then_some(ImageKind::Postgres));
    kinds.extend(topology.change_data_capture.then_some(ImageKind::Connect));
    kinds
}

fn brokers(topology: &Topology) -> impl Iterator<Item = Part> {
    (1..=topology.brokers).map(Part::Broker)
}

/// A testbed that is being started.
struct Starting<'a> {
    engine: Engine,
    run: Run,
    topology: &'a Topology,
    images: BTreeMap<ImageKind, ResolvedImage>,
    entrances: Entrances,
    begun: Instant,
}

/// What was measured while parts came up.
type Startup = BTreeMap<String, Duration>;

impl Starting<'_> {
    /// Starts all containers at once. None is given up half-way when another fails: a request that
    /// is on its way to the engine would still be carried out, after the clean-up.
    async fn launch(&self) -> (Result<BTreeMap<Part, Container>, TestbedError>, Vec<Handle>) {
        let started = self.specifications().into_iter().map(|spec| self.launch_one(spec));
        let (mut containers, mut handles) = (BTreeMap::new(), Vec::new());
        let mut failure = None;
        for (part, started) in join_all(started).await {
            match started {
                Ok((container, handle)) => {
                    containers.insert(part, container);
                    handles.push(handle);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        (failure.map_or(Ok(containers), Err), handles)
    }

    async fn launch_one(
        &self,
        specification: Specification,
    ) -> (Part, Result<(Container, Handle), TestbedError>) {
        let part = specification.part.clone();
        let (network, labels) = (self.run.network(), self.run.labels_of(&part));
        let within = self.topology.start_within;
        (part, specification.start(&self.engine, &network, &labels, within).await)
    }

    fn specifications(&self) -> Vec<Specification> {
        let hosts: Vec<String> =
            brokers(self.topology).map(|part| self.run.container(&part)).collect();
        let mut specifications: Vec<Specification> =
            (1..=self.topology.brokers).map(|number| self.broker(number, &hosts)).collect();
        if let Some(server) = &self.entrances.store_server {
            let arguments = store::arguments(server.local_addr());
            let doors = vec![Door { port: store::PORT, proxy: Arc::clone(server) }];
            specifications.push(Specification {
                arguments,
                doors,
                ..self.specification(Part::Store, ImageKind::FakeGcs)
            });
        }
        if self.topology.database {
            specifications.push(Specification {
                environment: cdc::database_environment(),
                arguments: cdc::database_arguments(),
                doors: self.two_doors(&Part::Database, cdc::DATABASE_PORT, cdc::DATABASE_PORT),
                ..self.specification(Part::Database, ImageKind::Postgres)
            });
        }
        if self.topology.change_data_capture {
            specifications.push(Specification {
                environment: cdc::connect_environment(&hosts, &self.topology.worker_properties),
                doors: self.two_doors(&Part::Connect, cdc::CONNECT_PORT, cdc::CONNECT_PORT),
                ..self.specification(Part::Connect, ImageKind::Connect)
            });
        }
        specifications
    }

    fn broker(&self, number: u32, hosts: &[String]) -> Specification {
        let part = Part::Broker(number);
        let plan = BrokerPlan {
            number,
            hosts,
            client: self.entrances.clients[&part].local_addr(),
            observer: self.entrances.observers[&part].local_addr(),
        };
        Specification {
            environment: kafka::environment(&plan, self.topology),
            doors: self.two_doors(&part, kafka::CLIENT_PORT, kafka::OBSERVER_PORT),
            ..self.specification(part, ImageKind::Kafka)
        }
    }

    fn specification(&self, part: Part, image: ImageKind) -> Specification {
        Specification {
            name: self.run.container(&part),
            part,
            image: self.images[&image].clone(),
            environment: BTreeMap::new(),
            arguments: Vec::new(),
            doors: Vec::new(),
        }
    }

    fn two_doors(&self, part: &Part, clients: u16, observers: u16) -> Vec<Door> {
        vec![
            Door { port: clients, proxy: Arc::clone(&self.entrances.clients[part]) },
            Door { port: observers, proxy: Arc::clone(&self.entrances.observers[part]) },
        ]
    }

    /// Waits for every part, and for what the topology wants in it.
    async fn await_all(
        &self,
        containers: &BTreeMap<Part, Container>,
    ) -> Result<(Cluster, Startup), TestbedError> {
        let launched = self.begun.elapsed();
        let cluster = Cluster::connect(
            &Brokers::plain(self.entrances.observer_bootstrap_servers()),
            self.topology.brokers,
            CLOCK_TOPIC.to_owned(),
        )?;
        let others = containers
            .iter()
            .filter(|(part, _)| !matches!(part, Part::Broker(_)))
            .map(|(part, container)| self.await_other(part, container).boxed());
        let kafka = self.await_kafka(containers, &cluster).boxed();
        let waits: Vec<BoxFuture<'_, Result<Startup, TestbedError>>> =
            std::iter::once(kafka).chain(others).collect();
        let mut startup: Startup = try_join_all(waits).await?.into_iter().flatten().collect();
        startup.insert("containers started".to_owned(), launched);
        startup.insert("total".to_owned(), self.begun.elapsed());
        Ok((cluster, startup))
    }

    async fn await_kafka(
        &self,
        containers: &BTreeMap<Part, Container>,
        cluster: &Cluster,
    ) -> Result<Startup, TestbedError> {
        let brokers = containers.iter().filter(|(part, _)| matches!(part, Part::Broker(_)));
        let up = brokers.map(|(part, container)| self.await_part(part, container));
        let mut startup: Startup = try_join_all(up).await?.into_iter().collect();
        cluster.await_complete(self.topology, &[], self.deadline()).await?;
        cluster.create_topics(self.topology).await?;
        cluster.await_complete(self.topology, &self.topology.topics, self.deadline()).await?;
        startup.insert("topics".to_owned(), self.begun.elapsed());
        Ok(startup)
    }

    async fn await_other(
        &self,
        part: &Part,
        container: &Container,
    ) -> Result<Startup, TestbedError> {
        let measured = self.await_part(part, container).await?;
        if let (Part::Store, Some(server)) = (part, &self.entrances.store_server) {
            let (http, url) = (&self.entrances.http, url(server));
            let created = self.topology.buckets.iter();
            let created = created.map(|name| store::create_bucket(http, &url, name));
            try_join_all(created).await?;
        }
        Ok(Startup::from([measured]))
    }

    /// Waits until a part serves. Ends early, with the container's last words, if it ended.
    async fn await_part(
        &self,
        part: &Part,
        container: &Container,
    ) -> Result<(String, Duration), TestbedError> {
        loop {
            let Err(last) = self.serves(part, container).await else {
                return Ok((part.to_string(), self.begun.elapsed()));
            };
            if let Some(ended) = container.ended(&self.engine).await {
                return Err(ended);
            }
            if Instant::now() >= self.deadline() {
                return Err(TestbedError::Deadline {
                    part: part.to_string(),
                    state: "ready",
                    within: self.topology.start_within,
                    last: format!("{last}\n{}", container.last_words(&self.engine).await),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn serves(&self, part: &Part, container: &Container) -> Result<(), String> {
        self.entrances.observe_service(part, ASK_WITHIN).await?;
        if matches!(part, Part::Broker(_)) {
            container.has_logged(&self.engine, kafka::READY_LINE).await?;
        }
        Ok(())
    }

    fn deadline(&self) -> Instant {
        self.begun + self.topology.start_within
    }

    fn finish(
        self,
        containers: BTreeMap<Part, Container>,
        handles: Vec<Handle>,
        cluster: Cluster,
        startup: Startup,
    ) -> DockerTestbed {
        let mut components: BTreeMap<String, String> = self
            .images
            .iter()
            .map(|(kind, image)| (kind.component().to_owned(), image.describe()))
            .collect();
        components.insert("container engine".to_owned(), self.engine.version().to_owned());
        tracing::info!(run = self.run.network(), ?startup, "docker testbed is up");
        DockerTestbed {
            engine: self.engine,
            run: self.run,
            topology: self.topology.clone(),
            containers,
            entrances: self.entrances,
            cluster,
            components,
            startup,
            handles: std::sync::Mutex::new(handles),
        }
    }
}
