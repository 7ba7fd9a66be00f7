//! Tells the harness which commit it was built from, for the header of every history, and takes the
//! scenario files in, so that the program needs no checkout to run them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

fn main() -> std::io::Result<()> {
    commit();
    scenarios()
}

fn commit() {
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

/// Two tables of names and texts: the scenarios, and those of the proof.
fn scenarios() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut code = String::new();
    for (table, folder) in [("SCENARIOS", folder.clone()), ("OF_THE_PROOF", folder.join("prove"))] {
        println!("cargo:rerun-if-changed={}", folder.display());
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            paths.push(entry?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        let _ = writeln!(code, "pub(super) static {table}: &[(&str, &str)] = &[");
        for path in paths {
            println!("cargo:rerun-if-changed={}", path.display());
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let path = path.canonicalize()?.display().to_string();
            let _ = writeln!(code, "    ({name:?}, include_str!({path:?})),");
        }
        code.push_str("];\n");
    }
    let out = std::env::var_os("OUT_DIR").ok_or(std::io::ErrorKind::NotFound)?;
    std::fs::write(Path::new(&out).join("scenarios.rs"), code)
}
