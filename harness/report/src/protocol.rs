//! Protocol errors on trial: what came of clients that were told errors by their brokers, API by API and error
//! by error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::crash::{mechanism, mechanisms, raised};
use super::document::{Document, Text};
use super::versioned::{ReadError, Versioned};
use super::{ReportError, ReportFile, ScenarioEntry, markdown, words};
use streamlake_judge::verdict::Status;

const FORMAT: Versioned =
    Versioned { name: "streamlake-protocol-errors", version: 1, made_by: "`protocol-errors`" };

/// The word of a fault's evidence that names what was answered.
pub const ERROR: &str = "protocol error";
/// The word of a fault's evidence that counts the answers that it altered.
pub const ALTERED: &str = "requests altered in all";

/// What came of all pairs on one testbed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtocolMatrix {
    /// The testbed.
    pub testbed: String,
    /// Commit of the harness; empty if unknown.
    pub commit: String,
    /// Seed of the first run of each pair.
    pub seed: u64,
    /// The bug that was planted in the pipeline, if any: then the matrix must not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// One cell a pair of API and answer.
    pub cells: Vec<ProtocolCell>,
}

/// One API with one answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtocolCell {
    /// Name of the pair.
    pub pair: String,
    /// Kafka's name of the API.
    pub api: String,
    /// Kafka's name of the error, or what was done instead of an answer.
    pub answer: String,
    /// The broker had carried out the request.
    pub applied: bool,
    /// Whose requests.
    pub client: String,
    /// Answers that were to be altered; none for one that does not apply to the testbed.
    pub asked: u64,
    /// Answers that were altered.
    pub hits: u64,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Of these, records that are nowhere.
    pub lost: u64,
    /// Offsets below the committed one that are nowhere.
    pub gaps: u64,
    /// Surplus copies by their mechanism.
    pub duplicates: BTreeMap<String, u64>,
    /// Longest time that a partition with uncommitted records went without a commit, in microseconds.
    pub longest_standstill_us: u64,
    /// Verdicts of the runs: verdict → runs.
    pub verdicts: BTreeMap<String, u64>,
    /// Checks that did not pass in some run, with what they said first.
    pub raised: BTreeMap<String, String>,
    /// Histories of the runs that did not pass.
    pub histories: Vec<String>,
}

impl ProtocolCell {
    /// Adds what a run came to in which these faults were the pair's, and so many answers were to be altered.
    pub fn add(&mut self, entry: &ScenarioEntry, faults: &[u32], asked: u64) {
        let status = entry.status().unwrap_or(Status::Inconclusive);
        if status == Status::NotApplicable {
            return;
        }
        self.asked += asked;
        *self.verdicts.entry(status.word().to_owned()).or_default() += 1;
        let run = match entry {
            ScenarioEntry::Ran(run) => run,
            ScenarioEntry::NotCarriedOut { reason, .. } => {
                self.raised.entry("not carried out".to_owned()).or_insert_with(|| reason.clone());
                return;
            }
            _ => return,
        };
        let tally = &run.verdict.tally;
        let own = tally.windows.iter().filter(|window| faults.contains(&window.fault));
        let altered = own.filter_map(|window| window.evidence.get(ALTERED)?.parse::<u64>().ok());
        self.hits += altered.sum::<u64>();
        self.acknowledged += tally.acknowledged;
        self.lost += tally.lost;
        self.gaps += tally.gaps;
        let longest = tally.longest_standstill_us.unwrap_or(0);
        self.longest_standstill_us = self.longest_standstill_us.max(longest);
        for (cause, copies) in &tally.duplicates_by_cause {
            // Copies that another pair of the run has caused are that pair's.
            if fault_of(cause).is_none_or(|fault| faults.contains(&fault)) {
                *self.duplicates.entry(mechanism(cause)).or_default() += copies;
            }
        }
        for (check, said) in raised(run) {
            self.raised.entry(check).or_insert(said);
        }
        if status != Status::Pass {
            self.histories.push(run.history_file.clone());
        }
    }

