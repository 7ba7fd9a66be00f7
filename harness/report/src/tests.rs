//! What holds for all formats: the same bytes every time, and data that stays data.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;

use super::harmless::assert_harmless;
use super::sample::{HOSTILE, check, hostile, hostile_suite, ran, scenario, suite};
use super::*;
use streamlake_judge::verdict::Tally;

pub(super) fn file(suite: &SuiteReport, name: &str) -> String {
    let files = render(suite).unwrap();
    let file = files.into_iter().find(|file| file.name == name);
    String::from_utf8(file.unwrap_or_else(|| panic!("no file {name}")).bytes).unwrap()
}

#[track_caller]
fn contains(text: &str, wanted: &[&str]) {
    for line in wanted {
        assert!(text.contains(line), "not found: {line}");
    }
}

#[test]
fn the_same_histories_give_the_same_bytes() {
    assert_eq!(render(&suite()).unwrap(), render(&suite()).unwrap());
}

#[test]
fn the_sample_can_be_looked_at() {
    if let Ok(folder) = std::env::var("STREAMLAKE_SAMPLE_REPORT") {
        for file in render(&suite()).unwrap() {
            std::fs::write(Path::new(&folder).join(&file.name), file.bytes).unwrap();
        }
        let look = Look { colour: true, terminal: true, width: Some(150), ..Look::default() };
        std::fs::write(Path::new(&folder).join("terminal.txt"), terminal_summary(&suite(), look))
            .unwrap();
    }
}

#[test]
fn markdown_tells_what_was_measured() {
    let text = file(&suite(), markdown::FILE);
    contains(
        &text,
        &[
            "# Kafka Delivery Guarantees Report\n",
            "**Testbed:** `docker`",
            "5 of 7 scenarios ran, 7 runs in all",
            "| [Broker restart](#broker-restart) | ✅ pass | 0 | 1,000 | 0 | 0 | 4.30 s | 2.15 s | 830 ms |",
            "| [Broker pause](#broker-pause) | ❌ fail | 25 | 1,000 | 25 |",
            "### Broker restart (SC-003)\n",
            "**Success criterion:** No acknowledged record is lost.",
            "| Its effect was seen | 4.210 s | +210 ms |",
            "`broker-1` did not answer from 4.210 s to",
            "| `pid` | `4711` | – | `4801` |",
            "- Probe during the fault: `connection reset`",
            "1 more property stayed the same throughout",
            "… and 15 more in [kafka-delivery-report.json](kafka-delivery-report.json)",
            "**No results available.**",
            "cargo run -- run debezium-offset --testbed docker",
            "➖ not applicable on the testbed `embedded`",
            "3 of 3 runs passed.",
            "replication factor 1 was read back",
            "| redelivery after consumer-kill (fault 0) | 37 |",
            "at most 95.0 %",
        ],
    );
}

#[test]
fn the_configuration_says_where_it_differs_and_what_nobody_read() {
    let text = file(&suite(), markdown::FILE);
    contains(
        &text,
        &[
            "| Producer | `acks` | `all` | `-1`, which is `all` (producer) | yes |",
            "| `33554432` | `queue.buffering.max.kbytes=1048576` (producer) | **differs** |",
            "| Consumer | `session.timeout.ms` | `30000` | not read back | not known |",
            "| Broker | `replication.factor` | `1` | `1` (topic streamlake.orders.raw) | yes |",
        ],
    );
}

#[test]
fn a_value_that_only_some_scenarios_have_names_them() {
    let mut suite = suite();
    for (position, seconds) in [(0, "30000"), (1, "6000")] {
        let ScenarioEntry::Ran(run) = &mut suite.scenarios[position] else { unreachable!() };
        let consumer = run.observed.configuration.entry("consumer".into()).or_default();
        consumer.entry("session.timeout.ms".into()).or_default().insert(seconds.into());
        consumer.entry("auto.offset.reset".into()).or_default().insert("smallest".into());
    }
    contains(
        &file(&suite, markdown::FILE),
        &[
            "`30000` (consumer in broker-restart); `6000` (consumer in consumer-kill) | **differs** |",
            "`smallest`, which is `earliest` (consumer in broker-restart and consumer-kill)",
        ],
    );
}

