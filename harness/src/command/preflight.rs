//! Everything about a run that can be known before it: what cannot work is said at once, not after the
//! minutes that it would have cost.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use miette::{IntoDiagnostic as _, WrapErr as _};
use toml::Spanned;

use crate::adapter::command;
use crate::canary;
use crate::cli::{RunArguments, TestbedName};
use crate::command::suite::{Selection, ignored, writable};
use crate::plan::{self, ConsumerPlan, GroupPlan, Plan, Resolved, resolve};
use crate::scenario::{Consumer, ScenarioFile};
use crate::testbed::external::{self, Description};
use crate::testbed::{self, Abilities};

/// What a record leaves in histories, logs and raw zones, generously.
const BYTES_PER_OPERATION: u64 = 8_192;
/// What a run leaves beside its records.
const BYTES_PER_RUN: u64 = 16 << 20;

/// Resolves every scenario that is selected: a mistake in the last one must not cost the time of the
/// first.
///
/// # Errors
/// The first mistake, with its place.
pub(crate) fn resolved(
    files: &[ScenarioFile],
    testbed: TestbedName,
    abilities: &Abilities,
    seed: u64,
) -> miette::Result<Vec<Resolved>> {
    let resolve = |file| {
        let resolved = resolve(file, testbed.name(), abilities, seed)?;
        if let Resolved::Plan(plan) = &resolved {
            programs_are_there(file, plan)?;
        }
        Ok(resolved)
    };
    files.iter().map(resolve).collect()
}

/// The programs of consumers and of a producer are there, before anything is started.
fn programs_are_there(file: &ScenarioFile, plan: &Plan) -> miette::Result<()> {
    let table = &file.scenario.producer;
    if let (Some(producer), Some(command)) = (&plan.own_producer, &table.command) {
        let at = command.get_ref().first().map_or(command.span(), Spanned::span);
        let directory = table.directory.as_ref().map_or(command.span(), Spanned::span);
        let program = producer.command.first().map(|word| word.fill(&producer.values));
        folder_is_there(file, &producer.directory, directory)?;
        program_is_there(file, &producer.directory, &program.unwrap_or_default(), at)?;
    }
    for (group, table) in plan.groups.iter().zip(&file.scenario.groups) {
        let ConsumerPlan::Command(consumer) = &group.consumer else { continue };
        let (at, directory) = match &table.consumer {
            Some(consumer) => (
                first_word(consumer.get_ref()).map_or(consumer.span(), Spanned::span),
                consumer.get_ref().directory.as_ref().map_or(consumer.span(), Spanned::span),
            ),
            None => continue,
        };
        let Some(folder) = &consumer.directory else { continue };
        folder_is_there(file, folder, directory)?;
        if consumer.image.is_none() {
            let program = consumer.command.first().map(|word| word.fill(&consumer.values));
            program_is_there(file, folder, &program.unwrap_or_default(), at)?;
        }
    }
    Ok(())
}

fn folder_is_there(file: &ScenarioFile, folder: &Path, at: Range<usize>) -> miette::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let message = format!("there is no folder {}", folder.display());
    let remedy = "give one that is there, relative to the scenario's file";
    Err(file.error_at(at, message, remedy).into())
}

fn program_is_there(
    file: &ScenarioFile,
    folder: &Path,
    program: &str,
    at: Range<usize>,
) -> miette::Result<()> {
    let program = command::program_in(folder, program);
    if command::is_there(&program) {
        return Ok(());
    }
    let message = format!("there is no program {}", program.display());
    let remedy = "give the name of one on the PATH, or a path relative to `directory` (by default the \
                  scenario's folder), `./consumer.sh`";
    Err(file.error_at(at, message, remedy).into())
}

fn first_word(consumer: &Consumer) -> Option<&Spanned<String>> {
    consumer.command.as_ref()?.get_ref().first()
}

/// The scenarios of a run in their order, the canary first where the whole suite was asked for: it has
/// run then whatever comes of the others.
pub(crate) fn with_canary(
    selection: Selection,
    testbed: TestbedName,
) -> miette::Result<Vec<ScenarioFile>> {
    let mut files = selection.files;
    if selection.asked.is_empty() && testbed != TestbedName::External {
        files.insert(0, canary::scenario()?);
    }
    Ok(files)
}

/// The cluster of `--testbed external` is described, and no other testbed is.
///
/// # Errors
/// When it is not said which, or for a testbed of the harness.
pub(crate) fn elsewhere(arguments: &mut RunArguments) -> miette::Result<()> {
    arguments.elsewhere = described(arguments.testbed, arguments.cluster.as_deref())?.map(Arc::new);
    Ok(())
}

/// What `--cluster` says, where it is needed.
pub(crate) fn described(
    testbed: TestbedName,
    cluster: Option<&Path>,
) -> miette::Result<Option<Description>> {
    match (testbed, cluster) {
        (TestbedName::External, Some(path)) => Ok(Some(Description::read(path)?)),
        (TestbedName::External, None) => Err(miette::miette!(
            help = "name the file that describes it with `--cluster FILE`",
            "`--testbed external` is a cluster of your own, and nobody says which"
        )),
        // A variable of the environment may stand there for other runs.
        (_, _) => Ok(None),
    }
}

