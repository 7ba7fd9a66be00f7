//! Foreign histories come to the verdicts that their content deserves.
#![allow(clippy::unwrap_used)]

mod anomalies;
mod cases;
mod readers;
mod sinks;

use streamlake_history::HistoryError;
use streamlake_history::event::Fact;
use streamlake_history::foreign::{Format, Input, Role, Settings, read as read_files};

use crate::verdict::{CheckResult, Status, Verdict};

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

fn judge(files: &[(Format, Role, &str, &str)]) -> Result<Verdict, HistoryError> {
    judge_with(files, &Settings::default())
}

fn judge_with(
    files: &[(Format, Role, &str, &str)],
    settings: &Settings,
) -> Result<Verdict, HistoryError> {
    let inputs = files.iter().map(|&(format, role, name, text)| {
        let (path, process) = (name.to_owned(), name.to_owned());
        Input { format, role, path, process, open: text.as_bytes() }
    });
    let (header, events) = read_files(inputs.collect(), settings)?;
    crate::judge(&header, events)
}

fn plain(text: &str) -> Result<Verdict, HistoryError> {
    judge(&[(Format::Plain, Role::UnderTest, "file", text)])
}

fn check<'a>(verdict: &'a Verdict, name: &str) -> &'a CheckResult {
    verdict.checks.iter().find(|check| check.check == name).unwrap()
}

fn status(verdict: &Verdict, name: &str) -> Status {
    check(verdict, name).status
}

