//! Per key, events come in the order of the commits. Where the capture began anew they may go back,
//! and from there on they go forward again.

use std::collections::BTreeSet;

use super::Context;
use super::starts::Explained;
use super::tell::{of_events, one_or_many};
use crate::case::{Case, count};
use streamlake_history::event::ChangeEvent;

pub(super) fn judge(context: &Context<'_>, case: &mut Case<'_>) {
    let (mut wrong, mut split): (Vec<&ChangeEvent>, Vec<&ChangeEvent>) = Default::default();
    let mut undecided = 0;
    for events in context.captured.by_key.values() {
        let elsewhere =
            |pair: &&[(usize, &ChangeEvent)]| pair[0].1.partition != pair[1].1.partition;
        split.extend(events.windows(2).filter(elsewhere).map(|pair| pair[1].1));
        let (mut seen, mut highest) = (BTreeSet::new(), None);
        let mut before: Option<(usize, &ChangeEvent)> = None;
        for &(change, event) in events {
            let first = seen.insert(change);
            if first && highest > Some(change) {
                // It was passed over before: a reader has already seen what came after it.
                wrong.push(event);
            } else if let Some((last, previous)) = before
                && change < last
            {
                let commit = context.captured.commit_end(change);
                match context.starts.explain(&[previous, event], commit) {
                    Explained::By(_) => {}
                    Explained::Undecided => undecided += 1,
                    Explained::Nothing if context.starts.unknown.is_some() => undecided += 1,
                    Explained::Nothing => wrong.push(event),
                }
            }
            highest = highest.max(Some(change));
            before = Some((change, event));
        }
    }
    if undecided > 0 {
        case.doubt(format!(
            "{} back in the order of their key, and it is not certain that the capture began anew there",
            one_or_many(undecided, "event goes", "events go")
        ));
    }
    for (anomaly, events, what) in [
        ("event-out-of-order", wrong, "out of the order in which their rows were changed"),
        ("key-in-two-partitions", split, "in another partition than their key before"),
    ] {
        if !events.is_empty() {
            let text = format!("{} {what}", count(events.len() as u64, "change event"));
            case.find(of_events(anomaly, text, &events));
        }
    }
}
