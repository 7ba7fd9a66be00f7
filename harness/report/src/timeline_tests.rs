#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::sample::{event, facts, scenario, suite};
use super::*;
use crate::{Observer, Unreachable};
use streamlake_history::event::{Fact, LogBounds, Probe};

fn series(timeline: &Timeline, kind: SeriesKind) -> &Series {
    timeline.series.iter().find(|series| series.kind == kind).unwrap()
}

#[test]
fn counts_come_together_at_the_end() {
    let suite = suite();
    let timeline = &suite.runs().next().unwrap().observed.timeline;
    assert!(timeline.buckets as usize <= BUCKETS_MAX);
    for kind in [SeriesKind::Acknowledged, SeriesKind::Stored, SeriesKind::Committed] {
        let totals = &series(timeline, kind).totals;
        assert_eq!(*totals.last().unwrap(), 1_000, "{kind:?}");
        assert!(totals.is_sorted());
        assert_eq!(totals.len() as u64, timeline.buckets);
    }
    let longest = timeline.latency.iter().flatten().map(|latency| latency.max_us).max();
    assert!(longest.unwrap() > 4_000_000);
}

#[test]
fn a_commit_counts_from_where_the_runs_records_begin() {
    let header = scenario("s", "s", None, 1);
    let committed = |offset, at_us| {
        Fact::Committed(Committed {
            group: "g".into(),
            topic: "streamlake.orders.raw".into(),
            partition: 0,
            offset,
            at_us,
            exact: false,
        })
    };
    let bounds = LogBounds {
        topic: "streamlake.orders.raw".into(),
        partition: 0,
        low: 500,
        high: 600,
        complete: true,
        holes: vec![],
        ..LogBounds::default()
    };
    let mut builder = TimelineBuilder::new(&header);
    builder.observe(&event("w", 1, committed(550, 25_000)));
    builder.observe(&event("w", 2, committed(600, 41_000)));
    builder.observe(&event("r", 3, Fact::LogBounds(bounds)));
    let timeline = builder.finish();
    assert_eq!(series(&timeline, SeriesKind::Committed).totals, [0, 0, 50, 50, 100]);
}

#[test]
fn who_does_not_answer_is_unreachable_until_it_does() {
    let header = scenario("s", "s", None, 1);
    let probe = |answered| {
        Fact::Probe(Probe { target: "broker-1".into(), answered, detail: "refused".into() })
    };
    let mut observer = Observer::new(&header);
    for (at, answered) in [(1, true), (5, false), (6, false), (9, true), (12, false)] {
        observer.observe(&event("prober", at, probe(answered)));
    }
    let span = |from_us, to_us| Unreachable {
        from_us,
        target: "broker-1".into(),
        to_us,
        detail: "refused".into(),
    };
    assert_eq!(observer.finish().unreachable, [span(5, Some(9)), span(12, None)]);
}

#[test]
fn instants_far_out_do_no_harm() {
    let mut builder = TimelineBuilder::new(&scenario("s", "s", None, 1));
    let read = |at| {
        let fact = streamlake_history::event::Read {
            group: "g".into(),
            member: "m".into(),
            topic: "t".into(),
            partition: 0,
            offset: 0,
            value: None,
        };
        event("m", at, Fact::Read(fact))
    };
    builder.observe(&read(0));
    builder.observe(&read(u64::MAX));
    let timeline = builder.finish();
    assert!(timeline.buckets as usize <= BUCKETS_MAX);
    assert_eq!(*series(&timeline, SeriesKind::Read).totals.last().unwrap(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// Processes may interleave in any way: choose whose next line comes.
    #[test]
    fn interleaving_changes_nothing(choices in proptest::collection::vec(any::<u8>(), 64)) {
        let suite = suite();
        let run = suite.runs().next().unwrap();
        let mut processes: std::collections::BTreeMap<String, std::collections::VecDeque<Event>> =
            Default::default();
        for event in facts(&run.verdict.tally) {
            processes.entry(event.process.clone()).or_default().push_back(event);
        }
        let mut observer = Observer::new(&run.header);
        for choice in choices.iter().cycle() {
            let waiting = processes.values_mut().filter(|lines| !lines.is_empty());
            let mut waiting: Vec<_> = waiting.collect();
            if waiting.is_empty() {
                break;
            }
            let chosen = usize::from(*choice) % waiting.len();
            observer.observe(&waiting[chosen].pop_front().unwrap());
        }
        prop_assert_eq!(&observer.finish(), &run.observed);
    }
}
