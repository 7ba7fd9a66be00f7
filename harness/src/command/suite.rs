//! Which scenarios a command is about.

use std::path::{Path, PathBuf};

use miette::IntoDiagnostic as _;

use crate::scenario::ScenarioFile;

/// All scenarios of a folder, by name.
pub(crate) fn all(folder: &Path) -> miette::Result<Vec<ScenarioFile>> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        miette::miette!(
            help = "run it from the top of the repository, or name the folder with --scenarios-dir",
            "{}: {error}",
            folder.display()
        )
    })?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.into_diagnostic()?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| ScenarioFile::read(path)).collect()
}

/// The named scenarios, or all of the suite.
pub(crate) fn selected(folder: &Path, names: &[String]) -> miette::Result<Vec<ScenarioFile>> {
    if names.is_empty() {
        let mut suite = all(folder)?;
        suite.retain(|file| file.scenario.in_suite);
        return Ok(suite);
    }
    names
        .iter()
        .map(|name| {
            let path = if name.ends_with(".toml") {
                PathBuf::from(name)
            } else {
                folder.join(format!("{name}.toml"))
            };
            ScenarioFile::read(&path)
        })
        .collect()
}
