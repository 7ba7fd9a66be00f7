//! The pipeline against a broker that speaks SASL over TLS only, on a real engine. CI runs it with
//! `--include-ignored`.
//!
//! Two things are on trial: that everything works through such a listener, and that whatever is said
//! on the way, by whichever command, at whatever level of detail, no secret is among it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;
use streamlake_harness::testbed::docker::{DockerTestbed, ImageSet};
use streamlake_harness::testbed::{Testbed, TopicSpec, Topology};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const TOPIC: &str = "streamlake.orders.raw";
const USER: &str = "ingestion";
const PASSWORD: &str = "correct-horse-battery";
const WRONG_PASSWORD: &str = "wrong-horse-battery";
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
/// Nothing here takes longer, or it hangs.
const WITHIN: Duration = Duration::from_secs(120);

/// Past the test harness, which swallows what passing tests print.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// An authority with a certificate for the address that clients are told.
struct Authority {
    certificate: String,
    broker_certificate: String,
    broker_key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Names of their own: a certificate that bears its issuer's name looks self-signed.
        parameters.distinguished_name.push(DnType::CommonName, "authority");
        let certificate = parameters.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(parameters, key);
        let broker_key = KeyPair::generate().unwrap();
        let mut of_broker = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        of_broker.distinguished_name.push(DnType::CommonName, "broker");
        let broker_certificate = of_broker.signed_by(&broker_key, &issuer).unwrap().pem();
        Self { certificate, broker_certificate, broker_key: broker_key.serialize_pem() }
    }
}

