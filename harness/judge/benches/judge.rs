//! How long the judge takes for a hundred thousand records, from facts in memory and from a file.
//!
//! Figures for 1, 10 and 100 million come from the example `judge-scale`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use streamlake_history::event::Event;
use streamlake_history::{HistoryReader, HistoryWriter, synthetic};
use streamlake_judge::index::Index;

const RECORDS: u64 = 100_000;

fn events() -> Vec<Event> {
    let mut events = Vec::new();
    synthetic::facts(RECORDS, |event| events.push(event.clone()));
    events
}

fn judge(c: &mut Criterion) {
    let events = events();
    let header = synthetic::header(RECORDS);
    let mut writer = HistoryWriter::new(Vec::new(), &header).unwrap();
    for event in &events {
        writer.write(event.t_us, &event.process, &event.fact).unwrap();
    }
    let file = writer.finish().unwrap();
    let mut group = c.benchmark_group("judge");
    group.sample_size(10).throughput(Throughput::Elements(RECORDS));
    for (name, make) in [("full", Index::new as fn(&_) -> Index), ("packed", Index::packed)] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || make(&header),
                |mut index| {
                    events.iter().for_each(|event| index.observe(event));
                    black_box(streamlake_judge::verdict(&index.settle()))
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.bench_function("file", |b| {
        b.iter(|| {
            let (header, events) = HistoryReader::open(&file[..]).unwrap();
            black_box(streamlake_judge::judge(&header, events).unwrap())
        });
    });
    group.finish();
}

criterion_group!(benches, judge);
criterion_main!(benches);
