//! Small histories that were once judged wrongly, and what is right.

use super::*;

fn verdict(lines: &[&str]) -> Verdict {
    plain(&lines.join("\n")).unwrap()
}

fn send(t_ms: u64, op: u64) -> String {
    format!(
        r#"{{"t_ms":{t_ms},"process":"p","send":{{"op":{op},"topic":"s","key":"k","value":"w{op}"}}}}"#
    )
}

fn ack(t_ms: u64, op: u64, offset: u64) -> String {
    format!(
        r#"{{"t_ms":{t_ms},"process":"p","sent":{{"op":{op},"outcome":"acknowledged","topic":"s","partition":0,"offset":{offset}}}}}"#
    )
}

fn assigned(t_ms: u64) -> String {
    format!(
        r#"{{"t_ms":{t_ms},"process":"r","assign":{{"group":"h","member":"n","topic":"s","partition":0,"change":"assigned"}}}}"#
    )
}

fn read(t_ms: u64, offset: u64) -> String {
    format!(
        r#"{{"t_ms":{t_ms},"process":"r","read":{{"group":"h","member":"n","topic":"s","partition":0,"offset":{offset}}}}}"#
    )
}

fn commit(t_ms: u64, process: &str, offset: u64) -> String {
    format!(
        r#"{{"t_ms":{t_ms},"process":"{process}","commit":{{"group":"h","topic":"s","partition":0,"offset":{offset}}}}}"#
    )
}

fn logged(op: u64, offset: u64) -> String {
    format!(
        r#"{{"process":"b","log":{{"topic":"s","partition":0,"offset":{offset},"op":{op},"key":"k","value":"w{op}"}}}}"#
    )
}

fn log_end(high: u64, holes: &str) -> String {
    format!(
        r#"{{"process":"b","log_end":{{"topic":"s","partition":0,"high":{high},"holes":[{holes}]}}}}"#
    )
}

