//! Bugs put in on purpose, so that the harness can show that it finds them.
//!
//! They exist only in a build with the feature `planted-bugs`. Without it [`is`] is a constant
//! `false`, the compiler removes the branches, and no variable can bring one back. With it, the
//! variable `STREAMLAKE_PLANTED_BUG` names one of [`Bug::ALL`] for the life of the process.

/// One bug on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Offsets are committed as soon as the records are read, before they are stored.
    CommitBeforeWrite,
}

impl Bug {
    /// Every bug with the name that selects it.
    pub const ALL: &'static [(&'static str, Bug)] =
        &[("commit-before-write", Bug::CommitBeforeWrite)];
}

/// Whether this process runs with `bug`.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub(crate) const fn is(_bug: Bug) -> bool {
    false
}

/// Whether this process runs with `bug`.
#[cfg(feature = "planted-bugs")]
pub(crate) fn is(bug: Bug) -> bool {
    selected() == Some(bug)
}

/// The bug that `STREAMLAKE_PLANTED_BUG` names. An unknown name ends the process: a run that was to
/// show a bug and shows none would be read as a checker that missed it.
#[cfg(feature = "planted-bugs")]
fn selected() -> Option<Bug> {
    static SELECTED: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    *SELECTED.get_or_init(|| {
        let name = std::env::var("STREAMLAKE_PLANTED_BUG").ok()?;
        let found = Bug::ALL.iter().find(|(known, _)| *known == name);
        let Some((_, bug)) = found else {
            let names: Vec<_> = Bug::ALL.iter().map(|(known, _)| *known).collect();
            panic!("STREAMLAKE_PLANTED_BUG={name} is none of {names:?}");
        };
        tracing::warn!(bug = name, "this process misbehaves on purpose");
        Some(*bug)
    })
}

/// The names of all bugs that this build can show; empty in a build without the feature.
pub fn names() -> Vec<&'static str> {
    if cfg!(feature = "planted-bugs") {
        Bug::ALL.iter().map(|(name, _)| *name).collect()
    } else {
        Vec::new()
    }
}
