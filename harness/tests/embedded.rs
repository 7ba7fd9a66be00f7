//! The embedded testbed, whole: host process, proxies, mock brokers, and the real Kafka client.
//!
//! The host is this test program run again: with [`HOST`] in its environment, the one test
//! [`broker_host`] becomes the host.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use streamlake_harness::sweep::Stat;
use streamlake_harness::testbed::embedded::{Embedded, HostCommand, host};
use streamlake_harness::testbed::proxy::Link;
use streamlake_harness::testbed::{Act, Part, Testbed, TestbedError, TopicSpec, Topology};

const HOST: &str = "STREAMLAKE_TEST_BROKER_HOST";
const TOPIC: &str = "streamlake.orders.raw";
const PROBE_WITHIN: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(20);

#[test]
fn broker_host() {
    if let Ok(brokers) = std::env::var(HOST) {
        let brokers = brokers.parse().unwrap();
        let options = host::Options { brokers, initial_rebalance_delay: Duration::from_millis(50) };
        let _ = host::main(&options);
        panic!("the host has returned");
    }
}

async fn start(brokers: u32) -> Embedded {
    let topology = Topology {
        brokers,
        broker_properties: BTreeMap::new(),
        topics: vec![TopicSpec {
            name: TOPIC.to_owned(),
            partitions: 3,
            replication: 1,
            properties: BTreeMap::new(),
        }],
        buckets: vec!["zone".to_owned()],
        database: false,
        change_data_capture: false,
        worker_properties: BTreeMap::new(),
        start_within: SOON,
    };
    Embedded::start(&topology, &host_command(brokers)).await.unwrap()
}

fn host_command(brokers: u32) -> HostCommand {
    HostCommand {
        program: std::env::current_exe().unwrap(),
        arguments: ["broker_host", "--exact", "--nocapture"].map(str::to_owned).to_vec(),
        environment: vec![(HOST.to_owned(), brokers.to_string())],
    }
}

fn client(bed: &Embedded) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bed.bootstrap_servers())
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "100");
    config
}

async fn produce(bed: &Embedded, numbers: std::ops::Range<u32>) {
    let producer: FutureProducer = client(bed).set("linger.ms", "2").create().unwrap();
    let sends = numbers.map(|number| {
        let (key, producer) = (number.to_string(), producer.clone());
        async move {
            let record = FutureRecord::to(TOPIC).key(&key).payload(&key);
            producer.send(record, SOON).await.unwrap();
        }
    });
    futures::future::join_all(sends).await;
}

/// Reads as a group until `count` records are there, and commits them. Blocking.
fn consume(config: &ClientConfig, count: usize) -> (BTreeSet<u32>, BaseConsumer) {
    let consumer: BaseConsumer = config
        .clone()
        .set("group.id", "streamlake-consumer-orders")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "6000")
        .set("fetch.wait.max.ms", "20")
        .create()
        .unwrap();
    consumer.subscribe(&[TOPIC]).unwrap();
    let (mut seen, begun) = (BTreeSet::new(), Instant::now());
    while seen.len() < count {
        assert!(begun.elapsed() < SOON, "only {} of {count} records", seen.len());
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
            seen.insert(std::str::from_utf8(message.payload().unwrap()).unwrap().parse().unwrap());
        }
    }
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    (seen, consumer)
}

