//! Hostile histories on their whole way: read, judged, explained, rendered. Nothing may panic, no
//! vandalised history may pass, nothing in it may do harm to a report.
//!
//! As a test a few hundred cases; `just fuzz SECONDS` goes on for so long, from a new seed each time.
//! Each case has a seed of its own, which is printed when it fails: `STREAMLAKE_FUZZ_SEED` begins there.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng as Rng;

use crate::{JudgementError, judge_with};
use streamlake_history::event::*;
use streamlake_history::foreign::{self, Format, Input, Role, Settings};
use streamlake_history::sample::{self, Sample, legal};
use streamlake_judge::planted;
use streamlake_judge::verdict::Status;
use streamlake_report::harmless::assert_harmless;
use streamlake_report::{ScenarioEntry, ScenarioReport, SuiteReport};

const CASES: u64 = 150;

/// A way to do harm, and the proof that it does none.
type Attack = fn(&mut Rng);

#[rustfmt::skip]
const ATTACKS: [(&str, Attack); 17] = [
    ("bit flips", |rng| damaged(rng, |bytes, rng| flip(bytes, rng))),
    ("truncation", |rng| damaged(rng, |bytes, rng| bytes.truncate(rng.random_range(0..bytes.len())))),
    ("bytes put in", |rng| damaged(rng, insert)),
    ("lines lost, doubled, moved", |rng| damaged(rng, shuffle)),
    ("lines joined, split", |rng| damaged(rng, |bytes, rng| {
        let at = rng.random_range(0..bytes.len());
        if bytes[at] == b'\n' { bytes[at] = b' ' } else { bytes[at] = b'\n' }
    })),
    ("foreign version", foreign_version),
    ("negative offset", negative_offset),
    ("planted anomaly", |rng| {
        if let Some((name, sample)) = planted::planted(&legal(rng), rng) {
            fails(&sample, name, rng);
        }
    }),
    ("duplicate id", |rng| untrue(rng, duplicate_id)),
    ("time running backwards", |rng| untrue(rng, backwards)),
    ("billion-wide hole", |rng| untrue(rng, |sample, rng| move_end(sample, rng, 1_000_000_000))),
    ("end of the log near 2^62", |rng| untrue(rng, |sample, rng| move_end(sample, rng, 1 << 62))),
    ("commit near 2^62", |rng| untrue(rng, |sample, rng| {
        change(sample, rng, |fact| match fact { Fact::Committed(c) => Some(&mut c.offset), _ => None })
    })),
    ("record near 2^62", |rng| untrue(rng, |sample, rng| {
        change(sample, rng, |fact| match fact { Fact::Logged(l) => Some(&mut l.offset), _ => None })
    })),
    ("hostile keys", hostile_keys),
    ("anything else", vandalized),
    ("lines of others", lines_of_others),
];

fn legal(rng: &mut Rng) -> Sample {
    legal::history(rng.next_u64(), 40)
}

fn judge(bytes: &[u8]) -> Result<ScenarioReport, JudgementError> {
    judge_with(Path::new("history.jsonl"), || Ok(bytes))
}

/// Renders a report in each format.
fn render(report: ScenarioReport) {
    let scenarios = vec![ScenarioEntry::Ran(Box::new(report))];
    let suite = SuiteReport { command: "check".to_owned(), scenarios, ..SuiteReport::default() };
    assert_harmless(&suite);
    let rendered = streamlake_report::render(&suite).unwrap();
    assert_eq!(rendered, streamlake_report::render(&suite).unwrap());
}

/// Renders one in four: it takes ten times as long as the rest.
fn render_some(report: ScenarioReport, rng: &mut Rng) {
    if rng.random_bool(0.25) {
        render(report);
    }
}

