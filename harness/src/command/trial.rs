//! What the trials (`prove`, `prove --ordinary`, `crash-points`, `protocol-errors`) do with what they came to.

use std::io::Write as _;
use std::path::Path;

use miette::{IntoDiagnostic as _, WrapErr as _};

use crate::cli::Output;
use streamlake_report::ReportFile;

/// Prints what a trial came to: its JSON among the files that it would be saved as, or its table.
pub(crate) fn print(
    files: &[ReportFile],
    output: Output,
    table: impl FnOnce() -> String,
) -> miette::Result<()> {
    let text = if output.json {
        let json = files.iter().filter(|file| file.name.ends_with(".json"));
        let json = json.flat_map(|file| file.bytes.iter().copied());
        String::from_utf8(json.collect()).into_diagnostic()?
    } else {
        table()
    };
    writeln!(std::io::stdout(), "{}", text.trim_end()).into_diagnostic()
}

/// Saves what a trial came to, and says where.
pub(crate) fn save(files: &[ReportFile], folder: &Path, what: &str) -> miette::Result<()> {
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        files.iter().try_for_each(|file| std::fs::write(folder.join(&file.name), &file.bytes))
    };
    write()
        .into_diagnostic()
        .wrap_err_with(|| format!("writing the {what} into {}", folder.display()))?;
    eprintln!("the {what}: {}", folder.display());
    Ok(())
}