fn committed(consumer: &BaseConsumer) -> i64 {
    let mut asked = TopicPartitionList::new();
    for partition in 0..3 {
        asked.add_partition(TOPIC, partition);
    }
    let committed = consumer.committed_offsets(asked, SOON).unwrap();
    let offsets = committed.elements().into_iter().map(|element| match element.offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    });
    offsets.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_broker_comes_back_with_its_log_and_its_committed_offsets() {
    let bed = start(1).await;
    let broker = Part::Broker(1);
    let up = bed.probe(&broker, PROBE_WITHIN).await.unwrap();
    assert!(up.starts_with("ApiVersions answered with"), "{up}");
    produce(&bed, 0..100).await;
    let config = client(&bed);
    let (seen, consumer) =
        tokio::task::spawn_blocking(move || consume(&config, 100)).await.unwrap();
    assert_eq!(seen, (0..100).collect());

    for (act, reason) in [
        (Act::Stop { grace: Duration::from_secs(1) }, "connection reset"),
        (Act::Kill, "connection reset"),
    ] {
        bed.act(&broker, act).await.unwrap();
        assert_eq!(bed.observe(&broker).await.unwrap()["listening"], "no");
        assert_eq!(bed.probe(&broker, PROBE_WITHIN).await, Err(reason.to_owned()));
        assert_ne!(bed.observe(&broker).await.unwrap()["link_refused_by_part"], "0");
        bed.act(&broker, Act::Start).await.unwrap();
        assert_eq!(bed.observe(&broker).await.unwrap()["listening"], "yes");
        bed.probe(&broker, PROBE_WITHIN).await.unwrap();
    }
    let config = client(&bed);
    tokio::task::spawn_blocking(move || {
        assert_eq!(committed(&consumer), 100);
        drop(consumer);
        let other = config.clone().set("group.id", "streamlake-consumer-orders").create().unwrap();
        assert_eq!(committed(&other), 100);
    })
    .await
    .unwrap();
    bed.stop().await.unwrap();
    assert!(Stat::of(bed.host_pid()).is_err(), "the host is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_broker_is_frozen_by_a_signal() {
    let bed = start(1).await;
    let broker = Part::Broker(1);
    let before = bed.observe(&broker).await.unwrap();
    bed.act(&broker, Act::Pause).await.unwrap();
    let frozen = bed.observe(&broker).await.unwrap();
    assert_eq!(frozen["state"], "T (stopped)");
    assert_eq!((&frozen["pid"], &frozen["started_at"]), (&before["pid"], &before["started_at"]));
    let silent = bed.probe(&broker, PROBE_WITHIN).await;
    assert_eq!(silent, Err("no answer within 500ms".to_owned()));
    let thaw = async { bed.act(&broker, Act::Unpause).await.unwrap() };
    tokio::join!(produce(&bed, 0..10), thaw);
    assert_ne!(bed.observe(&broker).await.unwrap()["state"], "T (stopped)");
    bed.probe(&broker, PROBE_WITHIN).await.unwrap();
    // A frozen host is ended too.
    bed.act(&broker, Act::Pause).await.unwrap();
    bed.stop().await.unwrap();
    assert!(Stat::of(bed.host_pid()).is_err(), "the host is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_brokers_is_paused_cut_off_and_let_go() {
    let bed = start(3).await;
    produce(&bed, 0..100).await;
    let (second, third) = (Part::Broker(2), Part::Broker(3));
    bed.act(&second, Act::Pause).await.unwrap();
    bed.act(&third, Act::Link(Link::Refuse)).await.unwrap();
    assert_eq!(bed.observe(&second).await.unwrap()["link"], "black hole");
    assert!(bed.probe(&second, PROBE_WITHIN).await.unwrap_err().starts_with("no answer"));
    assert_eq!(bed.probe(&third, PROBE_WITHIN).await, Err("connection reset".to_owned()));
    bed.probe(&Part::Broker(1), PROBE_WITHIN).await.unwrap();
    assert_eq!(bed.observe(&third).await.unwrap()["link_refused"], "1");
    bed.act(&second, Act::Unpause).await.unwrap();
    bed.act(&third, Act::Link(Link::Pass)).await.unwrap();
    produce(&bed, 100..200).await;
    let config = client(&bed);
    let read = tokio::task::spawn_blocking(move || consume(&config, 200).0).await.unwrap();
    assert_eq!(read, (0..200).collect());

    let store = bed.probe(&Part::Store, PROBE_WITHIN).await.unwrap();
    assert!(store.starts_with("listing answered with status 200"), "{store}");
    let refused = bed.act(&Part::Database, Act::Kill).await.unwrap_err();
    assert!(matches!(refused, TestbedError::Unsupported { .. }));
    bed.stop().await.unwrap();
}

#[test]
fn the_host_ends_when_nobody_holds_its_input_any_more() {
    let command = host_command(1);
    let mut host = std::process::Command::new(command.program)
        .args(command.arguments)
        .envs(command.environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let ready = lines.map(Result::unwrap).find(|line| line.contains("ready")).unwrap();
    assert!(ready.contains("ports"), "{ready}");
    drop(host.stdin.take());
    assert!(host.wait().unwrap().success());
}

#[tokio::test]
async fn a_dropped_testbed_takes_the_host_with_it() {
    let bed = start(1).await;
    let pid = bed.host_pid();
    drop(bed);
    let ended = async {
        while Stat::of(pid).is_ok_and(|stat| stat.state != 'Z') {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, ended).await.unwrap();
}

#[tokio::test]
async fn a_host_that_does_not_come_up_says_why() {
    let topology = Topology {
        brokers: 1,
        broker_properties: BTreeMap::new(),
        topics: Vec::new(),
        buckets: Vec::new(),
        database: false,
        change_data_capture: false,
        worker_properties: BTreeMap::new(),
        start_within: SOON,
    };
    let command = HostCommand {
        program: "sh".into(),
        arguments: ["-c", "echo no brokers today >&2"].map(str::to_owned).to_vec(),
        environment: Vec::new(),
    };
    let error = Embedded::start(&topology, &command).await.unwrap_err();
    assert!(error.to_string().contains("no brokers today"), "{error}");
}
