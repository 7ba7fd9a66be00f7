//! What becomes of what was seen to pass.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex, PoisonError};

use super::*;
use crate::observer::Brokers;
use crate::progress::Progress;
use streamlake_history::sample::Sample;
use streamlake_history::{Recorder, Sink};

/// A history that can be looked at while it is written.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink for Shown {
    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lines of the history after its header, as process and fact.
fn told(commits: bool, seen: Vec<Seen>, last: Option<Groups>) -> Vec<(String, Fact)> {
    let shown = Shown::default();
    let recorder = Recorder::start(shown.clone(), Sample::empty(0, 1).header).unwrap();
    let watch = Watch {
        brokers: Brokers::default(),
        from: None,
        alone: BTreeMap::new(),
        groups: vec!["billing".to_owned()],
        topics: [("orders".to_owned(), 3)].into(),
        recorder: recorder.clone(),
        progress: Arc::new(Progress::default()),
    };
    let mut listener = Listener::new(watch, commits);
    seen.into_iter().for_each(|seen| listener.take(seen));
    if let Some(last) = last {
        listener.compare(&last);
    }
    listener.close();
    recorder.finish().unwrap();
    let bytes = shown.0.lock().unwrap().clone();
    let lines: Vec<&str> = std::str::from_utf8(&bytes).unwrap().lines().collect();
    let event = |line: &&str| {
        let event: streamlake_history::event::Event = serde_json::from_str(line).unwrap();
        (event.process, event.fact)
    };
    lines[1..lines.len() - 1].iter().map(event).collect()
}

fn place(partition: u32) -> Place {
    ("orders".to_owned(), partition)
}

fn seen(what: What) -> Seen {
    let now = Instant::now();
    let (client, group) = ("consumer-1".to_owned(), "billing".to_owned());
    Seen { link: "broker-1".into(), client, group, asked: now, answered: Some(now), what }
}

fn commit(offset: u64, outcome: Outcome) -> Seen {
    let (id, offsets) = ("m".to_owned(), vec![(place(0), offset)]);
    seen(What::Commits { id, generation: 1, offsets, outcome })
}

fn stands_at(offset: u64) -> Option<Groups> {
    Some([("billing".to_owned(), [(place(0), offset)].into())].into())
}

fn commits(told: &[(String, Fact)]) -> Vec<(&str, u64)> {
    let commits = told.iter().filter_map(|(process, fact)| match fact {
        Fact::Committed(commit) if commit.exact => Some((process.as_str(), commit.offset)),
        _ => None,
    });
    commits.collect()
}

fn errors(told: &[(String, Fact)]) -> Vec<&str> {
    let errors = told
        .iter()
        .filter(|(_, fact)| matches!(fact, Fact::Note { level, .. } if level == "error"));
    errors.map(|(process, _)| process.as_str()).collect()
}

