//! Drives the producer's process: payloads in at their instants, receipts out, both recorded.
//!
//! The load is open: an operation is invoked when it is due, whatever became of the ones before it,
//! until the producer stops reading. An operation is recorded as invoked *before* its payload is
//! handed over, so that nothing can be in the log without having been invoked.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::adapter::streamlake::lines;
use crate::progress::Progress;
use crate::workload::WorkloadPlan;
use crate::workload::reserve::Reserve;
use streamlake_history::Recorder;
use streamlake_history::event::{Blob, Fact, Invoked, Outcome, Print, Unreadable};

/// A write that was begun when the load is stopped is given this time to end: half a line would be an
/// operation that nobody invoked.
const LAST_WRITE_WITHIN: Duration = Duration::from_secs(2);

/// What a load is fed to, and how long that may take.
pub(crate) struct Feeding<'a> {
    /// Name of the producer.
    pub name: &'a str,
    /// A producer that takes nothing for as long as this has stopped for good.
    pub stall_within: Duration,
    /// Where invocations go.
    pub recorder: &'a Recorder,
    /// Counters.
    pub progress: &'a Arc<Progress>,
    /// What is held back until the faults have begun.
    pub reserve: Reserve,
    /// Its input is as files are; else it is one line after the other, each with an end.
    pub as_file: bool,
    /// Ends the load early.
    pub stop: &'a CancellationToken,
}

impl Feeding<'_> {
    /// Feeds the load to a producer's standard input, and hands that back, still open, after the last
    /// operation.
    ///
    /// # Errors
    /// When the producer does not take it any more.
    pub(crate) async fn feed(
        &self,
        plan: &WorkloadPlan,
        mut input: ChildStdin,
    ) -> std::io::Result<ChildStdin> {
        let mut begin = Instant::now();
        let mut counts = self.progress.watch();
        let mut held = 0_u64;
        for operation in plan.operations() {
            let due = async {
                tokio::time::sleep_until(begin + operation.due).await;
                self.reserve.hold(operation.op, &mut counts).await
            };
            tokio::select! {
                waited = due => if waited {
                    held += 1;
                    // What comes after it keeps its distance.
                    begin = begin.max(Instant::now() - operation.due);
                },
                () = self.stop.cancelled() => break,
            }
            let mut line = lines::input(plan, &operation);
            match self.as_file {
                true => line = file_line(line, operation.op, plan.operations),
                false => line.push(b'\n'),
            }
            self.recorder.record(
                self.name,
                Fact::Invoked(Invoked {
                    op: operation.op,
                    topic: plan.topic.clone(),
                    key: Some(Blob(operation.key)),
                    value: Print::of(&operation.payload),
                    bytes: operation.payload.len() as u64,
                    poison: operation.poison,
                    key_beside: operation.key_beside,
                    header_list: None,
                }),
            );
            self.progress.invoked(operation.op + 1);
            self.hand_over(&mut input, &line).await?;
        }
        if held > 0 {
            let text = format!(
                "{held} of the load's last operations were sent slowly, until every fault had begun"
            );
            self.recorder.record(self.name, Fact::Note { level: "info".to_owned(), text });
        }
        Ok(input)
    }

    async fn hand_over(&self, input: &mut ChildStdin, line: &[u8]) -> std::io::Result<()> {
        let write = async {
            input.write_all(line).await?;
            input.flush().await
        };
        let given_up = async {
            tokio::select! {
                () = tokio::time::sleep(self.stall_within) => {}
                () = self.stop.cancelled() => tokio::time::sleep(LAST_WRITE_WITHIN).await,
            }
        };
        tokio::select! {
            written = write => written,
            () = given_up => Err(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("it took nothing for {:?}", self.stall_within),
            )),
        }
    }
}

/// A line as files have it: some begin with a byte order mark, some of their lines end with a carriage
/// return, and the last one has no end. None of that belongs to a payload.
fn file_line(mut line: Vec<u8>, op: u64, operations: u64) -> Vec<u8> {
    if op == 0 {
        line.splice(..0, *b"\xef\xbb\xbf");
    }
    match op {
        last if last + 1 == operations => {}
        one if one % 16 == 7 => line.extend(b"\r\n"),
        _ => line.push(b'\n'),
    }
    line
}

/// Records receipts until the producer closes its output. Operations are numbered like input lines.
pub(crate) async fn receipts(
    name: &str,
    output: ChildStdout,
    recorder: &Recorder,
    progress: &Arc<Progress>,
) -> std::io::Result<()> {
    let mut output = BufReader::new(output).lines();
    while let Some(line) = output.next_line().await? {
        match lines::receipt(&line) {
            Ok(completed) => {
                if matches!(completed.outcome, Outcome::Acknowledged { .. }) {
                    progress.acknowledged();
                }
                progress.completed();
                recorder.record(name, Fact::Completed(completed));
            }
            // Its writer's fault, and no reason to look away from the rest.
            Err(why) => recorder.record(
                name,
                Fact::Unreadable(Unreadable {
                    of: name.to_owned(),
                    what: "receipt".to_owned(),
                    text: format!("{line:.200}"),
                    why,
                }),
            ),
        }
    }
    Ok(())
}

/// Reads what a producer prints that tells no receipts, and keeps none of it.
pub(crate) async fn words(mut output: ChildStdout) -> std::io::Result<()> {
    tokio::io::copy(&mut output, &mut tokio::io::sink()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_has_the_marks_of_a_file_and_the_last_line_no_end() {
        let line = |op| file_line(b"{}".to_vec(), op, 20);
        assert_eq!(line(0), b"\xef\xbb\xbf{}\n");
        assert_eq!((line(1), line(7)), (b"{}\n".to_vec(), b"{}\r\n".to_vec()));
        assert_eq!(line(19), b"{}");
    }
}
