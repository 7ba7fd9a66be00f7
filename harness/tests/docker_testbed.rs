//! The docker testbed against a real engine: `cargo test -- --include-ignored`, as CI does.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::FutureExt;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use streamlake_harness::testbed::docker::{
    DatabaseConnection, DockerTestbed, ImageChoice, ImageSet, References,
};
use streamlake_harness::testbed::gateway::StoreFault;
use streamlake_harness::testbed::proxy::Link;
use streamlake_harness::testbed::{
    Act, Observation, Part, Testbed, TestbedError, TopicSpec, Topology,
};

const BROKER: Part = Part::Broker(1);
const TOPIC: &str = "streamlake.orders.raw";
const BACK_WITHIN: Duration = Duration::from_secs(30);
const ASK_WITHIN: Duration = Duration::from_millis(500);
/// Makes the test binary start a testbed and wait to be killed.
const CHILD_VARIABLE: &str = "STREAMLAKE_TEST_HOLD_TESTBED";

/// One testbed at a time: two starts at once on two cores measure each other.
static ENGINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Past the test harness, which swallows what passing tests print.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn topology(brokers: u32) -> Topology {
    Topology {
        brokers,
        broker_properties: BTreeMap::from([("log.retention.hours".into(), "24".into())]),
        topics: vec![TopicSpec {
            name: TOPIC.into(),
            partitions: 3,
            replication: brokers,
            properties: BTreeMap::from([("max.message.bytes".into(), "2000000".into())]),
        }],
        buckets: vec!["streamlake-raw".into()],
        database: false,
        change_data_capture: false,
        worker_properties: BTreeMap::new(),
        start_within: Duration::from_secs(120),
    }
}

/// Starts a testbed, runs the story, and takes the testbed down whatever became of the story.
async fn with_testbed(topology: Topology, story: impl AsyncFnOnce(&DockerTestbed)) {
    let _one = ENGINE.lock().await;
    DockerTestbed::sweep().await.unwrap();
    let images = ImageSet::from_environment().unwrap();
    let testbed = DockerTestbed::start(&topology, &images).await.unwrap();
    say(&format!("started: {:?}", testbed.startup()));
    let told = AssertUnwindSafe(story(&testbed)).catch_unwind().await;
    let begun = Instant::now();
    testbed.stop().await.unwrap();
    say(&format!("taken down in {:?}", begun.elapsed()));
    testbed.stop().await.expect("stopping twice is no error");
    assert_eq!(left_of(&testbed).await, "", "containers or networks left");
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

/// What the engine lists of a testbed.
async fn left_of(testbed: &DockerTestbed) -> String {
    let label = format!("label={}", testbed.run_label());
    let mut left = String::new();
    for list in [["ps", "-aq"], ["network", "ls"]] {
        let output = tokio::process::Command::new("docker")
            .args(list)
            .args(["--filter", &label, "--format", "{{.ID}}"])
            .output()
            .await
            .unwrap();
        left += &String::from_utf8_lossy(&output.stdout);
    }
    left
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < BACK_WITHIN, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

async fn produce(testbed: &DockerTestbed, value: &str) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", testbed.bootstrap_servers())
        .set("acks", "all")
        .set("reconnect.backoff.max.ms", "500")
        .set("message.timeout.ms", "30000")
        .create()
        .unwrap();
    let record = FutureRecord::to(TOPIC).key("k").payload(value);
    producer.send(record, Duration::from_secs(30)).await.unwrap();
}

/// All values of the topic, as an observer reads them.
async fn consume(testbed: &DockerTestbed, expected: usize) -> Vec<String> {
    let servers = testbed.observer_bootstrap_servers();
    let reading = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("group.id", "test")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        consumer.subscribe(&[TOPIC]).unwrap();
        let begun = Instant::now();
        let mut values = Vec::new();
        while values.len() < expected && begun.elapsed() < BACK_WITHIN {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                values.push(String::from_utf8_lossy(message.payload().unwrap()).into_owned());
            }
        }
        values
    });
    let mut values = reading.await.unwrap();
    values.sort();
    values
}

async fn seen(testbed: &DockerTestbed, part: &Part) -> Observation {
    testbed.observe(part).await.unwrap()
}