/// One broker whose listener for clients takes nothing but SASL over TLS.
fn topology(authority: &Authority) -> Topology {
    let topic = |name: &str, partitions| TopicSpec {
        name: name.to_owned(),
        partitions,
        replication: 1,
        properties: BTreeMap::new(),
    };
    // In a file of properties a line break is written as `\n`.
    let in_one_line = |pem: &str| pem.trim().replace('\r', "").replace('\n', "\\n");
    let of_client = |name: &str| format!("listener.name.client.{name}");
    let module = "org.apache.kafka.common.security";
    let plain = format!("{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
    let scram = format!("{module}.scram.ScramLoginModule required;");
    let protocols = "CLIENT:SASL_SSL,OBSERVER:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT";
    Topology {
        brokers: 1,
        broker_properties: BTreeMap::from([
            ("listener.security.protocol.map".to_owned(), protocols.to_owned()),
            (of_client("sasl.enabled.mechanisms"), MECHANISMS.join(",")),
            (of_client("plain.sasl.jaas.config"), plain),
            (of_client("scram-sha-256.sasl.jaas.config"), scram.clone()),
            (of_client("scram-sha-512.sasl.jaas.config"), scram),
            (of_client("ssl.keystore.type"), "PEM".to_owned()),
            (
                of_client("ssl.keystore.certificate.chain"),
                in_one_line(&authority.broker_certificate),
            ),
            (of_client("ssl.keystore.key"), in_one_line(&authority.broker_key)),
        ]),
        topics: vec![topic(TOPIC, 3), topic("streamlake.orders.dlq", 1)],
        buckets: Vec::new(),
        database: false,
        change_data_capture: false,
        worker_properties: BTreeMap::new(),
        start_within: Duration::from_secs(120),
    }
}

/// The pipeline's commands, and all that they ever said.
struct Pipeline {
    servers: String,
    folder: PathBuf,
    said: Mutex<String>,
}

/// How a command ended.
struct Ended {
    code: Option<i32>,
    output: String,
    errors: String,
}

impl Pipeline {
    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamlake-harness"));
        command.arg("pipeline").args(arguments).envs(environment.iter().copied());
        command.env("KAFKA_BOOTSTRAP_SERVERS", &self.servers);
        command.env("STREAMLAKE_DATASET", "orders");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Ended {
        let mut child = self.command(arguments, environment).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // A command that ends early closes its input.
        let feeding = tokio::spawn(async move {
            let _ = stdin.write_all(input.as_bytes()).await;
        });
        let ended = self.end(child.wait_with_output()).await;
        feeding.await.unwrap();
        ended
    }

    async fn end(&self, ending: impl Future<Output = std::io::Result<Output>>) -> Ended {
        let output = tokio::time::timeout(WITHIN, ending);
        let output = output.await.expect("it ends by itself").unwrap();
        let ended = Ended {
            code: output.status.code(),
            output: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        };
        self.heard(&ended.output);
        self.heard(&ended.errors);
        ended
    }

    fn heard(&self, text: &str) {
        self.said.lock().unwrap().push_str(text);
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn zone(&self) -> String {
        format!("file://{}", self.folder.join("zone").display())
    }

    /// Consumes until so many records are committed, then stops in an orderly way; returns the
    /// events.
    async fn consume(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
        records: i64,
    ) -> String {
        let events = self.folder.join(format!("events-{records}.jsonl"));
        let (zone, events_file) = (self.zone(), events.display().to_string());
        let own = ["--raw-zone", &zone, "--events", &events_file, "--http", "127.0.0.1:0"];
        let arguments = [arguments, &["consume"], &own].concat();
        let mut child = self.command(&arguments, environment).spawn().unwrap();
        drop(child.stdin.take());
        let pid = nix::unistd::Pid::from_raw(child.id().unwrap().cast_signed());
        // Read while it runs: debug lines fill a pipe that nobody reads, and then it stands still.
        let ending = tokio::spawn(child.wait_with_output());
        let told = || std::fs::read_to_string(&events).unwrap_or_default();
        let all = async {
            while committed(&told()) < records {
                assert!(!ending.is_finished(), "it ended: {}", told());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WITHIN, all).await.expect("everything is committed");
        self.heard(&metrics(&told()).await);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let ended = self.end(async { ending.await.unwrap() }).await;
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        self.heard(&told());
        told()
    }
}

fn events(text: &str) -> impl Iterator<Item = Value> {
    text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok())
}

/// The sum of the offsets committed last, over all partitions.
fn committed(text: &str) -> i64 {
    let mut last = BTreeMap::new();
    for event in events(text).filter(|event| event["event"] == "committed") {
        last.insert(event["partition"].as_i64(), event["offset"].as_i64().unwrap());
    }
    last.values().sum()
}

async fn metrics(text: &str) -> String {
    let listening = events(text).find(|event| event["event"] == "listening").unwrap();
    let address = listening["http"].as_str().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut answers = String::new();
    for path in ["metrics", "healthz"] {
        let answer = client.get(format!("http://{address}/{path}")).send().await.unwrap();
        answers += &answer.text().await.unwrap();
    }
    assert!(answers.contains("streamlake"), "{answers}");
    answers
}

/// A user for the SCRAM mechanisms; the broker keeps them, so they can only be made while it runs.
async fn create_scram_user(testbed: &DockerTestbed) {
    let label = format!("label={}", testbed.run_label());
    let listed =
        Command::new("docker").args(["ps", "--quiet", "--filter", &label]).output().await.unwrap();
    let container = String::from_utf8(listed.stdout).unwrap().trim().to_owned();
    for mechanism in &MECHANISMS[1..] {
        let credential = format!("{mechanism}=[iterations=4096,password={PASSWORD}]");
        let made = Command::new("docker")
            .args(["exec", &container, "/opt/kafka/bin/kafka-configs.sh"])
            .args(["--bootstrap-server", "localhost:9095", "--alter", "--entity-type", "users"])
            .args(["--entity-name", USER, "--add-config", &credential])
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

fn orders(numbers: std::ops::Range<u32>) -> String {
    let order = |number| {
        format!(
            r#"{{"order_id":"ORD-{number}","customer_id":"C","amount":1.5,"event_time":"2026-01-21T10:00:00Z"}}"#
        ) + "\n"
    };
    numbers.map(order).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine and the images of the docker testbed: `just images`"]
async fn the_pipeline_runs_over_sasl_ssl_and_tells_no_secret() {
    let authority = Authority::new();
    DockerTestbed::sweep().await.unwrap();
    let images = ImageSet::from_environment().unwrap();
    let testbed = DockerTestbed::start(&topology(&authority), &images).await.unwrap();
    let told = AssertUnwindSafe(story(&testbed, &authority)).catch_unwind().await;
    testbed.stop().await.unwrap();
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

async fn story(testbed: &DockerTestbed, authority: &Authority) {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = Pipeline {
        servers: testbed.bootstrap_servers(),
        folder: folder.path().to_owned(),
        said: Mutex::default(),
    };
    create_scram_user(testbed).await;
    let ca = pipeline.file("ca.pem", &authority.certificate);
    everything_works(&pipeline, &ca).await;
    refusals_name_the_remedy(&pipeline, &ca).await;
    mistakes_do_not_repeat_the_secret(&pipeline).await;
    let said = pipeline.said.into_inner().unwrap();
    say(&format!("{} bytes of output hold no secret", said.len()));
    for secret in [PASSWORD, WRONG_PASSWORD] {
        let lines: Vec<_> = said.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "a secret was told: {lines:#?}");
    }
}

/// Credentials by flag, by environment and by file, with each mechanism.
async fn everything_works(pipeline: &Pipeline, ca: &str) {
    let ca_property = format!("ssl.ca.location={ca}");
    let password = format!("sasl.password={PASSWORD}");
    let user = format!("sasl.username={USER}");
    let by_flag = |mechanism: &str| -> Vec<String> {
        let mechanism = format!("sasl.mechanism={mechanism}");
        let properties = ["security.protocol=SASL_SSL", &mechanism, &user, &password, &ca_property];
        properties.iter().flat_map(|property| ["-X".to_owned(), (*property).to_owned()]).collect()
    };
    let mut records = 0;
    for mechanism in MECHANISMS {
        let flags = by_flag(mechanism);
        let arguments: Vec<&str> =
            ["--log", "debug", "produce", "--schema", "any", "-X", "debug=all"]
                .into_iter()
                .chain(flags.iter().map(String::as_str))
                .collect();
        let input = orders(records..records + 20) + "no order\n";
        let ended = pipeline.run(&arguments, &[], &input).await;
        assert_eq!(ended.code, Some(0), "{mechanism}: {}", ended.errors);
        // Without them the search for secrets would have nothing to search.
        assert!(ended.errors.contains("DEBUG librdkafka"), "no debug line: {}", ended.errors);
        assert_eq!(ended.output.matches("\"acknowledged\"").count(), 21, "{mechanism}");
        records += 21;
    }

    let environment = [
        ("STREAMLAKE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("STREAMLAKE_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
        ("STREAMLAKE_KAFKA_SASL_USERNAME", USER),
        ("STREAMLAKE_KAFKA_SASL_PASSWORD", PASSWORD),
        ("STREAMLAKE_KAFKA_SSL_CA_LOCATION", ca),
        ("STREAMLAKE_KAFKA_DEBUG", "all"),
    ];
    let told = pipeline.consume(&["--log", "debug"], &environment, i64::from(records)).await;
    let configured = events(&told).find(|event| event["event"] == "configured").unwrap();
    for client in ["consumer", "dead_letter_producer"] {
        assert_eq!(configured[client]["security.protocol"], "sasl_ssl");
        assert_eq!(configured[client]["sasl.mechanisms"], "SCRAM-SHA-512");
    }
    let in_flight = "max.in.flight.requests.per.connection";
    assert_eq!(configured["dead_letter_producer"][in_flight], "5");

    let file = pipeline.file(
        "streamlake.toml",
        &format!(
            "[kafka]\n\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"PLAIN\"\n\
             \"sasl.username\" = \"{USER}\"\n\"sasl.password\" = \"{PASSWORD}\"\n\
             \"ssl.ca.location\" = \"{ca}\"\n"
        ),
    );
    let zone = pipeline.zone();
    let audit = ["--config", &file, "--log", "debug", "audit", "--raw-zone", &zone];
    let ended = pipeline.run(&audit, &[], "").await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.output, ended.errors);
    assert_eq!(serde_json::from_str::<Value>(&ended.output).unwrap()["clean"], true);
    let ended = pipeline.run(&["--config", &file, "dlq", "list"], &[], "").await;
    let letters: Vec<Value> = events(&ended.output).collect();
    assert_eq!((ended.code, letters.len()), (Some(0), 3), "{}", ended.errors);
    let replay = ["--config", &file, "replay", "--from-offset", "0", "--dry-run"];
    assert_eq!(pipeline.run(&replay, &[], "").await.code, Some(0));
    // With a second run the consumer goes on from what it committed over the same listener.
    let ended = pipeline.run(&["--config", &file, "produce"], &[], &orders(100..120)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    pipeline.consume(&["--config", &file], &[], i64::from(records) + 20).await;
}

/// Every command that connects ends by itself, with the exit code for wrong settings and a text that
/// says which.
async fn refusals_name_the_remedy(pipeline: &Pipeline, ca: &str) {
    let stranger = pipeline.file("stranger.pem", &Authority::new().certificate);
    let with = |mechanism: &'static str, password: &'static str, ca: Option<String>| {
        let mut environment = vec![
            ("STREAMLAKE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL".to_owned()),
            ("STREAMLAKE_KAFKA_SASL_MECHANISM", mechanism.to_owned()),
            ("STREAMLAKE_KAFKA_SASL_USERNAME", USER.to_owned()),
            ("STREAMLAKE_KAFKA_SASL_PASSWORD", password.to_owned()),
        ];
        environment.extend(ca.map(|ca| ("STREAMLAKE_KAFKA_SSL_CA_LOCATION", ca)));
        environment
    };
    let zone = pipeline.zone();
    let commands: [&[&str]; 4] = [
        &["produce"],
        &["consume", "--raw-zone", &zone],
        &["audit", "--raw-zone", &zone],
        &["dlq", "list"],
    ];
    for (environment, remedy) in [
        (with("PLAIN", WRONG_PASSWORD, Some(ca.to_owned())), "sasl.password"),
        (with("SCRAM-SHA-512", WRONG_PASSWORD, Some(ca.to_owned())), "sasl.password"),
        (with("PLAIN", PASSWORD, Some(stranger)), "ssl.ca.location"),
        // No authority of this system has signed the broker's certificate.
        (with("PLAIN", PASSWORD, None), "ssl.ca.location"),
    ] {
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for command in commands {
            let input = orders(0..3) + "no order\n";
            let ended = pipeline.run(command, &environment, &input).await;
            let last = ended.errors.lines().last().unwrap_or_default();
            assert_eq!(ended.code, Some(2), "{command:?}: {}", ended.errors);
            assert!(last.contains(remedy), "{command:?}: {}", ended.errors);
        }
    }
}

/// What is given in the wrong form is complained about and not repeated.
async fn mistakes_do_not_repeat_the_secret(pipeline: &Pipeline) {
    let broken =
        pipeline.file("broken.toml", &format!("[kafka]\n\"sasl.password\" = \"{PASSWORD}\n"));
    let colon = format!("sasl.password:{PASSWORD}");
    for arguments in [
        &["produce", "-X", &colon][..],
        &["produce", "-X", PASSWORD],
        &["--config", &broken, "produce"],
    ] {
        let ended = pipeline.run(arguments, &[], "").await;
        assert_eq!(ended.code, Some(2), "{}", ended.errors);
        assert!(!ended.errors.is_empty());
    }
}
