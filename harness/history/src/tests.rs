//! The history as a file: written, read back, and refused when something is wrong with it.
#![allow(clippy::unwrap_used)]

use super::event::{Event, Fact, Header};
use super::sample::Sample;
use super::{HistoryError, HistoryReader, Recorder};

fn read(bytes: &[u8]) -> Result<(Header, Vec<Event>), HistoryError> {
    let (header, events) = HistoryReader::open(bytes)?;
    Ok((header, events.collect::<Result<_, _>>()?))
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

fn file(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

#[test]
fn a_history_comes_back_as_it_was_written() {
    let sample = Sample::honest();
    let (header, events) = read(&sample.bytes().unwrap()).unwrap();
    assert_eq!((header, events), (sample.header.clone(), sample.events()));
}

#[test]
fn every_cut_is_noticed_and_a_cut_behind_the_header_is_called_one() {
    let bytes = Sample::honest().bytes().unwrap();
    let header_end = bytes.iter().position(|b| *b == b'\n').unwrap();
    for end in (0..bytes.len() - 1).step_by(97).chain(bytes.len() - 40..bytes.len() - 1) {
        let error = read(&bytes[..end]).unwrap_err();
        assert_eq!(error.is_truncated(), end >= header_end, "{end}: {error}");
    }
    // Without the very last line end everything is there.
    assert!(read(&bytes[..bytes.len() - 1]).is_ok());
}

#[test]
fn every_changed_byte_is_noticed() {
    let bytes = Sample::honest().bytes().unwrap();
    let begin = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    for at in (begin..bytes.len() - 1).step_by(211) {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 1;
        assert!(read(&spoiled).is_err(), "byte {at}");
    }
}

#[test]
fn lines_that_are_lost_doubled_or_moved_are_noticed() {
    let bytes = Sample::honest().bytes().unwrap();
    let whole = lines(&bytes);
    for n in (1..whole.len() - 1).step_by(7) {
        let mut lost = whole.clone();
        lost.remove(n);
        assert!(read(&file(&lost)).is_err());
        let mut doubled = whole.clone();
        doubled.insert(n, whole[n].clone());
        assert!(matches!(read(&file(&doubled)), Err(HistoryError::Sequence { .. })));
    }
    let mut tail = whole.clone();
    tail.push(whole[1].clone());
    assert!(matches!(read(&file(&tail)), Err(HistoryError::Corrupt { .. })));
}

#[test]
fn other_files_and_other_versions_are_refused_with_a_remedy() {
    let not = |bytes: &[u8]| read(bytes).unwrap_err();
    for bytes in
        [&b""[..], b"\n", b"hello\n", b"{}\n", b"{\"format\":\"x\",\"version\":1}\n", b"\xff\xfe\n"]
    {
        assert!(matches!(not(bytes), HistoryError::NotAHistory { .. }));
    }
    let mut text = lines(&Sample::honest().bytes().unwrap());
    text[0] = text[0].replace("\"version\":2,", "\"version\":3,");
    let error = not(&file(&text));
    assert!(matches!(error, HistoryError::Version { found: 3, .. }));
    assert!(error.to_string().contains("judge it with the harness that wrote it"));
}

#[test]
fn negative_offsets_and_unknown_facts_are_refused_with_their_line() {
    let whole = lines(&Sample::honest().bytes().unwrap());
    let at = whole.iter().position(|line| line.contains("\"logged\"")).unwrap();
    for (from, to) in [("\"offset\":", "\"offset\":-"), ("\"logged\"", "\"dreamt\"")] {
        let mut spoiled = whole.clone();
        spoiled[at] = spoiled[at].replacen(from, to, 1);
        let error = read(&file(&spoiled)).unwrap_err();
        assert!(
            matches!(error, HistoryError::Corrupt { line, .. } if line == at as u64 + 1),
            "{error}"
        );
    }
}

#[test]
fn a_recorder_numbers_and_stamps_what_many_threads_tell_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.ndjson");
    let out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let recorder = Recorder::start(out, Sample::empty(0, 1).header).unwrap();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let recorder = recorder.clone();
            scope.spawn(move || {
                for _ in 0..200 {
                    let fact = Fact::Phase { name: "load".to_owned() };
                    recorder.record(if n % 2 == 0 { "even" } else { "odd" }, fact);
                }
            });
        }
    });
    recorder.finish().unwrap();
    assert!(recorder.finish().is_err());
    let (header, events) = read(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(events.len(), 800);
    for process in ["even", "odd"] {
        let own: Vec<_> = events.iter().filter(|e| e.process == process).collect();
        assert!(own.windows(2).all(|w| w[0].seq + 1 == w[1].seq && w[0].t_us <= w[1].t_us));
    }
    let start = recorder.started_at();
    assert_eq!(
        chrono::DateTime::parse_from_rfc3339(&header.run.started_at).unwrap().timestamp_micros(),
        start.timestamp_micros()
    );
    assert_eq!(recorder.run_us_of_wall_us(start.timestamp_micros() + 1234), 1234);
    assert_eq!(recorder.run_us_of_wall_ms(0), 0);
}

#[test]
fn a_recorder_does_not_hide_that_its_medium_failed() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| std::io::Error::other("full"))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl super::Sink for Full {
        fn sync(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let recorder = Recorder::start(Full(2), Sample::empty(0, 1).header).unwrap();
    for _ in 0..3 {
        recorder.record("runner", Fact::Phase { name: "load".to_owned() });
    }
    assert!(recorder.finish().unwrap_err().to_string().contains("full"));
}