async fn answers(testbed: &DockerTestbed, part: &Part) -> bool {
    testbed.probe(part, ASK_WITHIN).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine and the images of the docker testbed: `just images`"]
async fn one_broker_and_a_store_are_broken_in_every_way_and_come_back() {
    with_testbed(topology(1), async |testbed| {
        reports_itself(testbed).await;
        produce(testbed, "before").await;
        broker_restarts(testbed).await;
        broker_is_killed(testbed).await;
        broker_is_frozen(testbed).await;
        clients_are_cut_off(testbed).await;
        produce(testbed, "after").await;
        assert_eq!(consume(testbed, 3).await, ["after", "before", "killed"]);
        topic_is_made_again(testbed).await;
        store_is_broken(testbed).await;
        wrong_acts_are_refused(testbed).await;
    })
    .await;
}

async fn reports_itself(testbed: &DockerTestbed) {
    let components = testbed.components();
    assert!(components["kafka"].contains("kafka:4.1.0"), "{components:?}");
    say(&format!("components: {components:?}"));
    let configuration = testbed.configuration().await.unwrap();
    let broker = &configuration["broker-1"];
    assert_eq!(broker["log.retention.hours"], "24");
    assert_eq!(broker["auto.create.topics.enable"], "false");
    assert_eq!(broker["min.insync.replicas"], "1");
    let topic = &configuration[&format!("topic {TOPIC}")];
    assert_eq!(topic["max.message.bytes"], "2000000");
    assert_eq!(topic["replication.factor"], "1");
    assert_eq!(topic["partitions"], "3");
    let log = testbed.log_lines(&BROKER, chrono::DateTime::UNIX_EPOCH, 10_000).await.unwrap();
    assert!(log.iter().any(|line| line.contains("Kafka Server started")));
    assert!(answers(testbed, &BROKER).await && answers(testbed, &Part::Store).await);
}

async fn broker_restarts(testbed: &DockerTestbed) {
    let before = seen(testbed, &BROKER).await;
    let begun = Instant::now();
    testbed.act(&BROKER, Act::Stop { grace: Duration::from_secs(10) }).await.unwrap();
    let stopped = seen(testbed, &BROKER).await;
    say(&format!("graceful stop in {:?}: {stopped:?}", begun.elapsed()));
    assert_eq!(stopped["state"], "exited");
    assert_eq!(stopped["stopped_by"], "SIGTERM");
    assert!(!stopped.contains_key("pid"));
    assert!(!answers(testbed, &BROKER).await);
    testbed.act(&BROKER, Act::Start).await.unwrap();
    until("the broker is back", async || answers(testbed, &BROKER).await).await;
    say(&format!("graceful restart: unavailable for about {:?}", begun.elapsed()));
    let after = seen(testbed, &BROKER).await;
    assert_eq!(after["state"], "running");
    assert_eq!(after["container"], before["container"]);
    assert_ne!(after["started_at"], before["started_at"]);
    assert_ne!(after["pid"], before["pid"]);
}

async fn broker_is_killed(testbed: &DockerTestbed) {
    let before = seen(testbed, &BROKER).await;
    let begun = Instant::now();
    testbed.act(&BROKER, Act::Kill).await.unwrap();
    let killed = seen(testbed, &BROKER).await;
    assert_eq!(killed["state"], "exited");
    assert_eq!(killed["exit_code"], "137");
    assert_eq!(killed["stopped_by"], "SIGKILL");
    testbed.act(&BROKER, Act::Start).await.unwrap();
    until("the broker is back", async || answers(testbed, &BROKER).await).await;
    say(&format!("SIGKILL and start: answers again after {:?}", begun.elapsed()));
    produce(testbed, "killed").await;
    say(&format!("SIGKILL and start: takes records again after {:?}", begun.elapsed()));
    assert_ne!(seen(testbed, &BROKER).await["started_at"], before["started_at"]);
}

async fn broker_is_frozen(testbed: &DockerTestbed) {
    let before = seen(testbed, &BROKER).await;
    testbed.act(&BROKER, Act::Pause).await.unwrap();
    let frozen = seen(testbed, &BROKER).await;
    assert_eq!(frozen["state"], "paused");
    assert_eq!(frozen["pid"], before["pid"]);
    if let Some(freezer) = frozen.get("freezer") {
        assert_eq!((freezer.as_str(), before["freezer"].as_str()), ("FROZEN", "THAWED"));
    }
    assert!(!answers(testbed, &BROKER).await);
    testbed.act(&BROKER, Act::Unpause).await.unwrap();
    until("the broker is thawed", async || answers(testbed, &BROKER).await).await;
    let thawed = seen(testbed, &BROKER).await;
    assert_eq!(thawed["state"], "running");
    assert_eq!(thawed["started_at"], before["started_at"]);
}

async fn clients_are_cut_off(testbed: &DockerTestbed) {
    for link in [Link::BlackHole, Link::Refuse, Link::SwallowAnswers] {
        testbed.act(&BROKER, Act::Link(link)).await.unwrap();
        assert!(!answers(testbed, &BROKER).await, "{link:?}");
        assert_eq!(seen(testbed, &BROKER).await["link"], link.to_string());
        // The harness still sees what clients cannot.
        testbed.configuration().await.unwrap();
        testbed.act(&BROKER, Act::Link(Link::Pass)).await.unwrap();
        until("the link passes", async || answers(testbed, &BROKER).await).await;
    }
}

/// A topic is deleted and made again under its consumer, and gets more records than the old one had: first
/// while the consumer runs, then with a consumer that is killed before it can notice.
async fn topic_is_made_again(testbed: &DockerTestbed) {
    let folder = tempfile::tempdir().unwrap();
    let consumer = Again { testbed, folder: folder.path() };
    consumer.make_topic().await;
    consumer.produce(0..10).await;
    let mut running = consumer.start("first");
    until("the old topic is stored", async || consumer.stored().contains("again-9")).await;
    consumer.delete_topic().await;
    consumer.make_topic().await;
    consumer.produce(100..130).await;
    consumer.all_of(100..130).await;
    assert!(consumer.told("first").contains("topic_replaced"));

    consumer.delete_topic().await;
    consumer.make_topic().await;
    consumer.produce(200..240).await;
    // What lies behind the position is taken for the old topic's, and perhaps committed before anybody asks.
    until("the new topic is read", async || consumer.stored().contains("again-239")).await;
    running.kill().await.unwrap();
    let mut successor = consumer.start("second");
    consumer.all_of(200..240).await;
    successor.kill().await.unwrap();
}

struct Again<'a> {
    testbed: &'a DockerTestbed,
    folder: &'a std::path::Path,
}

