//! Consumers that store: what `plain` tells of objects, dead letters, processes and clocks.

use super::*;

/// Three records: one is stored, one is poison and dead-lettered, one is stored.
const SINK: &str = r#"
{"t_ms":100,"process":"p","send":{"op":0,"topic":"t","key":"a","value":"v0"}}
{"t_ms":101,"process":"p","sent":{"op":0,"outcome":"acknowledged","topic":"t","partition":0,"offset":0}}
{"t_ms":102,"process":"p","send":{"op":1,"topic":"t","key":"b","value":"bad","poison":true}}
{"t_ms":103,"process":"p","sent":{"op":1,"outcome":"acknowledged","topic":"t","partition":0,"offset":1}}
{"t_ms":104,"process":"p","send":{"op":2,"topic":"t","key":"c","value":"v2"}}
{"t_ms":105,"process":"p","sent":{"op":2,"outcome":"acknowledged","topic":"t","partition":0,"offset":2}}
{"t_ms":90,"process":"s","process_state":{"name":"c1","group":"g","state":"started"}}
{"t_ms":900,"process":"s","process_state":{"name":"c1","group":"g","state":"exited","code":0,"asked":"stop"}}
{"t_ms":95,"process":"x","group":{"name":"g","topics":["t"],"starts":"earliest","store":"gs://lake/raw","dead_letters":"t.dlq"}}
{"t_ms":95,"process":"x","clock":{"of":"store","low_ms":-0.5,"high_ms":0.5,"how":"one machine"}}
{"t_ms":95,"process":"x","clock":{"of":"broker","low_ms":-0.5,"high_ms":0.5,"how":"one machine"}}
{"t_ms":95,"process":"x","clock":{"of":"w","low_ms":0,"high_ms":0,"how":"one machine"}}
{"t_ms":600,"process":"w","commit":{"group":"g","topic":"t","partition":0,"offset":3,"sampled":true}}
{"process":"l","log":{"topic":"t","partition":0,"offset":0,"key":"a","value":"v0"}}
{"process":"l","log":{"topic":"t","partition":0,"offset":1,"key":"b","value":"bad"}}
{"process":"l","log":{"topic":"t","partition":0,"offset":2,"key":"c","value":"v2"}}
{"process":"l","log_end":{"topic":"t","partition":0,"high":3}}
{"process":"l","dead_letter":{"group":"g","topic":"t.dlq","partition":0,"offset":0,"created_ms":300,"origin":{"topic":"t","partition":0,"offset":1},"key":"b","value":"bad","error":"no JSON"}}
{"process":"l","log_end":{"topic":"t.dlq","partition":0,"high":1}}
{"process":"r","stored":{"group":"g","object":"raw/1.json","created_ms":250,"topic":"t","partition":0,"offset":0,"key":"a","value":"v0"}}
{"process":"r","stored":{"group":"g","object":"raw/2.json","created_ms":350,"topic":"t","partition":0,"offset":2,"key":"c","value":"v2"}}
{"process":"r","stored_end":{"group":"g"}}
"#;

fn without(part: &str) -> String {
    let left: Vec<&str> = SINK.lines().filter(|line| !line.contains(part)).collect();
    assert!(left.len() < SINK.lines().count(), "{part}");
    left.join("\n")
}

#[test]
fn a_sink_is_judged_by_what_it_stored_and_dead_lettered() {
    let verdict = plain(SINK).unwrap();
    for name in ["acknowledged-is-durable", "no-loss", "no-gap", "dead-letters", "fidelity"] {
        assert_eq!(status(&verdict, name), Status::Pass, "{name}: {verdict:#?}");
    }
    assert_ne!(verdict.status, Status::Fail, "{verdict:#?}");
}

#[test]
fn what_a_sink_lost_altered_or_dropped_is_found() {
    let lost = plain(&without("raw/2.json")).unwrap();
    assert_eq!(status(&lost, "no-loss"), Status::Fail, "{lost:#?}");
    let dropped =
        plain(&without("\"dead_letter\"").replace(
            "\"t.dlq\",\"partition\":0,\"high\":1",
            "\"t.dlq\",\"partition\":0,\"high\":0",
        ))
        .unwrap();
    assert_eq!(status(&dropped, "no-loss"), Status::Fail, "{dropped:#?}");
    let altered = SINK.replace(
        "\"key\":\"c\",\"value\":\"v2\"}}\n{\"process\":\"r\"",
        "\"key\":\"c\",\"value\":\"v9\"}}\n{\"process\":\"r\"",
    );
    assert_ne!(altered, SINK);
    assert_eq!(status(&plain(&altered).unwrap(), "fidelity"), Status::Fail);
    let good = SINK.replace(",\"poison\":true", "");
    assert_eq!(status(&plain(&good).unwrap(), "dead-letters"), Status::Fail);
}

#[test]
fn a_store_that_was_not_read_to_its_end_passes_nothing() {
    assert_ne!(plain(&without("stored_end")).unwrap().status, Status::Pass);
    let untimed = SINK.replace("\"created_ms\":250,", "");
    assert_ne!(status(&plain(&untimed).unwrap(), "commit-frontier"), Status::Pass);
}

#[test]
fn a_dead_letter_without_an_origin_is_of_the_record_with_its_value() {
    let bare = SINK.replace("\"origin\":{\"topic\":\"t\",\"partition\":0,\"offset\":1},", "");
    assert_ne!(bare, SINK);
    let verdict = plain(&bare).unwrap();
    assert_eq!(status(&verdict, "no-loss"), Status::Pass, "{verdict:#?}");
}

