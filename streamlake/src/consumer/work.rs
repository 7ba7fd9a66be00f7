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
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// What keeps pieces of work from their end, by partition and first offset: the last failure of each.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<BTreeMap<(i32, i64), String>>);

impl Troubles {
    fn met(&self, unit: Unit, text: String) {
        self.lock().insert((unit.partition, unit.first_offset), text);
    }

    fn over(&self, unit: Unit) {
        self.lock().remove(&(unit.partition, unit.first_offset));
    }

    /// What the oldest work of a partition waits for.
    pub(super) fn of(&self, partition: i32) -> Option<String> {
        let troubles = self.lock();
        troubles
            .range((partition, i64::MIN)..=(partition, i64::MAX))
            .next()
            .map(|(_, text)| text.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(i32, i64), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands work to the runtime.
pub(super) struct Work {
    pub(super) runtime: Handle,
    pub(super) writer: Arc<PartWriter>,
    pub(super) compression: Compression,
    pub(super) dead_letters: Arc<DeadLetterWriter>,
    pub(super) events: Arc<Events>,
    pub(super) wake: Arc<Wake>,
    pub(super) troubles: Arc<Troubles>,
    pub(super) done: mpsc::Sender<Completion>,
}

impl Work {
    /// Stores a part.
    pub(super) fn store(&self, unit: Unit, part: SealedPart) {
        let (writer, events) = (Arc::clone(&self.writer), Arc::clone(&self.events));
        let dead_letters = Arc::clone(&self.dead_letters);
        let compression = self.compression;
        let troubles = Arc::clone(&self.troubles);
        self.spawn(async move {
            let part = match compressed(part, compression).await {
                Ok(part) => part,
                Err(err) => return Completion::Hopeless(err),
            };
            let outcome = writer.write(&part, |retry| {
                metrics::retried("part");
                troubles.met(
                    unit,
                    format!("the part of offset {}: {}", unit.first_offset, retry.error),
                );
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
            let outcome = outcome.await;
            troubles.over(unit);
            match outcome {
                Ok(written) => Completion::Stored { unit, part, written },
                Err(err) => Completion::Hopeless(err),
            }
        });
    }

    /// Writes a dead letter.
    pub(super) fn dead_letter(&self, unit: Unit, letter: DeadLetter) {
        let (writer, events) = (Arc::clone(&self.dead_letters), Arc::clone(&self.events));
        let troubles = Arc::clone(&self.troubles);
        self.spawn(async move {
            let on_retry = |error: &str, delay: std::time::Duration| {
                metrics::retried("dead_letter");
                troubles.met(unit, format!("the dead letter of offset {}: {error}", unit.first_offset));
                tracing::warn!(partition = unit.partition, offset = unit.first_offset, error,
                    "the dead letter is not written yet; trying again in {delay:?}");
                events.emit("retrying", json!({
                    "what": "dead_letter", "partition": unit.partition, "first_offset": unit.first_offset,
                    "delay_ms": delay.as_millis() as u64, "error": error,
                }));
            };
            crash::at(Point::BeforeLetter);
            let outcome = planted::write_letter(&writer, &letter, on_retry).await;
            troubles.over(unit);
            match outcome {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_trouble_of_a_partition_is_told_until_it_is_over() {
        let unit = |partition, first_offset| Unit { partition, epoch: 1, first_offset, bytes: 1 };
        let troubles = Troubles::default();
        for (partition, offset, text) in [(1, 7, "later"), (1, 3, "first"), (2, 1, "other")] {
            troubles.met(unit(partition, offset), text.into());
        }
        troubles.met(unit(1, 3), "first, again".into());
        assert_eq!(troubles.of(1).as_deref(), Some("first, again"));
        troubles.over(unit(1, 3));
        assert_eq!(troubles.of(1).as_deref(), Some("later"));
        troubles.over(unit(1, 7));
        assert_eq!((troubles.of(0), troubles.of(1)), (None, None));
    }
}
