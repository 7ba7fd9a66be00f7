//! Judges synthetic histories and says how fast and in how much memory:
//! `cargo run --release -p streamlake-harness --example judge-scale -- 1000000 10000000 100000000`.
//!
//! One process a size, or the peak of the first would count for all: it starts itself again.

use std::process::{Command, ExitCode};
use std::time::Instant;

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

/// Making the facts costs time as well; it is measured alone and taken off.
fn measure(records: u64) -> String {
    let begin = Instant::now();
    let mut made = 0u64;
    synthetic::facts(records, |event| made += event.seq & 1);
    let making = begin.elapsed();
    let mut index = Index::new(&synthetic::header(records));
    synthetic::facts(records, |event| index.observe(event));
    let verdict = checker::verdict(&index.settle());
    let whole = begin.elapsed() - making;
    let judging = whole.saturating_sub(making).as_secs_f64();
    format!(
        "{records} records: {} in {judging:.1} s (and {:.1} s to make the facts), {:.2} million \
         records/s, peak {} MiB{}",
        verdict.status.word(),
        making.as_secs_f64(),
        records as f64 / judging / 1e6,
        peak_kib() / 1024,
        if made == 0 { " (no facts)" } else { "" }
    )
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}
