//! One connection whose answers may be altered. It reads both directions and says what passes on.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use tokio::sync::watch;

use super::answers::{self, Asked, Change, Told};
use super::cutter::{Cut, Cutter};
use super::errors::NONE;
use super::{FRAME_BYTES_MAX, Reply, Rule, Rules};
use streamlake_history::event::AlteredAnswer;

/// Of a request: key, version, correlation id.
const REQUEST_HEAD_BYTES: usize = 8;
/// Of an answer: correlation id.
const ANSWER_HEAD_BYTES: usize = 4;
/// Enough of the beginning of a producer's request to see which acknowledgements it wants.
const PEEK_BYTES: usize = 512;
/// A connection with more requests under way is not followed: nobody answers them.
const UNDER_WAY_MAX: usize = 10_000;

/// Bytes for the client, and what a look at the broker's answers is to see instead of them: what the broker
/// holds, where the client is told something else.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Piece {
    pub(in super::super) pass: Bytes,
    pub(in super::super) seen: Option<Bytes>,
}

impl Piece {
    fn as_it_is(pass: Bytes) -> Self {
        Self { pass, seen: None }
    }
}

/// A request that a rule took.
#[derive(Debug)]
struct Chosen {
    id: u64,
    rule: Rule,
    asked: Asked,
}

/// What the client is owed, in the order in which it asked.
#[derive(Debug)]
enum Owed {
    /// An answer of the part, as it comes.
    Answer { correlation: i32, key: i16 },
    /// An answer of the part, in which brokers are elsewhere.
    Moved(Box<Asked>),
    /// An answer of the part, of which something else is made.
    Altered(Box<Chosen>),
    /// Something that the part knows nothing of.
    Made(Box<Chosen>),
}

/// A connection, followed in both directions.
#[derive(Debug)]
pub(in super::super) struct Altering {
    rules: Rules,
    link: Arc<str>,
    requests: Cutter,
    answers: Cutter,
    /// Head of the request that passes.
    passing: Option<(i16, i32)>,
    owed: VecDeque<Owed>,
    /// Of those, how many are not answers as they come.
    special: usize,
    /// The answer that is being read.
    current: Option<Owed>,
    /// By this rule the client hears nothing any more.
    silenced: Option<u64>,
    /// The connection ends when all that was passed on is written.
    cut: bool,
    /// It cannot be followed.
    lost: bool,
}

impl Altering {
    pub(in super::super) fn new(link: Arc<str>, rules: Rules) -> Self {
        Self {
            rules,
            link,
            requests: Cutter::with_heads_of(REQUEST_HEAD_BYTES),
            answers: Cutter::with_heads_of(ANSWER_HEAD_BYTES),
            passing: None,
            owed: VecDeque::new(),
            special: 0,
            current: None,
            silenced: None,
            cut: false,
            lost: false,
        }
    }

    /// Says when a rule was taken back.
    pub(in super::super) fn taken_back(&self) -> watch::Receiver<u64> {
        self.rules.taken_back()
    }

    /// A rule that left this connection without an answer was taken back.
    pub(in super::super) fn is_stranded(&self) -> bool {
        self.silenced.is_some_and(|id| !self.rules.is_armed(id))
    }

