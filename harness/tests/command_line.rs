//! The harness as its users meet it: arguments in, exit code and messages out. The runs are real ones,
//! on the embedded testbed, with small loads.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SMALL: &str = r#"
title = "Small"
criterion = "c"
story = "s"
expected = "e"
testbeds = ["embedded"]
[workload]
records = 100
rate_per_s = 100
[[group]]
name = "g"
"#;

/// A folder with scenario files, in which the harness is run.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn with(scenarios: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("scenarios")).unwrap();
        for (name, text) in scenarios {
            std::fs::write(folder.path().join("scenarios").join(name), text).unwrap();
        }
        Self { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamlake-harness"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

/// Everything that was printed, on one line: messages are wrapped to the terminal's width.
fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_run_of_the_suite_catches_its_canary_first() {
    let place = Place::with(&[("small.toml", SMALL)]);
    let output = place.run(&["run"]);
    let said = said(&output);
    assert_eq!(code(&output), 0, "{said}");
    assert!(
        said.contains("canary: caught: all 10 anomalies that were planted were found"),
        "{said}"
    );
    assert!(said.contains("1 of 1 scenarios ran, 1 run in all: 1 passed"), "{said}");
    let junit = std::fs::read_to_string(place.path("runs/reports/embedded/junit.xml")).unwrap();
    assert!(junit.contains("embedded.canary"), "{junit}");
    // It can be looked at like any other run, and fails there.
    assert_eq!(code(&place.run(&["check", "runs/embedded/canary-1/history.jsonl"])), 1);
}

#[test]
fn a_mistake_in_a_scenario_exits_2_and_is_shown_with_file_and_line() {
    let fault = "[[fault]]\nkind = \"broker-restart\"\nat = \"3s\"\n";
    let cases = [
        ("unknown.toml", format!("{SMALL}\npartition = 3\n"), 13, "unknown field `partition`"),
        ("rate.toml", SMALL.replace("rate_per_s = 100", "rate_per_s = -5"), 9, "a rate of -5"),
        ("late.toml", format!("{SMALL}\n{fault}"), 15, "the load is over after 1s"),
        (
            "kind.toml",
            format!("{SMALL}\n{}", fault.replace("broker-restart", "x")),
            14,
            "no fault `x`",
        ),
        (
            "target.toml",
            format!("{SMALL}\n{fault}target = \"brokr\"\n").replace("3s", "10% of invoked"),
            16,
            "is no target",
        ),
    ];
    for (name, text, line, message) in cases {
        let place = Place::with(&[(name, &text)]);
        let output = place.run(&["run"]);
        assert_eq!(code(&output), 2, "{name}: {}", said(&output));
        let said = said(&output);
        assert!(said.contains(&format!("scenarios/{name}:{line}")), "{name}: {said}");
        assert!(said.contains(message), "{name}: {said}");
    }
}

#[test]
fn a_usage_error_exits_2() {
    let place = Place::with(&[]);
    assert_eq!(code(&place.run(&["run", "--testbed", "moon"])), 2);
    assert_eq!(code(&place.run(&["run", "no-such-scenario"])), 2);
    assert_eq!(code(&place.run(&["check", "no-such-file"])), 2);
}

#[test]
fn a_clean_run_passes_and_its_history_is_judged_the_same_offline() {
    let place = Place::with(&[("small.toml", SMALL)]);
    let output = place.run(&["run"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    for file in ["kafka-delivery-report.md", "kafka-delivery-report.json", "junit.xml"] {
        assert!(place.path("runs/reports/embedded").join(file).is_file(), "{file}");
    }
    let history = "runs/embedded/small-1/history.jsonl";
    let once = place.run(&["check", "--json", history]);
    assert_eq!(code(&once), 0, "{}", said(&once));
    assert_eq!(once.stdout, place.run(&["check", "--json", history]).stdout);

    let text = std::fs::read_to_string(place.path(history)).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let cut = lines[..lines.len() / 2].join("\n");
    std::fs::write(place.path("cut.jsonl"), format!("{cut}\n")).unwrap();
    let output = place.run(&["check", "cut.jsonl"]);
    assert_eq!(code(&output), 3, "a history that was cut short: {}", said(&output));

    std::fs::write(place.path("spoilt.jsonl"), text.replacen("\"op\":7", "\"op\":8", 1)).unwrap();
    let output = place.run(&["check", "spoilt.jsonl"]);
    assert_eq!(code(&output), 2, "a history that was changed: {}", said(&output));
}

const SENT_AND_READ: &str = r#"
{"t_ms":1000,"process":"p","send":{"op":0,"topic":"orders","key":"a","value":"x"}}
{"t_ms":1010,"process":"p","sent":{"op":0,"outcome":"acknowledged","topic":"orders","partition":0,"offset":0}}
{"t_ms":1035,"process":"c","read":{"group":"g","member":"m","topic":"orders","partition":0,"offset":0}}
{"t_ms":1040,"process":"c","commit":{"group":"g","topic":"orders","partition":0,"offset":1}}
"#;
const READ_BACK: &str = r#"
{"log":{"topic":"orders","partition":0,"offset":0,"op":0,"key":"a","value":"x"}}
{"log_end":{"topic":"orders","partition":0,"high":1}}
"#;

#[test]
fn what_others_wrote_is_judged_with_the_same_exit_codes() {
    let place = Place::with(&[]);
    let write = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    write("clients.jsonl", SENT_AND_READ);
    write("log.jsonl", READ_BACK);
    let from = ["check", "--from", "plain", "clients.jsonl"];
    let judged = |more: &[&str]| place.run(&[&from[..], more].concat());

    let whole = judged(&["log.jsonl"]);
    assert_eq!(code(&whole), 0, "{}", said(&whole));
    let json = judged(&["log.jsonl", "--json", "--name", "nightly"]);
    assert_eq!(code(&json), 0, "{}", said(&json));
    assert!(said(&json).contains("nightly"), "{}", said(&json));
    assert_eq!(json.stdout, judged(&["log.jsonl", "--json", "--name", "nightly"]).stdout);

    let blind = judged(&[]);
    assert_eq!(code(&blind), 3, "nobody read the log: {}", said(&blind));
    let unread: Vec<_> = SENT_AND_READ.lines().filter(|l| !l.contains("\"read\"")).collect();
    write("unread.jsonl", &unread.join("\n"));
    let unsaid = place.run(&["check", "--from", "plain", "unread.jsonl", "--log", "log.jsonl"]);
    assert_eq!(code(&unsaid), 3, "it may have gone on from an earlier run: {}", said(&unsaid));
    let begun = r#"{"group":{"name":"g","starts":"earliest"}}"#;
    write("unread.jsonl", &format!("{begun}\n{}", unread.join("\n")));
    let lost = place.run(&["check", "--from", "plain", "unread.jsonl", "--log", "log.jsonl"]);
    assert_eq!(code(&lost), 1, "{}", said(&lost));
    assert!(said(&lost).contains("1 record of orders/0 lost to group `g`"), "{}", said(&lost));
    write("cut.jsonl", &SENT_AND_READ[..SENT_AND_READ.len() - 4]);
    let cut = place.run(&["check", "--from", "plain", "cut.jsonl", "--log", "log.jsonl"]);
    assert_eq!(code(&cut), 3, "its writer was killed: {}", said(&cut));
    assert!(said(&cut).contains("cut short and is left out (cut.jsonl:5:"), "{}", said(&cut));
}

#[test]
fn mistakes_in_what_others_wrote_are_shown_with_file_and_line() {
    let place = Place::with(&[]);
    let write = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    write("wrong.jsonl", &SENT_AND_READ.replace("\"send\"", "\"sned\""));
    write("negative.jsonl", &SENT_AND_READ.replace("\"offset\":0", "\"offset\":-1"));
    write("clients.jsonl", SENT_AND_READ);
    std::fs::write(place.path("packed.jsonl"), b"\x1f\x8b\x08\x00").unwrap();
    std::fs::create_dir(place.path("other")).unwrap();
    write("other/clients.jsonl", SENT_AND_READ);
    for (arguments, message) in [
        (&["--from", "plain", "wrong.jsonl"][..], "wrong.jsonl:2: unknown field `sned`"),
        (&["--from", "plain", "negative.jsonl"], "negative.jsonl:4: offset -1 is negative"),
        (&["--from", "plain", "absent.jsonl"], "absent.jsonl:0: the file cannot be read"),
        (&["--from", "kafka-verifiable", "clients.jsonl"], "this seems to be of the format plain"),
        (&["--from", "plain", "clients.jsonl", "other/clients.jsonl"], "as NAME=FILE"),
        (&["--from", "csv", "clients.jsonl"], "kafka-verifiable, plain"),
        (&["--log", "clients.jsonl", "clients.jsonl"], "--from <FORMAT>"),
        (&["clients.jsonl"], "`check --from`"),
        (&["packed.jsonl"], "is packed with gzip: unpack it first"),
        (&["-"], "standard input cannot be judged"),
        (&["--from", "plain", "--partitioner", "foo", "clients.jsonl"], "murmur2"),
        (&["--from", "plain", "--partitions", "orders", "clients.jsonl"], "`orders=12`"),
    ] {
        let output = place.run(&[&["check"], arguments].concat());
        assert_eq!(code(&output), 2, "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(message), "{arguments:?}: {}", said(&output));
    }
    let named =
        place.run(&["check", "--from", "plain", "a=clients.jsonl", "b=other/clients.jsonl"]);
    assert_eq!(code(&named), 1, "two receipts for one offset, each read twice: {}", said(&named));
}

#[test]
fn a_fault_that_is_aimed_at_nothing_is_a_mistake_in_its_line() {
    let fault =
        "[[fault]]\nkind = \"consumer-kill\"\ntarget = \"consumer-9\"\nat = \"30% of invoked\"\n";
    let place = Place::with(&[("nothing.toml", &format!("{SMALL}\n{fault}"))]);
    let output = place.run(&["run"]);
    assert_eq!(code(&output), 2, "{}", said(&output));
    assert!(said(&output).contains("scenarios/nothing.toml:15"), "{}", said(&output));
    assert!(said(&output).contains("has no consumer-9"), "{}", said(&output));
    assert!(said(&output).contains("there is consumer-1"), "{}", said(&output));
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn results_go_to_standard_output_and_the_rest_to_standard_error() {
    let place = Place::with(&[("small.toml", SMALL)]);
    let plain = place.run(&["run", "small"]);
    assert!(out(&plain).contains("1 passed"), "{plain:?}");
    assert!(out(&plain).contains("report: runs/reports/partial/embedded/"), "{plain:?}");
    assert!(!out(&plain).contains("invoked"), "{plain:?}");
    assert!(err(&plain).contains("embedded/small: load"), "{plain:?}");
    assert!(err(&plain).contains("(1 of 1)"), "{plain:?}");

    let quiet = place.run(&["run", "small", "-q"]);
    assert_eq!((code(&quiet), err(&quiet).as_str()), (0, ""));
    assert!(!out(&quiet).contains('|') && out(&quiet).contains("1 passed"), "{quiet:?}");

    let report = json(&place.run(&["run", "small", "--json"]));
    assert_eq!(report["status"], "pass");
    assert_eq!(report["suite"]["partial"], true);
    assert_eq!(report["suite"]["selection"][0], "small");
}

#[test]
fn named_scenarios_leave_the_report_of_the_suite_as_it_is() {
    let other = SMALL.replace("Small", "Other");
    let place = Place::with(&[("other.toml", &other), ("small.toml", SMALL)]);
    // What the verdicts are is not asked here: on a starved machine they are inconclusive.
    assert_ne!(code(&place.run(&["run"])), 2);
    let of_the_suite = place.path("runs/reports/embedded/kafka-delivery-report.md");
    let before = std::fs::read_to_string(&of_the_suite).unwrap();
    assert!(!before.contains("Not the whole suite"), "{before}");
    let named = place.run(&["run", "small"]);
    assert!(said(&named).contains("not the whole suite: this is about small"), "{}", said(&named));
    assert_eq!(std::fs::read_to_string(&of_the_suite).unwrap(), before);
    let partial = place.path("runs/reports/partial/embedded/kafka-delivery-report.md");
    let partial = std::fs::read_to_string(partial).unwrap();
    assert!(partial.contains("**Verdict on what ran:** "), "{partial}");
    assert!(partial.contains("**Not the whole suite:** this is about small"), "{partial}");
    // The histories of the suite are all there, so its report can be made again.
    assert_ne!(code(&place.run(&["report"])), 2);
    assert!(place.path("runs/.gitignore").is_file());
}

#[test]
fn without_a_checkout_the_scenarios_that_are_built_in_run() {
    let place = Place { folder: tempfile::tempdir().unwrap() };
    let listed = json(&place.run(&["list", "--json", "--tag", "smoke"]));
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["broker-restart", "consumer-kill", "two-groups"]);
    let output = place.run(&["run", "two-groups"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let made: Vec<_> = std::fs::read_dir(place.folder.path()).unwrap().flatten().collect();
    assert_eq!(made.len(), 1, "only `runs` was made: {made:?}");
}

#[test]
fn a_list_is_filtered_and_fits_who_reads_it() {
    let place = Place::with(&[
        ("small.toml", SMALL),
        ("two.toml", &SMALL.replace("[\"embedded\"]", "[\"docker\"]\ntags = [\"mine\"]")),
    ]);
    assert!(out(&place.run(&["list"])).contains("| small"));
    let mine = json(&place.run(&["list", "--tag", "mine", "--json"]));
    assert_eq!(mine.as_array().unwrap().len(), 1);
    assert_eq!(mine[0]["tags"], serde_json::json!(["suite", "mine"]));
    let here = json(&place.run(&["list", "--testbed", "embedded", "--json"]));
    assert_eq!(here[0]["name"], "small");
    let faults = json(&place.run(&["list", "--faults", "--json"]));
    assert!(faults.as_array().unwrap().iter().any(|fault| fault["kind"] == "broker-kill"));
    assert_eq!(code(&place.run(&["list", "--fault", "no-such-fault", "small"])), 2);
}

#[test]
fn a_plan_is_shown_and_nothing_runs() {
    let fault = "[[fault]]\nkind = \"consumer-kill\"\nat = \"30% of invoked\"\n";
    let place = Place::with(&[("small.toml", &format!("{SMALL}\n{fault}"))]);
    let plan = json(&place.run(&["plan", "small", "--seed", "7", "--json"]));
    assert_eq!(plan[0]["seed"], 7);
    assert_eq!(plan[0]["faults"][0]["target"], "consumer-1");
    assert_eq!(plan[0]["faults"][0]["begins_at_ms"], 300);
    let words = place.run(&["run", "--dry-run"]);
    assert_eq!(code(&words), 0, "{}", said(&words));
    assert!(out(&words).contains("fault 0 consumer-kill of consumer-1 at 30 invoked"), "{words:?}");
    assert!(!place.path("runs/embedded/small-1").exists());
}

#[test]
fn what_cannot_work_is_said_before_anything_runs() {
    let place = Place::with(&[("small.toml", SMALL)]);
    std::fs::write(place.path("file"), "").unwrap();
    std::fs::create_dir(place.path("empty")).unwrap();
    for (arguments, message) in [
        (&["run", "smal"][..], "did you mean `small`?"),
        (&["run", "--reports-dir", "file"], "nothing can be written into file"),
        (&["run", "--reports-dir", "/proc/nope"], "with --reports-dir"),
        (&["run", "--runs-dir", "file"], "file"),
        (&["run", "--scenarios-dir", "empty"], "there is no scenario file"),
        (&["run", "--scenarios-dir", "absent"], "absent"),
        (&["run", "--tag", "absent"], "no scenario is left"),
    ] {
        let output = place.run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(message), "{arguments:?}: {}", said(&output));
        assert!(!said(&output).contains("small: start"), "{arguments:?}: {}", said(&output));
    }
    let mut nowhere = place.command(&["run", "--testbed", "docker"]);
    std::fs::write(
        place.path("scenarios/small.toml"),
        SMALL.replace("[\"embedded\"]", "[\"docker\"]"),
    )
    .unwrap();
    let output = nowhere.env("DOCKER_HOST", "tcp://127.0.0.1:1").output().unwrap();
    assert_eq!(code(&output), 2, "{}", said(&output));
    assert!(said(&output).contains("no container engine answers"), "{}", said(&output));
    assert!(!place.path("runs/reports/docker/kafka-delivery-report.json").exists());
}

/// What is somebody else's is not touched without a word, and not at all where it does not answer.
#[test]
fn a_cluster_of_ones_own_is_described_agreed_to_and_there() {
    let place = Place::with(&[
        ("calm.toml", &SMALL.replace("embedded", "external")),
        (
            "killed.toml",
            &format!(
                "{}[[fault]]\nkind = \"consumer-kill\"\nat = \"300ms\"\n",
                SMALL.replace("embedded", "external")
            ),
        ),
    ]);
    // A port at which nobody listens any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cluster = format!(
        "bootstrap_servers = \"{gone}\"\n[store]\nurl = \"http://{gone}\"\nbucket = \"raw\"\n"
    );
    std::fs::write(place.path("cluster.toml"), &cluster).unwrap();
    std::fs::write(place.path("wrong.toml"), cluster.replace("bucket", "buket")).unwrap();
    std::fs::write(place.path("bare.toml"), cluster.split("[store]").next().unwrap()).unwrap();
    for (arguments, told) in [
        (vec!["calm"], "nobody says which"),
        (vec!["calm", "--cluster", "none.toml"], "none.toml: No such file"),
        (vec!["calm", "--cluster", "wrong.toml"], "wrong.toml:4: unknown field `buket`"),
        (vec!["killed", "--cluster", "cluster.toml"], "is not the harness's own"),
        (vec!["calm", "--cluster", "bare.toml"], "bare.toml names none"),
        (vec!["calm", "--cluster", "cluster.toml"], "the brokers do not answer"),
    ] {
        let output = place.run(&[&["run", "--testbed", "external"], &arguments[..]].concat());
        let said = said(&output);
        assert_eq!(code(&output), 2, "{arguments:?}: {said}");
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
    assert!(!place.path("runs/external/made").exists());
    let planned = place.run(&["plan", "killed", "--testbed", "external"]);
    assert_eq!(code(&planned), 0, "{}", said(&planned));
}

#[test]
fn a_scenario_that_cannot_be_carried_out_is_told_and_the_others_run() {
    let other = SMALL.replace("Small", "Other");
    let place = Place::with(&[("other.toml", &other), ("small.toml", SMALL)]);
    std::fs::create_dir_all(place.path("runs/embedded")).unwrap();
    // A link to nowhere: the folder of the run cannot be made.
    std::os::unix::fs::symlink("/proc/nope/x", place.path("runs/embedded/other-1")).unwrap();
    let output = place.run(&["run"]);
    assert_eq!(code(&output), 2, "{}", said(&output));
    let report = place.path("runs/reports/embedded/kafka-delivery-report.json");
    let report = std::fs::read_to_string(report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let scenarios = &report["suite"]["scenarios"];
    assert_eq!(scenarios[0]["not_carried_out"]["name"], "other", "{report}");
    assert_eq!(scenarios[1]["ran"]["header"]["run"]["scenario"], "small", "{report}");
    assert_eq!(report["status"], "inconclusive");
    assert!(out(&output).contains("1 run could not be carried out"), "{}", said(&output));
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let place = Place::with(&[]);
    let completions = out(&place.run(&["completions", "bash"]));
    assert!(completions.contains("--published-dir") && completions.contains("sweep"));
    assert_eq!(code(&place.run(&["man", "pages"])), 0);
    let page = std::fs::read_to_string(place.path("pages/streamlake-harness-run.1")).unwrap();
    assert!(page.contains("fail\\-fast") && page.contains("Exit codes"), "{page}");
}

#[test]
fn every_command_tells_its_exit_codes() {
    let place = Place::with(&[]);
    for command in ["run", "plan", "list", "check", "report", "prove", "sweep", "gateway"] {
        let help = place.run(&[command, "--help"]);
        assert_eq!(code(&help), 0);
        assert!(out(&help).contains("Exit codes:"), "{command}: {}", out(&help));
    }
}

/// A load that goes on for long enough to be interrupted, and is no more than the mock cluster keeps.
fn long() -> String {
    SMALL.replace("records = 100", "records = 1500").replace("rate_per_s = 100", "rate_per_s = 50")
}

/// Starts a run and waits until the load has begun, which the history shows.
fn start_and_wait_for_load(place: &Place) -> Child {
    start_and_wait_for(place, &["run"], ": load")
}

fn start_and_wait_for(place: &Place, arguments: &[&str], wanted: &str) -> Child {
    let mut child =
        place.command(arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        lines.by_ref().map_while(Result::ok).any(|line| line.contains(wanted)),
        "the run ended before it told {wanted:?}"
    );
    // The pipe must not fill up.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// Processes whose owner is this harness.
fn owned_by(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|process| {
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let mark = format!("STREAMLAKE_HARNESS_OWNER={pid}:");
        environment.split(|&byte| byte == 0).any(|entry| entry.starts_with(mark.as_bytes()))
    })
    .collect()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(pid: u32, name: &str) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    let signal = if name == "INT" { nix::sys::signal::SIGINT } else { nix::sys::signal::SIGKILL };
    nix::sys::signal::kill(pid, signal).unwrap();
}

#[test]
fn an_interrupted_run_takes_down_what_it_started() {
    let place = Place::with(&[("long.toml", &long())]);
    let mut child = start_and_wait_for_load(&place);
    assert!(!owned_by(child.id()).is_empty(), "nothing to take down");
    signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(owned_by(child.id()), Vec::<u32>::new());
    assert!(!Path::new("/proc").join(child.id().to_string()).exists());
}

#[test]
fn an_interrupted_run_keeps_what_was_done() {
    let place = Place::with(&[("a-small.toml", SMALL), ("long.toml", &long())]);
    let mut child = start_and_wait_for(&place, &["run", "--jobs", "1"], "embedded/long: load");
    signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report = place.path("runs/reports/partial/embedded/kafka-delivery-report.json");
    let report = std::fs::read_to_string(report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["suite"]["interrupted"], true);
    assert_eq!(report["suite"]["partial"], true);
    let scenarios = &report["suite"]["scenarios"];
    assert_eq!(scenarios[0]["ran"]["header"]["run"]["scenario"], "a-small", "{report}");
    assert_eq!(scenarios[1]["not_run"]["name"], "long", "{report}");
    assert!(!place.path("runs/reports/embedded/kafka-delivery-report.json").exists());
}

#[test]
fn a_sweep_ends_what_a_killed_harness_left_behind_and_names_it() {
    let place = Place::with(&[("long.toml", &long())]);
    let mut child = start_and_wait_for_load(&place);
    signal(child.id(), "KILL");
    child.wait().unwrap();
    assert!(!owned_by(child.id()).is_empty(), "nothing was left behind: nothing is shown");
    let output = place.run(&["sweep", "--processes-only"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(out(&output).contains("ended process"), "{}", said(&output));
    until("the sweep left something", || owned_by(child.id()).is_empty());
}

#[test]
fn what_a_killed_harness_left_behind_is_swept_by_the_next_run() {
    let place = Place::with(&[("long.toml", &long()), ("small.toml", SMALL)]);
    let mut child = start_and_wait_for_load(&place);
    let left = owned_by(child.id());
    signal(child.id(), "KILL");
    child.wait().unwrap();
    let consumers_stay = owned_by(child.id());
    assert!(!consumers_stay.is_empty(), "nothing was left behind of {left:?}: nothing is shown");
    let output = place.run(&["run", "small"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(said(&output).contains("swept up"), "{}", said(&output));
    until("the sweep left something", || owned_by(child.id()).is_empty());
}
