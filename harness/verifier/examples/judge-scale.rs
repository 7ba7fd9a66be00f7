//! Judges synthetic histories and says how fast and in how much memory:
//! `cargo run --release -p streamlake-verifier --example judge-scale -- 1000000 10000000 100000000`.
//! With `--file` first, from a file in the folder for temporary files, as `check` does it: each million
//! records take 0.9 GB there.
//!
//! One process a size, or the peak of the first would count for all: it starts itself again.

use std::fs::File;
use std::io::BufWriter;
use std::process::{Command, ExitCode};
use std::time::Instant;

use streamlake_history::{HistoryWriter, synthetic};
use streamlake_judge::index::Index;

#[allow(clippy::print_stdout)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = arguments.iter().any(|argument| argument == "--file");
    let sizes: Vec<u64> = arguments.iter().filter_map(|n| n.parse().ok()).collect();
    match sizes.as_slice() {
        [] => {
            println!("usage: judge-scale [--file] RECORDS…");
            ExitCode::from(2)
        }
        [records] if file => match measure_file(*records) {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("{error}");
                ExitCode::from(2)
            }
        },
        [records] => {
            println!("{}", measure(*records));
            ExitCode::SUCCESS
        }
        many => {
            let Ok(own) = std::env::current_exe() else { return ExitCode::from(2) };
            let option = file.then_some("--file");
            let run = |n: &u64| Command::new(&own).args(option).arg(n.to_string()).status();
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
    let verdict = streamlake_judge::verdict(&index.settle());
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

/// From a file: everything that `check` does, up to the verdict. The file was just written, so most
/// of it comes from memory.
fn measure_file(records: u64) -> Result<String, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history.jsonl");
    let out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let mut writer = HistoryWriter::new(out, &synthetic::header(records))?;
    let mut written = Ok(());
    synthetic::facts(records, |event| {
        if written.is_ok() {
            written = writer.write(event.t_us, &event.process, &event.fact);
        }
    });
    written?;
    writer.finish()?;
    let (begin, begun) = (process_cpu_seconds(), Instant::now());
    let report = streamlake_verifier::judge(&path)?;
    let (cpu, wall) = (process_cpu_seconds() - begin, begun.elapsed().as_secs_f64());
    Ok(format!(
        "{records} records, a file of {} MB: {} in {wall:.1} s, {cpu:.1} s of processor time: {:.2} million \
         records/s, {:.2} million by processor time, peak {} MiB",
        std::fs::metadata(&path)?.len() / 1_000_000,
        report.verdict.status.word(),
        records as f64 / wall / 1e6,
        records as f64 / cpu / 1e6,
        peak_kib() / 1024,
    ))
}

/// Of all threads, to the hundredth.
fn process_cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the process, in parentheses, may hold spaces.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks / 100.0
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
