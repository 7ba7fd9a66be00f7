//! Tells the harness which commit it was built from, for the header of every history.

use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // Outside a checkout (a source archive) the commit is unknown, and the report says so.
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/reports"])
        .is_some_and(|changes| !changes.is_empty());
    let mark = if changed { "-dirty" } else { "" };
    println!("cargo:rustc-env=STREAMLAKE_COMMIT={commit}{mark}");
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={head}");
    }
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=../streamlake/src");
}
