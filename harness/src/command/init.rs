//! `init`: writes the scenarios of the standard suite for a consumer of somebody's own, ready to be run and
//! to be changed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;

use miette::{IntoDiagnostic as _, WrapErr as _};

use crate::adapter::command::absolute;
use crate::cli::{DeliveryKind, InitArguments};

/// A scenario of the set.
struct Member {
    /// Its file, without the ending.
    name: &'static str,
    title: &'static str,
    story: &'static str,
    expected: &'static str,
    /// What is done, as TOML.
    faults: &'static str,
    /// It means something with this delivery only.
    only: Option<DeliveryKind>,
    /// It needs dead letters.
    of_letters: bool,
    /// Records of every kind, or one kind.
    variety: &'static str,
    /// Consumers, if one would show nothing.
    members: Option<u32>,
}

const PLAIN: Member = Member {
    name: "",
    title: "",
    story: "",
    expected: "",
    faults: "",
    only: None,
    of_letters: false,
    variety: "plain",
    members: None,
};

const SET: [Member; 12] = [
    Member {
        name: "01-calm",
        title: "nothing is broken",
        story: "600 records of one kind; no fault.",
        expected: "Each is delivered once, and committed after that.",
        ..PLAIN
    },
    Member {
        name: "02-kill",
        title: "killed",
        story: "A consumer is killed with SIGKILL while it holds records that are not committed.",
        expected: "They are read again; what comes twice has the kill as its cause.",
        faults: "kind = \"consumer-kill\"\ntarget = \"consumer-1\"\nat = \"40% of committed\"\nlasts = \"3s\"\n",
        ..PLAIN
    },
    Member {
        name: "03-restart",
        title: "asked to stop, and started again",
        story: "A consumer is asked to stop, as at every deployment, and started again.",
        expected: "It ends in time, commits what it delivered, and goes on where it was.",
        faults: "kind = \"consumer-restart\"\ntarget = \"consumer-1\"\nat = \"40% of committed\"\nlasts = \"3s\"\n",
        ..PLAIN
    },
    Member {
        name: "04-pause",
        title: "frozen for longer than its session",
        story: "A consumer of two is frozen for 15 s: the group goes on without it, and it wakes up as a zombie.",
        expected: "What it had on its way is delivered again by its successor; it commits nothing any more.",
        faults: "kind = \"consumer-pause\"\ntarget = \"consumer-1\"\nat = \"25% of committed\"\nlasts = \"15s\"\n",
        members: Some(2),
        ..PLAIN
    },
    Member {
        name: "05-rebalance",
        title: "two of three are killed, one after the other",
        story: "Partitions move from member to member while records come in.",
        expected: "Whoever gets a partition goes on where it was committed.",
        faults: "kind = \"consumer-kill\"\ntarget = \"consumer-1\"\nat = \"25% of committed\"\nlasts = \"4s\"\n\n[[fault]]\nkind = \"consumer-kill\"\ntarget = \"consumer-2\"\nat = \"55% of committed\"\nlasts = \"4s\"\n",
        members: Some(3),
        ..PLAIN
    },
    Member {
        name: "06-broker-restart",
        title: "the broker is restarted",
        story: "The only broker is restarted in an orderly way.",
        expected: "The consumer waits, and goes on.",
        faults: "kind = \"broker-restart\"\ntarget = \"broker-1\"\nat = \"50% of invoked\"\n",
        ..PLAIN
    },
    Member {
        name: "07-broker-pause",
        title: "the broker hangs",
        story: "The broker is frozen for 10 s: connections stay open, and nothing is answered.",
        expected: "The consumer waits, and goes on.",
        faults: "kind = \"broker-pause\"\ntarget = \"broker-1\"\nat = \"30% of invoked\"\nlasts = \"10s\"\n",
        ..PLAIN
    },
    Member {
        name: "08-network",
        title: "cut off from the broker",
        story: "For 10 s whatever is sent to the broker disappears.",
        expected: "The consumer gets over it by itself.",
        faults: "kind = \"client-partition\"\ntarget = \"broker-1\"\nat = \"30% of invoked\"\nlasts = \"10s\"\nsettings = { link = \"black-hole\" }\n",
        ..PLAIN
    },
    Member {
        name: "09-store-unavailable",
        title: "the store is away",
        story: "The object store answers 503 for 10 s.",
        expected: "The consumer tries again; no good record becomes a dead letter, and nothing is committed past.",
        faults: "kind = \"store-failure\"\nat = \"20% of invoked\"\nlasts = \"10s\"\nsettings = { mode = \"unavailable\" }\n",
        only: Some(DeliveryKind::Objects),
        ..PLAIN
    },
    Member {
        name: "10-store-lost-answers",
        title: "the store's answers get lost",
        story: "For 7 s the store carries out every write, and breaks the connection instead of answering.",
        expected: "A write that is tried again makes no second copy without a cause.",
        faults: "kind = \"store-failure\"\nat = \"20% of invoked\"\nlasts = \"7s\"\nsettings = { mode = \"reset-after\" }\n",
        only: Some(DeliveryKind::Objects),
        ..PLAIN
    },
    Member {
        name: "11-poison",
        title: "poison",
        story: "Every twentieth payload is no JSON.",
        expected: "All of it becomes a dead letter, nothing else does, and the consumer does not stop at it.",
        of_letters: true,
        ..PLAIN
    },
    Member {
        name: "12-every-kind",
        title: "records of every kind",
        story: "Keys that are no text, tombstones, payloads of up to 900 kB, odd headers, old timestamps, and a kill.",
        expected: "Each is delivered as it is, or is a dead letter.",
        faults: "kind = \"consumer-kill\"\ntarget = \"consumer-1\"\nat = \"40% of committed\"\nlasts = \"3s\"\n",
        of_letters: true,
        variety: "full",
        ..PLAIN
    },
];

