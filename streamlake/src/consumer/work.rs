//! The work that leaves the polling thread: storing parts and writing dead letters. It runs on the
//! async runtime and comes back as completions, in any order.

use super::core::Unit;
use super::wake::Wake;
use crate::crash::{self, Point};
use crate::dead_letter::{DeadLetter, DeadLetterWriter, Position};
use crate::error::{Error, Result};
use crate::observe::events::Events;
use crate::observe::metrics;
use crate::planted;
use crate::raw_zone::buffer::SealedPart;
use crate::raw_zone::compression::Compression;
use crate::raw_zone::writer::{PartWriter, Written};
use serde_json::json;
use std::sync::Arc;
use std::sync::mpsc;
use tokio::runtime::Handle;

/// A piece of work that ended.
#[derive(Debug)]
pub(super) enum Completion {
    Stored {
        unit: Unit,
        part: SealedPart,
        written: Written,
    },
    DeadLettered {
        unit: Unit,
        position: Position,
    },
    /// It can never end well; the process must stop.
    Hopeless(Error),
}

/// Hands work to the runtime.
pub(super) struct Work {
    pub(super) runtime: Handle,
    pub(super) writer: Arc<PartWriter>,
    pub(super) compression: Compression,
    pub(super) dead_letters: Arc<DeadLetterWriter>,
    pub(super) events: Arc<Events>,
    pub(super) wake: Arc<Wake>,
    pub(super) done: mpsc::Sender<Completion>,
}

impl Work {
    /// Stores a part.
    pub(super) fn store(&self, unit: Unit, part: SealedPart) {
        let (writer, events) = (Arc::clone(&self.writer), Arc::clone(&self.events));
        let dead_letters = Arc::clone(&self.dead_letters);
        let compression = self.compression;
        self.spawn(async move {
            let part = match compressed(part, compression).await {
                Ok(part) => part,
                Err(err) => return Completion::Hopeless(err),
            };
            let outcome = writer.write(&part, |retry| {
                metrics::retried("part");
                tracing::warn!(topic = part.topic, partition = part.partition,
                    offset = part.span.first_offset, write_path = retry.doing,
                    attempts = retry.attempts, error = %retry.error,
                    "the part is not stored yet; trying again in {:?}", retry.delay);
                events.emit("retrying", json!({
                    "what": "part", "topic": part.topic, "partition": part.partition,
                    "first_offset": part.span.first_offset, "last_offset": part.span.last_offset,
                    "path": retry.doing, "attempts": retry.attempts,
                    "delay_ms": retry.delay.as_millis() as u64, "error": retry.error.to_string(),
                }));
            });
            let outcome = planted::store(&dead_letters, &writer, &part, outcome);
            match outcome.await {
                Ok(written) => Completion::Stored { unit, part, written },
                Err(err) => Completion::Hopeless(err),
            }
        });
    }

    /// Writes a dead letter.
    pub(super) fn dead_letter(&self, unit: Unit, letter: DeadLetter) {
        let (writer, events) = (Arc::clone(&self.dead_letters), Arc::clone(&self.events));
        self.spawn(async move {
            let on_retry = |error: &str, delay: std::time::Duration| {
                metrics::retried("dead_letter");
                tracing::warn!(partition = unit.partition, offset = unit.first_offset, error,
                    "the dead letter is not written yet; trying again in {delay:?}");
                events.emit("retrying", json!({
                    "what": "dead_letter", "partition": unit.partition, "first_offset": unit.first_offset,
                    "delay_ms": delay.as_millis() as u64, "error": error,
                }));
            };
            crash::at(Point::BeforeLetter);
            match planted::write_letter(&writer, &letter, on_retry).await {
                Ok(position) => {
                    crash::at(Point::AfterLetterAck);
                    Completion::DeadLettered { unit, position }
                }
                Err(err) => Completion::Hopeless(err),
            }
        });
    }

    fn spawn(&self, work: impl Future<Output = Completion> + Send + 'static) {
        let (done, wake) = (self.done.clone(), Arc::clone(&self.wake));
        self.runtime.spawn(async move {
            let completion = work.await;
            // The receiver is gone only when the process is on its way out.
            let _ = done.send(completion);
            wake.notify();
        });
    }
}

/// Compresses a part where it blocks nobody.
async fn compressed(part: SealedPart, compression: Compression) -> Result<SealedPart> {
    if compression == Compression::None {
        return Ok(part);
    }
    let part = planted::before_compression(part, compression);
    let work = tokio::task::spawn_blocking(move || part.compressed(compression));
    let done = work.await.unwrap_or_else(|err| Err(std::io::Error::other(err)));
    done.map(planted::after_compression).map_err(Error::io("compressing a part"))
}
