//! One connection through the proxy: two directions, each a bounded queue between a reader and a
//! writer, both obeying the link as it is at that moment.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::alter::{Altering, Piece};
use super::wire::Follow;
use super::{Link, Shared, State, count, reset};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes held back in one direction of one connection; then the sender is no longer read.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Client or part, in order or by a reset that was passed on.
    ByEnds,
    /// The link, by a reset.
    ByLink,
}

/// Passes bytes both ways until an end closes or the link resets the connection.
pub(super) async fn both_ways(
    shared: &Shared,
    state: watch::Receiver<State>,
    mut client: TcpStream,
    mut part: TcpStream,
) -> Ended {
    let watching = shared.watched.clone().map(|watched| Watching {
        follow: Mutex::new(Follow::new(shared.name.clone(), watched.tap)),
        altering: Mutex::new(Altering::new(shared.name.clone(), watched.rules)),
        made: Notify::new(),
    });
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_part, to_part) = part.split();
        let tally = &shared.tally;
        let eye = |of| watching.as_ref().map(|watching| Eye { watching, of });
        let requests = Direction::new(&tally.bytes_to_part, None, eye(Side::Requests));
        let swallowed = Some(&tally.bytes_swallowed);
        let answers = Direction::new(&tally.bytes_to_clients, swallowed, eye(Side::Answers));
        tokio::try_join!(
            requests.run(from_client, to_part, state.clone(), &shared.tally.stalled),
            answers.run(from_part, to_client, state, &shared.tally.stalled),
        )
    };
    match ended {
        Ok(_) => Ended::ByEnds,
        Err(stop) => {
            if !matches!(stop, Stop::Cut) {
                reset(&client);
            }
            reset(&part);
            match stop {
                Stop::Link => Ended::ByLink,
                Stop::Cut | Stop::Broken(_) => Ended::ByEnds,
            }
        }
    }
}

/// Why a direction stopped before its end.
#[derive(Debug)]
enum Stop {
    Link,
    /// A rule ended it in the middle of an answer, which the client is to see.
    Cut,
    Broken(#[allow(dead_code, reason = "for the debug output")] io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Which direction.
#[derive(Debug, Clone, Copy)]
enum Side {
    Requests,
    Answers,
}

/// What is known of a connection to a part whose protocol is looked at.
struct Watching {
    follow: Mutex<Follow>,
    altering: Mutex<Altering>,
    /// An answer was made while requests were read.
    made: Notify,
}

/// Sees one direction pass, and says what passes. Both share what is known of the connection; they run in
/// one task, so neither ever waits for the other.
#[derive(Clone, Copy)]
struct Eye<'a> {
    watching: &'a Watching,
    of: Side,
}

impl Eye<'_> {
    fn follow(&self) -> MutexGuard<'_, Follow> {
        self.watching.follow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn altering(&self) -> MutexGuard<'_, Altering> {
        self.watching.altering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What of these bytes, and of those before, passes on.
    fn read(&self, bytes: Bytes) -> Vec<Bytes> {
        match self.of {
            Side::Requests => {
                let mut altering = self.altering();
                let passes = altering.pass_request(bytes);
                if altering.is_ready() {
                    self.watching.made.notify_one();
                }
                self.see_requests(&passes);
                passes
            }
            Side::Answers => {
                let pieces = self.altering().pass_answer(bytes);
                self.see_answers(pieces)
            }
        }
    }

    /// What is held when a direction ends.
    fn rest(&self) -> Vec<Bytes> {
        match self.of {
            Side::Requests => {
                let rest = vec![self.altering().rest_of_client()];
                self.see_requests(&rest);
                rest
            }
            Side::Answers => {
                let pass = self.altering().rest_of_part();
                self.see_answers(vec![Piece { pass, seen: None }])
            }
        }
    }

    fn see_requests(&self, passes: &[Bytes]) {
        let at = std::time::Instant::now();
        let mut follow = self.follow();
        passes.iter().for_each(|bytes| follow.read_from_client(bytes, at));
    }

    fn see_answers(&self, pieces: Vec<Piece>) -> Vec<Bytes> {
        let at = std::time::Instant::now();
        let mut follow = self.follow();
        let passes = pieces.into_iter().map(|Piece { pass, seen }| {
            match seen {
                Some(seen) => {
                    follow.read_from_part(&seen, at);
                    follow.passes_otherwise(seen.len(), pass.len());
                }
                None => follow.read_from_part(&pass, at),
            }
            pass
        });
        passes.collect()
    }

    /// Answers that were made while requests were read.
    async fn made(&self) -> Vec<Bytes> {
        match self.of {
            Side::Requests => std::future::pending().await,
            Side::Answers => self.watching.made.notified().await,
        }
        let pieces = self.altering().ready();
        self.see_answers(pieces)
    }

    fn passed(&self, bytes: usize) {
        match self.of {
            Side::Requests => self.follow().passed_to_part(bytes),
            Side::Answers => self.follow().passed_to_client(bytes),
        }
    }
}

struct Direction<'a> {
    passed: &'a AtomicU64,
    /// Where swallowed bytes are counted; `None` for the direction that is never swallowed.
    swallowed: Option<&'a AtomicU64>,
    eye: Option<Eye<'a>>,
    queue: VecDeque<(Instant, Bytes)>,
    queued_bytes: usize,
    /// Bytes, or the end, of this direction were swallowed.
    lost: bool,
    /// The sender has closed its side.
    ended: bool,
    /// Bytes waiting in a black hole were counted already.
    stall_counted: bool,
}