pub(crate) fn main(arguments: &InitArguments) -> miette::Result<u8> {
    let applies = |member: &&Member| {
        member.only.is_none_or(|kind| kind == arguments.delivery)
            && (arguments.dead_letters || !member.of_letters)
    };
    let folder = &arguments.folder;
    fs::create_dir_all(folder).into_diagnostic().wrap_err_with(|| folder.display().to_string())?;
    let mut written = 0;
    for member in SET.iter().filter(applies) {
        let path = folder.join(format!("{}.toml", member.name));
        let file = File::options().write(true).create_new(true).open(&path);
        let mut file = file.into_diagnostic().wrap_err_with(|| {
            format!("{}: a scenario is never written over another file", path.display())
        })?;
        file.write_all(text(member, arguments).as_bytes()).into_diagnostic()?;
        written += 1;
    }
    let mut out = std::io::stdout().lock();
    let first = folder.join("01-calm.toml");
    writeln!(
        out,
        "{written} scenarios are in {}. Begin with the one without a fault:\n\n  \
         streamlake-harness run {}\n\nand go on with all of them, embedded or on real Kafka:\n\n  \
         streamlake-harness run {}/*.toml --testbed docker\n\n\
         What your process gets, and what each key means: docs/your-own-consumer.md",
        folder.display(),
        first.display(),
        folder.display()
    )
    .into_diagnostic()?;
    Ok(0)
}

/// A scenario as a file.
fn text(member: &Member, arguments: &InitArguments) -> String {
    let group = &arguments.group;
    let mut text = format!(
        "# Made by `streamlake-harness init`: change it as you like.\n\n\
         title = {}\ncriterion = \"What the group committed, it had delivered\"\nstory = {}\nexpected = {}\n\
         testbeds = {}\n\n[workload]\nrecords = 600\nrate_per_s = 60\nvariety = {}\n",
        quoted(&format!("{group}: {}", member.title)),
        quoted(member.story),
        quoted(member.expected),
        if arguments.delivery == DeliveryKind::Rows {
            "[\"docker\"]"
        } else {
            "[\"embedded\", \"docker\", \"external\"]"
        },
        quoted(member.variety),
    );
    if member.name.ends_with("poison") {
        text.push_str(
            "poison_every = 20\npoison = \"corrupt\"\n\n[producer]\nlets_poison_through = true        # else it refuses it itself\n",
        );
    } else if member.of_letters {
        text.push_str(
            "\n[producer]\nlets_poison_through = true        # else it refuses it itself\n",
        );
    }
    let members = member.members.unwrap_or(arguments.members).max(arguments.members);
    let _ = write!(text, "\n[[group]]\nname = {}\nmembers = {members}\n", quoted(group));
    text.push_str(&consumer(arguments));
    text.push_str(&delivery(arguments));
    if arguments.dead_letters {
        text.push_str(
            "\n[group.dead_letters]              # where a letter says whose record it is: headers, or JSON pointers\n\
             record = { headers = { topic = \"origin_topic\", partition = \"origin_partition\", offset = \"origin_offset\" } }\n",
        );
    }
    if !member.faults.is_empty() {
        let _ = write!(text, "\n[[fault]]\n{}", member.faults);
    }
    text
}

