//! When the database began to send its log to a slot's reader, from the database's own log of what it
//! does. Each start is three messages of one process: that it starts, from where, and by which command.

use chrono::{DateTime, NaiveDateTime};

use streamlake_history::Recorder;
use streamlake_history::event::{CaptureStart, Lsn};

const STARTS: &str = "LOG:  starting logical decoding for slot \"";
const FROM: &str = "DETAIL:  Streaming transactions committing after ";
const COMMAND: &str = "STATEMENT:  START_REPLICATION SLOT ";

/// The starts of a slot's senders among the lines of the database's log, as `%m [%p]` begins them.
pub(super) fn of(lines: &[String], slot: &str, recorder: &Recorder) -> Vec<CaptureStart> {
    let mut starts: Vec<CaptureStart> = Vec::new();
    let messages = lines.iter().filter_map(|line| message(line));
    let mut begun: Option<(i64, u32)> = None;
    for (at_us, pid, text) in messages {
        let named = text.strip_prefix(STARTS).and_then(|rest| rest.strip_suffix('"'));
        if let Some(name) = named {
            begun = (name == slot).then_some((at_us, pid));
        } else if let Some(rest) = text.strip_prefix(FROM)
            && let Some((at_us, _)) = begun.take_if(|(_, by)| *by == pid)
            && let Some(from) = rest.split(',').next().and_then(|lsn| lsn.parse().ok())
        {
            let at_us = recorder.run_us_of_wall_us(at_us);
            starts.push(CaptureStart { slot: slot.to_owned(), pid, at_us, asked: None, from });
        } else if let Some(rest) = text.strip_prefix(COMMAND)
            && let Some(last) = starts.last_mut().filter(|last| last.pid == pid)
        {
            // The message tells what is confirmed; the database begins at what was asked for, if that
            // lies further on.
            last.asked = asked(rest);
            last.from = last.from.max(last.asked.unwrap_or(last.from));
        }
    }
    starts
}

/// `2026-11-25 21:07:08.814 UTC [64] LOG:  …`
fn message(line: &str) -> Option<(i64, u32, &str)> {
    let (at, rest) = line.split_once(" [")?;
    let (pid, text) = rest.split_once("] ")?;
    let at = at.strip_suffix(" UTC").or_else(|| at.strip_suffix(" GMT"));
    let at = match at {
        Some(at) => NaiveDateTime::parse_from_str(at, "%Y-%m-%d %H:%M:%S%.f").ok()?.and_utc(),
        None => DateTime::parse_from_str(line.split(" [").next()?, "%Y-%m-%d %H:%M:%S%.f %#z")
            .ok()?
            .to_utc(),
    };
    Some((at.timestamp_micros(), pid.parse().ok()?, text))
}

/// `"debezium" LOGICAL 0/196E558 ("proto_version" …`
fn asked(command: &str) -> Option<Lsn> {
    let (_, rest) = command.split_once("LOGICAL ")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use streamlake_history::sample::header;

    #[test]
    fn starts_of_the_slot_are_found_with_their_positions() {
        let lines = [
            "2036-11-25 21:08:07.693 UTC [85] LOG:  starting logical decoding for slot \"debezium\"",
            "2036-11-25 21:08:07.693 UTC [85] DETAIL:  Streaming transactions committing after 0/19B8640, reading WAL from 0/19B7870.",
            "2036-11-25 21:08:07.693 UTC [85] STATEMENT:  START_REPLICATION SLOT \"debezium\" LOGICAL 0/19B8660 (\"proto_version\" '1')",
            "2036-11-25 21:08:07.694 UTC [85] LOG:  logical decoding found consistent point at 0/19B7870",
            "2036-11-25 21:08:08.205 UTC [73] LOG:  starting logical decoding for slot \"streamlake_harness\"",
            "2036-11-25 21:08:08.205 UTC [73] DETAIL:  Streaming transactions committing after 0/196CC68, reading WAL from 0/196CC30.",
            "2036-11-25 21:08:09.796 UTC [87] LOG:  starting logical decoding for slot \"debezium\"",
            "2036-11-25 21:08:09.796 UTC [87] DETAIL:  Streaming transactions committing after 0/19B8650, reading WAL from 0/19B7A38.",
        ]
        .map(str::to_owned);
        let recorder = Recorder::start(Vec::new(), header(0, 1)).unwrap();
        let starts = of(&lines, "debezium", &recorder);
        let told: Vec<_> = starts.iter().map(|s| (s.pid, s.asked, s.from)).collect();
        assert_eq!(
            told,
            [(85, Some(Lsn(0x019B_8660)), Lsn(0x019B_8660)), (87, None, Lsn(0x019B_8650))]
        );
        let at = "2036-11-25T21:08:07.693Z".parse::<DateTime<chrono::Utc>>().unwrap();
        assert_eq!(starts[0].at_us, recorder.run_us_of_wall_us(at.timestamp_micros()));
        assert!(starts[1].at_us > starts[0].at_us);
    }
}