impl Again<'_> {
    const TOPIC: &'static str = "streamlake.again.raw";

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let servers = self.testbed.bootstrap_servers();
        ClientConfig::new().set("bootstrap.servers", servers).create().unwrap()
    }

    async fn delete_topic(&self) {
        let answers = self.admin().delete_topics(&[Self::TOPIC], &AdminOptions::new()).await;
        answers.unwrap().remove(0).unwrap();
    }

    /// A topic on its way out keeps its name for a moment.
    async fn make_topic(&self) {
        let (admin, topic) =
            (self.admin(), NewTopic::new(Self::TOPIC, 1, TopicReplication::Fixed(1)));
        until("the topic is made", async || {
            let answers = admin.create_topics([&topic], &AdminOptions::new()).await;
            answers.unwrap().remove(0).is_ok()
        })
        .await;
    }

    async fn produce(&self, numbers: std::ops::Range<u32>) {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", self.testbed.bootstrap_servers())
            .set("message.timeout.ms", "30000")
            .create()
            .unwrap();
        for number in numbers {
            let value = format!("\"again-{number}\"");
            let record = FutureRecord::to(Self::TOPIC).key("k").payload(&value);
            producer.send(record, Duration::from_secs(30)).await.unwrap();
        }
    }

    fn start(&self, name: &str) -> tokio::process::Child {
        let zone = format!("file://{}", self.folder.join("zone").display());
        tokio::process::Command::new(env!("CARGO_BIN_EXE_streamlake-harness"))
            .args(["pipeline", "consume", "--dataset", "again", "--schema", "json"])
            .args(["--raw-zone", &zone, "--batch-age", "50ms", "-X", "session.timeout.ms=6000"])
            .args(["--dead-letter-topic", TOPIC, "--http", "127.0.0.1:0", "--events"])
            .arg(self.folder.join(name))
            .env("KAFKA_BOOTSTRAP_SERVERS", self.testbed.bootstrap_servers())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn told(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// The lines of all parts.
    fn stored(&self) -> String {
        let mut folders = vec![self.folder.join("zone")];
        let mut lines = String::new();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                match path.is_dir() {
                    true => folders.push(path),
                    false if name.starts_with("part-") => {
                        lines += &std::fs::read_to_string(path).unwrap();
                    }
                    false => {}
                }
            }
        }
        lines
    }

    async fn all_of(&self, numbers: std::ops::Range<u32>) {
        until("all of the new topic is stored", async || {
            let stored = self.stored();
            numbers.clone().all(|number| stored.contains(&format!("\"again-{number}\"")))
        })
        .await;
    }
}

