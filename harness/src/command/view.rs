//! `view`: a page with which one can look into a history.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic as _, WrapErr as _};

use crate::cli::ViewArguments;
use streamlake_report::view::{self, View};
use streamlake_verifier::{judge, unjudged};

pub(crate) fn main(arguments: &ViewArguments) -> miette::Result<u8> {
    let histories: Vec<_> = arguments.runs.iter().map(|run| history(run)).collect();
    let views = histories.iter().map(|path| seen(path)).collect::<miette::Result<Vec<_>>>()?;
    let page = view::page(&views).into_diagnostic()?;
    let beside = || histories[0].with_file_name(view::FILE);
    let out = arguments.out.clone().unwrap_or_else(beside);
    std::fs::write(&out, page)
        .into_diagnostic()
        .wrap_err_with(|| format!("writing {}; --out FILE puts it elsewhere", out.display()))?;
    writeln!(std::io::stdout(), "{}", out.display()).into_diagnostic()?;
    Ok(0)
}

/// The history of a run.
fn history(run: &Path) -> PathBuf {
    match run.is_dir() {
        true => run.join("history.jsonl"),
        false => run.to_owned(),
    }
}

fn seen(path: &Path) -> miette::Result<View> {
    let judged = match judge(path) {
        Ok(judged) => judged,
        Err(error) if error.is_truncated() => unjudged(path, "unknown", &error),
        Err(error) => return Err(miette::miette!("{error}")),
    };
    streamlake_verifier::view(path, &judged).map_err(|error| miette::miette!("{error}"))
}