impl<'a> Direction<'a> {
    fn new(passed: &'a AtomicU64, swallowed: Option<&'a AtomicU64>, eye: Option<Eye<'a>>) -> Self {
        Self {
            passed,
            swallowed,
            eye,
            queue: VecDeque::new(),
            queued_bytes: 0,
            lost: false,
            ended: false,
            stall_counted: false,
        }
    }

    /// Every branch can be dropped half-way without losing a byte: reads and writes of tokio are
    /// cancel-safe, and what was read is queued before anything else is awaited.
    async fn run(
        mut self,
        reader: ReadHalf<'_>,
        mut writer: WriteHalf<'_>,
        mut state: watch::Receiver<State>,
        stalled: &AtomicU64,
    ) -> Result<(), Stop> {
        let resets_before = state.borrow().resets;
        let mut taken_back = self.eye.map(|eye| eye.altering().taken_back());
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        let mut first = [0];
        loop {
            let now = *state.borrow_and_update();
            if now.closed || now.resets != resets_before || self.must_reset(now.link) {
                return Err(Stop::Link);
            }
            let open = now.link != Link::BlackHole;
            self.swallow(now.link);
            if let Some(eye) = self.eye.filter(|eye| matches!(eye.of, Side::Answers)) {
                if eye.altering().is_stranded() {
                    return Err(Stop::Link);
                }
                if eye.altering().is_cut() && self.queue.is_empty() {
                    writer.shutdown().await?;
                    return Err(Stop::Cut);
                }
            }
            if self.ended && self.queue.is_empty() && open && !self.lost {
                writer.shutdown().await?;
                return Ok(());
            }
            let due = self.queue.front().map(|(due, _)| *due).filter(|_| open);
            let writable = due.is_some_and(|due| due <= Instant::now());
            let readable = open && !self.ended && self.queued_bytes < QUEUE_BYTES_MAX;
            tokio::select! {
                biased;
                // The sender outlives every connection.
                _ = state.changed() => {}
                () = changed(taken_back.as_mut()) => {}
                made = made(self.eye) => self.pass(made, now.link),
                written = write_front(&mut writer, &self.queue), if writable => {
                    self.written(written?);
                }
                read = read_some(&reader, &mut buffer), if readable => match read? {
                    0 => {
                        self.ended = true;
                        let rest = self.eye.map(|eye| eye.rest());
                        self.pass(rest.unwrap_or_default(), now.link);
                    }
                    _ => {
                        let bytes = buffer.split().freeze();
                        let passes = match self.eye {
                            Some(eye) => eye.read(bytes),
                            None => vec![bytes],
                        };
                        self.pass(passes, now.link);
                        buffer.reserve(CHUNK_BYTES);
                    }
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)),
                    if due.is_some() && !writable => {}
                waiting = reader.as_ref().peek(&mut first), if !open && !self.ended && !self.stall_counted => {
                    if waiting? > 0 {
                        count(stalled, 1);
                    }
                    self.stall_counted = true;
                }
            }
            self.stall_counted &= !open;
        }
    }

    /// Answers that were swallowed never come, so the connection is of no more use once others
    /// would be delivered after the hole.
    fn must_reset(&self, link: Link) -> bool {
        self.lost && !matches!(link, Link::SwallowAnswers | Link::BlackHole)
    }

    fn swallow(&mut self, link: Link) {
        let Some(swallowed) = self.swallowed.filter(|_| link == Link::SwallowAnswers) else {
            return;
        };
        count(swallowed, self.queued_bytes as u64);
        self.lost |= self.ended || !self.queue.is_empty();
        if let Some(eye) = self.eye.filter(|_| !self.queue.is_empty()) {
            eye.follow().swallowed();
        }
        self.queue.clear();
        self.queued_bytes = 0;
    }

    fn pass(&mut self, pieces: Vec<Bytes>, link: Link) {
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            self.queue(piece, link);
        }
    }

    fn queue(&mut self, bytes: Bytes, link: Link) {
        let delay = if let Link::Delay(by) = link { by } else { Duration::ZERO };
        // Never before what was read earlier, also when the delay became shorter.
        let due = Instant::now() + delay;
        let due = self.queue.back().map_or(due, |(earlier, _)| due.max(*earlier));
        self.queued_bytes += bytes.len();
        self.queue.push_back((due, bytes));
    }

    fn written(&mut self, bytes: usize) {
        count(self.passed, bytes as u64);
        if let Some(eye) = self.eye {
            eye.passed(bytes);
        }
        self.queued_bytes -= bytes;
        if let Some((_, front)) = self.queue.front_mut() {
            front.advance(bytes);
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
    }
}

/// Waits until a rule is taken back; for ever where there can be none.
async fn changed(taken_back: Option<&mut watch::Receiver<u64>>) {
    match taken_back.map(watch::Receiver::changed) {
        Some(changed) => {
            // The sender lives as long as the proxy.
            let _ = changed.await;
        }
        None => std::future::pending().await,
    }
}

/// Answers that were made beside those of the part.
async fn made(eye: Option<Eye<'_>>) -> Vec<Bytes> {
    match eye {
        Some(eye) => eye.made().await,
        None => std::future::pending().await,
    }
}

async fn write_front(
    writer: &mut WriteHalf<'_>,
    queue: &VecDeque<(Instant, Bytes)>,
) -> io::Result<usize> {
    match queue.front() {
        Some((_, front)) => match writer.write(front).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => Ok(written),
        },
        None => std::future::pending().await,
    }
}

/// Reads what is there. Borrows the reader only shared, so that it can be peeked at beside.
async fn read_some(reader: &ReadHalf<'_>, buffer: &mut BytesMut) -> io::Result<usize> {
    loop {
        reader.readable().await?;
        match reader.try_read_buf(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}
