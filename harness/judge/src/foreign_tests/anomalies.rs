//! Anomalies of a log and its readers, each told twice: with the log read back and without, and beside
//! each its legal neighbour. With the log every anomaly is convicted; without it those that contradict
//! themselves are, and the rest is inconclusive. Nothing that is legal is ever convicted, and without
//! the log nothing is passed.

use super::*;

/// Lines in the making: one clock, ten milliseconds a line.
#[derive(Default)]
struct Story {
    lines: Vec<String>,
    t_ms: u64,
}

impl Story {
    fn line(&mut self, process: &str, rest: &str) -> &mut Self {
        self.t_ms += 10;
        self.lines.push(format!(r#"{{"t_ms":{},"process":"{process}",{rest}}}"#, 1000 + self.t_ms));
        self
    }
    /// The group begins at the log's begin, goes back to nothing by itself and reads to the end.
    fn strict(&mut self) -> &mut Self {
        self.line(
            "p",
            r#""group":{"name":"g","starts":"earliest","may_seek_back":false,"reads_to_end":true}"#,
        )
    }
    fn uncommitted(&mut self) -> &mut Self {
        self.line("p", r#""group":{"name":"g","starts":"earliest","reads_uncommitted":true}"#)
    }
    fn seek(&mut self, member: &str, offset: u64) -> &mut Self {
        self.line("p", &format!(r#""seek":{{"group":"g","member":"{member}","topic":"t","partition":0,"offset":{offset}}}"#))
    }
    fn send(&mut self, op: u64) -> &mut Self {
        self.line("p", &format!(r#""send":{{"op":{op},"topic":"t","key":"k","value":"v{op}"}}"#))
    }
    fn send_in(&mut self, op: u64, txn: &str) -> &mut Self {
        self.line(
            "p",
            &format!(r#""send":{{"op":{op},"topic":"t","key":"k","value":"v{op}","txn":"{txn}"}}"#),
        )
    }
    fn ack(&mut self, op: u64, offset: u64) -> &mut Self {
        self.line("p", &format!(r#""sent":{{"op":{op},"outcome":"acknowledged","topic":"t","partition":0,"offset":{offset}}}"#))
    }
    fn ends(&mut self, op: u64, outcome: &str) -> &mut Self {
        self.line("p", &format!(r#""sent":{{"op":{op},"outcome":"{outcome}"}}"#))
    }
    /// Operations 0 to `n` - 1, each acknowledged at the offset of its number.
    fn written(&mut self, n: u64) -> &mut Self {
        (0..n).for_each(|op| {
            self.send(op).ack(op, op);
        });
        self
    }
    fn txn(&mut self, id: &str, outcome: &str) -> &mut Self {
        self.line("p", &format!(r#""txn":{{"id":"{id}","outcome":"{outcome}"}}"#))
    }
    fn owner(&mut self, member: &str, change: &str) -> &mut Self {
        self.line("p", &format!(r#""assign":{{"group":"g","member":"{member}","topic":"t","partition":0,"change":"{change}"}}"#))
    }
    fn read(&mut self, offset: u64, value: u64) -> &mut Self {
        self.by("m", offset, value)
    }
    fn by(&mut self, member: &str, offset: u64, value: u64) -> &mut Self {
        self.line("p", &format!(r#""read":{{"group":"g","member":"{member}","topic":"t","partition":0,"offset":{offset},"value":"v{value}"}}"#))
    }
    fn read_in(&mut self, offset: u64, value: u64, txn: &str) -> &mut Self {
        self.line("p", &format!(r#""read":{{"group":"g","member":"m","topic":"t","partition":0,"offset":{offset},"value":"v{value}","txn":"{txn}"}}"#))
    }
    fn reads(&mut self, offsets: impl IntoIterator<Item = u64>) -> &mut Self {
        offsets.into_iter().for_each(|offset| {
            self.read(offset, offset);
        });
        self
    }
    fn commit(&mut self, offset: u64) -> &mut Self {
        self.line(
            "p",
            &format!(r#""commit":{{"group":"g","topic":"t","partition":0,"offset":{offset}}}"#),
        )
    }
    fn logged(&mut self, records: &[(u64, u64)], high: u64) -> &mut Self {
        for (offset, value) in records {
            self.line("l", &format!(r#""log":{{"topic":"t","partition":0,"offset":{offset},"key":"k","value":"v{value}"}}"#));
        }
        self.line("l", &format!(r#""log_end":{{"topic":"t","partition":0,"high":{high}}}"#))
    }
}

/// What must come of a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    Fail,
    Doubt,
    Pass,
    /// A doubt or a pass.
    Legal,
}

use Comes::{Doubt, Fail, Legal, Pass};

struct Row {
    name: &'static str,
    story: fn(&mut Story),
    log: fn(&mut Story),
    settings: fn() -> Settings,
    /// With the log, and without.
    comes: (Comes, Comes),
}

fn nothing() -> Settings {
    Settings::default()
}

fn idempotent() -> Settings {
    Settings { idempotent: true, ..Settings::default() }
}

fn by_key() -> Settings {
    Settings { key_order: true, ..Settings::default() }
}

fn by_partition() -> Settings {
    Settings { partition_order: true, ..Settings::default() }
}

/// Offsets 0 to 2 with the operations of their numbers.
fn three(s: &mut Story) {
    s.logged(&[(0, 0), (1, 1), (2, 2)], 3);
}

fn two(s: &mut Story) {
    s.logged(&[(0, 0), (1, 1)], 2);
}

fn one(s: &mut Story) {
    s.logged(&[(0, 0)], 1);
}

fn none(s: &mut Story) {
    s.logged(&[], 0);
}

macro_rules! rows {
    ($($name:literal, $story:expr, $log:expr, $settings:ident => $with:ident, $without:ident;)*) => {
        &[$(Row { name: $name, story: $story, log: $log, settings: $settings, comes: ($with, $without) }),*]
    };
}

#[rustfmt::skip]
const ROWS: &[Row] = rows! {
    // What was acknowledged.
    "all is well", |s| { s.strict().written(3).reads(0..3).commit(3); }, three, nothing => Pass, Doubt;
    "acknowledged, skipped by the reader and not in the log", |s| { s.strict().written(3).reads([0, 2]).commit(3); },
        |s| { s.logged(&[(0, 0), (2, 2)], 3); }, nothing => Fail, Fail;
    "the last acknowledged record is not in the log", |s| { s.strict().written(2).reads([0]).commit(1); }, one, nothing => Fail, Doubt;
    "an unknown send is in the log", |s| { s.strict().send(0).ends(0, "unknown").read(0, 0).commit(1); }, one, nothing => Legal, Doubt;
    "an unknown send is not in the log", |s| { s.strict().written(1).send(1).ends(1, "unknown").read(0, 0).commit(1); }, one, nothing => Pass, Doubt;
    "two receipts name one offset", |s| { s.strict().send(0).ack(0, 0).send(1).ack(1, 0).read(0, 1).commit(1); },
        |s| { s.logged(&[(0, 1)], 1); }, nothing => Fail, Fail;
    "the log holds another record where the receipt says", |s| { s.strict().written(1).send(1).ends(1, "unknown"); },
        |s| { s.logged(&[(0, 1)], 1); }, nothing => Fail, Doubt;
    "a reader found an unknown record where another was acknowledged", |s| { s.strict().written(1).send(1).ends(1, "unknown").read(0, 1).commit(1); },
        |s| { s.logged(&[(0, 1)], 1); }, nothing => Fail, Fail;
    // What comes from nowhere.
    "a failed send is in the log", |s| { s.strict().written(1).send(1).ends(1, "failed").reads(0..1).commit(1); }, two, nothing => Fail, Doubt;
    "a failed send was read", |s| { s.strict().send(0).ends(0, "failed").read(0, 0).commit(1); }, one, nothing => Fail, Fail;
    "a value that nobody sent is in the log", |s| { s.strict().written(1).reads(0..1).commit(1); },
        |s| { s.logged(&[(0, 0), (1, 7)], 2); }, nothing => Fail, Doubt;
    "a value that nobody sent was read", |s| { s.strict().written(1).reads(0..1).read(1, 7).commit(1); }, one, nothing => Fail, Fail;
    "read where the log ends", |s| { s.strict().written(1).send(1).ends(1, "unknown").reads(0..2).commit(1); }, one, nothing => Doubt, Doubt;
    "read before it was sent", |s| { s.strict().read(0, 0).send(0).ack(0, 0).commit(1); }, one, nothing => Fail, Fail;
    // Duplicates.
    "an idempotent producer's record is there twice", |s| { s.strict().written(1).reads(0..1).read(1, 0).commit(2); },
        |s| { s.logged(&[(0, 0), (1, 0)], 2); }, idempotent => Fail, Doubt;
    "another producer's record is there twice", |s| { s.strict().written(1).reads(0..1).read(1, 0).commit(2); },
        |s| { s.logged(&[(0, 0), (1, 0)], 2); }, nothing => Legal, Doubt;
    // Words on one offset.
    "two reads of one offset differ", |s| { s.written(2).reads([0]).read(0, 1).read(1, 1).commit(2); }, two, nothing => Fail, Fail;
    "read and receipt differ", |s| { s.strict().written(2).read(0, 1).read(1, 1).commit(2); }, two, nothing => Fail, Fail;
    "two readings of the log differ", |s| { s.strict().written(2).reads(0..2).commit(2); },
        |s| { s.logged(&[(0, 0), (1, 1)], 2).logged(&[(0, 1), (1, 1)], 2); }, nothing => Fail, Doubt;
    // Order of reads.
    "a reader skips", |s| { s.strict().written(3).owner("m", "assigned").reads([0, 2]).commit(3); }, three, nothing => Fail, Fail;
    "a reader skips and nobody commits", |s| { s.strict().written(3).owner("m", "assigned").reads([0, 2]); }, three, nothing => Fail, Fail;
    "the skipped record went to another member", |s| {
        s.strict().written(3).owner("m", "assigned").reads([0]).commit(1).owner("m", "revoked");
        s.owner("n", "assigned").by("n", 1, 1).commit(2).owner("n", "revoked").owner("m", "assigned").reads([2]).commit(3);
    }, three, nothing => Pass, Doubt;
    "a reader goes back below its commit", |s| { s.strict().written(3).owner("m", "assigned").reads(0..3).commit(3).reads([1]); }, three, nothing => Fail, Fail;
    "a reader goes back to what is not committed", |s| { s.written(3).owner("m", "assigned").reads(0..3).reads([1, 2]).commit(3); }, three, nothing => Pass, Doubt;
    "a reader takes records out of order", |s| { s.strict().written(3).owner("m", "assigned").reads([2, 0, 1]).commit(3); }, three, nothing => Fail, Fail;
    "read again after it was committed and assigned", |s| {
        s.strict().written(2).owner("m", "assigned").reads(0..2).commit(2).owner("m", "revoked").owner("n", "assigned").by("n", 1, 1);
    }, two, nothing => Fail, Fail;
    "read again after it was assigned and before it was committed", |s| {
        s.strict().written(2).owner("m", "assigned").reads(0..2).commit(1).owner("m", "revoked").owner("n", "assigned").by("n", 1, 1).commit(2);
    }, two, nothing => Pass, Doubt;
    // Order of sends.
    "records of one key are in the log the other way round", |s| { s.strict().send(0).send(1).ack(0, 1).ack(1, 0).read(0, 1).read(1, 0).commit(2); },
        |s| { s.logged(&[(0, 1), (1, 0)], 2); }, by_key => Fail, Fail;
    "records of one producer are in a partition the other way round", |s| { s.strict().send(0).send(1).ack(0, 1).ack(1, 0).read(0, 1).read(1, 0).commit(2); },
        |s| { s.logged(&[(0, 1), (1, 0)], 2); }, by_partition => Fail, Fail;
    "records in an order that nobody promised", |s| { s.strict().send(0).send(1).ack(0, 1).ack(1, 0).read(0, 1).read(1, 0).commit(2); },
        |s| { s.logged(&[(0, 1), (1, 0)], 2); }, nothing => Pass, Doubt;
    // Commits.
    "committed and never read", |s| { s.strict().written(2).reads([0]).commit(2); }, two, nothing => Fail, Fail;
    "committed before it was read", |s| { s.strict().written(2).reads([0]).commit(2).reads([1]); }, two, nothing => Fail, Fail;
    "committed beyond the log", |s| { s.strict().written(2).reads(0..2).commit(5); }, two, nothing => Fail, Doubt;
    "the commit goes back", |s| { s.strict().written(3).reads(0..3).commit(3).commit(1); }, three, nothing => Fail, Fail;
    "not read yet", |s| { s.written(3).reads(0..2).commit(2); }, three, nothing => Doubt, Doubt;
    "began where an earlier run had stopped", |s| { s.written(3).reads(1..3).commit(3); }, three, nothing => Legal, Doubt;
    "nobody tells commits", |s| { s.written(3).reads(0..3); }, three, nothing => Doubt, Doubt;
    // Transactions.
    "a committed transaction", |s| { s.strict().send_in(0, "x").ack(0, 0).send_in(1, "x").ack(1, 1).txn("x", "committed").reads(0..2).commit(3); },
        |s| { s.line("l", r#""log_end":{"topic":"t","partition":0,"high":3,"holes":[[2,2]]}"#);
              s.logged(&[(0, 0), (1, 1)], 3).lines.pop(); }, nothing => Pass, Doubt;
    "a record of an aborted transaction was read", |s| { s.strict().send_in(0, "x").ack(0, 0).txn("x", "aborted").read(0, 0).commit(2); },
        |s| { s.line("l", r#""log_end":{"topic":"t","partition":0,"high":2,"holes":[[0,1]]}"#); }, nothing => Fail, Fail;
    "a record of an aborted transaction is in the log, and nobody got it", |s| {
            s.strict().send_in(0, "x").ack(0, 0).txn("x", "aborted").send(1).ack(1, 2).read(2, 1).commit(3); },
        |s| { s.logged(&[(0, 0), (2, 1)], 3).lines.pop();
              s.line("l", r#""log_end":{"topic":"t","partition":0,"high":3,"holes":[[1,1]]}"#); }, nothing => Pass, Doubt;
    "a committed transaction is there in part", |s| { s.strict().send_in(0, "x").ack(0, 0).send_in(1, "x").ack(1, 1).txn("x", "committed").reads([0]).commit(1); },
        one, nothing => Fail, Doubt;
    "a transaction of unknown end is there in part", |s| { s.strict().send_in(0, "x").send_in(1, "x").txn("x", "unknown").reads([0]).commit(1); },
        one, nothing => Fail, Doubt;
    "a transaction was read in part", |s| {
            s.strict().send_in(0, "x").ack(0, 0).send_in(1, "x").ack(1, 1).txn("x", "unknown").send(2).ack(2, 2).reads([0, 2]).commit(3); },
        three, nothing => Fail, Fail;
    "a transaction's own record was read before its end", |s| { s.strict().send_in(0, "x").ack(0, 0).read_in(0, 0, "x").txn("x", "committed").commit(1); },
        one, nothing => Fail, Fail;
    "two transactions read from each other", |s| {
            s.strict().send_in(0, "x").ack(0, 0).send_in(1, "y").ack(1, 1).read_in(1, 1, "x").read_in(0, 0, "y");
            s.txn("x", "committed").txn("y", "committed").commit(2); }, two, nothing => Fail, Fail;
    "what an aborted transaction read is skipped", |s| {
            s.strict().written(3).txn("x", "aborted").read_in(0, 0, "x").reads(1..3).commit(3); }, three, nothing => Fail, Fail;
    "what an aborted transaction read is read again", |s| {
            s.strict().written(3).txn("x", "aborted").read_in(0, 0, "x").reads(0..3).commit(3); }, three, nothing => Pass, Doubt;
    "who reads uncommitted records gets an aborted one", |s| {
            s.uncommitted().send_in(0, "x").ack(0, 0).txn("x", "aborted").send(1).ack(1, 2).read(0, 0).read(2, 1).commit(3); },
        |s| { s.line("l", r#""log_end":{"topic":"t","partition":0,"high":3,"holes":[[1,1]]}"#); s.logged(&[(0, 0), (2, 1)], 3).lines.pop(); }, nothing => Legal, Doubt;
    "who reads uncommitted records gets one before its end", |s| {
            s.uncommitted().send_in(0, "x").ack(0, 0).read(0, 0).txn("x", "committed").commit(2); },
        |s| { s.line("l", r#""log_end":{"topic":"t","partition":0,"high":2,"holes":[[1,1]]}"#); s.logged(&[(0, 0)], 2).lines.pop(); }, nothing => Legal, Doubt;
    "another reads a record before the word on its end", |s| {
            s.strict().send_in(0, "x").ack(0, 0).read(0, 0).txn("x", "committed").commit(2); },
        |s| { s.line("l", r#""log_end":{"topic":"t","partition":0,"high":2,"holes":[[1,1]]}"#); s.logged(&[(0, 0)], 2).lines.pop(); }, nothing => Doubt, Doubt;
    "another reads a record of a transaction that goes on sending", |s| {
            s.strict().send_in(0, "x").ack(0, 0).read(0, 0).send_in(1, "x").ack(1, 1).txn("x", "committed").read(1, 1).commit(2); },
        two, nothing => Fail, Fail;
    "a transaction of unknown end was read whole", |s| {
            s.strict().send_in(0, "x").ack(0, 0).send_in(1, "x").ack(1, 1).txn("x", "unknown").reads(0..2).commit(2); }, two, nothing => Doubt, Doubt;
    "an acknowledged record stands among aborted ones, and its producer told of no transaction", |s| { s.strict().written(3).reads(0..2).commit(3); },
        |s| { s.line("l", r#""log_end":{"topic":"t","partition":0,"high":3,"aborted":[[2,2]]}"#); s.logged(&[(0, 0), (1, 1)], 3).lines.pop(); }, nothing => Doubt, Fail;
    // Seeks that were told.
    "a seek explains what is read again", |s| { s.strict().written(4).owner("m", "assigned").reads(0..3).seek("m", 1).reads(1..4).commit(4); },
        |s| { s.logged(&[(0, 0), (1, 1), (2, 2), (3, 3)], 4); }, nothing => Pass, Doubt;
    "a seek of another member explains nothing", |s| { s.strict().written(3).owner("m", "assigned").reads(0..3).seek("n", 1).reads(1..3).commit(3); }, three, nothing => Fail, Fail;
    "a seek explains one copy more and not two", |s| { s.strict().written(3).owner("m", "assigned").reads(0..3).seek("m", 1).reads(1..3).reads(1..3).commit(3); }, three, nothing => Fail, Fail;
    // The log and its reader.
    "the log is told twice", |s| { s.strict().written(2).reads(0..2).commit(2); }, |s| { s.logged(&[(0, 0), (1, 1)], 2).logged(&[(0, 0), (1, 1)], 2); }, idempotent => Pass, Doubt;
    "the log is told twice and holds a record twice", |s| { s.strict().written(1).reads(0..1).read(1, 0).commit(2); },
        |s| { s.logged(&[(0, 0), (1, 0)], 2).logged(&[(0, 0), (1, 0)], 2); }, idempotent => Fail, Doubt;
    "compaction took what was read before", |s| { s.strict().written(3).reads(0..3).commit(3); },
        |s| { s.line("l", r#""log_end":{"topic":"t","partition":0,"high":3,"holes":[[0,1]]}"#); s.logged(&[(2, 2)], 3).lines.pop(); }, nothing => Legal, Doubt;
    "a value that nobody sent was read where the log has a hole", |s| { s.strict().written(1).reads(0..1).read(1, 7).commit(2); },
        |s| { s.line("l", r#""log_end":{"topic":"t","partition":0,"high":2,"holes":[[1,1]]}"#); s.logged(&[(0, 0)], 2).lines.pop(); }, nothing => Fail, Fail;
    "nobody told what was sent", |s| { s.strict().reads(0..2).commit(2); }, two, nothing => Doubt, Doubt;
    "a record of the log without its value", |s| { s.strict().written(1).reads(0..1).commit(1); },
        |s| { s.line("l", r#""log":{"topic":"t","partition":0,"offset":0,"op":0,"key":"k"}"#); s.logged(&[], 1); }, nothing => Doubt, Doubt;
    // Nothing at all.
    "nothing happened", |s| { s.strict(); }, none, nothing => Doubt, Doubt;
};

fn judged(row: &Row, with_log: bool) -> Verdict {
    let mut story = Story::default();
    (row.story)(&mut story);
    if with_log {
        (row.log)(&mut story);
    }
    let text = story.lines.join("\n");
    judge_with(&[(Format::Plain, Role::UnderTest, "p", &text)], &(row.settings)()).unwrap()
}

#[test]
fn anomalies_are_convicted_and_their_neighbours_are_not() {
    let mut wrong = Vec::new();
    for row in ROWS {
        for (with_log, comes) in [(true, row.comes.0), (false, row.comes.1)] {
            let verdict = judged(row, with_log);
            let right = match comes {
                Fail => verdict.status == Status::Fail,
                Doubt => verdict.status == Status::Inconclusive,
                Pass => verdict.status == Status::Pass,
                Legal => matches!(verdict.status, Status::Pass | Status::Inconclusive),
            };
            if !right {
                let how = if with_log { "with" } else { "without" };
                let said: Vec<String> = verdict.checks.iter().flat_map(said).collect();
                wrong.push(format!(
                    "{} {how} the log: {:?}, not {comes:?}: {}",
                    row.name,
                    verdict.status,
                    said.join("; ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), 2 * ROWS.len(), wrong.join("\n"));
}

fn said(check: &CheckResult) -> Vec<String> {
    let found = check.findings.iter().map(|finding| finding.anomaly.clone());
    let reasons = check.reasons.iter().filter(|_| check.status == Status::Inconclusive).cloned();
    found.chain(reasons).map(|text| format!("{}: {text}", check.check)).collect()
}
