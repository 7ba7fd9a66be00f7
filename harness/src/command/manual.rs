//! Completions and manual pages, from the same table as the flags.

use std::path::Path;

use miette::{IntoDiagnostic as _, WrapErr as _};

/// Prints the completions of a shell.
pub(crate) fn completions(
    shell: clap_complete::Shell,
    mut cli: clap::Command,
) -> miette::Result<u8> {
    let name = cli.get_name().to_owned();
    clap_complete::generate(shell, &mut cli, name, &mut std::io::stdout());
    Ok(0)
}

/// Writes a page for the program and one for each command that is not hidden.
pub(crate) fn pages(folder: &Path, cli: clap::Command) -> miette::Result<u8> {
    let place = || format!("writing manual pages into {}", folder.display());
    std::fs::create_dir_all(folder).into_diagnostic().wrap_err_with(place)?;
    clap_mangen::generate_to(cli, folder).into_diagnostic().wrap_err_with(place)?;
    Ok(0)
}
