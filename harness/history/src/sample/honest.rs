//! The honest run that handwritten histories start from.

use super::{DEAD_LETTERS, END_US, METADATA, Sample, TOPIC, ZONE, key, part_name};
use crate::event::*;

impl Sample {
    /// A run of 60 operations on two partitions, ten to a batch and each batch in a part for either
    /// partition, in which everything holds; fault 0 is planned and bites in the middle.
    #[must_use]
    pub fn honest() -> Self {
        let mut sample = Self::empty(60, 2);
        sample.header.promises.faults.push(PlannedFault {
            fault: 0,
            kind: "broker-restart".to_owned(),
            target: "broker-1".to_owned(),
            needs_load: true,
            ..PlannedFault::default()
        });
        sample.configuration();
        sample.one_clock();
        sample.process(10, "consumer-1", "started").process(11, "producer-1", "started");
        sample.position(20, "consumer-1", 0, None).position(20, "consumer-1", 1, None);
        sample.probe(5, "broker-1").probe(END_US, "broker-1");
        sample.probe(6, "store").probe(END_US, "store");
        sample.load();
        sample.fault(300_000, FaultStage::Injecting).fault(301_000, FaultStage::Injected);
        sample.fault(302_000, FaultStage::Seen).fault(330_000, FaultStage::Healing);
        sample.fault(340_000, FaultStage::Healed);
        sample.bounds(DEAD_LETTERS, 0, 0, 0);
        sample.ended(690_000, "producer-1", None, ProcessEnd::Code(0));
        sample.ended(725_000, "consumer-1", Some(Ask::Stop), ProcessEnd::Code(0));
        let store = Fact::StoreRead { raw_zone: ZONE.to_owned(), parts: 12 };
        sample.tell(END_US, "store-reader", store);
        for (t_us, name) in [(0, "load"), (310_000, "heal"), (700_000, "recover")] {
            sample.tell(t_us, "runner", Fact::Phase { name: name.to_owned() });
        }
        for name in ["final-read", "done"] {
            sample.tell(END_US, "runner", Fact::Phase { name: name.to_owned() });
        }
        sample.facts.sort_by_key(|(t_us, _, _)| *t_us);
        sample
    }

    fn configuration(&mut self) {
        let read = |of: &str, pairs: &[(&str, &str)]| Fact::Configuration {
            of: of.to_owned(),
            process: None,
            properties: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let producer =
            [("enable.idempotence", "true"), ("acks", "-1"), ("partitioner", "murmur2_random")];
        self.tell(1, "configuration", read("producer", &producer));
        self.tell(2, "configuration", read("consumer", &super::CONSUMER));
        self.tell(3, "configuration", read("dead-letter producer", &super::LETTER_WRITER));
    }

    /// Operation n is invoked at 10n ms and acknowledged 5 ms later in the partition of its key; each
    /// ten make two parts 20 ms after the last of them, and a commit 5 ms after that.
    fn load(&mut self) {
        let mut next = [0u64; 2];
        let mut listed = Vec::new();
        for batch in 0..6u32 {
            let mut records = Vec::new();
            for op in u64::from(batch) * 10..u64::from(batch) * 10 + 10 {
                let partition = crate::murmur2::partition(&key(op).0, 2);
                let offset = next[partition as usize];
                next[partition as usize] += 1;
                self.invoke(op * 10_000, op);
                self.acknowledge(op * 10_000 + 5_000, op, partition, offset);
                self.log(op, partition, offset, op * 10_000 + 3_000);
                records.push((op, partition, offset, op * 10_000 + 3_000));
            }
            let created_us = u64::from(batch) * 100_000 + 110_000;
            for partition in 0..2 {
                let own: Vec<_> = records.iter().filter(|r| r.1 == partition).copied().collect();
                self.part(batch * 2 + partition, created_us, &own);
                self.commit(created_us + 5_000, partition, next[partition as usize]);
                listed.extend(list(batch * 2 + partition, partition, &own));
            }
        }
        for partition in 0..2 {
            self.bounds(TOPIC, partition, 0, next[partition as usize]);
        }
        self.object(99, METADATA, 720_000, ObjectRole::Metadata);
        if let Some((_, _, Fact::Object(object))) = self.facts.last_mut() {
            object.lists = listed;
            object.head = Some(super::metadata_head());
        }
    }
}

fn list(part: u32, partition: u32, records: &[(u64, u32, u64, u64)]) -> Option<ListedPart> {
    let offsets: Vec<u64> = records.iter().map(|r| r.2).collect();
    Some(ListedPart {
        name: part_name(part),
        topic: TOPIC.to_owned(),
        partition,
        first: *offsets.first()?,
        last: *offsets.last()?,
        records: offsets.len() as u64,
        bytes: 100,
        crc32: Some(super::CRC32.to_owned()),
    })
}