/// A file is damaged: it is refused, or what was damaged is no evidence and all stays as it was.
fn damaged(rng: &mut Rng, damage: impl Fn(&mut Vec<u8>, &mut Rng)) {
    let whole = legal(rng).bytes().unwrap();
    let mut bytes = whole.clone();
    for _ in 0..rng.random_range(1..4) {
        if !bytes.is_empty() {
            damage(&mut bytes, rng);
        }
    }
    match judge(&bytes) {
        Ok(report) => {
            let unharmed = judge(&whole).unwrap();
            assert_eq!((&report.header, &report.verdict), (&unharmed.header, &unharmed.verdict));
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
}

fn flip(bytes: &mut [u8], rng: &mut Rng) {
    let at = rng.random_range(0..bytes.len());
    bytes[at] ^= 1 << rng.random_range(0..8);
}

fn insert(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let odd: [&[u8]; 8] = [
        b"\0",
        b"\xff",
        b"{",
        b"\"",
        b"|<script>\n\x1b[31m",
        b"99999999999999999999",
        b"-",
        b"[[[[[[",
    ];
    let at = rng.random_range(0..=bytes.len());
    bytes.splice(at..at, odd.choose(rng).unwrap().repeat(rng.random_range(1..50)));
}

fn shuffle(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    let (a, b) = (rng.random_range(0..lines.len()), rng.random_range(0..lines.len()));
    match rng.random_range(0..3) {
        0 => drop(lines.remove(a)),
        1 => lines.insert(b, lines[a]),
        // Processes may interleave in any way, so some of these are the same history.
        _ => lines.swap(a, b),
    }
    *bytes = lines.concat();
}

fn foreign_version(rng: &mut Rng) {
    let text = String::from_utf8(legal(rng).bytes().unwrap()).unwrap();
    let other = match rng.random_range(0..3) {
        0 => text.replacen("\"version\":2", &format!("\"version\":{}", rng.next_u64() | 4), 1),
        1 => text.replacen("\"version\":2", "\"version\":-1", 1),
        _ => text.replacen("streamlake-history", "another-history", 1),
    };
    let error = judge(other.as_bytes()).unwrap_err();
    assert!(!error.is_truncated(), "{error}");
}

fn negative_offset(rng: &mut Rng) {
    let text = String::from_utf8(legal(rng).bytes().unwrap()).unwrap();
    let places: Vec<usize> =
        text.match_indices("\"offset\":").map(|(at, name)| at + name.len()).collect();
    let mut other = text;
    other.insert(*places.choose(rng).unwrap(), '-');
    let error = judge(other.as_bytes()).unwrap_err().to_string();
    // Zero with a sign is no integer either.
    assert!(error.contains("is corrupt"), "{error}");
}

/// A well-formed history that is not true: it does not pass.
fn untrue(rng: &mut Rng, change: impl Fn(&mut Sample, &mut Rng) -> bool) {
    let mut sample = legal(rng);
    if change(&mut sample, rng) {
        let report = judge(&sample.bytes().unwrap()).unwrap();
        assert_ne!(report.verdict.status, Status::Pass);
        render_some(report, rng);
    }
}

fn fails(sample: &Sample, name: &str, rng: &mut Rng) {
    let report = judge(&sample.bytes().unwrap()).unwrap();
    assert_eq!(report.verdict.status, Status::Fail, "{name}");
    render_some(report, rng);
}

fn duplicate_id(sample: &mut Sample, rng: &mut Rng) -> bool {
    let is_operation = |fact: &Fact| matches!(fact, Fact::Invoked(_) | Fact::Completed(_));
    let operations: Vec<usize> =
        (0..sample.facts.len()).filter(|&n| is_operation(&sample.facts[n].2)).collect();
    let at = *operations.choose(rng).unwrap();
    let mut again = sample.facts[at].clone();
    if let Fact::Invoked(invoked) = &mut again.2 {
        invoked.value = Print(rng.next_u64());
    }
    sample.facts.insert(at + 1, again);
    true
}

/// The last word of a process comes before its first.
fn backwards(sample: &mut Sample, rng: &mut Rng) -> bool {
    let Some(process) = sample.facts.choose(rng).map(|fact| fact.1.clone()) else { return false };
    let mut own: Vec<_> = sample.facts.iter_mut().filter(|fact| fact.1 == process).collect();
    let latest = own.iter().map(|fact| fact.0).max().unwrap_or(0);
    match own.last_mut() {
        Some(last) if latest > 0 => last.0 = 0,
        _ => return false,
    }
    own.len() > 1
}

/// The log is longer than what was read of it.
fn move_end(sample: &mut Sample, rng: &mut Rng, by: u64) -> bool {
    change_by(sample, rng, by, |fact| match fact {
        Fact::LogBounds(bounds) if bounds.topic == sample::TOPIC => Some(&mut bounds.high),
        _ => None,
    })
}

fn change(sample: &mut Sample, rng: &mut Rng, number: fn(&mut Fact) -> Option<&mut u64>) -> bool {
    change_by(sample, rng, 1 << 62, number)
}

/// Adds to one of the numbers that are found.
fn change_by(
    sample: &mut Sample,
    rng: &mut Rng,
    by: u64,
    number: fn(&mut Fact) -> Option<&mut u64>,
) -> bool {
    let facts = sample.facts.iter_mut();
    let mut numbers: Vec<&mut u64> = facts.filter_map(|fact| number(&mut fact.2)).collect();
    if numbers.is_empty() {
        return false;
    }
    let at = rng.random_range(0..numbers.len());
    *numbers[at] += by;
    true
}

/// Keys, names and notes that act on terminals, tables and pages.
fn hostile_keys(rng: &mut Rng) {
    let evil = "|<script>\n\x1b[31m";
    let mut sample = legal(rng);
    if let Some((_, other)) = planted::planted(&sample, rng) {
        sample = other;
    }
    sample.header.run.scenario = evil.to_owned();
    sample.header.run.about.title = evil.to_owned();
    for (_, _, fact) in &mut sample.facts {
        match fact {
            Fact::Invoked(Invoked { key, .. })
            | Fact::Logged(Logged { key, .. })
            | Fact::Stored(Stored { key, .. })
            | Fact::DeadLetter(DeadLetter { key, .. }) => {
                *key = Some(Blob(evil.as_bytes().to_vec()));
            }
            Fact::Object(object) => object.name.push_str(evil),
            _ => {}
        }
    }
    sample.tell(u64::MAX, evil, Fact::Note { level: "warning".to_owned(), text: evil.to_owned() });
    render(judge(&sample.bytes().unwrap()).unwrap());
}

/// Any change to any fact: the judge says something, and says it twice the same.
fn vandalized(rng: &mut Rng) {
    let mut sample = legal(rng);
    for _ in 0..rng.random_range(1..8) {
        planted::vandalize(&mut sample, rng);
    }
    let bytes = sample.bytes().unwrap();
    let report = judge(&bytes).unwrap();
    assert_eq!(report, judge(&bytes).unwrap());
    render_some(report, rng);
}

const PRODUCER: &str = r#"{"timestamp":1000,"name":"startup_complete"}
{"timestamp":1010,"name":"producer_send_success","key":null,"value":"0","topic":"t","partition":0,"offset":0}
{"timestamp":1020,"name":"producer_send_error","key":null,"value":"1","topic":"t","message":"Expiring"}
"#;
const CONSUMER: &str = r#"{"timestamp":1005,"name":"partitions_assigned","partitions":[{"topic":"t","partition":0}]}
{"timestamp":1050,"name":"records_consumed","count":1,"partitions":[{"topic":"t","partition":0,"count":1,"minOffset":0,"maxOffset":0}]}
{"timestamp":1060,"name":"offsets_committed","offsets":[{"topic":"t","partition":0,"offset":1}],"success":true}
"#;
const READER: &str = r#"{"timestamp":2001,"name":"record_data","key":null,"value":"0","topic":"t","partition":0,"offset":0}
t:0:0
t:0:1
"#;
const PLAIN: &str = r#"{"t_ms":1000,"process":"p","send":{"op":9,"topic":"t","key":"a","value":"x"}}
{"t_ms":1010,"process":"p","sent":{"op":9,"outcome":"acknowledged","topic":"t","partition":1,"offset":0}}
{"log":{"topic":"t","partition":1,"offset":0,"op":9,"key":"a","value":"x"}}
{"log_end":{"topic":"t","partition":1,"high":1}}
{"t_ms":1011,"process":"c","read":{"group":"consumer","member":"m","topic":"t","partition":1,"offset":0}}
{"t_ms":1040,"process":"c","commit":{"group":"consumer","topic":"t","partition":1,"offset":1}}
"#;

/// Files of others: as they are they pass; damaged they are refused or judged.
fn lines_of_others(rng: &mut Rng) {
    let files = [
        (Format::Verifiable, Role::UnderTest, "producer", PRODUCER),
        (Format::Verifiable, Role::UnderTest, "consumer", CONSUMER),
        (Format::Verifiable, Role::LogReader, "log", READER),
        (Format::Plain, Role::UnderTest, "plain", PLAIN),
    ];
    let hit = rng.random_range(0..files.len() + 1);
    let mut texts: Vec<Vec<u8>> = files.iter().map(|file| file.3.as_bytes().to_vec()).collect();
    if let Some(text) = texts.get_mut(hit) {
        for _ in 0..rng.random_range(1..4) {
            match rng.random_range(0..4) {
                _ if text.is_empty() => {}
                0 => shuffle(text, rng),
                1 => insert(text, rng),
                2 => text.truncate(rng.random_range(0..text.len())),
                _ => flip(text, rng),
            }
        }
    }
    let inputs = files.iter().zip(&texts).map(|(&(format, role, name, _), text)| {
        let (path, process) = (name.to_owned(), name.to_owned());
        Input { format, role, path, process, open: &**text }
    });
    let judged = foreign::read(inputs.collect(), &Settings::default())
        .and_then(|(header, events)| streamlake_judge::judge(&header, events));
    match judged {
        Ok(verdict) if hit == files.len() => {
            assert_eq!(verdict.status, Status::Pass, "{verdict:#?}")
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Past the test harness, which swallows what passing tests print.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

#[test]
fn hostile_histories_do_no_harm_and_do_not_pass() {
    let seconds = number("STREAMLAKE_FUZZ_SECONDS");
    let clock = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let first = number("STREAMLAKE_FUZZ_SEED")
        .unwrap_or_else(|| if seconds.is_some() { clock() } else { 0 });
    let begun = Instant::now();
    let goes_on = |cases: u64| match seconds {
        Some(seconds) => begun.elapsed() < Duration::from_secs(seconds),
        None => cases < CASES,
    };
    if seconds.is_some() {
        say(&format!("fuzz: seed {first}"));
    }
    let mut cases = 0;
    while cases == 0 || goes_on(cases) {
        let seed = first.wrapping_add(cases);
        // The seeds of neighbours differ in one bit; the generator spreads them.
        let mut rng = Rng::seed_from_u64(seed);
        let (name, attack) = *ATTACKS.choose(&mut rng).unwrap();
        let harm = std::panic::catch_unwind(move || attack(&mut rng));
        if let Err(harm) = harm {
            say(&format!("fuzz: {name} did harm: STREAMLAKE_FUZZ_SEED={seed} shows it first"));
            std::panic::resume_unwind(harm);
        }
        cases += 1;
    }
    if seconds.is_some() {
        say(&format!("fuzz: {cases} cases of {} kinds in {:?}", ATTACKS.len(), begun.elapsed()));
    }
}