#[test]
fn a_recovery_without_a_time_is_at_once() {
    let mut suite = suite();
    let ScenarioEntry::Ran(run) = &mut suite.scenarios[0] else { unreachable!() };
    let window = &mut run.verdict.tally.windows[0];
    window.recovered_us = window.healed_us;
    let text = file(&suite, markdown::FILE);
    contains(
        &text,
        &[
            "| 4.30 s | 2.15 s | at once |",
            "| Recovered: newer records committed in every partition | at once | +",
            "By the time the target was seen to be back, the consumers had",
        ],
    );
    assert!(!text.contains("0 µs"));
}

#[test]
fn a_pause_and_a_partition_are_set_side_by_side_where_both_ran() {
    let section = "### Why a Pause Is Not a Partition";
    let mut suite = suite();
    let windows_of = |suite: &mut SuiteReport, position: usize, kind: &str| {
        let ScenarioEntry::Ran(run) = &mut suite.scenarios[position] else { unreachable!() };
        for window in &mut run.verdict.tally.windows {
            window.kind = kind.to_owned();
            window.evidence.insert("link during".into(), "black hole".into());
        }
    };
    windows_of(&mut suite, 2, "broker-pause");
    assert!(!file(&suite, markdown::FILE).contains(section));
    windows_of(&mut suite, 4, "client-partition");
    contains(&file(&suite, markdown::FILE), &[section, "`black hole`"]);
}

#[test]
fn a_summary_is_not_repeated_as_its_reason() {
    let mut silent = check("fault-bit", Status::NotApplicable, "no fault was planned");
    silent.reasons = vec!["no fault was planned".into(), "nor any other".into()];
    let verdict = Verdict { status: Status::Pass, checks: vec![silent], tally: sample_tally() };
    let scenarios = vec![ran(scenario("calm", "Calm", None, 1), verdict)];
    let suite = SuiteReport { command: String::new(), scenarios, ..SuiteReport::default() };
    contains(&file(&suite, markdown::FILE), &["| no fault was planned; nor any other |"]);
}

#[test]
fn an_inconclusive_run_claims_no_absence_of_loss() {
    let text = file(&suite(), markdown::FILE);
    let row = text.lines().find(|line| line.starts_with("| [") && line.contains("⚠ inconclusive"));
    let row = row.unwrap();
    contains(row, &["| none seen |", "| not seen |"]);
    assert_eq!(row.matches("none seen").count(), 2, "{row}");
    assert!(text.contains("which is no proof where a run did not pass") || text.contains("lost"));
}

/// Rows of a table have as many cells as their head, whatever is in them.
fn cells_are_kept(text: &str) {
    let mut cells = None;
    for line in text.lines() {
        if !line.starts_with('|') {
            cells = None;
            continue;
        }
        let here = line.matches('|').count();
        assert_eq!(*cells.get_or_insert(here), here, "{line}");
    }
}

#[test]
fn markdown_tables_keep_their_cells() {
    cells_are_kept(&file(&suite(), markdown::FILE));
}

#[test]
fn no_format_for_people_carries_hostile_characters() {
    assert_harmless(&suite());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn hostile_text_does_no_harm_wherever_it_stands(text in hostile()) {
        let suite = hostile_suite(&text);
        assert_harmless(&suite);
        cells_are_kept(&file(&suite, markdown::FILE));
        let page = file(&suite, html::FILE);
        let tags = |text: &str, tag: &str| text.matches(tag).count();
        prop_assert_eq!(tags(&page, "<td"), tags(&page, "</td>"));
        prop_assert_eq!(tags(&page, "<svg "), 1);
        prop_assert_eq!(tags(&page, "</svg>"), 1);
        let json = file(&suite, json::FILE);
        prop_assert_eq!(read_json(json.as_bytes()).unwrap(), suite);
    }
}

#[test]
fn json_carries_data_as_it_is_and_comes_back_the_same() {
    let suite = suite();
    let text = file(&suite, json::FILE);
    assert_eq!(read_json(text.as_bytes()).unwrap(), suite);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], "streamlake-report");
    assert_eq!(value["version"], 1);
    assert_eq!(value["status"], "fail");
    let findings = &value["suite"]["scenarios"][2]["ran"]["verdict"]["checks"][1]["findings"];
    assert_eq!(findings.as_array().unwrap().len(), 25);
    assert_eq!(value["suite"]["scenarios"][3]["ran"]["header"]["run"]["about"]["id"], HOSTILE);
}