fn whole() -> String {
    let print = streamlake_history::event::Print::of(b"y");
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

/// A third consumer after the others, then the ends of the log.
const READER: &str = r#"
{"timestamp":2000,"name":"startup_complete"}
{"timestamp":2001,"name":"record_data","key":null,"value":"0","topic":"t","partition":0,"offset":0}
{"timestamp":2001,"name":"record_data","key":null,"value":"2","topic":"t","partition":0,"offset":1}
{"timestamp":2001,"name":"records_consumed","count":2,"partitions":[{"topic":"t","partition":0,"count":2,"minOffset":0,"maxOffset":1}]}
t:0:0
t:0:2
"#;

const PRODUCED: (Format, Role, &str, &str) =
    (Format::Verifiable, Role::UnderTest, "producer", PRODUCER);
const LOG: (Format, Role, &str, &str) = (Format::Verifiable, Role::LogReader, "log", READER);

fn verifiable(consumer: &str) -> Verdict {
    let consumed = (Format::Verifiable, Role::UnderTest, "group/member-1", consumer);
    judge(&[PRODUCED, consumed, LOG]).unwrap()
}

/// The same consumer with `--verbose`.
fn verbose() -> String {
    let record = |offset, value| {
        format!(
            "{{\"timestamp\":1050,\"name\":\"record_data\",\"key\":null,\"value\":\"{value}\",\"topic\":\"t\",\"partition\":0,\"offset\":{offset}}}\n"
        )
    };
    let records = record(0, 0) + &record(1, 2);
    CONSUMER.replace("{\"timestamp\":1050", &format!("{records}{{\"timestamp\":1050"))
}

#[test]
fn kafkas_verifiable_clients_are_understood() {
    for consumer in [CONSUMER.to_owned(), verbose()] {
        let verdict = verifiable(&consumer);
        assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
        assert_eq!((verdict.tally.acknowledged, verdict.tally.unknown), (2, 1));
        for name in ["acknowledged-is-durable", "no-loss", "no-gap", "commit-frontier", "order"] {
            assert_eq!(status(&verdict, name), Status::Pass, "{name}");
        }
    }
}

#[test]
fn without_the_log_verifiable_clients_are_not_passed() {
    let consumed = (Format::Verifiable, Role::UnderTest, "group/member-1", CONSUMER);
    let verdict = judge(&[PRODUCED, consumed]).unwrap();
    assert_eq!(verdict.status, Status::Inconclusive);
    // A reader of the log that stopped before the end proves nothing of the rest.
    let early = READER.replace("t:0:2", "t:0:3");
    let log = (Format::Verifiable, Role::LogReader, "log", &*early);
    assert_eq!(judge(&[PRODUCED, consumed, log]).unwrap().status, Status::Inconclusive);
}

#[test]
fn a_record_that_a_verifiable_consumer_does_not_show_is_lost_to_its_group() {
    let unread = CONSUMER.lines().filter(|l| !l.contains("records_consumed"));
    let unshown = verbose();
    let unshown = unshown.lines().filter(|l| !l.contains("\"offset\":1}"));
    let verdict = verifiable(&unshown.collect::<Vec<_>>().join("\n"));
    assert_eq!(verdict.status, Status::Fail);
    let finding = &check(&verdict, "no-loss").findings[0];
    assert_eq!(finding.anomaly, "lost-after-commit", "{finding:#?}");
    assert_eq!(finding.offsets.last().unwrap().last, 1);
    // Who was seen to read nothing may have gone on from what an earlier run had read.
    let verdict = verifiable(&unread.collect::<Vec<_>>().join("\n"));
    assert_eq!(verdict.status, Status::Inconclusive, "{verdict:#?}");
}

#[test]
fn a_value_that_was_read_otherwise_than_logged_is_found() {
    let other = verbose().replace("\"value\":\"2\"", "\"value\":\"3\"");
    let verdict = verifiable(&other);
    assert_eq!(verdict.status, Status::Fail);
    let finding = &check(&verdict, "fidelity").findings[0];
    assert_eq!(
        (finding.anomaly.as_str(), finding.group.as_deref()),
        ("read-differs", Some("group"))
    );
    assert_eq!(finding.offsets[0].first, 1);
    assert_eq!(status(&verifiable(&verbose()), "fidelity"), Status::Pass);
    assert_eq!(status(&verifiable(CONSUMER), "fidelity"), Status::NotApplicable);
    let read = "\"member\":\"m\",\"topic\":\"orders\",\"partition\":0,\"offset\":1";
    let other = whole().replace(read, &format!("{read},\"value\":\"z\""));
    assert_eq!(status(&plain(&other).unwrap(), "fidelity"), Status::Fail);
}

#[test]
fn a_poll_that_does_not_say_which_records_it_took_is_not_passed() {
    let fewer = CONSUMER.replace("\"count\":2,\"minOffset\"", "\"count\":1,\"minOffset\"");
    assert_ne!(fewer, CONSUMER);
    let verdict = verifiable(&fewer);
    assert_eq!(verdict.status, Status::Inconclusive);
    let reason = check(&verdict, "history").reasons.join(" ");
    assert!(reason.contains("run the consumer with --verbose"), "{reason}");
}

#[test]
fn a_file_whose_writer_was_killed_in_a_line_is_judged_but_not_passed() {
    let cut = CONSUMER.trim_end().strip_suffix("complete\"}").unwrap();
    let verdict = verifiable(cut);
    assert_eq!(verdict.status, Status::Inconclusive);
    let reason = check(&verdict, "history").reasons.join(" ");
    assert!(reason.contains("the last line of a file was cut short"), "{reason}");
    assert!(reason.contains("group/member-1:7"), "{reason}");
    let whole = &whole();
    let verdict = plain(&whole[..whole.len() - 3]).unwrap();
    assert_eq!(status(&verdict, "history"), Status::Inconclusive);
}

#[test]
fn a_line_without_end_and_a_range_without_end_cost_no_memory() {
    #[derive(Clone)]
    struct Endless;
    impl streamlake_history::foreign::Open for Endless {
        type File = std::io::BufReader<Self>;
        fn open(&self) -> std::io::Result<Self::File> {
            Ok(std::io::BufReader::new(Self))
        }
    }
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(b'{');
            Ok(buffer.len())
        }
    }
    let (path, process) = ("file".to_owned(), "p".to_owned());
    let input =
        Input { format: Format::Plain, role: Role::UnderTest, path, process, open: Endless };
    let error = read_files(vec![input], &Settings::default()).err().unwrap().to_string();
    assert!(error.starts_with("file:1: the line is longer than 16777216 bytes"), "{error}");

    let wide = CONSUMER.replace("\"maxOffset\":1", "\"maxOffset\":9000000");
    let consumed = (Format::Verifiable, Role::UnderTest, "group/member-1", &*wide);
    assert_ne!(judge(&[PRODUCED, consumed, LOG]).unwrap().status, Status::Pass);
    let wider = CONSUMER.replace("\"maxOffset\":1", "\"maxOffset\":4611686018427387904");
    let consumed = (Format::Verifiable, Role::UnderTest, "group/member-1", &*wider);
    let error = judge(&[PRODUCED, consumed, LOG]).unwrap_err().to_string();
    assert!(error.contains("cannot be one poll"), "{error}");
}
