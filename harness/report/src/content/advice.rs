//! What follows for production and what to do next: each recommendation has a condition that these
//! runs met, and says which.

use super::super::document::{Document, Text};
use super::super::{ScenarioEntry, ScenarioReport, SuiteReport, words};
use super::configuration::{Part, read_back};
use super::{by_scenario, judge_again, run_again, windows_by_scenario};
use streamlake_judge::verdict::{GroupTally, Status};

/// A longest time without acknowledgements beyond this is worth a word.
const LONG_UNAVAILABILITY_US: u64 = 8_000_000;

/// A recommendation: says something when its condition is met.
type Rule = fn(&SuiteReport) -> Option<Text>;

const RULES: &[Rule] = &[
    anomalies,
    idempotence,
    replication,
    in_sync,
    copies,
    unknowns,
    reconnect,
    left_behind,
    auto_commit,
    regularly,
];

pub(super) fn write(suite: &SuiteReport, document: &mut Document) {
    document.heading(2, "Production Recommendations", "recommendations");
    document.paragraph("Each follows from something seen in these runs.");
    document.numbered(RULES.iter().filter_map(|rule| rule(suite)).collect());
    document.heading(2, "Next Steps", "next-steps");
    document.numbered(next_steps(suite));
    document.heading(2, "Running It Again", "running-it-again");
    document.paragraph(
        "The seed fixes every target and instant of the plan; what the machine makes of it is \
         measured anew.",
    );
    let mut commands = vec![suite.command.clone()];
    for scenario in by_scenario(suite) {
        commands.extend(scenario.runs.first().map(|run| run_again(run)));
    }
    commands.retain(|command| !command.is_empty());
    commands.dedup();
    document.shell(commands);
    document.heading(2, "Files", "files");
    let files = vec![
        Text::link(super::super::html::FILE, super::super::html::FILE)
            .and(": this report as one page, with all pictures in it"),
        Text::link(super::super::json::FILE, super::super::json::FILE)
            .and(": everything, with all anomalies, in a versioned schema"),
        Text::link(super::super::junit::FILE, super::super::junit::FILE)
            .and(": the checks as test cases, for CI"),
    ];
    document.list(files);
    let histories = suite.runs().map(|run| {
        let seed = run.header.run.seed;
        Text::code(&run.history_file)
            .and(": ")
            .code_too(&run.header.run.scenario)
            .and(format!(", seed {seed}"))
    });
    document.paragraph(
        "The evidence itself, in the folder in which the harness ran; it is not part of the report:",
    );
    document.list(histories.collect());
}

fn total(suite: &SuiteReport, of: fn(&ScenarioReport) -> u64) -> u64 {
    suite.runs().map(of).sum()
}

fn anomalies(suite: &SuiteReport) -> Option<Text> {
    let failed = suite.runs().filter(|run| run.verdict.status == Status::Fail).count() as u64;
    (failed > 0).then(|| {
        Text::prose("**Do not ship this configuration**: an anomaly was found in ")
            .and(words::counted(failed, "run", "runs"))
            .and(". No setting below makes up for it.")
    })
}

fn idempotence(suite: &SuiteReport) -> Option<Text> {
    read_back(suite, Part::Producer, "enable.idempotence").contains("false").then(|| {
        Text::prose(
            "**Turn idempotence on**: `enable.idempotence=false` was read back from a producer. With \
             `true`, the broker drops what a retry repeats within a producer's session, and keeps the \
             order.",
        )
    })
}

fn replication(suite: &SuiteReport) -> Option<Text> {
    read_back(suite, Part::Broker, "replication.factor").contains("1").then(|| {
        Text::prose(
            "**Replicate**: replication factor 1 was read back. Use 3 with \
             `min.insync.replicas=2`: one broker may be lost without losing a record or stopping \
             producers.",
        )
    })
}

fn in_sync(suite: &SuiteReport) -> Option<Text> {
    let replicated = read_back(suite, Part::Broker, "replication.factor");
    let replicated = replicated.iter().any(|factor| factor != "1");
    let alone = read_back(suite, Part::Broker, "min.insync.replicas").contains("1");
    (replicated && alone).then(|| {
        Text::prose(
            "**Ask for two copies**: a replicated topic had `min.insync.replicas=1`, so a leader \
             may acknowledge alone and be lost with what only it held. Use 2.",
        )
    })
}

fn copies(suite: &SuiteReport) -> Option<Text> {
    let stored = total(suite, |run| {
        run.verdict.tally.groups.values().map(|group: &GroupTally| group.duplicates).sum()
    });
    let logged = total(suite, |run| run.verdict.tally.logged_duplicates);
    (stored + logged > 0).then(|| {
        Text::prose("**Deduplicate downstream**: ")
            .and(words::counted(stored, "surplus copy", "surplus copies"))
            .and(" in the raw zone and ")
            .and(words::count(logged))
            .prose_too(" in the log were counted. Read with `ingestion_id` as the deduplication \
                        key; topic, partition and offset tell a redelivery from a producer's retry.")
    })
}

