//! Judges synthetic histories and says how fast and in how much memory:
//! `cargo run --release -p streamlake-harness --example judge-scale -- 1000000 10000000 100000000`.
//!
//! One process a size, or the peak of the first would count for all: it starts itself again.

use std::process::{Command, ExitCode};

use streamlake_harness::checker;
use streamlake_harness::history::index::Index;
use streamlake_harness::history::synthetic;

#[allow(clippy::print_stdout)]
fn main() -> ExitCode {
    let sizes: Vec<u64> = std::env::args().skip(1).filter_map(|n| n.parse().ok()).collect();
    match sizes.as_slice() {
        [] => {
            println!("usage: judge-scale RECORDS…");
            ExitCode::from(2)
        }
        [records] => {
            println!("{}", measure(*records));
            ExitCode::SUCCESS
        }
        many => {
            let Ok(own) = std::env::current_exe() else { return ExitCode::from(2) };
            let run = |n: &u64| Command::new(&own).arg(n.to_string()).status();
            let well = many.iter().all(|n| run(n).is_ok_and(|status| status.success()));
            if well { ExitCode::SUCCESS } else { ExitCode::from(2) }
        }
    }
}

/// Processor time, so that others on the machine do not count. Making the facts costs time as well;
/// it is measured alone and taken off.
fn measure(records: u64) -> String {
    let begin = cpu_seconds();
    let mut made = 0u64;
    synthetic::facts(records, |event| made += event.seq & 1);
    let making = cpu_seconds() - begin;
    let begin = cpu_seconds();
    let mut index = Index::new(&synthetic::header(records));
    let mut facts = 0u64;
    synthetic::facts(records, |event| {
        facts += 1;
        index.observe(event);
    });
    let passed = cpu_seconds() - begin - making;
    let verdict = checker::verdict(&index.settle());
    let judging = cpu_seconds() - begin - making;
    format!(
        "{records} records, {facts} facts: {} in {judging:.1} s of processor time, {:.1} s of it after \
         the pass (and {making:.1} s to make the facts): {:.2} million records/s, {:.1} million \
         facts/s, peak {} MiB{}",
        verdict.status.word(),
        judging - passed,
        records as f64 / judging / 1e6,
        facts as f64 / judging / 1e6,
        peak_kib() / 1024,
        if made == 0 { " (no facts)" } else { "" }
    )
}

fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    nanoseconds.unwrap_or(0.0) / 1e9
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}