#[test]
fn commits_are_the_record_where_the_broker_keeps_none_and_else_tell_when_they_were_asked_for() {
    let taken = || vec![commit(5, Outcome::Taken), commit(9, Outcome::Taken)];
    let exact = told(true, taken(), stands_at(9));
    assert_eq!(commits(&exact), [(COMMITS, 5), (COMMITS, 9)]);
    assert!(errors(&exact).is_empty());
    let beside = told(false, taken(), None);
    let attempts = beside.iter().map(|(process, fact)| match fact {
        Fact::CommitAttempt(attempt) => (process.as_str(), attempt.offset, attempt.taken),
        other => panic!("{other:?}"),
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [(PROCESS, 5, true), (PROCESS, 9, true)]);
}

#[test]
fn a_refused_commit_is_an_attempt() {
    let told = told(true, vec![commit(5, Outcome::Refused(22))], Some(Groups::new()));
    let [(_, Fact::CommitAttempt(attempt))] = &told[..] else { panic!("{told:?}") };
    assert_eq!(attempt.refused.as_deref(), Some("ILLEGAL_GENERATION"));
}

#[test]
fn an_unanswered_commit_counts_if_the_group_is_found_there() {
    let unanswered = || vec![commit(5, Outcome::Taken), commit(9, Outcome::Unanswered)];
    let held = told(true, unanswered(), stands_at(9));
    assert_eq!(commits(&held), [(COMMITS, 5), (COMMITS_FOUND, 9)]);
    let not_held = told(true, unanswered(), stands_at(5));
    assert_eq!(commits(&not_held), [(COMMITS, 5)]);
    assert!(errors(&held).is_empty() && errors(&not_held).is_empty());
    // A later member was told so, and the last word is newer.
    let mut followed = unanswered();
    followed.push(seen(What::Positions(vec![(place(0), Some(9))])));
    followed.push(commit(12, Outcome::Taken));
    let held = told(true, followed, stands_at(12));
    assert_eq!(commits(&held), [(COMMITS, 5), (COMMITS, 12), (COMMITS_FOUND, 9)]);
}

#[test]
fn an_offset_that_nobody_was_seen_to_commit_makes_the_record_doubtful() {
    let hidden = told(true, vec![commit(5, Outcome::Taken)], stands_at(7));
    assert_eq!(errors(&hidden), [COMMITS]);
    let moved = vec![seen(What::Positions(vec![(place(0), Some(3))]))];
    assert_eq!(errors(&told(true, moved, Some(Groups::new()))), [COMMITS]);
}

#[test]
fn what_cannot_be_followed_is_a_doubt_about_what_hangs_on_it_said_once() {
    let unread = |request| seen(What::Unread { request, version: 11 });
    let lost = || seen(What::Lost { why: "TLS" });
    let fetches = told(false, vec![unread("OffsetFetch"), unread("OffsetFetch")], None);
    assert_eq!(errors(&fetches), [PROCESS]);
    let commits = vec![unread("OffsetCommit")];
    assert_eq!(errors(&told(true, commits.clone(), None)), [COMMITS]);
    assert!(errors(&told(false, commits, None)).is_empty());
    assert_eq!(errors(&told(false, vec![lost(), lost()], None)), [PROCESS]);
    assert!(errors(&told(true, vec![unread("Heartbeat")], None)).is_empty());
}

#[test]
fn groups_and_topics_that_are_not_under_test_are_left_out() {
    let mut other = seen(What::Positions(vec![(place(0), Some(3))]));
    other.group = "another".to_owned();
    let elsewhere = seen(What::Positions(vec![(("payments".to_owned(), 0), Some(3))]));
    assert!(told(true, vec![other, elsewhere], Some(Groups::new())).is_empty());
}

#[test]
fn positions_and_membership_are_told_of_the_client_by_its_id() {
    let (id, generation) = ("m".to_owned(), 4);
    let members = Some(vec!["m".to_owned(), "n".to_owned()]);
    let all = vec![
        seen(What::Joined { id: id.clone(), generation, members }),
        seen(What::Owns { id: id.clone(), generation, places: vec![place(0), place(2)] }),
        seen(What::Positions(vec![(place(0), Some(5)), (place(2), None)])),
        seen(What::Refused { request: "Heartbeat", id: id.clone(), error: 25 }),
        seen(What::Left { ids: vec![id] }),
    ];
    let last = Some([("billing".to_owned(), BTreeMap::new())].into());
    let told = told(false, all, last);
    let mut steps = Vec::new();
    let mut positions = Vec::new();
    for (process, fact) in &told {
        match fact {
            Fact::Membership(step) => steps.push(step.change),
            Fact::Position(position) => {
                positions.push((position.member.as_str(), position.partition, position.offset));
            }
            Fact::Note { .. } => {}
            other => panic!("{process}: {other:?}"),
        }
    }
    use MembershipChange::{Joined, Left, Owns, Refused};
    assert_eq!(steps, [Joined, Owns, Refused, Left]);
    assert_eq!(positions, [("consumer-1", 0, Some(5)), ("consumer-1", 2, None)]);
}
