//! What Kafka's own tools show of a log and of the broker's record of commits.

use super::*;

/// A partition as `kafka-dump-log.sh --print-data-log` shows it: a record, a transaction that was aborted,
/// a value that goes over two lines, and a tombstone.
const DUMP: &str = "Dumping /data/t-0/00000000000000000000.log
Log starting offset: 0
baseOffset: 0 lastOffset: 0 count: 1 baseSequence: -1 lastSequence: -1 producerId: -1 producerEpoch: -1 partitionLeaderEpoch: 0 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 1000 size: 70 magic: 2 compresscodec: none crc: 1 isvalid: true
| offset: 0 CreateTime: 1000 keySize: -1 valueSize: 1 sequence: -1 headerKeys: [] payload: 0
baseOffset: 1 lastOffset: 2 count: 2 baseSequence: 0 lastSequence: 1 producerId: 7 producerEpoch: 3 partitionLeaderEpoch: 0 isTransactional: true isControl: false deleteHorizonMs: OptionalLong.empty position: 70 CreateTime: 1001 size: 80 magic: 2 compresscodec: none crc: 1 isvalid: true
| offset: 1 CreateTime: 1001 keySize: 1 valueSize: 1 sequence: 0 headerKeys: [a,b] key: k payload: x
| offset: 2 CreateTime: 1001 keySize: 1 valueSize: 1 sequence: 1 headerKeys: [] key: k payload: y
baseOffset: 3 lastOffset: 3 count: 1 baseSequence: -1 lastSequence: -1 producerId: 7 producerEpoch: 4 partitionLeaderEpoch: 0 isTransactional: true isControl: true deleteHorizonMs: OptionalLong.empty position: 150 CreateTime: 1002 size: 78 magic: 2 compresscodec: none crc: 1 isvalid: true
| offset: 3 CreateTime: 1002 keySize: 4 valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: ABORT coordinatorEpoch: 0
baseOffset: 4 lastOffset: 6 count: 2 baseSequence: -1 lastSequence: -1 producerId: -1 producerEpoch: -1 partitionLeaderEpoch: 0 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 228 CreateTime: 1003 size: 90 magic: 2 compresscodec: none crc: 1 isvalid: true
| offset: 4 CreateTime: 1003 keySize: 1 valueSize: 5 sequence: -1 headerKeys: [] key: k payload: 2
 [3
| offset: 6 CreateTime: 1003 keySize: 1 valueSize: -1 sequence: -1 headerKeys: [h] key: k
";

const SENT: &str = r#"
{"t_ms":900,"send":{"op":0,"topic":"t","value":"0"}}
{"t_ms":901,"sent":{"op":0,"outcome":"acknowledged","topic":"t","partition":0,"offset":0}}
{"t_ms":902,"send":{"op":1,"topic":"t","key":"k","value":"2\n [3"}}
{"t_ms":903,"sent":{"op":1,"outcome":"acknowledged","topic":"t","partition":0,"offset":4}}
{"t_ms":904,"send":{"op":2,"topic":"t","key":"k","value":null}}
{"t_ms":905,"sent":{"op":2,"outcome":"acknowledged","topic":"t","partition":0,"offset":6}}
{"t_ms":906,"send":{"op":3,"topic":"t","key":"k","value":"x"}}
{"t_ms":906,"send":{"op":4,"topic":"t","key":"k","value":"y"}}
{"t_ms":910,"process":"c","read":{"group":"g","member":"m","topic":"t","partition":0,"offset":0,"value":"0"}}
{"t_ms":911,"process":"c","read":{"group":"g","member":"m","topic":"t","partition":0,"offset":4}}
{"t_ms":912,"process":"c","read":{"group":"g","member":"m","topic":"t","partition":0,"offset":6,"value":null}}
"#;

/// What OffsetsMessageFormatter and GroupMetadataMessageFormatter print, without line breaks.
const COMMITS: &str = r#"{"key":{"type":1,"data":{"group":"g","topic":"t","partition":0}},"value":{"version":4,"data":{"offset":5,"leaderEpoch":-1,"metadata":"}{","commitTimestamp":930}}}{"key":{"type":1,"data":{"group":"g","topic":"t","partition":0}},"value":{"version":4,"data":{"offset":7,"leaderEpoch":-1,"metadata":"","commitTimestamp":940}}}{"key":{"type":1,"data":{"group":"console-consumer-1","topic":"t","partition":0}},"value":{"version":4,"data":{"offset":2,"leaderEpoch":-1,"metadata":"","commitTimestamp":941}}}{"key":{"type":1,"data":{"group":"g","topic":"gone","partition":0}},"value":null}{"key":{"type":2,"data":{"group":"g"}},"value":{"version":3,"data":{"protocolType":"consumer","generation":1,"protocol":"range","leader":"m","currentStateTimestamp":905,"members":[{"memberId":"m","groupInstanceId":null,"clientId":"c"}]}}}"#;

/// The same as Kafka 3 prints it.
const COMMITS_OF_KAFKA_3: &str = "[g,t,0]::OffsetAndMetadata(offset=5, leaderEpoch=Optional.empty, metadata=, commitTimestamp=930, expireTimestamp=None)
[g,t,0]::OffsetAndMetadata(offset=7, leaderEpoch=Optional[0], metadata=, commitTimestamp=940, expireTimestamp=None)
[g,gone,0]::NULL
";

fn history(sent: &str, dump: &str, commits: &str) -> Result<Verdict, HistoryError> {
    judge(&[
        (Format::Plain, Role::UnderTest, "p", sent),
        (Format::Plain, Role::LogReader, "log", dump),
        (Format::Plain, Role::Commits, "commits", commits),
    ])
}

#[test]
fn a_dump_is_a_log_with_everything_that_takes_an_offset() {
    for commits in [COMMITS, COMMITS_OF_KAFKA_3] {
        let verdict = history(SENT, DUMP, commits).unwrap();
        for name in ["history", "acknowledged-is-durable", "no-loss", "no-gap", "transactions"] {
            assert_eq!(status(&verdict, name), Status::Pass, "{name}: {verdict:#?}");
        }
        assert_ne!(verdict.status, Status::Fail, "{verdict:#?}");
        assert_eq!((verdict.tally.logged, verdict.tally.lost), (3, 0));
    }
}

#[test]
fn what_is_wrong_beside_a_dump_is_found() {
    let unread =
        SENT.lines().filter(|line| !line.contains("\"t_ms\":911")).collect::<Vec<_>>().join("\n");
    assert_eq!(status(&history(&unread, DUMP, COMMITS).unwrap(), "no-loss"), Status::Fail);
    let aborted = SENT.replace("\"offset\":4}}\n{\"t_ms\":912", "\"offset\":1}}\n{\"t_ms\":912");
    assert_ne!(aborted, SENT);
    let verdict = history(&aborted, DUMP, COMMITS).unwrap();
    let finding = &check(&verdict, "transactions").findings[0];
    assert_eq!(finding.anomaly, "aborted-record-delivered", "{finding:#?}");
    let absent: String =
        DUMP.lines().filter(|l| !l.contains("| offset: 0 ")).collect::<Vec<_>>().join("\n");
    let verdict = history(SENT, &absent, COMMITS).unwrap();
    assert_ne!(verdict.status, Status::Pass);
    let altered = DUMP.replace("payload: 0", "payload: 1");
    let verdict = history(SENT, &altered, COMMITS).unwrap();
    assert_eq!(status(&verdict, "acknowledged-is-durable"), Status::Fail, "{verdict:#?}");
}

#[test]
fn a_dump_without_its_partition_takes_it_from_the_files_name() {
    let nameless = DUMP.split_once('\n').unwrap().1;
    let named = |name: &str| {
        judge(&[
            (Format::Plain, Role::UnderTest, "p", SENT),
            (Format::Plain, Role::LogReader, name, nameless),
            (Format::Plain, Role::Commits, "commits", COMMITS),
        ])
    };
    assert_eq!(status(&named("t-0").unwrap(), "acknowledged-is-durable"), Status::Pass);
    assert!(named("dump").unwrap_err().to_string().contains("TOPIC-PARTITION=FILE"));
}

#[test]
fn what_a_dump_cannot_show_is_compared_with_nothing_and_passes_nothing() {
    let binary = DUMP.replace(
        "valueSize: 1 sequence: -1 headerKeys: [] payload: 0",
        "valueSize: 2 sequence: -1 headerKeys: [] payload: \u{fffd}\u{fffd}",
    );
    assert_ne!(binary, DUMP);
    let verdict = history(SENT, &binary, COMMITS).unwrap();
    assert_eq!(status(&verdict, "acknowledged-is-durable"), Status::Inconclusive, "{verdict:#?}");
    let bare: String =
        DUMP.lines().filter(|l| !l.starts_with("| ") && *l != " [3").collect::<Vec<_>>().join("\n");
    let verdict = history(SENT, &bare, COMMITS).unwrap();
    assert_ne!(verdict.status, Status::Pass);
    let unknown = format!("{DUMP}Found 12 invalid bytes at the end of 00000000000000000000.log\n");
    assert_ne!(history(SENT, &unknown, COMMITS).unwrap().status, Status::Pass);
    let repeated =
        DUMP.replace("baseOffset: 3 ", "baseOffset: 3 lastSequence: 1 producerEpoch: 3 ");
    assert_ne!(history(SENT, &repeated, COMMITS).unwrap().status, Status::Pass);
}

#[test]
fn the_brokers_record_of_commits_tells_of_those_that_others_speak_of() {
    let (header, events) = read_files(
        vec![
            Input {
                format: Format::Plain,
                role: Role::UnderTest,
                path: "p".into(),
                process: "p".into(),
                open: SENT.as_bytes(),
            },
            Input {
                format: Format::Plain,
                role: Role::Commits,
                path: "c".into(),
                process: "c".into(),
                open: COMMITS.as_bytes(),
            },
        ],
        &Settings::default(),
    )
    .unwrap();
    let groups: Vec<&str> =
        header.promises.groups.iter().map(|group| group.group.as_str()).collect();
    assert_eq!(groups, ["g"]);
    assert_eq!(header.promises.groups[0].topics, ["t"]);
    let commits = events.map(Result::unwrap).filter_map(|event| match event.fact {
        Fact::Committed(commit) => Some((commit.offset, commit.exact, commit.at_us)),
        _ => None,
    });
    assert_eq!(commits.collect::<Vec<_>>(), [(5, true, 30_000), (7, true, 40_000)]);
}

#[test]
fn a_dump_of_the_wrong_tool_or_cut_in_half_harms_nobody() {
    for (text, _) in DUMP.char_indices().step_by(17).map(|(at, _)| (&DUMP[..at], at)) {
        if let Ok(verdict) = history(SENT, text, COMMITS) {
            assert_ne!(verdict.status, Status::Pass, "{text}");
        }
    }
    for at in (0..COMMITS.len()).step_by(13) {
        if let Ok(verdict) = history(SENT, DUMP, &COMMITS[..at]) {
            assert_ne!(status(&verdict, "no-loss"), Status::Fail, "{}", &COMMITS[..at]);
        }
    }
}

#[test]
fn kcat_shows_a_log_too() {
    let kcat = r#"{"topic":"t","partition":0,"offset":0,"tstype":"create","ts":1000,"broker":0,"key":null,"payload":"0"}
{"topic":"t","partition":0,"offset":1,"tstype":"create","ts":1000,"broker":0,"key":"k","payload":null}
t:0:0
t:0:2
"#;
    let sent = r#"{"t_ms":900,"send":{"op":0,"topic":"t","value":"0"}}
{"t_ms":901,"sent":{"op":0,"outcome":"acknowledged","topic":"t","partition":0,"offset":0}}
{"t_ms":904,"send":{"op":1,"topic":"t","key":"k","value":null}}
{"t_ms":905,"sent":{"op":1,"outcome":"acknowledged","topic":"t","partition":0,"offset":1}}
"#;
    let verdict = history(sent, kcat, COMMITS_OF_KAFKA_3).unwrap();
    assert_eq!(status(&verdict, "acknowledged-is-durable"), Status::Pass, "{verdict:#?}");
}

#[test]
fn a_record_of_a_transaction_that_the_dump_leaves_open_is_in_doubt_where_somebody_got_it() {
    let lines: Vec<&str> = DUMP.lines().collect();
    let open = lines[4].replace("lastOffset: 2 count: 2", "lastOffset: 1 count: 1");
    assert_ne!(open, lines[4]);
    let dump = [&lines[..4], &[&*open, lines[5]]].concat().join("\n");
    let told = |marks: &[&str]| {
        let told = SENT.lines().filter(|line| marks.iter().any(|mark| line.contains(mark)));
        told.collect::<Vec<_>>().join("\n")
    };
    let sent = told(&["\"t_ms\":900", "\"t_ms\":901", "\"op\":3", "\"t_ms\":910"]);
    let read = r#"{"t_ms":911,"process":"c","read":{"group":"g","member":"m","topic":"t","partition":0,"offset":1}}"#;
    let commits =
        COMMITS.replace("\"offset\":5", "\"offset\":1").replace("\"offset\":7", "\"offset\":2");
    let verdict = history(&format!("{sent}\n{read}\n"), &dump, &commits).unwrap();
    let transactions = check(&verdict, "transactions");
    assert_eq!(transactions.status, Status::Inconclusive, "{verdict:#?}");
    let reasons = transactions.reasons.join(" ");
    assert!(reasons.contains("nobody knows how they ended"), "{reasons}");
}
