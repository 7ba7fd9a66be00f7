//! Completions and manual pages, from the same table as the flags.

use crate::error::{Error, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// Which shell.
    shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// The folder; it is made if it is not there.
    folder: PathBuf,
}

pub(super) fn completions(args: &Completions, mut cli: clap::Command) -> Result<ExitCode> {
    let name = cli.get_name().to_owned();
    // The generator panics where it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut cli, name, &mut text);
    let mut out = std::io::stdout();
    let written = out.write_all(&text).and_then(|()| out.flush());
    written.map_err(Error::io("writing to standard output"))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn pages(args: &Man, cli: clap::Command) -> Result<ExitCode> {
    let folder: &Path = &args.folder;
    let writing = || Error::io(format!("writing manual pages into {}", folder.display()));
    std::fs::create_dir_all(folder).map_err(writing())?;
    clap_mangen::generate_to(cli, folder).map_err(writing())?;
    Ok(ExitCode::SUCCESS)
}