/// Faults on what is somebody else's need a yes.
pub(crate) fn agreed(arguments: &RunArguments, plans: &[Resolved]) -> miette::Result<()> {
    let breaks = plans.iter().filter_map(plan_of).find(|plan| !plan.faults.is_empty());
    match breaks {
        Some(plan) if !arguments.yes_break => Err(miette::miette!(
            help = "look at them with `plan`, and say `--yes-break` if they may be carried out",
            "{} has {} fault(s), and the cluster is not the harness's own",
            plan.scenario,
            plan.faults.len()
        )),
        _ => Ok(()),
    }
}

/// The cluster answers, and nothing is in the way of these runs.
pub(crate) async fn cluster(description: &Description, plans: &[Resolved]) -> miette::Result<()> {
    let plans: Vec<&Plan> = plans.iter().filter_map(plan_of).collect();
    for plan in &plans {
        let store = description.has_store();
        let needs = |group: &&GroupPlan| match &group.consumer {
            ConsumerPlan::Pipeline(_) => true,
            ConsumerPlan::Command(own) => {
                matches!(own.delivery.at, command::DeliveryPlace::Objects { .. })
            }
        };
        if let Some(group) = plan.groups.iter().find(needs).filter(|_| !store) {
            return Err(miette::miette!(
                help = "add `[store]` with `url` and `bucket` to the file",
                "group {} of {} delivers into an object store, and {} names none",
                group.group,
                plan.scenario,
                description.path.display()
            ));
        }
    }
    let topologies: Vec<_> = plans.iter().map(|plan| &plan.topology).collect();
    let marked = plans.iter().flat_map(|plan| {
        let letters = plan::dead_letters_of_pipeline(plan::DATASET);
        [plan.topic.clone(), letters]
    });
    external::ready(description, &topologies, &marked.collect()).await.into_diagnostic()
}

/// Folders that must be written, and room for what is written there.
///
/// # Errors
/// When a folder cannot be written, or its disk is full.
pub(crate) fn folders(arguments: &RunArguments, plans: &[Resolved]) -> miette::Result<()> {
    let (folders, testbed) = (&arguments.folders, arguments.testbed.name());
    ignored(&folders.runs_dir).wrap_err_with(|| {
        format!("{}: name another folder with --runs-dir", folders.runs_dir.display())
    })?;
    writable(&folders.runs_dir.join(testbed), "--runs-dir")?;
    writable(&folders.reports(), "--reports-dir")?;
    let seeds = |plan: &Plan| {
        let (name, first) = (plan.scenario.clone(), plan.seed);
        (0..u64::from(arguments.repeat)).map(move |n| format!("{name}-{}", first.wrapping_add(n)))
    };
    for run in plans.iter().filter_map(plan_of).flat_map(seeds) {
        let run = folders.runs_dir.join(testbed).join(run);
        if run.exists() && !run.is_dir() {
            return Err(miette::miette!(
                help = "move it away, or name another folder with --runs-dir",
                "{} is to become the folder of a run, and is a file",
                run.display()
            ));
        }
    }
    room(&folders.runs_dir, needed(plans, arguments.repeat))
}

fn plan_of(resolved: &Resolved) -> Option<&Plan> {
    match resolved {
        Resolved::Plan(plan) => Some(plan),
        Resolved::NotApplicable { .. } => None,
    }
}

/// Bytes that the runs will leave.
fn needed(plans: &[Resolved], repeat: u32) -> u64 {
    let each = plans.iter().filter_map(plan_of).map(|plan| {
        let operations = plan.load.operations().saturating_mul(BYTES_PER_OPERATION);
        operations.saturating_add(BYTES_PER_RUN)
    });
    each.fold(0, u64::saturating_add).saturating_mul(u64::from(repeat))
}

fn room(folder: &Path, needed: u64) -> miette::Result<()> {
    let Ok(disk) = nix::sys::statvfs::statvfs(folder) else { return Ok(()) };
    #[allow(clippy::useless_conversion, reason = "it is narrower on other systems")]
    let free = u64::from(disk.blocks_available()).saturating_mul(disk.fragment_size());
    if free >= needed {
        return Ok(());
    }
    Err(miette::miette!(
        help = "make room, or name a folder on another disk with --runs-dir",
        "{}: {} MiB are free, and the runs may leave {} MiB",
        folder.display(),
        free >> 20,
        needed >> 20
    ))
}

/// The testbed's own conditions: an engine that answers, and images that can be had.
///
/// # Errors
/// What is missing, with the remedy.
pub(crate) async fn environment(testbed: TestbedName) -> miette::Result<()> {
    testbed::ready(testbed).await.into_diagnostic()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_full_disk_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        room(folder.path(), 1).unwrap();
        let error = room(folder.path(), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("MiB are free"), "{error}");
    }
}
