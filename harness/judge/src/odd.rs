//! Where a thing that cannot be is told: a finding about whoever said it, in the check that is there for
//! it. What is a doubt instead stands in [`super::evidence`].

use super::case::{Case, OPS_MAX, anomalous, count};
use super::evidence::foreign;
use crate::index::{Bit, Index, Odd, OddKind};
use streamlake_history::event::Header;

/// How a kind is told.
struct Told {
    kind: OddKind,
    anomaly: &'static str,
    what: &'static str,
    /// The checks that may tell it: the first that applies does.
    checks: &'static [&'static str],
}

#[rustfmt::skip]
static TABLE: [Told; 9] = [
    Told { kind: OddKind::LogReadings, anomaly: "log-readings-differ", what: "two readings of the log differ",
        checks: &["acknowledged-is-durable", "no-loss", "duplicates"] },
    Told { kind: OddKind::ReceiptOffset, anomaly: "impossible-offset", what: "a receipt names an offset that there cannot be",
        checks: &["acknowledged-is-durable"] },
    Told { kind: OddKind::StoredOffset, anomaly: "impossible-offset", what: "a stored record names an offset that there cannot be",
        checks: &["fidelity"] },
    Told { kind: OddKind::ReadOffset, anomaly: "impossible-offset", what: "a member read an offset that there cannot be",
        checks: &["order"] },
    Told { kind: OddKind::CommitOffset, anomaly: "impossible-offset", what: "a group committed an offset that there cannot be",
        checks: &["commit-frontier"] },
    Told { kind: OddKind::DeadLetterOffset, anomaly: "impossible-offset", what: "a dead letter names an offset that there cannot be",
        checks: &["dead-letters"] },
    Told { kind: OddKind::SecondOutcome, anomaly: "two-outcomes-for-one-operation", what: "an operation has two outcomes",
        checks: &["outcomes"] },
    Told { kind: OddKind::OutcomeOfNothing, anomaly: "outcome-of-nothing", what: "an outcome was told of an operation that nobody invoked",
        checks: &["outcomes"] },
    Told { kind: OddKind::OutcomeTooEarly, anomaly: "outcome-before-invocation", what: "an outcome was told before its operation was invoked",
        checks: &["outcomes"] },
];

/// Tells what belongs into a check.
pub(super) fn tell(
    index: &Index,
    check: &str,
    applies: impl Fn(&str) -> bool,
    case: &mut Case<'_>,
) {
    for told in &TABLE {
        let Some(odd) = index.odd.get(&told.kind) else { continue };
        let home = told.checks.iter().find(|name| applies(name));
        if home.is_none_or(|home| *home != check) {
            continue;
        }
        match excuse(index, &index.header, told.kind, odd) {
            Some(doubt) => case.doubt(doubt),
            None => case.find(finding(told, odd)),
        }
    }
}

fn finding(told: &Told, odd: &Odd) -> crate::verdict::Finding {
    let first = odd.examples.first().map_or("", |(text, _)| text.as_str());
    let text = format!("{} {}; first: {first}", told.what, count(odd.count, "time"));
    let mut finding = anomalous(told.anomaly, text);
    finding.evidence = odd.examples.iter().map(|(text, _)| text.clone()).collect();
    finding.ops = odd.examples.iter().filter_map(|(_, op)| *op).take(OPS_MAX).collect();
    finding
}

/// Why it may be the history's fault and not that of the part that it is told of.
fn excuse(index: &Index, header: &Header, kind: OddKind, odd: &Odd) -> Option<String> {
    let promised = header.promises.operations;
    let unrecorded = index.ops.count(Bit::Invoked) < promised;
    let in_plan = || odd.examples.iter().all(|(_, op)| op.is_some_and(|op| op < promised));
    match kind {
        OddKind::OutcomeOfNothing if unrecorded && in_plan() => Some(format!(
            "outcomes were told of {} whose invocation was not recorded",
            count(odd.count, "operation")
        )),
        OddKind::OutcomeTooEarly if foreign(header) || index.odd.contains_key(&OddKind::Clock) => {
            Some(format!(
                "{} ended before they were invoked, by clocks that nobody compared",
                count(odd.count, "operation")
            ))
        }
        _ => None,
    }
}
