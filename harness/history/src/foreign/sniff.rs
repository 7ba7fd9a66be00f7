//! What a file seems to be, by its first lines. The format that was asked for stands, unless the lines
//! are plainly of another: then they are read as that where its words cannot be taken for anything
//! else (a log read back, the broker's commits), and refused with its name otherwise.

use super::{Format, Role};

/// Bytes that are looked at.
const HEAD_BYTES: usize = 16 << 10;

/// Events of Kafka's verifiable clients.
const EVENTS: [&str; 8] = [
    "startup_complete",
    "producer_send_",
    "record_data",
    "records_consumed",
    "offsets_committed",
    "partitions_",
    "shutdown_complete",
    "tool_data",
];

/// What `plain` lines tell.
const TOLD: [&str; 14] = [
    "send",
    "sent",
    "txn",
    "log",
    "log_end",
    "read",
    "commit",
    "assign",
    "seek",
    "reset",
    "stored",
    "dead_letter",
    "group",
    "process_state",
];

enum Seems {
    Known(Format),
    /// Something else, with a word on what to do about it.
    Other(&'static str),
    Nothing,
}

/// The format of a file that begins so.
pub(super) fn format(head: &[u8], asked: Format, role: Role) -> Result<Format, String> {
    let seems = match seems(head) {
        Seems::Known(format) => format,
        Seems::Other(what) => return Err(format!("this seems to be {what}")),
        Seems::Nothing => return Ok(asked),
    };
    let helper = matches!(seems, Format::DumpLog | Format::Offsets);
    if seems == asked || helper || role != Role::UnderTest {
        return Ok(seems);
    }
    let (seems, asked) = (seems.name(), asked.name());
    Err(format!("this seems to be of the format {seems}, not {asked}: use --from {seems}"))
}

fn seems(head: &[u8]) -> Seems {
    let head = String::from_utf8_lossy(&head[..head.len().min(HEAD_BYTES)]);
    // However it is quoted and wrapped.
    let bare: String = head.chars().filter(|c| !matches!(c, '\\' | ' ' | '\r')).collect();
    let begins = |line: &str| head.lines().any(|text| text.starts_with(line));
    let event = |name: &&str| bare.contains(&format!("\"name\":\"{name}"));
    let tells = |name: &&str| bare.contains(&format!("\"{name}\":{{"));
    let first = head.trim_start().chars().next();
    match () {
        () if bare.contains("\"format\":\"streamlake-history\"") => {
            Seems::Other("a history of this harness: check it without --from")
        }
        () if begins("baseOffset: ") || begins("Dumping ") => Seems::Known(Format::DumpLog),
        () if bare.contains("\"commitTimestamp\":")
            || bare.contains("::OffsetAndMetadata(")
            || bare.contains("\"protocolType\":") =>
        {
            Seems::Known(Format::Offsets)
        }
        () if EVENTS.iter().any(event) || bare.contains("\"tstype\":") => {
            Seems::Known(Format::Verifiable)
        }
        () if TOLD.iter().any(tells) => Seems::Known(Format::Plain),
        () if ["CreateTime:", "LogAppendTime:", "Partition:", "NO_TIMESTAMP"]
            .into_iter()
            .any(begins) =>
        {
            Seems::Other(
                "text of kafka-console-consumer, in which keys, headers and values cannot be told apart: \
                 use kafka-verifiable-consumer --verbose, kcat -J or kafka-dump-log --print-data-log",
            )
        }
        () if bare.contains("CURRENT-OFFSET") => Seems::Other(
            "a table of kafka-consumer-groups, which has no instants: use OffsetsMessageFormatter, as \
             HISTORY.md shows",
        ),
        () if first == Some('<') => Seems::Other("HTML or XML"),
        () if first == Some('[') && bare.starts_with("[{") => {
            Seems::Other("a JSON array: write one object a line, as `jq -c '.[]'` does")
        }
        () => Seems::Nothing,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_known_by_its_first_lines() {
        let of = |text: &str, asked, role| format(text.as_bytes(), asked, role);
        let (test, log) = (Role::UnderTest, Role::LogReader);
        let plain = "{\"t_ms\": 1, \"send\": {\"op\":0}}";
        let verifiable = "x INFO y\n{\"timestamp\":1,\"name\":\"startup_complete\"}";
        assert_eq!(of(plain, Format::Plain, test), Ok(Format::Plain));
        assert!(of(plain, Format::Verifiable, test).unwrap_err().contains("--from plain"));
        assert_eq!(of(plain, Format::Verifiable, log), Ok(Format::Plain));
        assert!(
            of(verifiable, Format::Plain, test).unwrap_err().contains("--from kafka-verifiable")
        );
        let wrapped = serde_json::json!({"log": format!("{verifiable}\n"), "stream": "stdout"});
        assert_eq!(of(&wrapped.to_string(), Format::Verifiable, test), Ok(Format::Verifiable));
        assert_eq!(of("Dumping /d/t-0/0.log\n", Format::Verifiable, log), Ok(Format::DumpLog));
        let commits = "{\"key\":{\"type\":1},\"value\":{\"data\":{\"commitTimestamp\":1}}}";
        assert_eq!(of(commits, Format::Plain, test), Ok(Format::Offsets));
        assert_eq!(of("nonsense", Format::Plain, test), Ok(Format::Plain));
        for (text, word) in [
            ("{\"format\":\"streamlake-history\",\"version\":2}", "without --from"),
            ("CreateTime:1\tk\tv", "kafka-console-consumer"),
            ("GROUP TOPIC PARTITION CURRENT-OFFSET", "kafka-consumer-groups"),
            ("[{\"a\":1}]", "jq -c"),
            ("<html>", "HTML"),
        ] {
            assert!(of(text, Format::Plain, test).unwrap_err().contains(word), "{text}");
        }
    }
}