    /// Some run failed: 1; something was not shown: inconclusive; nothing was asked: not applicable.
    #[must_use]
    pub fn status(&self) -> Status {
        let runs = |status: Status| self.verdicts.get(status.word()).copied().unwrap_or_default();
        match () {
            () if self.asked == 0 => Status::NotApplicable,
            () if runs(Status::Fail) > 0 => Status::Fail,
            () if self.hits == 0 || runs(Status::Inconclusive) > 0 => Status::Inconclusive,
            () => Status::Pass,
        }
    }
}

/// The fault that a cause of copies names: `… after consumer-kill (fault 3)`.
fn fault_of(cause: &str) -> Option<u32> {
    cause.rsplit_once("(fault ")?.1.trim_end_matches(')').parse().ok()
}

#[derive(Serialize)]
struct Written<'a> {
    status: Status,
    matrix: &'a ProtocolMatrix,
}

#[derive(Deserialize)]
struct Read {
    matrix: ProtocolMatrix,
}

impl ProtocolMatrix {
    /// All cells together.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::combine(self.cells.iter().map(ProtocolCell::status))
    }

    /// The whole in a sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let sum = |of: fn(&ProtocolCell) -> u64| self.cells.iter().map(of).sum::<u64>();
        let with = |status| self.cells.iter().filter(|cell| cell.status() == status).count() as u64;
        let planted = match &self.planted {
            Some(bug) => format!(" The bug {bug} was planted."),
            None => String::new(),
        };
        let still = self.cells.iter().map(|cell| cell.longest_standstill_us).max().unwrap_or(0);
        format!(
            "{}; {} altered; {} lost, {}, longest standstill {}. {} passed, {} failed, {} inconclusive, {} not \
             applicable.{planted}",
            words::counted(self.cells.len() as u64, "pair", "pairs"),
            words::counted(sum(|cell| cell.hits), "answer", "answers"),
            words::count(sum(|cell| cell.lost)),
            words::counted(
                sum(|cell| cell.duplicates.values().sum()),
                "surplus copy",
                "surplus copies"
            ),
            words::duration(still),
            words::count(with(Status::Pass)),
            words::count(with(Status::Fail)),
            words::count(with(Status::Inconclusive)),
            words::count(with(Status::NotApplicable)),
        )
    }

    /// Reads what [`render`] wrote as JSON.
    ///
    /// # Errors
    /// When it is not one, or of another version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadError> {
        FORMAT.read(bytes).map(|Read { matrix }| matrix)
    }
}

/// The heads of a table for terminals, and the row of each cell.
pub const HEAD: [&str; 8] =
    ["pair", "client", "verdict", "altered", "lost", "surplus copies", "standstill", "raised by"];

/// The row of a cell for a terminal.
#[must_use]
pub fn terminal_row(cell: &ProtocolCell) -> Vec<String> {
    vec![
        cell.pair.clone(),
        cell.client.clone(),
        cell.status().word().to_owned(),
        cell.hits.to_string(),
        cell.lost.to_string(),
        mechanisms(&cell.duplicates),
        words::duration(cell.longest_standstill_us),
        cell.raised.keys().cloned().collect::<Vec<_>>().join(" "),
    ]
}

/// Writes a matrix as JSON and markdown.
///
/// # Errors
/// When an encoder refuses.
pub fn render(matrix: &ProtocolMatrix) -> Result<Vec<ReportFile>, ReportError> {
    let json = FORMAT.write(&Written { status: matrix.status(), matrix })?;
    let mut document = Document::default();
    document.heading(1, "Protocol Errors", "protocol-errors");
    write(matrix, &mut document);
    Ok(markdown::beside(&matrix.testbed, json, &document))
}

