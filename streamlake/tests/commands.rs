//! Dead letters, replay and audit, on librdkafka's mock cluster (which cannot describe groups: the
//! refusal while members are active is tried where a real broker is).

#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::types::RDKafkaRespErr;
use serde_json::{Value, json};
use std::io::{BufRead, Read, Write};
use support::{Bed, order};

fn envelope(value: &[u8], key: Option<&str>) -> String {
    let mut line = json!({"value_base64": STANDARD.encode(value)});
    if let Some(key) = key {
        line["key"] = key.into();
    }
    line.to_string() + "\n"
}

fn drain(bed: &Bed, end: i64) {
    let consumer = bed.consume(&["--batch-age", "100ms"]);
    consumer.wait_for_commit(0, end);
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
}

#[test]
fn dead_letters_are_listed_shown_and_sent_again() {
    let bed = Bed::new(1);
    let odd: &[&[u8]] = &[b"\xff\x00\xfe", b"", b"{\n  \"order_id\": 7\n}"];
    let input: String = odd.iter().map(|value| envelope(value, Some("k"))).collect();
    assert_eq!(bed.produce(input.as_bytes(), &["--schema", "any", "--input", "envelope"]).0, 0);
    drain(&bed, 3);
    let (code, output) = bed.run(&["dlq", "list", "--dataset", "orders"]);
    assert_eq!(code, 0);
    let lines: Vec<Value> = output
        .split(|b| *b == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        let source = line["source"]["offset"].as_u64().unwrap() as usize;
        let at = format!("{}:{}", line["partition"], line["offset"]);
        let (code, payload) = bed.run(&["dlq", "show", "--dataset", "orders", &at, "--payload"]);
        assert_eq!((code, payload.as_slice()), (0, odd[source]));
    }
    assert_eq!(bed.run(&["dlq", "show", "--dataset", "orders", "0:99"]).0, 2);
    let (code, output) = bed.run(&["dlq", "resend", "--dataset", "orders", "--all"]);
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&output));
    drain(&bed, 6);
    let (_, output) = bed.run(&["dlq", "list", "--dataset", "orders"]);
    assert_eq!(output.iter().filter(|b| **b == b'\n').count(), 6);
}

#[test]
fn an_audit_explains_everything_and_a_replay_is_planned() {
    let bed = Bed::new(1);
    let input: String =
        (0..40).map(|n| if n == 7 { "bad\n".into() } else { order(n) + "\n" }).collect();
    assert_eq!(bed.produce(input.as_bytes(), &["--schema", "any"]).0, 0);
    drain(&bed, 40);
    let zone = bed.zone();
    let audit = ["audit", "--dataset", "orders", "--raw-zone", &zone];
    let (code, report) = bed.run_json(&audit);
    assert_eq!((code, report["clean"].as_bool()), (0, Some(true)), "{report:#}");
    let partition = &report["partitions"][0];
    assert_eq!(
        (partition["stored"].as_u64(), partition["dead_letters"].as_u64()),
        (Some(39), Some(1))
    );
    assert_eq!(
        (partition["durable"].as_i64(), partition["duplicates"].as_u64()),
        (Some(40), Some(0))
    );

    let replay = ["replay", "--dataset", "orders", "--skip-member-check", "--from-offset", "10"];
    let (code, plan) = bed.run_json(&[&replay[..], &["--dry-run"]].concat());
    assert_eq!((code, plan["plan"]["records"].as_i64()), (0, Some(30)), "{plan:#}");
    // The mock refuses every commit from outside a group, as a real broker does while the group has
    // members: that must come out as a refusal.
    let (code, outcome) = bed.run_json(&replay);
    assert_eq!((code, outcome["outcome"].as_str()), (3, Some("refused")), "{outcome:#}");
    let (code, refused) = bed.run_json(&[&replay[..4], &["--from-offset", "30"]].concat());
    assert_eq!((code, refused["outcome"].as_str()), (3, Some("refused")), "{refused:#}");

    // A part that is gone is found, by the list of parts and by the records that it held.
    std::fs::remove_file(support::parts(&bed.path("zone")).into_iter().min().unwrap()).unwrap();
    let (code, report) = bed.run_json(&audit);
    assert_eq!(code, 4, "{report:#}");
    assert_eq!(report["parts"]["missing"].as_array().unwrap().len(), 1);
    assert_eq!(
        report["partitions"][0]["lost_at"],
        json!([{"from": 0, "to": 7}, {"from": 8, "to": 40}])
    );
}