#[test]
fn a_process_that_dies_of_itself_needs_nobody_who_sends_a_signal() {
    let ended =
        |signal: u8| SINK.replace(r#""code":0,"asked":"stop""#, &format!(r#""signal":{signal}"#));
    for (signal, expected) in [(6, Status::Fail), (11, Status::Fail), (9, Status::Inconclusive)] {
        let verdict = plain(&ended(signal)).unwrap();
        assert_eq!(status(&verdict, "exits"), expected, "signal {signal}: {verdict:#?}");
    }
}

#[test]
fn a_dead_letter_after_its_commit_is_found_where_both_clocks_that_may_have_stamped_it_are_known() {
    let late = SINK.replace(r#""created_ms":300,"origin""#, r#""created_ms":800,"origin""#);
    assert_ne!(late, SINK);
    assert_eq!(status(&plain(&late).unwrap(), "commit-frontier"), Status::Inconclusive);
    let known = r#"{"t_ms":95,"process":"x","clock":{"of":"processes","low_ms":-0.5,"high_ms":0.5,"how":"one machine"}}"#;
    let verdict = plain(&format!("{late}{known}\n")).unwrap();
    assert_eq!(status(&verdict, "commit-frontier"), Status::Fail, "{verdict:#?}");
}

/// One record that a consumer of its own words read and committed, and read and stored again afterwards.
fn told_again(more: &[&str]) -> Verdict {
    let mut lines: Vec<&str> = r#"
{"t_ms":1000,"process":"p","send":{"op":0,"topic":"t","key":"a","value":"v0"}}
{"t_ms":1001,"process":"p","sent":{"op":0,"outcome":"acknowledged","topic":"t","partition":0,"offset":0}}
{"t_ms":900,"process":"c","assign":{"group":"g","member":"m","topic":"t","partition":0,"change":"assigned"}}
{"t_ms":1010,"process":"c","read":{"group":"g","member":"m","topic":"t","partition":0,"offset":0}}
{"t_ms":1100,"process":"c","commit":{"group":"g","topic":"t","partition":0,"offset":1}}
{"t_ms":5000,"process":"c","assign":{"group":"g","member":"m","topic":"t","partition":0,"change":"revoked"}}
{"t_ms":7000,"process":"c","assign":{"group":"g","member":"m","topic":"t","partition":0,"change":"assigned"}}
{"t_ms":7010,"process":"c","read":{"group":"g","member":"m","topic":"t","partition":0,"offset":0}}
{"t_ms":7100,"process":"c","commit":{"group":"g","topic":"t","partition":0,"offset":1}}
{"process":"l","log":{"topic":"t","partition":0,"offset":0,"op":0,"key":"a","value":"v0"}}
{"process":"l","log_end":{"topic":"t","partition":0,"high":1}}"#
        .lines()
        .collect();
    lines.extend(more);
    plain(&lines.join("\n")).unwrap()
}

#[test]
fn an_operators_reset_sets_back_what_members_told_of_their_commits() {
    let reset =
        r#"{"t_ms":6000,"process":"o","reset":{"group":"g","topic":"t","partition":0,"offset":0}}"#;
    let further = reset.replace("\"offset\":0", "\"offset\":1");
    assert_eq!(status(&told_again(&[reset]), "duplicates"), Status::Pass);
    assert_eq!(status(&told_again(&[&further]), "duplicates"), Status::Fail);
    assert_eq!(status(&told_again(&[]), "duplicates"), Status::Fail);
}

#[test]
fn a_kill_that_was_asked_for_is_nobodys_doubt() {
    let end = |asked: &str| {
        let start = r#"{"t_ms":900,"process":"s","process_state":{"name":"c1","group":"g","state":"started"}}"#;
        let end = format!(
            r#"{{"t_ms":9000,"process":"s","process_state":{{"name":"c1","group":"g","state":"exited","signal":9{asked}}}}}"#
        );
        status(&told_again(&[start, &end]), "exits")
    };
    assert_eq!(end(r#","asked":"kill""#), Status::Pass);
    assert_eq!(end(r#","asked":"stop""#), Status::Inconclusive);
    assert_eq!(end(""), Status::Inconclusive);
}

#[test]
fn a_copy_that_looks_committed_is_sought_back_only_if_the_clocks_say_so() {
    let stored = |created_ms: u64, again_ms: u64| {
        let part = |name: &str, at: u64| {
            format!(
                r#"{{"process":"r","stored":{{"group":"g","object":"{name}","created_ms":{at},"topic":"t","partition":0,"offset":0,"key":"a","value":"v0"}}}}"#
            )
        };
        let lines = [part("1", created_ms), part("2", again_ms)].join("\n");
        let once = r#"
{"t_ms":1000,"process":"p","send":{"op":0,"topic":"t","key":"a","value":"v0"}}
{"t_ms":1001,"process":"p","sent":{"op":0,"outcome":"acknowledged","topic":"t","partition":0,"offset":0}}
{"t_ms":900,"process":"c","assign":{"group":"g","member":"m","topic":"t","partition":0,"change":"assigned"}}
{"t_ms":1010,"process":"c","read":{"group":"g","member":"m","topic":"t","partition":0,"offset":0}}
{"t_ms":1100,"process":"c","commit":{"group":"g","topic":"t","partition":0,"offset":1}}
{"process":"l","log":{"topic":"t","partition":0,"offset":0,"op":0,"key":"a","value":"v0"}}
{"process":"l","log_end":{"topic":"t","partition":0,"high":1}}
{"process":"r","stored_end":{"group":"g"}}"#;
        status(&plain(&format!("{once}\n{lines}")).unwrap(), "duplicates")
    };
    // Before the commit; after it, by clocks that nobody compared; and after it by any.
    assert_eq!(stored(1050, 1080), Status::Pass);
    assert_eq!(stored(1050, 1300), Status::Inconclusive);
    assert_eq!(stored(1050, 3000), Status::Fail);
}
