//! Outcomes: every operation is acknowledged unless a fault that producers meet is near. Poison is
//! rejected where the producer looks into what it is given, and nothing else is.
//!
//! Near is: invoked from the begin of such a window, or on its way then, until the first acknowledgement
//! after the heal. A fault of a consumer or of the store is none of a producer's.
//!
//! In a history that others wrote nobody told of the faults: what was not acknowledged convicts nobody
//! there, but where most was not, there is nothing to hold on to.

use std::collections::BTreeMap;

use super::case::{Case, EVIDENCE_MAX, OPS_MAX, anomalous, count, quoted, seconds};
use super::evidence::foreign;
use super::recovered::windows;
use crate::index::{Bit, End, Index, Kept};

/// An operation counts as on its way when a fault began if it was invoked within this time before, or, on
/// a machine so slow that it matters, within four times what half of the operations took.
const ON_ITS_WAY_US: u64 = 2_000_000;
/// However slow the machine.
const ON_ITS_WAY_US_MAX: u64 = 10_000_000;

/// Faults that producers do not meet, by the begin of their kinds.
const NOT_OF_PRODUCERS: [&str; 6] =
    ["consumer", "store", "tampering", "connector", "connect-", "database"];

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    unreadable(index, case);
    let spans = spans(index);
    let mut outside: BTreeMap<&'static str, Vec<(u64, Kept)>> = BTreeMap::new();
    let mut wrong: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    let promise = index.header.promises.outcomes.clone();
    let validates = promise.as_ref().is_some_and(|promise| promise.validates);
    for (&op, kept) in &index.ops.kept {
        let word = match (kept.end, kept.invocation.poison) {
            (Some(End::Rejected), true) => continue,
            (Some(End::Rejected), false) => {
                wrong.entry("good-record-rejected").or_default().push(op);
                continue;
            }
            (Some(End::Acknowledged(..)), poison) => {
                if poison && validates && !kept.invocation.beside {
                    wrong.entry("poison-acknowledged").or_default().push(op);
                }
                continue;
            }
            (Some(End::Failed), _) => "failed-without-a-fault",
            (Some(End::Unknown), _) => "unknown-without-a-fault",
            (None, _) => "never-answered",
        };
        if !spans.iter().any(|span| is_near(kept, *span)) {
            outside.entry(word).or_default().push((op, *kept));
        }
    }
    for (anomaly, ops) in wrong {
        report_wrong(case, anomaly, ops);
    }
    let total: u64 = outside.values().map(|ops| ops.len() as u64).sum();
    let allowed = promise.as_ref().map_or(0, |promise| promise.unacknowledged_outside_faults);
    let (invoked, acknowledged) = (index.ops.count(Bit::Invoked), index.ops.acknowledged());
    if foreign(&index.header) && promise.is_none() {
        if acknowledged.saturating_mul(2) < invoked {
            case.doubt(format!(
                "{acknowledged} of {} were acknowledged, and nobody told why the others were not",
                count(invoked, "operation")
            ));
        }
    } else if total > allowed {
        for (anomaly, ops) in &outside {
            report(index, case, anomaly, ops);
        }
    }
    slow(index, case);
    after_giving_up(index, case);
    case.figure("unacknowledged_operations", invoked.saturating_sub(acknowledged));
    case.figure("unacknowledged_outside_faults", total);
    format!("{acknowledged} of {invoked} acknowledged, {total} of the others with no fault near")
}

/// Most operations were answered late although nothing was broken. Judged by what half of them took,
/// because a machine that is busy with other things makes some of them wait.
fn slow(index: &Index, case: &mut Case<'_>) {
    let promise = index.header.promises.outcomes.as_ref();
    let Some(within) = promise.and_then(|promise| promise.most_answered_within_us) else { return };
    let Some(half) = index.latencies.quantile(500) else { return };
    if half <= within || !index.header.promises.faults.is_empty() {
        return;
    }
    let text = format!(
        "half of the acknowledgements came {} after the invocation or later, with nothing broken; {} are          promised",
        seconds(half),
        seconds(within)
    );
    case.find(anomalous("slow-answers", text));
}

/// Clients look once a second for what is to be given up, and a machine may be busy.
const GIVES_UP_LATE_US: u64 = 1_500_000;

/// What was acknowledged long after its producer had to give it up was sent once more: the first copy may be
/// in the log as well, and its outcome was unknown.
fn after_giving_up(index: &Index, case: &mut Case<'_>) {
    let promise = index.header.promises.outcomes.as_ref();
    let Some(within) = promise.and_then(|promise| promise.gives_up_after_us) else { return };
    let Some((took, op)) = index.longest_wait else { return };
    if took <= within.saturating_add(GIVES_UP_LATE_US) {
        return;
    }
    let text = format!(
        "operation {op} was acknowledged {} after its invocation: its producer gives up after {}, so it was \
         sent again as if nothing had been sent",
        seconds(took),
        seconds(within)
    );
    let mut finding = anomalous("acknowledged-after-giving-up", text);
    finding.ops = vec![op];
    case.find(finding);
}