/// A letter of one group says nothing of another's, and a group that never ran is not clean.
#[test]
fn an_audit_is_of_one_group() {
    let bed = Bed::new(1);
    let input = format!("{}\nbad\n{}\n", order(0), order(1));
    assert_eq!(bed.produce(input.as_bytes(), &["--schema", "any"]).0, 0);
    drain(&bed, 3);
    let elsewhere = format!("file://{}", bed.path("elsewhere").display());
    let other = ["--group", "other", "--schema", "any", "--raw-zone", &elsewhere];
    let other = bed.consume(&[&other[..], &["--exit-at-end"]].concat());
    assert_eq!(other.wait().0, Some(0));
    let zone = bed.zone();
    let audit = |group: &str| {
        bed.run_json(&["audit", "--dataset", "orders", "--raw-zone", &zone, "--group", group])
    };
    assert_eq!(audit("streamlake-consumer-orders").0, 0);
    let (code, report) = audit("other");
    assert_eq!((code, report["partitions"][0]["lost"].as_i64()), (4, Some(1)), "{report:#}");
    let (code, report) = audit("never");
    assert_eq!(code, 4, "{report:#}");
    assert!(report["problems"][0].as_str().unwrap().contains("no commit"), "{report:#}");
}

/// Parts of a topic that was made anew bear offsets that the new one has as well: none of its records is stored,
/// and yet no offset is missing.
#[test]
fn an_audit_is_of_one_log() {
    let (old, new) = (Bed::new(1), Bed::new(1));
    let orders = |from: usize| (from..from + 5).map(|n| order(n) + "\n").collect::<String>();
    assert_eq!(old.produce(orders(0).as_bytes(), &[]).0, 0);
    drain(&old, 5);
    assert_eq!(new.produce(orders(50).as_bytes(), &[]).0, 0);
    let zone = old.zone();
    let audit = |bed: &Bed| bed.run_json(&["audit", "--dataset", "orders", "--raw-zone", &zone]);
    let (code, report) = audit(&old);
    assert_eq!((code, &report["partitions"][0]["of_another_log"]), (0, &json!([])), "{report:#}");
    let (code, report) = audit(&new);
    assert_eq!((code, &report["partitions"][0]["of_another_log"][0]), (4, &json!(0)), "{report:#}");
    // It is shorter than what is stored.
    let shorter = Bed::new(1);
    assert_eq!(shorter.produce(orders(0)[..].lines().next().unwrap().as_bytes(), &[]).0, 0);
    let (code, report) = audit(&shorter);
    assert_eq!(code, 4, "{report:#}");
    let of_another = report["partitions"][0]["of_another_log"].as_array().unwrap();
    assert!(of_another.contains(&json!(4)), "{report:#}");
}

/// One part that cannot be opened keeps nobody from auditing the others.
#[test]
fn a_part_that_cannot_be_opened_is_damaged() {
    let bed = Bed::new(1);
    assert_eq!(bed.produce(format!("{}\n", order(0)).as_bytes(), &[]).0, 0);
    drain(&bed, 1);
    let part = support::parts(&bed.path("zone")).into_iter().min().unwrap();
    std::os::unix::fs::symlink("/nowhere", part.with_file_name("part-0900.json")).unwrap();
    let zone = bed.zone();
    let (code, report) = bed.run_json(&["audit", "--dataset", "orders", "--raw-zone", &zone]);
    assert_eq!((code, &report["partitions"][0]["stored"]), (4, &json!(1)), "{report:#}");
    let damaged = report["parts"]["damaged"][0].as_str().unwrap();
    assert!(damaged.contains("part-0900.json: cannot be read"), "{report:#}");
}