fn consumer(arguments: &InitArguments) -> String {
    let mut text = "\n[group.consumer]\n".to_owned();
    let words = arguments.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ");
    if let Some(image) = &arguments.image {
        let _ = writeln!(text, "image = {}", quoted(image));
    }
    if !arguments.command.is_empty() {
        let _ = writeln!(text, "command = [{words}]");
    }
    if let (Some(directory), None) = (&arguments.directory, &arguments.image) {
        let directory = absolute(directory);
        let _ = writeln!(text, "directory = {}", quoted(&directory.display().to_string()));
    }
    text.push_str(
        "stop = { signal = \"SIGTERM\", within = \"30s\" }\n\
         restarts = { after = \"1s\", at_most = 3 }  # what its orchestrator does when it ends by itself\n\
         # environment = { BROKERS = \"{bootstrap_servers}\", TOPIC = \"{topic}\", OUT = \"{delivery}\" }\n\
         # may_seek_back = true                    # it goes back to what is not committed without a rebalance\n\
         # commits_every = \"5s\"                    # it commits at least this often\n",
    );
    text
}

fn delivery(arguments: &InitArguments) -> String {
    let kind = arguments.delivery;
    let mut text = format!("\n[group.delivery]\nkind = {}\n", quoted(kind.name()));
    match kind {
        DeliveryKind::Files => text.push_str(
            "include = \"**\"                    # names that count; write under another one and rename\n\
             # durable = \"appended\"            # files grow, and each line counts when it is there\n",
        ),
        DeliveryKind::Objects => text.push_str("include = \"**\"                    # names that count\n"),
        DeliveryKind::Rows => text.push_str(
            "table = \"delivered\"\n# setup = \"CREATE TABLE delivered (…)\"\n",
        ),
        DeliveryKind::Topic => {}
    }
    if matches!(kind, DeliveryKind::Files | DeliveryKind::Objects) {
        text.push_str(
            "# format = \"json-lines\"             # or json, csv, avro, parquet, text\n",
        );
    }
    let mut record = match &arguments.op_at {
        Some(op) => vec![format!("op = {}", quoted(op))],
        None => vec![
            format!("partition = {}", quoted(&arguments.partition_at)),
            format!("offset = {}", quoted(&arguments.offset_at)),
        ],
    };
    if let Some(value) = &arguments.value_at {
        record.push(format!("value = {}", quoted(value)));
    }
    let _ = writeln!(text, "record = {{ {} }}", record.join(", "));
    let compare = match (&arguments.value_at, kind) {
        (None, kind) if kind != DeliveryKind::Topic => "none",
        _ => "json",
    };
    let _ = writeln!(
        text,
        "compare = \"{compare}\"                # bytes, json, or none: what is promised of values"
    );
    text
}

/// A text in TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use super::*;
    use crate::cli::TestbedName;
    use crate::plan::{Resolved, resolve};
    use crate::scenario::ScenarioFile;
    use crate::testbed::abilities;

    fn arguments(folder: PathBuf) -> InitArguments {
        InitArguments {
            folder,
            group: "billing".to_owned(),
            members: 1,
            image: None,
            directory: None,
            delivery: DeliveryKind::Objects,
            partition_at: "/partition".to_owned(),
            offset_at: "/offset".to_owned(),
            op_at: None,
            value_at: Some("/value".to_owned()),
            dead_letters: true,
            command: vec!["sh".to_owned(), "-c".to_owned(), "echo \"x\" \\ 'y'".to_owned()],
        }
    }

    /// Everything that is written can be carried out, on both testbeds, whatever is said.
    #[test]
    fn each_scenario_of_the_set_can_be_resolved() {
        let mut known = 0;
        for delivery in
            [DeliveryKind::Files, DeliveryKind::Objects, DeliveryKind::Rows, DeliveryKind::Topic]
        {
            for (dead_letters, image) in [(true, None), (false, Some("acme/sink:1".to_owned()))] {
                let folder = tempfile::tempdir().unwrap();
                let command =
                    if image.is_some() { vec![] } else { arguments(PathBuf::new()).command };
                let arguments = InitArguments {
                    delivery,
                    dead_letters,
                    image,
                    command,
                    op_at: (delivery == DeliveryKind::Rows).then(|| "/op".to_owned()),
                    ..arguments(folder.path().join("set"))
                };
                main(&arguments).unwrap();
                for entry in fs::read_dir(&arguments.folder).unwrap() {
                    let file = ScenarioFile::read(&entry.unwrap().path()).unwrap();
                    for testbed in [TestbedName::Embedded, TestbedName::Docker] {
                        let plan = resolve(&file, testbed.name(), &abilities(testbed), 1).unwrap();
                        match plan {
                            Resolved::Plan(plan) => {
                                known += 1;
                                let fault = plan.faults.len();
                                assert_eq!(fault == 0, file.scenario.faults.is_empty());
                            }
                            Resolved::NotApplicable { reason, .. } => {
                                assert_eq!(delivery, DeliveryKind::Rows, "{reason}");
                            }
                        }
                    }
                }
                // What is there is left alone.
                assert!(main(&arguments).is_err());
            }
        }
        assert!(known > 90, "{known}");
    }
}
