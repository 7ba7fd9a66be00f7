//! Payloads of every shape go through with their bytes intact: into the raw zone or into the
//! dead-letter topic, none is lost, and the consumer lives.

#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use std::collections::BTreeMap;
use streamlake::config::KafkaSettings;
use streamlake::dead_letter::read;
use support::{Bed, order};

fn generated() -> impl Strategy<Value = Vec<u8>> {
    let text = |value: &'static str| Just(value.as_bytes().to_vec());
    let extra = prop_oneof![
        text("1e400"),
        text("-0"),
        text("123456789012345678901234567890.5"),
        text("\"\\ud800\""),
        text("{\"a\":1,\"a\":2}"),
        text("\"\u{2028}\""),
        text("[[[[[[]]]]]]"),
        text("\"\\u0000\""),
        any::<String>().prop_map(|text| serde_json::to_vec(&text).unwrap()),
        any::<f64>().prop_map(|number| serde_json::to_vec(&number).unwrap()),
    ];
    let valid = (any::<u16>(), extra, 0..5).prop_map(|(number, extra, layout)| {
        let mut event = order(number.into()).into_bytes();
        event.pop();
        event.extend_from_slice(b",\"extra\":");
        event.extend_from_slice(&extra);
        event.push(b'}');
        match layout {
            0 => [b"  ".as_slice(), &event, b" "].concat(),
            1 => event
                .iter()
                .flat_map(|b| if *b == b',' { b",\n\t".to_vec() } else { vec![*b] })
                .collect(),
            2 => [&event[..], b"\r\n"].concat(),
            3 => [b"\xef\xbb\xbf".as_slice(), &event].concat(),
            _ => event,
        }
    });
    prop_oneof![
        3 => valid.clone(),
        1 => (valid.clone(), any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
            let at = at.index(bytes.len());
            bytes.truncate(at);
            bytes
        }),
        1 => (valid, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..300),
    ]
}

#[test]
fn every_payload_arrives_with_its_bytes() {
    let bed = Bed::new(1);
    let mut runner = TestRunner::deterministic();
    let mut payloads: Vec<Vec<u8>> =
        (0..400).map(|_| generated().new_tree(&mut runner).unwrap().current()).collect();
    let nested =
        order(1).replace('}', &format!(",\"n\":{}{}}}", "[".repeat(3_000), "]".repeat(3_000)));
    let large = order(2).replace("C-2", &"x".repeat(900_000));
    payloads.extend([vec![], b"null".to_vec(), nested.into_bytes(), large.into_bytes()]);
    let lines: String = payloads
        .iter()
        .map(|payload| {
            json!({"value_base64": STANDARD.encode(payload), "key": "k"}).to_string() + "\n"
        })
        .collect();
    let (code, receipts) =
        bed.produce(lines.as_bytes(), &["--schema", "any", "--input", "envelope"]);
    assert_eq!((code, receipts.len()), (0, payloads.len()));
    let consumer = bed.consume(&["--batch-age", "100ms"]);
    consumer.wait_for_commit(0, payloads.len() as i64);
    consumer.signal("-TERM");
    assert_eq!(consumer.wait().0, Some(0));

    let mut found: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    let stored = bed.stored();
    let in_zone = stored.len();
    for ((_, offset), records) in stored {
        assert_eq!(records.len(), 1);
        found.insert(offset, records[0].value.clone().unwrap());
    }
    let settings = KafkaSettings {
        bootstrap_servers: bed.cluster.bootstrap_servers(),
        properties: BTreeMap::new(),
    };
    read::each(&settings, "streamlake.orders.dlq", None, |letter| {
        let offset = letter.source.as_ref().unwrap().offset;
        assert!(found.insert(offset, letter.record.value.unwrap()).is_none(), "{offset} is twice");
        true
    })
    .unwrap();
    for receipt in &receipts {
        let payload = &payloads[receipt["line"].as_u64().unwrap() as usize - 1];
        assert_eq!(&found[&receipt["offset"].as_i64().unwrap()], payload);
    }
    assert!(in_zone > 100 && found.len() - in_zone > 100, "{in_zone} of {} are valid", found.len());
}