/// A topic that may not be seen is not an empty one.
#[test]
fn dead_letters_that_may_not_be_seen_are_not_none() {
    let bed = Bed::new(1);
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    bed.cluster.topic_error("streamlake.orders.dlq", refused).unwrap();
    assert_eq!(bed.run(&["dlq", "list", "--dataset", "orders"]).0, 1);
}

/// What was read of the input has its receipt, however the end comes.
#[test]
fn a_signal_ends_a_producer_with_all_receipts() {
    let bed = Bed::new(1);
    let args = ["produce", "--dataset", "orders", "-X", "linger.ms=200000", "--events"];
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_streamlake"))
        .args(args)
        .arg(bed.path("produce.jsonl"))
        .env("KAFKA_BOOTSTRAP_SERVERS", bed.cluster.bootstrap_servers())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    // The receipt of a line that is none comes at once: all before it were read.
    let lines: String = (0..20).map(|n| order(n) + "\n").collect();
    stdin.write_all(lines.as_bytes()).unwrap();
    let tail = [vec![b'x'; (64 << 20) + 1], b"\n".to_vec()].concat();
    stdin.write_all(&tail).unwrap();
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    assert!(first.contains("\"line\":21"), "{first}");
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.matches("\"acknowledged\"").count(), 20, "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(1), "the input was not read to its end");
    drop(stdin);
}

#[test]
fn what_could_mean_two_things_is_refused() {
    let bed = Bed::new(1);
    let zone = bed.zone();
    let consume = ["consume", "--dataset", "orders", "--raw-zone", &zone];
    let replay = ["replay", "--dataset", "orders", "--skip-member-check", "--dry-run"];
    for (base, more) in [
        (&consume[..], &["--bootstrap-servers", ""][..]),
        (&consume, &["--bootstrap-servers", "kafka://127.0.0.1:1"]),
        (&consume, &["--log", "verbose"]),
        (&consume, &["--store-timeout", "0s"]),
        (&consume, &["-X", "statistics.interval.ms=0"]),
        (&replay, &["--from-offset", "0:1", "--from-offset", "0:2"]),
        (&replay, &["--from-offset=-1"]),
        (&["produce", "--dataset", "orders"], &["--topic", "x", "--dead-letter-topic", "x"]),
    ] {
        assert_eq!(bed.run(&[base, more].concat()).0, 2, "{more:?}");
    }
}

/// Several pipelines and settings from a file; flags come first, unknown names are refused.
#[test]
fn a_file_configures_several_pipelines() {
    let bed = Bed::new(1);
    let file = bed.path("streamlake.toml");
    let events = bed.path("both.jsonl");
    std::fs::write(&file, format!(
        "[kafka]\n\"session.timeout.ms\" = 6000\n[consume]\nraw-zone = \"{}\"\nevents = \"{}\"\n\
         [[pipeline]]\ndataset = \"a\"\n[[pipeline]]\ndataset = \"b\"\n",
        bed.zone(), events.display(),
    )).unwrap();
    let file = file.display().to_string();
    let consumer = bed.start(&["consume", "--config", &file], events);
    consumer.wait_for("two pipelines", |events| {
        let mut topics: Vec<_> = events
            .iter()
            .filter(|event| event["event"] == "configured")
            .map(|event| event["topic"].as_str().unwrap().to_owned())
            .collect();
        topics.sort();
        topics == ["streamlake.a.raw", "streamlake.b.raw"]
    });
    let configured = consumer.events();
    assert_eq!(configured[0]["consumer"]["session.timeout.ms"], "6000");
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));
    std::fs::write(&file, "[consume]\nraw-zoen = \"x\"\n").unwrap();
    assert_eq!(bed.run(&["consume", "--config", &file, "--dataset", "a"]).0, 2);
}