async fn store_is_broken(testbed: &DockerTestbed) {
    let store = Part::Store;
    testbed.act(&store, Act::Store(StoreFault::Status(503))).await.unwrap();
    assert!(!answers(testbed, &store).await);
    let faulty = seen(testbed, &store).await;
    // The probe met the fault; the system under test, which is not there, did not.
    assert_eq!((faulty["fault"].as_str(), faulty["requests_hit"].as_str()), ("status 503", "0"));
    assert_eq!(faulty["requests_of_the_harness"], "1");
    testbed.act(&store, Act::Store(StoreFault::None)).await.unwrap();
    assert!(answers(testbed, &store).await);
    testbed.act(&store, Act::Kill).await.unwrap();
    assert!(!answers(testbed, &store).await);
    testbed.act(&store, Act::Start).await.unwrap();
    // With its bucket, or it would answer with 404.
    until("the store is back", async || answers(testbed, &store).await).await;
}

async fn wrong_acts_are_refused(testbed: &DockerTestbed) {
    assert!(testbed.act(&BROKER, Act::Start).await.is_err(), "it runs");
    assert!(testbed.act(&BROKER, Act::Unpause).await.is_err(), "it is not frozen");
    assert!(testbed.act(&BROKER, Act::Store(StoreFault::Hang)).await.is_err());
    assert!(testbed.act(&Part::Broker(2), Act::Kill).await.is_err(), "there is none");
    assert!(testbed.act(&Part::Connect, Act::Pause).await.is_err(), "there is none");
    testbed.act(&Part::Store, Act::Pause).await.unwrap();
    testbed.act(&Part::Store, Act::Kill).await.unwrap();
    assert_eq!(seen(testbed, &Part::Store).await["state"], "exited", "frozen, then killed");
    // Frozen parts are taken down as well.
    testbed.act(&BROKER, Act::Pause).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine and the images of the docker testbed: `just images`"]
async fn three_brokers_replicate_and_outlive_one_of_them() {
    let topology = Topology { buckets: Vec::new(), ..topology(3) };
    with_testbed(topology, async |testbed| {
        let configuration = testbed.configuration().await.unwrap();
        assert_eq!(configuration[&format!("topic {TOPIC}")]["replication.factor"], "3");
        assert_eq!(configuration["broker-3"]["min.insync.replicas"], "2");
        produce(testbed, "a").await;
        testbed.act(&Part::Broker(2), Act::Kill).await.unwrap();
        let begun = Instant::now();
        produce(testbed, "b").await;
        say(&format!("one of three killed: the next record took {:?}", begun.elapsed()));
        assert_eq!(consume(testbed, 2).await, ["a", "b"]);
        testbed.act(&Part::Broker(2), Act::Start).await.unwrap();
        until("it is back", async || answers(testbed, &Part::Broker(2)).await).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine and the images of the docker testbed: `just images`"]
async fn rows_of_the_database_become_records() {
    let topic = |name: &str| TopicSpec {
        name: name.into(),
        partitions: 1,
        replication: 1,
        properties: BTreeMap::new(),
    };
    let topology = Topology {
        topics: vec![topic("shop.public.orders")],
        database: true,
        change_data_capture: true,
        ..topology(1)
    };
    with_testbed(topology, async |testbed| {
        let address = testbed.database_address().unwrap();
        let mut database = DatabaseConnection::open(address, BACK_WITHIN).await.unwrap();
        database.run("CREATE TABLE orders (id int PRIMARY KEY)").await.unwrap();
        assert!(database.run("SELECT nothing").await.unwrap_err().contains("42703"));
        let configuration = testbed.configuration().await.unwrap();
        assert_eq!(configuration["database"]["wal_level"], "logical");
        create_connector(testbed).await;
        for id in 1..=10 {
            database.run(&format!("INSERT INTO orders VALUES ({id})")).await.unwrap();
        }
        until("10 rows are in the log", async || high_watermark(testbed).await >= 10).await;
        for part in [Part::Connect, Part::Database] {
            testbed.act(&part, Act::Kill).await.unwrap();
            assert!(!answers(testbed, &part).await);
            testbed.act(&part, Act::Start).await.unwrap();
            let took = until("it is back", async || answers(testbed, &part).await).await;
            say(&format!("{part} answers {took:?} after its start"));
        }
    })
    .await;
}

async fn create_connector(testbed: &DockerTestbed) {
    let mut properties = testbed.source_properties().unwrap();
    for (name, value) in [
        ("connector.class", "io.debezium.connector.postgresql.PostgresConnector"),
        ("topic.prefix", "shop"),
    ] {
        properties.insert(name.into(), value.into());
    }
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(format!("{}/connectors", testbed.connect_url().unwrap()))
        .json(&serde_json::json!({ "name": "postgres-connector", "config": properties }))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
}

async fn high_watermark(testbed: &DockerTestbed) -> i64 {
    let servers = testbed.observer_bootstrap_servers();
    let asked = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
        consumer.fetch_watermarks("shop.public.orders", 0, Duration::from_secs(2))
    });
    asked.await.unwrap().map_or(0, |(_, high)| high)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine and the images of the docker testbed: `just images`"]
async fn a_broker_that_does_not_come_up_says_why_and_nothing_is_left() {
    let _one = ENGINE.lock().await;
    let images = ImageSet::from_environment().unwrap();
    let mut topology = topology(1);
    topology.broker_properties.insert("log.segment.bytes".into(), "many".into());
    let error = DockerTestbed::start(&topology, &images).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("broker-1") && error.contains("log.segment.bytes"), "{error}");

    let local =
        ImageSet { local: images.official.clone(), ..images }.with_choice(ImageChoice::Local);
    let missing = References { kafka: "streamlake/kafka:0.0.0".into(), ..local.local.clone() };
    let images = ImageSet { local: missing, ..local };
    let error = DockerTestbed::start(&topology, &images).await.map(drop).unwrap_err();
    assert!(matches!(error, TestbedError::Environment { .. }), "{error}");
    assert!(error.to_string().contains("run `just images`"), "{error}");

    DockerTestbed::remove_own().await.unwrap();
}

/// Not a test of its own: what the next one starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine and the images of the docker testbed: `just images`"]
async fn hold_a_testbed() {
    if std::env::var_os(CHILD_VARIABLE).is_none() {
        return;
    }
    let images = ImageSet::from_environment().unwrap();
    let topology = Topology { topics: Vec::new(), ..topology(1) };
    let testbed = DockerTestbed::start(&topology, &images).await.unwrap();
    let mut stdout = std::io::stdout();
    stdout.write_all(format!("\nholding {}\n", testbed.run_label()).as_bytes()).unwrap();
    stdout.flush().unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine and the images of the docker testbed: `just images`"]
async fn what_a_killed_harness_leaves_is_swept_by_the_next() {
    use tokio::io::AsyncBufReadExt;
    let _one = ENGINE.lock().await;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_testbed", "--include-ignored", "--nocapture"])
        .env(CHILD_VARIABLE, "1")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let label = loop {
        let line = lines.next_line().await.unwrap().expect("the child starts a testbed");
        if let Some(label) = line.strip_prefix("holding ") {
            break label.to_owned();
        }
    };
    let swept = DockerTestbed::sweep().await.unwrap();
    assert!(!swept.iter().any(|what| what.contains(run_of(&label))), "its owner lives: {swept:?}");
    child.kill().await.unwrap();
    let begun = Instant::now();
    let swept = DockerTestbed::sweep().await.unwrap();
    say(&format!("swept in {:?}: {swept:?}", begun.elapsed()));
    assert!(swept.iter().any(|what| what.contains(run_of(&label))), "{swept:?}");
}

fn run_of(label: &str) -> &str {
    label.split_once('=').unwrap().1
}
