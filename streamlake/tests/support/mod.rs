//! A mock cluster, the program as a process of its own, and what it left in the raw zone.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use streamlake::raw_zone::part::{StoredRecord, read_part};

pub struct Bed {
    pub cluster: MockCluster<'static, DefaultProducerContext>,
    pub dir: tempfile::TempDir,
    consumers: std::cell::Cell<u32>,
}

impl Bed {
    pub fn new(partitions: i32) -> Bed {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("streamlake.orders.raw", partitions, 1).unwrap();
        cluster.create_topic("streamlake.orders.dlq", 1, 1).unwrap();
        Bed { cluster, dir: tempfile::tempdir().unwrap(), consumers: Default::default() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamlake"));
        command.args(args).env("KAFKA_BOOTSTRAP_SERVERS", self.cluster.bootstrap_servers());
        command.env("STREAMLAKE_LOG", "info").stderr(Stdio::inherit());
        command
    }

    /// Runs `produce` with this standard input; returns the exit code and the receipts.
    pub fn produce(&self, input: &[u8], more: &[&str]) -> (i32, Vec<Value>) {
        let mut command = self.command(&[&["produce", "--dataset", "orders"], more].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeding = std::thread::spawn(move || stdin.write_all(&input).unwrap());
        let Output { status, stdout, .. } = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        let lines = stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let receipts = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        (status.code().unwrap(), receipts)
    }

    /// Runs a command to its end; returns the exit code and standard output.
    pub fn run(&self, args: &[&str]) -> (i32, Vec<u8>) {
        let output = self.command(args).stdin(Stdio::null()).output().unwrap();
        (output.status.code().unwrap(), output.stdout)
    }

    /// Runs a command that answers with one JSON document.
    pub fn run_json(&self, args: &[&str]) -> (i32, Value) {
        let (code, output) = self.run(args);
        (code, serde_json::from_slice(&output).unwrap_or(Value::Null))
    }

    pub fn zone(&self) -> String {
        format!("file://{}", self.path("zone").display())
    }

    /// Starts `consume` into this bed's directory.
    pub fn consume(&self, more: &[&str]) -> Consumer {
        self.consume_with(more, &[])
    }

    pub fn consume_with(&self, more: &[&str], env: &[(&str, &str)]) -> Consumer {
        let zone = format!("file://{}", self.path("zone").display());
        self.consumers.set(self.consumers.get() + 1);
        let events = self.path(&format!("events-{}.jsonl", self.consumers.get()));
        let events_text = events.display().to_string();
        let base = [
            "consume",
            "--dataset",
            "orders",
            "--raw-zone",
            &zone,
            "--events",
            &events_text,
            "-X",
            "session.timeout.ms=6000",
            "-X",
            "fetch.wait.max.ms=20",
        ];
        let mut command = self.command(&[&base, more].concat());
        let child = command.envs(env.iter().copied()).spawn().unwrap();
        Consumer { child: Some(child), events }
    }

    /// Every record in the raw zone, by partition and offset; more than one where there are
    /// duplicates.
    pub fn stored(&self) -> BTreeMap<(i32, i64), Vec<StoredRecord>> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for path in parts(&self.path("zone")) {
            for record in read_part(&std::fs::read(&path).unwrap()).unwrap() {
                found.entry((record.partition, record.offset)).or_default().push(record);
            }
        }
        found
    }
}

impl Bed {
    /// Starts the program with these arguments and nothing else.
    pub fn start(&self, args: &[&str], events: PathBuf) -> Consumer {
        Consumer { child: Some(self.command(args).spawn().unwrap()), events }
    }
}

pub fn parts(zone: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![zone.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with("part-") && name.ends_with(".json") {
                found.push(path);
            }
        }
    }
    found
}

pub struct Consumer {
    child: Option<Child>,
    events: PathBuf,
}

impl Consumer {
    /// A consumer that was started otherwise.
    pub fn of(child: Child, events: PathBuf) -> Consumer {
        Consumer { child: Some(child), events }
    }

    pub fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.events).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until the events satisfy `done`.
    pub fn wait_for(&self, what: &str, done: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done(&self.events()) {
            assert!(Instant::now() < deadline, "waited in vain for {what}: {:#?}", self.events());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until `offset` is committed on `partition`.
    pub fn wait_for_commit(&self, partition: i32, offset: i64) {
        self.wait_for(&format!("a commit of {offset} on {partition}"), |events| {
            events.iter().any(|event| {
                event["event"] == "committed"
                    && event["partition"] == partition
                    && event["offset"].as_i64() >= Some(offset)
            })
        });
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits for the end and returns the exit code (`None` after a kill) and how long it took.
    pub fn wait(mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        let status = self.child.take().unwrap().wait().unwrap();
        (status.code(), started.elapsed())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn order(number: usize) -> String {
    format!(
        r#"{{"order_id":"ORD-{number}","customer_id":"C-{}","amount":{}.5,"event_time":"2026-01-21T10:00:00Z"}}"#,
        number % 7,
        number
    )
}

pub mod gcs;