#[test]
fn a_consumer_ends_by_itself_when_it_is_told_to_end_at_the_end() {
    let bed = Bed::new(2);
    let input: String = (0..50).map(|n| order(n) + "\n").collect();
    assert_eq!(bed.produce(input.as_bytes(), &[]).0, 0);
    let consumer = bed.consume(&["--batch-age", "100ms", "--exit-at-end"]);
    assert_eq!(consumer.wait().0, Some(0));
    assert_eq!(bed.stored().len(), 50);
    // Everything is committed: the next one has nothing to do, and stores nothing twice.
    let again = bed.consume(&["--exit-at-end"]);
    assert_eq!(again.wait().0, Some(0));
    assert!(bed.stored().values().all(|copies| copies.len() == 1));
}

#[test]
fn a_configuration_file_is_checked_without_kafka() {
    let bed = Bed::new(1);
    let check = |text: &str| {
        let path = bed.path("check.toml");
        std::fs::write(&path, text).unwrap();
        let (code, output) = bed.run(&["config", "check", path.to_str().unwrap()]);
        (code, String::from_utf8(output).unwrap())
    };
    let good = "[kafka]\n\"linger.ms\" = 5\n[consume]\nbatch-age = \"1s\"\n\
                [[pipeline]]\ndataset = \"a\"\n[[pipeline]]\ndataset = \"b\"\n[dlq]\ndataset = \"a\"\n";
    let (code, told) = check(good);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("[consume]: good, 2 pipelines; to be given"), "{told}");
    assert!(told.contains("--raw-zone"), "{told}");
    for (text, wanted) in [
        ("[kafka]\n\"no.such.property\" = 1\n", "no.such.property"),
        ("[consume]\nmembers = \"two\"\n", "invalid value 'two' for '--members"),
        (
            "[[pipeline]]\ndataset = \"a\"\nraw-zone = \"file:///x\"\nevents = \"x\"\n\
             [[pipeline]]\ndataset = \"b\"\nraw-zone = \"file:///x\"\nevents = \"y\"\n",
            "share one events",
        ),
        (
            "[[pipeline]]\ndataset = \"a\"\nraw-zone = \"file:///x\"\n\
             [[pipeline]]\ndataset = \"a\"\nraw-zone = \"file:///y\"\n",
            "a group of its own",
        ),
        ("[consume]\nraw-zne = \"x\"\n", "did you mean raw-zone?"),
        ("[consume\n", "check.toml:1: "),
        ("[consume]\ndataset = \"a\"\nraw-zone = \"s3://x\"\n", "s3"),
    ] {
        let (code, told) = check(text);
        assert_eq!(code, 2, "{told}");
        assert!(told.contains(wanted) && told.contains("check.toml"), "{told}");
    }
    std::fs::write(bed.path("check.toml"), "[consume]\nmembers = \"two\"\n").unwrap();
    let file = bed.path("check.toml");
    let args = [
        "--config",
        file.to_str().unwrap(),
        "consume",
        "--dataset",
        "a",
        "--raw-zone",
        "file:///x",
    ];
    assert_eq!(bed.run(&args).0, 2);
}

#[test]
fn completions_and_manual_pages_know_every_flag() {
    let bed = Bed::new(1);
    let (code, completions) = bed.run(&["completions", "bash"]);
    assert_eq!(code, 0);
    assert!(String::from_utf8(completions).unwrap().contains("--exit-at-end"));
    let pages = bed.path("pages");
    assert_eq!(bed.run(&["man", pages.to_str().unwrap()]).0, 0);
    let page = std::fs::read_to_string(pages.join("streamlake-consume.1")).unwrap();
    assert!(page.contains("exit\\-at\\-end"), "{page}");
}