fn of(lines: &[String]) -> Verdict {
    verdict(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

fn reasons(verdict: &Verdict) -> String {
    verdict.checks.iter().flat_map(|check| check.reasons.clone()).collect::<Vec<_>>().join("\n")
}

fn is_not_convicted(verdict: &Verdict) {
    assert_ne!(verdict.status, Status::Fail, "{verdict:#?}");
}

#[test]
fn a_group_that_goes_on_from_an_earlier_run_is_not_convicted_of_what_that_had_read() {
    let run = |first| {
        let mut lines =
            vec![send(200, 0), ack(207, 0, 0), send(210, 1), ack(217, 1, 1), assigned(900)];
        lines.extend((first..2).map(|offset| read(910 + offset, offset)));
        lines.extend([commit(930, "r", 2), logged(0, 0), logged(1, 1), log_end(2, "")]);
        of(&lines)
    };
    is_not_convicted(&run(1));
    assert_eq!(run(0).status, Status::Pass, "{:#?}", run(0));
}

#[test]
fn two_clocks_that_nobody_compared_convict_nobody() {
    for early in [15, 30, 200] {
        let verdict = of(&[
            send(200, 0),
            ack(207, 0, 0),
            assigned(900),
            read(1000, 0),
            commit(1000 - early, "watch", 1),
            logged(0, 0),
            log_end(1, ""),
        ]);
        assert_eq!(verdict.status, Status::Inconclusive, "{early} ms: {verdict:#?}");
    }
    // One clock, and the order is wrong.
    let verdict = of(&[
        send(200, 0),
        ack(207, 0, 0),
        assigned(900),
        commit(985, "r", 1),
        read(1000, 0),
        logged(0, 0),
        log_end(1, ""),
    ]);
    assert_eq!(status(&verdict, "commit-frontier"), Status::Fail);
}

#[test]
fn a_record_below_the_marker_of_a_transaction_may_be_of_an_aborted_one() {
    let lines = [
        send(200, 0),
        ack(207, 0, 0),
        send(210, 1),
        ack(217, 1, 2),
        assigned(900),
        read(910, 2),
        commit(920, "r", 4),
        logged(0, 0),
        logged(1, 2),
        log_end(4, "[1,1],[3,3]"),
    ];
    let verdict = of(&lines);
    assert_eq!(verdict.status, Status::Inconclusive, "{verdict:#?}");
    // Told that it was aborted, it is owed to nobody.
    let mut told = lines.map(|line| line.replace(r#""value":"w0""#, r#""value":"w0","txn":"x""#));
    told[7] = told[7].replace(r#","txn":"x""#, "");
    let ended = |outcome: &str| {
        let ends =
            format!(r#"{{"t_ms":208,"process":"p","txn":{{"id":"x","outcome":"{outcome}"}}}}"#);
        let group =
            r#"{"t_ms":1,"process":"r","group":{"name":"h","starts":"earliest"}}"#.to_owned();
        of(&[&[group], &told[..2], &[ends], &told[2..]].concat())
    };
    let verdict = ended("aborted");
    assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
    assert_eq!(ended("committed").status, Status::Fail);
    assert_ne!(ended("unknown").status, Status::Pass);
}

#[test]
fn a_batch_that_is_read_again_before_its_commit_is_counted() {
    let verdict = of(&[
        send(200, 0),
        ack(207, 0, 0),
        assigned(900),
        read(910, 0),
        read(1400, 0),
        commit(1410, "r", 1),
        logged(0, 0),
        log_end(1, ""),
    ]);
    assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
    assert_eq!(verdict.tally.groups["h"].duplicates, 1);
}

#[test]
fn no_value_is_a_value_and_not_an_empty_one() {
    let run = |sent: &str, held: &str| {
        let lines = [
            send(200, 0).replace("\"w0\"", sent),
            ack(207, 0, 0),
            assigned(900),
            read(910, 0),
            commit(920, "r", 1),
            logged(0, 0).replace("\"w0\"", held),
            log_end(1, ""),
        ];
        of(&lines).status
    };
    assert_eq!(run("null", "null"), Status::Pass);
    assert_eq!(run("null", "\"\""), Status::Fail);
    assert_eq!(run(r#"{"base64":"/wD/"}"#, r#"{"base64":"/wD/"}"#), Status::Pass);
    assert_eq!(run(r#"{"base64":"/wD/"}"#, r#"{"base64":"/wA="}"#), Status::Fail);
    assert_eq!(run(r#"{"base64":"dzA="}"#, "\"w0\""), Status::Pass);
}

#[test]
fn one_line_that_is_too_early_puts_in_doubt_what_rests_on_time_and_nothing_else() {
    let verdict = of(&[
        send(1000, 0),
        ack(1010, 0, 0),
        send(1004, 1),
        ack(1012, 1, 1),
        assigned(1100),
        read(1110, 0),
        read(1111, 1),
        commit(1120, "r", 2),
        logged(0, 0),
        logged(1, 1),
        log_end(2, ""),
    ]);
    assert_eq!(verdict.status, Status::Inconclusive);
    for name in ["acknowledged-is-durable", "no-loss", "no-gap", "order"] {
        assert_eq!(status(&verdict, name), Status::Pass, "{name}: {verdict:#?}");
    }
    assert_eq!(status(&verdict, "commit-frontier"), Status::Inconclusive);
    assert!(reasons(&verdict).contains("goes back from one line to the next"), "{verdict:#?}");
}

const SENT: &str = r#"
{"timestamp":5000,"name":"startup_complete"}
{"timestamp":5010,"name":"producer_send_success","key":null,"value":"0","topic":"u","partition":0,"offset":0}
{"timestamp":5040,"name":"shutdown_complete"}
{"timestamp":5041,"name":"tool_data","sent":1,"acked":1,"target_throughput":-1,"avg_throughput":Infinity}
"#;

const GOT: &str = r#"
{"timestamp":5005,"name":"partitions_assigned","partitions":[{"topic":"u","partition":0}]}
{"timestamp":6100,"name":"record_data","key":null,"value":"0","topic":"u","partition":0,"offset":0}
{"timestamp":6101,"name":"records_consumed","count":1,"partitions":[{"topic":"u","partition":0,"count":1,"minOffset":0,"maxOffset":0}]}
{"timestamp":6110,"name":"offsets_committed","offsets":[{"topic":"u","partition":0,"offset":1}],"success":true}
"#;

const HELD: &str = r#"
{"timestamp":7001,"name":"record_data","key":null,"value":"0","topic":"u","partition":0,"offset":0}
u:0:0
u:0:1
"#;

fn clients(sent: &str, got: &str, held: &str) -> Verdict {
    judge(&[
        (Format::Verifiable, Role::UnderTest, "producer", sent),
        (Format::Verifiable, Role::UnderTest, "group", got),
        (Format::Verifiable, Role::LogReader, "log", held),
    ])
    .unwrap()
}

#[test]
fn a_receipt_behind_a_log_message_on_one_line_counts() {
    assert_eq!(clients(SENT, GOT, HELD).status, Status::Pass, "{:#?}", clients(SENT, GOT, HELD));
    let second = r#"{"timestamp":5011,"name":"producer_send_success","key":null,"value":"1","topic":"u","partition":0,"offset":1}"#;
    let more = SENT.replace("\"sent\":1,\"acked\":1", "\"sent\":2,\"acked\":2");
    for glued in [
        format!("[05:00:11] WARN still trying {second}\n"),
        format!("{second}{{\"timestamp\":5012,\"name\":\"startup_complete\"}}\n"),
        format!("producer-1  | {second}\n"),
        format!("2026-01-21T10:00:00.000000000Z stdout F {second}\n"),
        format!("{}\n", serde_json::json!({"log": format!("{second}\n"), "stream": "stdout"})),
        format!("{}\n", serde_json::json!({"MESSAGE": second, "PRIORITY": "6"})),
    ] {
        let sent = more.replace("{\"timestamp\":5040", &format!("{glued}{{\"timestamp\":5040"));
        let verdict = clients(&sent, GOT, HELD);
        assert_eq!(
            status(&verdict, "acknowledged-is-durable"),
            Status::Fail,
            "{glued}: {verdict:#?}"
        );
    }
    // A piece of one is in doubt, with its place.
    let cut = SENT.replace(
        "{\"timestamp\":5040",
        "{\"timestamp\":5011,\"name\":\"produ[05:00:11] WARN x\n{\"timestamp\":5040",
    );
    let verdict = clients(&cut, GOT, HELD);
    assert_eq!(verdict.status, Status::Inconclusive);
    assert!(reasons(&verdict).contains("producer:4"), "{verdict:#?}");
}

#[test]
fn an_acknowledgement_without_an_offset_is_none() {
    for offset in ["-1", "-1001"] {
        let sent = SENT.replace("\"offset\":0}", &format!("\"offset\":{offset}}}"));
        let verdict = clients(&sent, GOT, HELD);
        assert_eq!(verdict.status, Status::Inconclusive);
        assert_eq!((verdict.tally.acknowledged, verdict.tally.unknown), (0, 1));
        assert!(reasons(&verdict).contains("acks=0"), "{verdict:#?}");
    }
}

#[test]
fn ends_of_topics_that_nobody_wrote_or_read_are_nobodys_affair() {
    let held =
        format!("{HELD}other:0:0\nother:0:7\n__consumer_offsets:12:0\n__consumer_offsets:12:4\n");
    assert_eq!(clients(SENT, GOT, &held).status, Status::Pass);
}

#[test]
fn a_summary_that_does_not_agree_is_in_doubt() {
    for summary in ["\"sent\":2,\"acked\":1", "\"sent\":1,\"acked\":0", "\"sent\":0,\"acked\":0"] {
        let sent = SENT.replace("\"sent\":1,\"acked\":1", summary);
        let verdict = clients(&sent, GOT, HELD);
        assert_eq!(verdict.status, Status::Inconclusive, "{summary}");
        assert!(reasons(&verdict).contains("do not agree with their lines"), "{verdict:#?}");
    }
}

#[test]
fn one_end_of_a_log_is_not_two() {
    let verdict = clients(SENT, GOT, &HELD.replace("u:0:0\n", ""));
    assert_eq!(verdict.status, Status::Inconclusive, "{verdict:#?}");
    assert!(reasons(&verdict).contains("only one end of a log was told"), "{verdict:#?}");
    assert!(!reasons(&verdict).contains("retention"), "{verdict:#?}");
}

#[test]
fn files_in_any_encoding_say_the_same() {
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let marked = |text: &str| [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat();
    let lines = |text: &str| text.replace('\n', "\r\n").into_bytes();
    for turned in [&utf16 as &dyn Fn(&str) -> Vec<u8>, &marked, &lines] {
        let files = [SENT, GOT, HELD].map(turned);
        let roles = [Role::UnderTest, Role::UnderTest, Role::LogReader];
        let inputs = ["producer", "group", "log"].iter().zip(roles).zip(&files).map(
            |((name, role), file)| {
                let (path, process) = ((*name).to_owned(), (*name).to_owned());
                Input { format: Format::Verifiable, role, path, process, open: &file[..] }
            },
        );
        let (header, events) = read_files(inputs.collect(), &Settings::default()).unwrap();
        assert_eq!(crate::judge(&header, events).unwrap().status, Status::Pass);
    }
}

#[test]
fn files_that_hold_nothing_or_something_else_are_named() {
    for (sent, got) in [("", GOT), (SENT, ""), ("\n\n", GOT), ("no event at all\n", GOT)] {
        assert_eq!(clients(sent, got, HELD).status, Status::Inconclusive, "{sent:?} {got:?}");
    }
    let packed: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0];
    let (path, process) = ("a.gz".to_owned(), "a".to_owned());
    let input = Input { format: Format::Plain, role: Role::UnderTest, path, process, open: packed };
    let error = read_files(vec![input], &Settings::default()).err().unwrap().to_string();
    assert!(error.contains("packed with gzip"), "{error}");
    let error = plain(SENT).unwrap_err().to_string();
    assert!(error.contains("--from kafka-verifiable"), "{error}");
}

#[test]
fn two_producers_may_use_the_same_numbers() {
    let other =
        |line: String| line.replace("\"process\":\"p\"", "\"process\":\"q\"").replace("w0", "z0");
    let mut lines = vec![send(200, 0), other(send(201, 0)), ack(207, 0, 0), other(ack(208, 0, 1))];
    lines.extend([assigned(900), read(910, 0), read(911, 1), commit(920, "r", 2)]);
    lines.push(logged(0, 0).replace("\"op\":0,", "\"op\":0,\"producer\":\"p\","));
    lines.push(logged(0, 1).replace("\"op\":0,", "").replace("w0", "z0"));
    lines.push(log_end(2, ""));
    assert_eq!(of(&lines).status, Status::Pass, "{:#?}", of(&lines));
    lines[8] = lines[8].replace("\"p\"", "\"q\"");
    assert_eq!(of(&lines).status, Status::Fail);
}

#[test]
fn reads_without_an_instant_are_no_evidence_of_when() {
    let whole = [
        send(200, 0),
        ack(207, 0, 0),
        assigned(900),
        read(910, 0).replace("\"t_ms\":910,", ""),
        commit(920, "r", 1),
        logged(0, 0),
        log_end(1, ""),
    ];
    let verdict = of(&whole);
    assert_eq!(status(&verdict, "commit-frontier"), Status::Inconclusive, "{verdict:#?}");
    assert_eq!(status(&verdict, "no-loss"), Status::Pass, "{verdict:#?}");
}

/// Members that tell no values tell places all the same.
#[test]
fn a_read_where_the_log_holds_nothing_is_seen_by_its_place() {
    let run = |extra: u64, holes: &str| {
        let mut lines = vec![send(200, 0), ack(207, 0, 0), send(210, 1), ack(217, 1, 2)];
        lines.push(assigned(900));
        lines.extend([0, extra, 2].map(|offset| read(910 + offset, offset)));
        lines.extend([commit(930, "r", 3), logged(0, 0), logged(1, 2), log_end(3, holes)]);
        of(&lines)
    };
    // A record may have been there before compaction.
    let verdict = run(1, "[1,1]");
    assert_eq!(status(&verdict, "no-gap"), Status::Inconclusive, "{verdict:#?}");
    assert!(reasons(&verdict).contains("holds no record any more"), "{verdict:#?}");
    // The reader of the log says that it read all of it, and names no hole.
    assert_ne!(run(1, "").status, Status::Pass);
}

/// A sample shows what was committed by then, whoever tells commits one by one.
#[test]
fn a_commit_below_one_that_was_sampled_went_back() {
    let sampled = |t_ms: u64, offset: u64| {
        commit(t_ms, "w", offset).replace("\"offset\"", "\"sampled\":true,\"offset\"")
    };
    let run = |sample: u64, last: u64| {
        let mut lines = Vec::new();
        for op in 0..4 {
            lines.extend([send(200 + 20 * op, op), ack(210 + 20 * op, op, op), logged(op, op)]);
        }
        lines.push(assigned(900));
        lines.extend((0..4).map(|offset| read(910 + offset, offset)));
        let clocks = ["w", "r"].map(|of| {
            format!(
                r#"{{"t_ms":900,"process":"x","clock":{{"of":"{of}","low_ms":0,"high_ms":1,"how":"NTP"}}}}"#
            )
        });
        lines.extend(clocks);
        let group = r#"{"t_ms":900,"process":"x","group":{"name":"h","topics":["s"],"starts":"earliest","may_seek_back":false,"reads_to_end":true}}"#;
        lines.extend([group.to_owned(), sampled(930, sample), commit(960, "r", last)]);
        lines.push(log_end(4, ""));
        of(&lines)
    };
    assert_eq!(status(&run(3, 4), "commit-frontier"), Status::Pass, "{:#?}", run(3, 4));
    let verdict = run(4, 3);
    assert_eq!(status(&verdict, "commit-frontier"), Status::Fail, "{verdict:#?}");
}

#[test]
fn a_log_of_another_topic_convicts_nobody() {
    let verdict = clients(SENT, GOT, &HELD.replace("\"u\"", "\"v\"").replace("u:", "v:"));
    assert_eq!(verdict.status, Status::Inconclusive, "{verdict:#?}");
}

#[test]
fn a_group_that_reads_one_topic_of_two_owes_the_other_nothing() {
    let mut lines = vec![send(200, 0), ack(207, 0, 0), send(210, 1), ack(217, 1, 0)];
    for line in &mut lines[2..] {
        *line = line.replace("\"s\"", "\"other\"");
    }
    lines.extend([assigned(900), read(910, 0), commit(920, "r", 1), logged(0, 0), log_end(1, "")]);
    lines.extend([logged(1, 0), log_end(1, "")].map(|line| line.replace("\"s\"", "\"other\"")));
    assert_eq!(of(&lines).status, Status::Pass, "{:#?}", of(&lines));
}

/// One member's commit and another's read, each by a clock of its own.
#[test]
fn a_cause_that_hangs_on_two_clocks_that_nobody_compared_is_in_doubt() {
    let second = |t_ms: u64, offset: u64| {
        format!(
            r#"{{"t_ms":{t_ms},"process":"c2","read":{{"group":"h","member":"n2","topic":"s","partition":0,"offset":{offset}}}}}"#
        )
    };
    let after = |ms: u64, from: u64| {
        let mut lines = vec![send(200, 0), ack(207, 0, 0), send(210, 1), ack(217, 1, 1)];
        lines.extend([assigned(900), read(910, 0), read(911, 1), commit(920, "r", 1)]);
        lines.push(assigned(920 + ms).replace("\"n\"", "\"n2\"").replace("\"r\"", "\"c2\""));
        lines.extend((from..2).map(|offset| second(930 + ms + offset, offset)));
        lines.extend([logged(0, 0), logged(1, 1), log_end(2, "")]);
        of(&lines)
    };
    assert_eq!(status(&after(5000, 0), "duplicates"), Status::Fail, "{:#?}", after(5000, 0));
    assert_eq!(status(&after(300, 0), "duplicates"), Status::Inconclusive, "{:#?}", after(300, 0));
    assert_eq!(status(&after(300, 1), "duplicates"), Status::Pass, "{:#?}", after(300, 1));
}