    /// The connection ends once everything is written.
    pub(in super::super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// The client sent these bytes: what of them, and of those before, goes on to the part.
    pub(in super::super) fn pass_request(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        let about = self.rules.any();
        if self.lost || (!about && self.requests.holds_nothing()) {
            let whole = bytes.clone();
            self.follow_requests(&mut bytes, false);
            return vec![whole];
        }
        self.follow_requests(&mut bytes, about)
    }

    fn follow_requests(&mut self, bytes: &mut Bytes, hold: bool) -> Vec<Bytes> {
        let mut passes = Vec::new();
        while !self.lost
            && let Some(cut) = self.requests.step(bytes, hold)
        {
            match cut {
                Cut::Head => self.request_begins(),
                Cut::Pass(piece) => passes.push(piece),
                Cut::End(beginning) => self.request_passed(&beginning),
                Cut::Whole(frame) => {
                    if self.request(&frame) {
                        passes.push(frame);
                    }
                }
                Cut::Broken(held) => {
                    self.lost = true;
                    passes.push(held);
                }
            }
        }
        passes.push(std::mem::take(bytes));
        passes.retain(|piece| !piece.is_empty());
        passes
    }

    fn request_begins(&mut self) {
        let head = self.requests.head();
        let key = head.first_chunk().map_or(-1, |key| i16::from_be_bytes(*key));
        let correlation = head.last_chunk().map_or(0, |id| i32::from_be_bytes(*id));
        self.passing = Some((key, correlation));
        if self.rules.about(key) {
            match self.requests.size() <= FRAME_BYTES_MAX {
                true if self.requests.keep() => return,
                true => {}
                false => self.rules.spare_all(key, "request is too large to be looked at"),
            }
        }
        if key == ApiKey::Produce as i16 {
            self.requests.peek(PEEK_BYTES);
        }
    }

    fn request_passed(&mut self, beginning: &Bytes) {
        let Some((key, correlation)) = self.passing.take() else { return };
        let wants_none =
            key == ApiKey::Produce as i16 && answers::acks_none(beginning) == Some(true);
        if !wants_none {
            self.owe(Owed::Answer { correlation, key });
        }
    }

    /// Whether a request that was held goes on to the part.
    fn request(&mut self, frame: &Bytes) -> bool {
        self.passing = None;
        let Some(asked) = Asked::read(frame) else {
            self.lost = true;
            return true;
        };
        let (key, correlation) = (asked.key, asked.correlation);
        let Some((id, rule)) = self.rules.choose(&asked) else {
            if self.rules.addresses.are_told_by(key) {
                self.owe(Owed::Moved(Box::new(asked)));
            } else if !asked.wants_none() {
                self.owe(Owed::Answer { correlation, key });
            }
            return true;
        };
        if asked.wants_none() {
            self.rules.spare(id, "its sender wants no answer".to_owned());
            return true;
        }
        let applied = rule.applied;
        let makes = matches!(rule.reply, Reply::Error { .. }) && !applied;
        if makes && let Err(why) = asked.made(told(&rule)) {
            self.rules.spare(id, why);
            self.owe(Owed::Answer { correlation, key });
            return true;
        }
        let chosen = Box::new(Chosen { id, rule, asked });
        self.owe(if applied { Owed::Altered(chosen) } else { Owed::Made(chosen) });
        applied
    }

    fn owe(&mut self, owed: Owed) {
        self.special += usize::from(!matches!(owed, Owed::Answer { .. }));
        self.owed.push_back(owed);
        self.lost |= self.owed.len() > UNDER_WAY_MAX;
    }

    fn settle(&mut self) -> Option<Owed> {
        let owed = self.owed.pop_front()?;
        self.special -= usize::from(!matches!(owed, Owed::Answer { .. }));
        Some(owed)
    }

    /// Answers of which the part knows nothing and for which nothing is to be awaited.
    pub(in super::super) fn ready(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while self.is_ready() {
            let Some(Owed::Made(chosen)) = self.settle() else { break };
            let made = match chosen.rule.reply {
                Reply::Error { .. } => chosen.asked.made(told(&chosen.rule)).ok(),
                _ => None,
            };
            let (frame, changes) = made.unwrap_or_default();
            pieces.extend(self.reply(&chosen, None, frame, changes));
        }
        pieces
    }

    /// Answers are ready that the other direction has made.
    pub(in super::super) fn is_ready(&self) -> bool {
        // An answer that is being passed on comes first.
        let free = self.current.is_none() && !self.answers.is_inside();
        free && matches!(self.owed.front(), Some(Owed::Made(_)))
    }

    /// The part sent these bytes: what of them, and of those before, goes on to the client.
    pub(in super::super) fn pass_answer(&mut self, mut bytes: Bytes) -> Vec<Piece> {
        let plain = self.special == 0 && self.silenced.is_none() && !self.cut;
        if self.lost || (plain && self.answers.holds_nothing() && !self.is_altering()) {
            let whole = bytes.clone();
            self.follow_answers(&mut bytes, false);
            return vec![Piece::as_it_is(whole)];
        }
        self.follow_answers(&mut bytes, true)
    }

    fn is_altering(&self) -> bool {
        matches!(self.current, Some(Owed::Altered(_) | Owed::Moved(_)))
    }

    fn follow_answers(&mut self, bytes: &mut Bytes, hold: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while !self.lost
            && let Some(cut) = self.answers.step(bytes, hold)
        {
            match cut {
                Cut::Head => pieces.extend(self.answer_begins()),
                Cut::Pass(piece) => self.pass(&mut pieces, piece),
                Cut::End(_) => {
                    self.current = None;
                    pieces.extend(self.ready());
                }
                Cut::Whole(frame) => {
                    match self.current.take() {
                        Some(Owed::Moved(asked)) => {
                            let frame = self.moved(&asked, frame);
                            self.silently(&mut pieces, frame);
                        }
                        Some(Owed::Altered(chosen)) => {
                            let frame = self.moved(&chosen.asked, frame);
                            pieces.extend(self.alter(&chosen, frame));
                        }
                        _ => self.silently(&mut pieces, frame),
                    }
                    pieces.extend(self.ready());
                }
                Cut::Broken(held) => {
                    self.lost = true;
                    self.pass(&mut pieces, held);
                }
            }
        }
        let rest = std::mem::take(bytes);
        self.pass(&mut pieces, rest);
        pieces
    }

    fn pass(&self, pieces: &mut Vec<Piece>, bytes: Bytes) {
        if !bytes.is_empty() && self.silenced.is_none() && !self.cut {
            pieces.push(Piece::as_it_is(bytes));
        }
    }

    /// An answer that the client does not get. What the broker holds by it is seen all the same.
    fn silently(&self, pieces: &mut Vec<Piece>, frame: Bytes) {
        if self.silenced.is_some() || self.cut {
            pieces.push(Piece { pass: Bytes::new(), seen: Some(frame) });
        } else {
            pieces.push(Piece::as_it_is(frame));
        }
    }

    fn answer_begins(&mut self) -> Vec<Piece> {
        let head = self.answers.head().first_chunk();
        let correlation = head.map_or(0, |id| i32::from_be_bytes(*id));
        let is_it = |owed: &Owed| match owed {
            Owed::Answer { correlation: id, .. } => *id == correlation,
            Owed::Moved(asked) => asked.correlation == correlation,
            Owed::Altered(chosen) => chosen.asked.correlation == correlation,
            Owed::Made(_) => false,
        };
        let mut pieces = Vec::new();
        if !self.owed.iter().any(is_it) {
            return pieces;
        }
        // What is owed before it and was not answered never will be: answers come in order.
        loop {
            pieces.extend(self.ready());
            if matches!(self.owed.front(), Some(Owed::Made(_))) {
                break;
            }
            match self.settle() {
                Some(owed) if is_it(&owed) => {
                    self.current = Some(owed);
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
        let held = match &self.current {
            Some(Owed::Altered(_) | Owed::Moved(_)) => true,
            // Commits are told to who looks on, whatever the client hears.
            Some(Owed::Answer { key, .. }) => {
                (self.silenced.is_some() || self.cut) && *key == ApiKey::OffsetCommit as i16
            }
            _ => false,
        };
        if held {
            let small = self.answers.size() <= FRAME_BYTES_MAX;
            if !(small && self.answers.keep()) {
                match self.current.take() {
                    Some(Owed::Altered(chosen)) => {
                        self.rules.spare(chosen.id, "answer is too large to be altered".to_owned());
                    }
                    Some(Owed::Moved(_)) => self.rules.addresses.count_untouched(),
                    _ => {}
                }
            }
        }
        pieces
    }

    /// The answer with the addresses of the proxies, if it tells any.
    fn moved(&self, asked: &Asked, frame: Bytes) -> Bytes {
        if !self.rules.addresses.are_told_by(asked.key) {
            return frame;
        }
        asked.moved(&frame, &self.rules.addresses).unwrap_or_else(|| {
            self.rules.addresses.count_untouched();
            frame
        })
    }

    fn alter(&mut self, chosen: &Chosen, frame: Bytes) -> Vec<Piece> {
        if self.silenced.is_some() || self.cut || !self.rules.is_armed(chosen.id) {
            let mut pieces = Vec::new();
            self.silently(&mut pieces, frame);
            return pieces;
        }
        let Reply::Error { .. } = chosen.rule.reply else {
            // An answer that is not understood is withheld all the same.
            let changes = chosen.asked.said(&frame, chosen.rule.partition);
            return self.reply(chosen, Some(frame.clone()), frame, changes).into_iter().collect();
        };
        match chosen.asked.altered(&frame, told(&chosen.rule)) {
            Ok((altered, changes)) => {
                self.reply(chosen, Some(frame), altered, changes).into_iter().collect()
            }
            Err(why) => {
                self.rules.spare(chosen.id, why);
                vec![Piece::as_it_is(frame)]
            }
        }
    }

    /// What a client gets whose request was chosen. `told` is the answer of the part, if it gave one.
    fn reply(
        &mut self,
        chosen: &Chosen,
        told: Option<Bytes>,
        frame: Bytes,
        changes: Vec<Change>,
    ) -> Option<Piece> {
        if self.silenced.is_some() || self.cut {
            return None;
        }
        // The broker's word is the truth of commits; of all else counts what the client was told.
        let truth = told.filter(|_| chosen.asked.key == ApiKey::OffsetCommit as i16);
        let pass = match chosen.rule.reply {
            Reply::Error { .. } => frame,
            Reply::Nothing => {
                self.silenced = Some(chosen.id);
                Bytes::new()
            }
            Reply::Half => {
                self.cut = true;
                match frame.len() / 2 {
                    0 => chosen.asked.begun(),
                    half => frame.slice(..half),
                }
            }
        };
        self.rules.count(chosen.id, self.rows(chosen, &changes));
        let seen = match (truth, pass.is_empty()) {
            (Some(truth), _) => Some(truth),
            // Nothing passes, so nothing is seen.
            (None, true) => return None,
            (None, false) => None,
        };
        Some(Piece { pass, seen })
    }

    fn rows(&self, chosen: &Chosen, changes: &[Change]) -> Vec<AlteredAnswer> {
        let rule = &chosen.rule;
        let row = |partition: Option<i32>, was: Option<i16>, told: Option<i16>| AlteredAnswer {
            api: chosen.asked.name(),
            version: chosen.asked.version,
            client: chosen.asked.client.clone(),
            link: self.link.to_string(),
            partition: partition.and_then(|partition| u32::try_from(partition).ok()),
            was,
            told,
            throttle_ms: match rule.reply {
                Reply::Error { throttle_ms, .. } => u64::try_from(throttle_ms).unwrap_or(0),
                _ => 0,
            },
            count: 0,
        };
        let answered = matches!(rule.reply, Reply::Error { .. });
        let mut rows: Vec<_> = changes
            .iter()
            .map(|change| {
                let was = rule.applied.then_some(change.was);
                row(change.partition, was, answered.then_some(change.told))
            })
            .collect();
        if rows.is_empty() {
            rows.push(row(rule.partition, None, None));
        }
        rows.dedup();
        rows
    }

    /// What the client's side held when it ended.
    pub(in super::super) fn rest_of_client(&mut self) -> Bytes {
        self.requests.rest()
    }

    /// What the part's side held when it ended.
    pub(in super::super) fn rest_of_part(&mut self) -> Bytes {
        let rest = self.answers.rest();
        if self.silenced.is_some() || self.cut { Bytes::new() } else { rest }
    }
}

fn told(rule: &Rule) -> Told {
    match rule.reply {
        Reply::Error { error, throttle_ms } => {
            Told { error, throttle_ms, partition: rule.partition }
        }
        Reply::Nothing | Reply::Half => {
            Told { error: NONE, throttle_ms: 0, partition: rule.partition }
        }
    }
}