fn write(matrix: &ProtocolMatrix, document: &mut Document) {
    document.paragraph(Text::data(matrix.summary()));
    let origin = Text::origin(&matrix.testbed, &matrix.commit);
    document.paragraph(origin.and(
        ". The proxy between a client and its brokers told it the error, under load. \u{201c}Carried out\u{201d} is \
         a request that the broker had handled; of the others it never knew. Every run was judged like any other.",
    ));
    let head = [
        "API",
        "Answer",
        "Carried out",
        "Client",
        "Verdict",
        "Surplus copies",
        "Altered",
        "Acknowledged",
        "Lost",
        "Longest standstill",
    ];
    document.table(&head, 6, matrix.cells.iter().map(row).collect());
    let raised = matrix.cells.iter().flat_map(|cell| {
        cell.raised
            .iter()
            .map(move |(check, said)| Text::code(check).and(format!(" at {}: {said}", cell.pair)))
    });
    let raised: Vec<Text> = raised.collect();
    if !raised.is_empty() {
        document.paragraph("What did not pass:");
        document.list(raised);
    }
}

fn row(cell: &ProtocolCell) -> Vec<Text> {
    let applies = cell.status() != Status::NotApplicable;
    let shown = |text: String| Text::data(if applies { text } else { words::NONE.to_owned() });
    vec![
        Text::data(&cell.api),
        Text::code(&cell.answer),
        Text::data(if cell.applied { "yes" } else { "no" }),
        Text::data(&cell.client),
        Text::status(cell.status()),
        Text::data(mechanisms(&cell.duplicates)),
        shown(words::count(cell.hits)),
        shown(words::count(cell.acknowledged)),
        shown(words::count(cell.lost)),
        shown(words::duration(cell.longest_standstill_us)),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cell(hits: u64, verdict: Status) -> ProtocolCell {
        let verdicts = BTreeMap::from([(verdict.word().to_owned(), 1)]);
        ProtocolCell {
            pair: "fetch-corrupt-message".to_owned(),
            api: "Fetch".to_owned(),
            answer: "CORRUPT_MESSAGE".to_owned(),
            asked: 2,
            hits,
            verdicts,
            ..ProtocolCell::default()
        }
    }

    #[test]
    fn a_pair_that_altered_nothing_is_no_pass() {
        assert_eq!(cell(1, Status::Pass).status(), Status::Pass);
        assert_eq!(cell(0, Status::Pass).status(), Status::Inconclusive);
        assert_eq!(cell(2, Status::Inconclusive).status(), Status::Inconclusive);
        assert_eq!(cell(2, Status::Fail).status(), Status::Fail);
        assert_eq!(ProtocolCell::default().status(), Status::NotApplicable);
    }

    #[test]
    fn copies_belong_to_the_fault_that_their_cause_names() {
        assert_eq!(fault_of("restart of consumer-1 after consumer-restart (fault 3)"), Some(3));
        assert_eq!(fault_of("retry of a producer"), None);
    }

    #[test]
    fn it_is_written_and_read() {
        let mut failed = cell(2, Status::Fail);
        failed.raised.insert("no-loss".to_owned(), "3 records are nowhere".to_owned());
        failed.duplicates.insert("restart of consumer-1".to_owned(), 7);
        failed.longest_standstill_us = 1_500_000;
        let (testbed, commit) = ("embedded".to_owned(), String::new());
        let cells = vec![failed, ProtocolCell::default()];
        let matrix = ProtocolMatrix { testbed, commit, seed: 1, planted: None, cells };
        let files = render(&matrix).unwrap();
        assert_eq!(ProtocolMatrix::from_json(&files[0].bytes).unwrap(), matrix);
        let text = String::from_utf8(files[1].bytes.clone()).unwrap();
        for said in ["CORRUPT_MESSAGE", "7 by restart of consumer-1", "3 records are nowhere"] {
            assert!(text.contains(said), "{said} is not in {text}");
        }
        assert_eq!(terminal_row(&matrix.cells[0]).len(), HEAD.len());
    }
}
