//! Foreign histories come to the verdicts that their content deserves.
#![allow(clippy::unwrap_used)]

use super::{Format, Settings, read};
use crate::checker;
use crate::history::HistoryError;
use crate::verdict::{Status, Verdict};

const PLAIN: &str = r#"
{"t_ms":1000,"process":"p","send":{"op":0,"topic":"orders","key":"a","value":"x"}}
{"t_ms":1010,"process":"p","sent":{"op":0,"outcome":"acknowledged","topic":"orders","partition":0,"offset":0}}
{"t_ms":1020,"process":"p","send":{"op":1,"topic":"orders","key":"b","value":"y"}}
{"t_ms":1030,"process":"p","sent":{"op":1,"outcome":"acknowledged","topic":"orders","partition":0,"offset":1}}
{"t_ms":1035,"process":"c","read":{"group":"g","member":"m","topic":"orders","partition":0,"offset":0}}
{"t_ms":1036,"process":"c","read":{"group":"g","member":"m","topic":"orders","partition":0,"offset":1}}
{"t_ms":1040,"process":"c","commit":{"group":"g","topic":"orders","partition":0,"offset":2}}
{"t_ms":2000,"process":"l","log":{"topic":"orders","partition":0,"offset":0,"op":0,"key":"a","value":"x"}}
{"t_ms":2000,"process":"l","log":{"topic":"orders","partition":0,"offset":1,"op":1,"key":"b","value":"xxh3:8ff4ad8d59fb1c9d"}}
{"t_ms":2000,"process":"l","log_end":{"topic":"orders","partition":0,"high":2}}
"#;

fn plain(text: &str) -> Result<Verdict, HistoryError> {
    let files = vec![(Format::Plain, "file".to_owned(), text.as_bytes())];
    let (header, events) = read(files, &Settings::default())?;
    checker::judge(&header, events.into_iter().map(Ok))
}

fn status(verdict: &Verdict, name: &str) -> Status {
    verdict.checks.iter().find(|check| check.check == name).unwrap().status
}

fn whole() -> String {
    let print = crate::history::event::Print::of(b"y");
    PLAIN.replace("8ff4ad8d59fb1c9d", &print.to_string())
}

#[test]
fn a_plain_history_is_judged_by_what_it_shows() {
    let verdict = plain(&whole()).unwrap();
    assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
    for name in ["acknowledged-is-durable", "no-loss", "no-gap", "commit-frontier", "order"] {
        assert_eq!(status(&verdict, name), Status::Pass, "{name}");
    }
}

#[test]
fn what_is_wrong_in_a_plain_history_is_found() {
    let early =
        whole().replace("\"t_ms\":1036", "\"t_ms\":1050").replace("\"t_ms\":1040", "\"t_ms\":1050");
    assert_eq!(plain(&early).unwrap().status, Status::Pass);
    let unread: String =
        whole().lines().filter(|l| !l.contains("1036")).collect::<Vec<_>>().join("\n");
    assert_eq!(status(&plain(&unread).unwrap(), "no-loss"), Status::Fail);
    let unlogged = whole().lines().filter(|l| !l.contains("xxh3")).collect::<Vec<_>>().join("\n");
    assert_eq!(status(&plain(&unlogged).unwrap(), "acknowledged-is-durable"), Status::Fail);
    let blind = whole().lines().filter(|l| !l.contains("\"log")).collect::<Vec<_>>().join("\n");
    assert_ne!(plain(&blind).unwrap().status, Status::Pass);
}

#[test]
fn lines_that_are_not_of_the_format_are_refused_with_file_and_line() {
    for line in [
        "nonsense",
        "{}",
        "{\"sned\":{}}",
        r#"{"read":{"group":"g","member":"m","topic":"t","partition":0,"offset":-1}}"#,
        r#"{"sent":{"op":1,"outcome":"fine"}}"#,
        r#"{"commit":{"group":"g","topic":"t","partition":0,"offset":1}}"#,
    ] {
        let error = plain(&format!("{}{line}\n", whole())).unwrap_err();
        assert!(matches!(error, HistoryError::Foreign { line: 12, .. }), "{line}: {error}");
    }
}

const PRODUCER: &str = r#"
[2026-01-01] INFO log lines of the client stand in between
{"timestamp":1000,"name":"startup_complete"}
{"timestamp":1010,"name":"producer_send_success","key":null,"value":"0","topic":"t","partition":0,"offset":0}
{"timestamp":1020,"name":"producer_send_error","key":null,"value":"1","topic":"t","exception":"class org.apache.kafka.common.errors.TimeoutException","message":"Expiring 1 record(s)"}
{"timestamp":1030,"name":"producer_send_success","key":null,"value":"2","topic":"t","partition":0,"offset":1}
{"timestamp":1040,"name":"shutdown_complete"}
{"timestamp":1041,"name":"tool_data","sent":3,"acked":2,"target_throughput":-1,"avg_throughput":9.9}
"#;

const CONSUMER: &str = r#"
{"timestamp":1000,"name":"startup_complete"}
{"timestamp":1005,"name":"partitions_assigned","partitions":[{"topic":"t","partition":0}]}
{"timestamp":1050,"name":"records_consumed","count":2,"partitions":[{"topic":"t","partition":0,"count":2,"minOffset":0,"maxOffset":1}]}
{"timestamp":1060,"name":"offsets_committed","offsets":[{"topic":"t","partition":0,"offset":2}],"success":true}
{"timestamp":1070,"name":"partitions_revoked","partitions":[{"topic":"t","partition":0}]}
{"timestamp":1080,"name":"shutdown_complete"}
"#;

#[test]
fn kafkas_verifiable_clients_are_understood() {
    let files = vec![
        (Format::Verifiable, "producer".to_owned(), PRODUCER.as_bytes()),
        (Format::Verifiable, "group/member-1".to_owned(), CONSUMER.as_bytes()),
    ];
    let (header, events) = read(files, &Settings::default()).unwrap();
    assert_eq!(header.promises.groups[0].group, "group");
    assert_eq!(header.promises.topics["t"], 1);
    let verdict = checker::judge(&header, events.into_iter().map(Ok)).unwrap();
    // Nobody read the log back, so nothing is passed; but what was seen is counted.
    assert_ne!(verdict.status, Status::Pass);
    assert_eq!((verdict.tally.acknowledged, verdict.tally.unknown), (2, 1));
    assert_eq!(status(&verdict, "order"), Status::Pass);
}