fn unknowns(suite: &SuiteReport) -> Option<Text> {
    let unknown = total(suite, |run| run.verdict.tally.unknown);
    (unknown > 0).then(|| {
        Text::prose("**Handle unknown outcomes**: ")
            .and(words::counted(unknown, "operation", "operations"))
            .prose_too(
                " ended with neither success nor failure. Callers should send such an order \
                        again under the same key, or look it up before they do.",
            )
    })
}

fn reconnect(suite: &SuiteReport) -> Option<Text> {
    let longest = suite
        .runs()
        .filter_map(|run| run.verdict.tally.longest_unavailability_us)
        .max()
        .filter(|&us| us > LONG_UNAVAILABILITY_US)?;
    let slow: Vec<String> = read_back(suite, Part::Producer, "reconnect.backoff.max.ms")
        .into_iter()
        .filter(|value| value.parse::<u64>().is_ok_and(|ms| ms > 1_000))
        .collect();
    if slow.is_empty() {
        return None;
    }
    Some(
        Text::prose("**Reconnect sooner**: the longest time without an acknowledgement was ")
            .and(words::duration(longest))
            .prose_too(", and `reconnect.backoff.max.ms` of ")
            .and(words::listed(&slow))
            .prose_too(
                " was read back. Set 500: a client then notices within half a second that a \
                        broker is back.",
            ),
    )
}

fn left_behind(suite: &SuiteReport) -> Option<Text> {
    let lag = total(suite, |run| {
        run.verdict.tally.groups.values().map(|group: &GroupTally| group.lag_end).sum()
    });
    (lag > 0).then(|| {
        Text::prose("**Watch the lag**: ")
            .and(words::counted(lag, "record was", "records were"))
            .prose_too(
                " not committed at the end of a run. Alert on lag that does not shrink, for \
                        each partition, not on the sum.",
            )
    })
}

fn auto_commit(suite: &SuiteReport) -> Option<Text> {
    read_back(suite, Part::Consumer, "enable.auto.commit").contains("true").then(|| {
        Text::prose(
            "**Commit by hand**: `enable.auto.commit=true` was read back from a consumer. It commits \
             what was fetched, whether it was stored or not.",
        )
    })
}

fn regularly(suite: &SuiteReport) -> Option<Text> {
    let fewest = windows_by_scenario(suite).iter().map(|same| same.windows.len()).min()?;
    (fewest < 30).then(|| {
        Text::prose("**Run the scenarios regularly**: a fault was tried only ")
            .and(if fewest == 1 { "once".to_owned() } else { format!("{fewest} times") })
            .prose_too(". In CI, with other seeds, the bound under \"How Sure\" comes down.")
    })
}

/// Scenarios without results that are named one by one.
const ABSENT_MAX: usize = 3;

/// What went wrong comes first, then what is not known, then what was not tried. To run it again is to
/// look for it a second time; what there is to see is in the history and the logs of the first.
fn next_steps(suite: &SuiteReport) -> Vec<Text> {
    let (mut anomalies, mut doubts, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &suite.scenarios {
        let title = Text::data(entry.title());
        match entry {
            ScenarioEntry::Ran(run) if run.verdict.status == Status::Fail => anomalies.push(
                Text::prose("Look into the anomaly of ")
                    .then(title)
                    .and(": ")
                    .code_too(judge_again(run))
                    .then(logs(run)),
            ),
            ScenarioEntry::Ran(run) if run.verdict.status == Status::Inconclusive => doubts.push(
                Text::prose("Find out why the evidence of ")
                    .then(title)
                    .and(" does not suffice: ")
                    .code_too(judge_again(run))
                    .then(logs(run))
                    .and("; and run it again: ")
                    .code_too(run_again(run)),
            ),
            ScenarioEntry::NotCarriedOut { reason, again, .. } => doubts.push(
                Text::prose("Mend what kept ")
                    .then(title)
                    .and(format!(" from running ({reason}), and run it again: "))
                    .code_too(&again.run),
            ),
            ScenarioEntry::NotRun { command, .. } => {
                absent.push(Text::prose("Run ").then(title).and(": ").code_too(command));
            }
            _ => {}
        }
    }
    if absent.len() > ABSENT_MAX {
        let count = words::counted(absent.len() as u64, "scenario has", "scenarios have");
        absent = vec![
            Text::data(format!("Run the whole suite; {count} no results: "))
                .code_too(&suite.command),
        ];
    }
    let mut steps = anomalies;
    steps.extend(doubts);
    steps.extend(absent);
    if steps.is_empty() {
        steps.push(Text::prose(
            "All that ran passed. Run again with `--repeat 10` for a tighter bound, and with other \
             seeds for other instants.",
        ));
    }
    steps
}

/// Where else to look.
fn logs(run: &ScenarioReport) -> Text {
    let logs = run.again.iter().flat_map(|again| &again.logs).map(Text::code);
    let logs = Text::join(logs, ", ");
    if logs.is_empty() { logs } else { Text::data("; logs: ").then(logs) }
}