#[test]
fn another_version_is_refused_with_its_name() {
    let text = file(&suite(), json::FILE).replacen("\"version\": 1", "\"version\": 9", 1);
    let error = read_json(text.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn junit_tells_anomaly_doubt_and_absence_apart() {
    let text = file(&suite(), junit::FILE);
    contains(
        &text,
        &[
            "failures=\"1\" errors=\"1\"",
            "<failure message=\"25 records are lost | really.\" type=\"fail\">",
            "type=\"inconclusive\"",
            "No results available. Run: cargo run -- run debezium-offset",
            "partition 1, offsets 100–102, at 5.120 s, fault 0",
            "… and 5 more in kafka-delivery-report.json",
            "<testsuite name=\"broker-restart\" tests=\"",
        ],
    );
    let head = text.lines().find(|line| line.starts_with("<testsuites ")).unwrap();
    assert!(!head.contains("skipped") && head.ends_with("errors=\"1\">"), "{head}");
    // The instant of the run, not that of the writing: the same bytes every time.
    contains(&text, &["timestamp=\"2026-11-21T02:14:42", "name=\"carried-out\""]);
}

#[test]
fn a_run_without_checks_is_an_error_in_junit() {
    let verdict = Verdict { status: Status::Inconclusive, checks: vec![], tally: sample_tally() };
    let suite = SuiteReport {
        command: String::new(),
        scenarios: vec![ran(scenario("empty", "Empty", None, 1), verdict)],
        ..SuiteReport::default()
    };
    contains(&file(&suite, junit::FILE), &["nothing was judged"]);
}

#[test]
fn the_page_is_one_file_without_scripts() {
    let text = file(&suite(), html::FILE);
    contains(
        &text,
        &[
            "default-src 'none'; style-src 'unsafe-inline'",
            "<span class=\"status fail\">fail</span>",
            "<h3 id=\"broker-restart\">Broker restart (SC-003)</h3>",
            "<li class=\"l3\"><a href=\"#consumer-kill\">Consumer kill</a></li>",
            "acknowledged: 1,000",
            "<summary>Run 2 of 3: <span",
        ],
    );
    for outside in ["<script", "src=", "@import", "url(", "onload"] {
        assert!(!text.contains(outside), "{outside}");
    }
    assert_eq!(text.matches("<svg ").count(), 7);
}

#[test]
fn each_run_has_its_picture_and_the_markdown_shows_it() {
    let files = render(&suite()).unwrap();
    let text = file(&suite(), markdown::FILE);
    let pictures: Vec<&ReportFile> =
        files.iter().filter(|file| file.name.ends_with(".svg")).collect();
    assert_eq!(pictures.len(), 7);
    for picture in pictures {
        assert!(text.contains(&format!("]({})", picture.name)), "{}", picture.name);
    }
}

#[test]
fn the_step_summary_is_short_and_names_what_is_wrong() {
    let text = file(&suite(), step_summary::FILE);
    contains(&text, &["| Broker restart | ✅ pass |", "- ❌ fail `broker-pause`, `no-loss`: 25"]);
    assert!(!text.contains("]("));
    assert!(text.lines().count() < 40);
}

#[test]
fn an_earlier_report_is_compared_with() {
    let earlier = file(&suite(), json::FILE);
    let previous = PreviousReport::from_json(earlier.as_bytes()).unwrap();
    assert_eq!(previous, PreviousReport::of(&suite()));
    let mut now = suite();
    now.previous = Some(previous);
    now.scenarios.remove(1);
    let ScenarioEntry::Ran(run) = &mut now.scenarios[0] else { unreachable!() };
    run.verdict.status = Status::Fail;
    run.verdict.tally.lost = 3;
    run.verdict.tally.longest_unavailability_us = Some(6_600_000);
    contains(
        &file(&now, markdown::FILE),
        &[
            "## Since the Previous Report",
            "Compared with runs from 2026-11-21 02:14:42 UTC at commit `c370279`.",
            "| `broker-restart` | docker | ✅ pass → ❌ fail | 1 | 0 → 3 | 0 | 4.30 s → 6.60 s |",
            "| `network-partition` | docker | ✅ pass | 3 | 0 | 6 | 10.2 s | 830 ms |",
            "| `consumer-kill` | docker | ✅ pass → not run | 1 → – |",
        ],
    );
    assert_eq!(read_json(file(&now, json::FILE).as_bytes()).unwrap(), now);
    assert!(PreviousReport::from_json(b"{}").is_err());
}

#[test]
fn repetitions_are_one_scenario_in_whatever_order_they_ran() {
    let tally = sample_tally();
    let verdict = || Verdict { status: Status::Pass, checks: vec![], tally: tally.clone() };
    let run = |name, seed| ran(scenario(name, name, None, seed), verdict());
    let scenarios = vec![run("a", 1), run("b", 1), run("a", 2), run("b", 2)];
    let suite = SuiteReport { command: String::new(), scenarios, ..SuiteReport::default() };
    let pictures: Vec<(String, u64)> = content::pictures(&suite)
        .into_iter()
        .map(|(file, run)| (file, run.header.run.seed))
        .collect();
    let named = |name: &str, seed| (name.to_owned(), seed);
    assert_eq!(
        pictures,
        [
            named("timeline-a.svg", 1),
            named("timeline-a-run-2.svg", 2),
            named("timeline-b.svg", 1),
            named("timeline-b-run-2.svg", 2),
        ]
    );
}

fn sample_tally() -> Tally {
    suite().runs().next().unwrap().verdict.tally.clone()
}

#[test]
fn the_terminal_shows_the_table_and_what_is_wrong() {
    let text = terminal_summary(&suite(), Look::default());
    contains(
        &text,
        &[
            "| broker-restart",
            "not run: debezium-offset",
            "fail broker-pause: no-loss",
            "… and 22 more",
        ],
    );
    let look = Look { colour: true, terminal: true, width: Some(120), ..Look::default() };
    let coloured = terminal_summary(&suite(), look);
    assert!(coloured.contains("\u{1b}["));
    assert!(coloured.lines().take(20).count() > 5);
}

fn widest(text: &str) -> usize {
    text.lines().take_while(|line| !line.is_empty()).map(|line| line.chars().count()).max().unwrap()
}

#[test]
fn a_table_is_never_wider_than_its_terminal() {
    for width in [60, 80, 110, 200] {
        let look = Look { terminal: true, width: Some(width), ..Look::default() };
        let text = terminal_summary(&suite(), look);
        let table: Vec<&str> = text.lines().take_while(|line| !line.starts_with("not ")).collect();
        let wide = table.iter().filter(|line| line.starts_with(['│', '┌', '╞', '└']));
        let wide = wide.map(|line| line.chars().count()).max().unwrap();
        assert!(wide <= usize::from(width), "{width}: {text}");
        let left_out = text.contains("too wide for this terminal");
        assert_eq!(left_out, width < 200, "{width}: {text}");
        // What is lost is never what is left out.
        contains(&text, &["lost"]);
        let rows = vec![vec!["a".to_owned(), "many words ".repeat(30)]];
        assert!(widest(&terminal_table(&["x", "y"], rows, look)) <= usize::from(width));
    }
}

#[test]
fn quiet_tells_what_is_wrong_and_the_verdict_and_verbose_what_does_not_apply() {
    let quiet = terminal_summary(&suite(), Look { quiet: true, ..Look::default() });
    assert!(!quiet.contains('|') || !quiet.contains("| broker-restart"), "{quiet}");
    contains(&quiet, &["fail broker-pause: no-loss", "5 of 7 scenarios ran"]);
    let verbose = terminal_summary(&suite(), Look { verbose: true, ..Look::default() });
    contains(&verbose, &["| isr-shrink", "isr-shrink: the embedded cluster knows no in-sync"]);
}

#[test]
fn what_failed_stands_on_top_with_place_instant_and_what_to_do_next() {
    let mut suite = suite();
    let ScenarioEntry::Ran(run) = &mut suite.scenarios[2] else { unreachable!() };
    run.again = Some(Again {
        run: "streamlake-harness run broker-pause".into(),
        check: "streamlake-harness check runs/docker/broker-pause-42/history.jsonl".into(),
        logs: vec!["runs/docker/broker-pause-42/consumer-1.log".into()],
        planted: Some("record-skipped".into()),
    });
    let text = file(&suite, markdown::FILE);
    let top = &text[..text.find("## Executive Summary").unwrap()];
    contains(
        top,
        &[
            "**Verdict:** ❌ fail",
            "## What Needs Attention",
            "[Broker pause](#broker-pause)",
            "**Where:** ",
            "partition 1, offsets 100–102",
            "**When:** 5.120 s of the run, 02:14:",
            "at the fault `broker-pause` of `broker-1`",
            "**Next:** `streamlake-harness check runs/docker/broker-pause-42/history.jsonl`",
            "**Logs:** `runs/docker/broker-pause-42/consumer-1.log`",
            "**Planted on purpose:** `record-skipped`",
        ],
    );
    assert!(!top.contains("Version, image, digest"), "{top}");
    let page = file(&suite, html::FILE);
    assert!(page.find("What Needs Attention") < page.find("Executive Summary"));
}

#[test]
fn what_passed_is_folded_and_what_failed_is_not() {
    let text = file(&suite(), markdown::FILE);
    let section = |anchor: &str| {
        let from = text.find(&format!("<a id=\"{anchor}\"></a>")).unwrap();
        let rest = &text[from + 5..];
        rest[..rest
            .find("\n### ")
            .map_or(rest.len(), |at| at + rest[at + 1..].find("<a id").unwrap_or(0))]
            .to_owned()
    };
    let passed = section("broker-restart");
    let fold = passed.find("<summary>What was done, and what was seen</summary>").unwrap();
    assert!(passed.find("✅ pass").unwrap() < fold, "{passed}");
    let failed = section("broker-pause");
    assert!(!failed.contains("What was done, and what was seen"), "{failed}");
    let (found, table) =
        (failed.find("**Found by** `no-loss`"), failed.find("| Measured | Value |"));
    assert!(found.is_some() && found < table, "{failed}");
    contains(&text, &["<summary>1 scenario does not apply on this testbed</summary>"]);
}

#[test]
fn a_scenario_that_could_not_be_carried_out_is_told_in_every_format() {
    let mut suite = suite();
    suite.scenarios.push(ScenarioEntry::NotCarriedOut {
        name: "broken".into(),
        about: suite.scenarios[0].about().clone(),
        testbed: "docker".into(),
        seed: 3,
        reason: "the image is missing".into(),
        again: Again { run: "streamlake-harness run broken".into(), ..Again::default() },
    });
    let terminal = terminal_summary(&suite, Look::default());
    let texts = [markdown::FILE, html::FILE, json::FILE, junit::FILE, step_summary::FILE];
    for text in texts.map(|name| file(&suite, name)).into_iter().chain([terminal]) {
        contains(&text, &["the image is missing"]);
    }
    contains(&file(&suite, junit::FILE), &["type=\"not carried out\""]);
    contains(&file(&suite, markdown::FILE), &["1 run could not be carried out"]);
    let json = file(&suite, json::FILE);
    assert_eq!(read_json(json.as_bytes()).unwrap(), suite);
}

#[test]
fn a_partial_report_is_not_called_a_pass_of_the_suite() {
    let mut suite = suite();
    (suite.partial, suite.selection) = (true, vec!["broker-*".into()]);
    let terminal = terminal_summary(&suite, Look::default());
    assert!(terminal.contains("not the whole suite: this is about broker-*"), "{terminal}");
    for name in [markdown::FILE, step_summary::FILE] {
        let text = file(&suite, name);
        contains(&text, &["**Verdict on what ran:**", "**Not the whole suite:** this is about"]);
        assert!(!text.contains("**Verdict:**"), "{text}");
    }
}

#[test]
fn what_others_recorded_is_judged_again_and_not_run_again() {
    let mut header = scenario("theirs", "Theirs", None, 1);
    header.run.testbed = "foreign".into();
    let verdict = Verdict { status: Status::Inconclusive, checks: vec![], tally: sample_tally() };
    let scenarios = vec![ran(header, verdict)];
    let suite = SuiteReport { command: String::new(), scenarios, ..SuiteReport::default() };
    let text = file(&suite, markdown::FILE);
    contains(&text, &["cargo run -- check histories/theirs.ndjson\n```"]);
    assert!(!text.contains("-- run theirs"));
}

#[test]
fn nothing_run_is_said_so() {
    let command = "cargo run -- run x".to_owned();
    let about = About { title: "X".into(), ..About::default() };
    let entry = ScenarioEntry::NotRun { name: "x".into(), about, command };
    let suite =
        SuiteReport { command: String::new(), scenarios: vec![entry], ..SuiteReport::default() };
    let text = file(&suite, markdown::FILE);
    contains(&text, &["None of 1 scenarios has run", "**No results available.**", "not read back"]);
}

#[test]
fn checks_that_share_a_name_are_counted_together() {
    let verdict = |status| Verdict {
        status,
        checks: vec![check("no-loss", status, "")],
        tally: sample_tally(),
    };
    let suite = SuiteReport {
        command: String::new(),
        scenarios: vec![
            ran(scenario("a", "A", None, 1), verdict(Status::Pass)),
            ran(scenario("b", "B", None, 1), verdict(Status::Inconclusive)),
        ],
        ..SuiteReport::default()
    };
    contains(&file(&suite, markdown::FILE), &["| ⚠ inconclusive | 1 | 0 | 1 | 0 |"]);
}