/// A time in which a producer may fail.
#[derive(Clone, Copy)]
struct Span {
    /// From when on what was invoked may have been on its way.
    from: u64,
    begin: u64,
    /// The first acknowledgement after the heal.
    to: u64,
}

fn spans(index: &Index) -> Vec<Span> {
    let usual = index.latencies.quantile(500).unwrap_or(0).saturating_mul(4);
    let usual = usual.clamp(ON_ITS_WAY_US, ON_ITS_WAY_US_MAX);
    let kind = |fault: u32| {
        let planned = index.header.promises.faults.iter().find(|known| known.fault == fault);
        planned.map_or("", |planned| planned.kind.as_str())
    };
    windows(index)
        .into_iter()
        .filter(|window| meets_producers(kind(window.fault)))
        .map(|window| {
            let back = window.healed.and_then(|healed| index.acks.first_from(healed));
            let from = window.begin.saturating_sub(usual);
            Span { from, begin: window.begin, to: back.unwrap_or(u64::MAX) }
        })
        .collect()
}

/// A fault of this kind is one that producers meet.
pub(super) fn meets_producers(kind: &str) -> bool {
    !NOT_OF_PRODUCERS.iter().any(|prefix| kind.starts_with(prefix))
}

fn is_near(kept: &Kept, span: Span) -> bool {
    // What had ended before the fault began was not its doing.
    (span.from..=span.to).contains(&kept.invocation.t_us)
        && kept.ended_us.is_none_or(|ended| ended >= span.begin)
}

fn report(index: &Index, case: &mut Case<'_>, anomaly: &'static str, ops: &[(u64, Kept)]) {
    let what = match anomaly {
        "failed-without-a-fault" => "failed",
        "unknown-without-a-fault" => "ended unknown",
        _ => "never got an answer",
    };
    let first = ops.iter().map(|(op, kept)| (kept.invocation.t_us, *op)).min();
    let (at_us, op) = first.unwrap_or_default();
    let text = format!(
        "{} {what} although no fault that producers meet was near; first: operation {op}, invoked at {}",
        count(ops.len() as u64, "operation"),
        seconds(at_us)
    );
    // Where the harness itself met an error, the answers may have been lost by it.
    let excused = index.rare.notes.iter().any(|note| note.fact.0 == "error");
    if anomaly == "never-answered" && excused {
        return case.doubt(text);
    }
    let mut finding = anomalous(anomaly, text);
    finding.at_us = Some(at_us);
    finding.ops = ops.iter().map(|(op, _)| *op).take(OPS_MAX).collect();
    let line = |(op, kept): &(u64, Kept)| match kept.ended_us {
        Some(ended) => format!(
            "operation {op}: invoked at {}, {what} at {}",
            seconds(kept.invocation.t_us),
            seconds(ended)
        ),
        None => format!("operation {op}: invoked at {}, no answer", seconds(kept.invocation.t_us)),
    };
    let word = what.rsplit(' ').next().unwrap_or(what);
    let texts = index.refusals.iter().filter(|(text, _)| text.starts_with(word));
    let told = texts.map(|(text, (times, first))| {
        format!("{} said {}, operation {first} first", count(*times, "operation"), quoted(text))
    });
    finding.evidence = told.chain(ops.iter().map(line)).take(EVIDENCE_MAX).collect();
    case.find(finding);
}

fn report_wrong(case: &mut Case<'_>, anomaly: &'static str, mut ops: Vec<u64>) {
    let what = match anomaly {
        "good-record-rejected" => "rejected although nothing was wrong with it",
        _ => "acknowledged although it is poison and the producer validates",
    };
    let text = count(ops.len() as u64, "operation");
    let mut finding = anomalous(anomaly, format!("{text} {what}; first: operation {}", ops[0]));
    ops.truncate(OPS_MAX);
    finding.ops = ops;
    case.find(finding);
}

/// What a producer printed and nobody understands: it may have been an outcome.
fn unreadable(index: &Index, case: &mut Case<'_>) {
    let garbled = &index.rare.unreadable;
    let Some(first) = garbled.first() else { return };
    let text = format!(
        "{} of {} cannot be understood; first at {}: {}",
        count(garbled.len() as u64, &first.fact.what),
        quoted(&first.fact.of),
        seconds(first.t_us),
        first.fact.why.escape_debug()
    );
    let mut finding = anomalous("unreadable-receipt", text);
    finding.at_us = Some(first.t_us);
    let lines = garbled.iter().take(EVIDENCE_MAX);
    finding.evidence = lines
        .map(|said| {
            format!("{} at {}: {}", said.fact.of, seconds(said.t_us), quoted(&said.fact.text))
        })
        .collect();
    case.find(finding);
}
