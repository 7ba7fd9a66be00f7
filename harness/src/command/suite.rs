//! Which scenarios a command is about, and where they are read: from a folder, or from this program,
//! which carries the standard ones.

use std::path::{Path, PathBuf};

use miette::IntoDiagnostic as _;

use crate::cli::{Filter, ScenarioFolder};
use crate::scenario::{ScenarioFile, nearest};

mod built_in {
    include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));
}

/// The folder that is taken where none is named and there is one.
const USUAL_FOLDER: &str = "scenarios";

/// Whose scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shelf {
    /// The ones that users run.
    #[default]
    Scenarios,
    /// The ones in which planted bugs must show.
    #[cfg_attr(not(feature = "planted-bugs"), allow(dead_code, reason = "only `prove` reads them"))]
    Proof,
}

/// Where scenarios are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Library {
    /// From files.
    Folder(PathBuf),
    /// From this program.
    BuiltIn(Shelf),
}

impl Library {
    /// The folder that was named; else the usual one, where it holds scenarios; else this program.
    pub(crate) fn of(folder: &ScenarioFolder, shelf: Shelf) -> Self {
        let on_shelf = |folder: PathBuf| match shelf {
            Shelf::Scenarios => folder,
            Shelf::Proof => folder.join("prove"),
        };
        if let Some(folder) = &folder.scenarios_dir {
            return Self::Folder(on_shelf(folder.clone()));
        }
        let usual = on_shelf(PathBuf::from(USUAL_FOLDER));
        match paths(&usual) {
            Ok(paths) if !paths.is_empty() => Self::Folder(usual),
            _ => Self::BuiltIn(shelf),
        }
    }

    /// All scenarios, by name.
    ///
    /// # Errors
    /// When the folder cannot be read or holds none, or a file has a mistake.
    pub(crate) fn all(&self) -> miette::Result<Vec<ScenarioFile>> {
        match self {
            Self::Folder(folder) => {
                files(folder)?.iter().map(|path| ScenarioFile::read(path)).collect()
            }
            Self::BuiltIn(shelf) => table(*shelf)
                .iter()
                .map(|(name, text)| {
                    let path = Path::new("<built in>").join(format!("{name}.toml"));
                    Ok(ScenarioFile::parse(&path, (*text).to_owned())?)
                })
                .collect(),
        }
    }

    fn names(&self) -> miette::Result<Vec<String>> {
        Ok(match self {
            Self::Folder(folder) => files(folder)?
                .iter()
                .map(|path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
                .collect(),
            Self::BuiltIn(shelf) => {
                table(*shelf).iter().map(|(name, _)| (*name).to_owned()).collect()
            }
        })
    }

    fn named(&self, name: &str) -> miette::Result<ScenarioFile> {
        match self {
            Self::Folder(folder) => ScenarioFile::read(&folder.join(format!("{name}.toml"))),
            Self::BuiltIn(_) => {
                let all = self.all()?.into_iter();
                all.into_iter()
                    .find(|file| file.name == name)
                    .ok_or_else(|| self.unknown(name, &[]))
            }
        }
    }

    /// There is no scenario of this name, and which may have been meant.
    fn unknown(&self, name: &str, known: &[String]) -> miette::Report {
        let place = match self {
            Self::Folder(folder) => format!("in {}", folder.display()),
            Self::BuiltIn(_) => "among those that are built in".to_owned(),
        };
        let help = match nearest(name, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => {
                "`streamlake-harness list` names the scenarios that there are; a file of your own \
                     is named by its path, `./my-scenario.toml`"
                    .to_owned()
            }
        };
        miette::miette!(help = help, "there is no scenario `{name}` {place}")
    }
}

fn table(shelf: Shelf) -> &'static [(&'static str, &'static str)] {
    match shelf {
        Shelf::Scenarios => built_in::SCENARIOS,
        Shelf::Proof => built_in::OF_THE_PROOF,
    }
}

/// The scenario files of a folder that must have some.
fn files(folder: &Path) -> miette::Result<Vec<PathBuf>> {
    let help = "name a folder of scenario files with --scenarios-dir; without it, the scenarios that are \
                built in are taken";
    let paths = paths(folder)
        .map_err(|error| miette::miette!(help = help, "{}: {error}", folder.display()))?;
    if paths.is_empty() {
        return Err(miette::miette!(
            help = help,
            "{}: there is no scenario file (*.toml) in this folder",
            folder.display()
        ));
    }
    Ok(paths)
}

fn paths(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What a command is about.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// The scenarios, each once.
    pub(crate) files: Vec<ScenarioFile>,
    /// How they were asked for, as one would type it; empty for the whole suite.
    pub(crate) asked: Vec<String>,
}

/// The named scenarios, or all of the suite, without those that the filter leaves out.
///
/// # Errors
/// When a name is unknown, a file has a mistake, or nothing is left.
pub(crate) fn selected(
    library: &Library,
    names: &[String],
    filter: &Filter,
) -> miette::Result<Selection> {
    let mut files: Vec<ScenarioFile> = Vec::new();
    if names.is_empty() {
        files = library.all()?;
        files.retain(|file| file.scenario.in_suite);
    } else {
        let known = library.names();
        for name in names {
            for file in named(library, name, known.as_deref().unwrap_or_default())? {
                if !files.iter().any(|other| other.name == file.name) {
                    files.push(file);
                }
            }
        }
    }
    known_fault(filter)?;
    let any = !files.is_empty();
    files.retain(|file| fits(file, filter));
    if any && files.is_empty() {
        return Err(miette::miette!(
            help = "`streamlake-harness list` shows the tags, `list --faults` the faults",
            "no scenario is left: none has {}",
            words(filter).join(" ")
        ));
    }
    let asked = names.iter().cloned().chain(words(filter)).collect();
    Ok(Selection { files, asked })
}

/// The scenarios that one word of a command line names.
fn named(library: &Library, name: &str, known: &[String]) -> miette::Result<Vec<ScenarioFile>> {
    if name.ends_with(".toml") {
        return Ok(vec![ScenarioFile::read(Path::new(name))?]);
    }
    let fitting: Vec<&String> = known.iter().filter(|known| matches(name, known)).collect();
    if fitting.is_empty() {
        return Err(library.unknown(name, known));
    }
    fitting.into_iter().map(|name| library.named(name)).collect()
}

/// A filter as it was typed.
fn words(filter: &Filter) -> Vec<String> {
    let of = |option: &str, values: &[String]| -> Vec<String> {
        values.iter().flat_map(|value| [option.to_owned(), value.clone()]).collect()
    };
    [of("--tag", &filter.tag), of("--fault", &filter.fault)].concat()
}

/// A kind of fault that does not exist would leave nothing, whatever there is.
fn known_fault(filter: &Filter) -> miette::Result<()> {
    let kinds = || crate::fault::KINDS.iter().map(|kind| kind.name);
    let unknown = filter.fault.iter().find(|wanted| !kinds().any(|kind| matches(wanted, kind)));
    unknown.map_or(Ok(()), |wanted| {
        let help = match nearest(wanted, kinds()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known faults: {}", kinds().collect::<Vec<_>>().join(", ")),
        };
        Err(miette::miette!(help = help, "there is no fault `{wanted}`"))
    })
}

/// Whether a filter lets a scenario through.
pub(crate) fn fits(file: &ScenarioFile, filter: &Filter) -> bool {
    let tags = file.tags();
    let faults =
        || file.scenario.faults.iter().map(|fault| fault.get_ref().kind.get_ref().as_str());
    filter.tag.iter().all(|wanted| tags.contains(&wanted.as_str()))
        && (filter.fault.is_empty()
            || filter.fault.iter().any(|wanted| faults().any(|kind| matches(wanted, kind))))
}

/// Whether a name fits a pattern, in which `*` stands for anything.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

/// The path of a folder as it can be written to, made if need be.
///
/// # Errors
/// When it cannot be made, or nothing can be written into it; the message names it.
pub(crate) fn writable(folder: &Path, option: &str) -> miette::Result<()> {
    let attempt = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let probe = folder.join(format!(".probe-{}", std::process::id()));
        std::fs::write(&probe, b"x")?;
        std::fs::remove_file(&probe)
    };
    attempt().map_err(|error| {
        miette::miette!(
            help = format!("name another folder with {option}"),
            "nothing can be written into {}: {error}",
            folder.display()
        )
    })
}

/// Makes the folder of the runs, with a note for git that nothing in it is to be kept.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn ignored(folder: &Path) -> miette::Result<()> {
    if !folder.exists() {
        std::fs::create_dir_all(folder).into_diagnostic()?;
        std::fs::write(folder.join(".gitignore"), "# What runs leave behind.\n*\n")
            .into_diagnostic()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, fits) in [
            ("broker-*", "broker-kill", true),
            ("broker-*", "consumer-kill", false),
            ("*-kill", "broker-kill", true),
            ("*", "", true),
            ("b*-k*l", "broker-kill", true),
            ("a*a", "a", false),
            ("broker-kill", "broker-kill", true),
            ("broker", "broker-kill", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_built_in_is_what_lies_in_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        for (shelf, folder) in
            [(Shelf::Scenarios, folder.clone()), (Shelf::Proof, folder.join("prove"))]
        {
            let texts = |library: Library| -> Vec<(String, String)> {
                let all = library.all().unwrap();
                all.into_iter().map(|file| (file.name, file.text)).collect()
            };
            assert_eq!(texts(Library::BuiltIn(shelf)), texts(Library::Folder(folder)));
        }
    }

    #[test]
    fn a_mistyped_name_is_met_with_the_nearest_one() {
        let library = Library::BuiltIn(Shelf::Scenarios);
        let select = |name: &str| selected(&library, &[name.to_owned()], &Filter::default());
        let help = |name| select(name).unwrap_err().help().unwrap().to_string();
        assert_eq!(help("broker-restat"), "did you mean `broker-restart`?");
        assert!(help("xyzzy-and-more").contains("list"));
        let names = |name| -> Vec<String> {
            select(name).unwrap().files.into_iter().map(|file| file.name).collect()
        };
        assert_eq!(names("broker-*"), ["broker-kill", "broker-pause", "broker-restart"]);
    }

    #[test]
    fn a_filter_leaves_out_what_lacks_a_tag_or_a_fault() {
        let library = Library::BuiltIn(Shelf::Scenarios);
        let select = |tags: &[&str], faults: &[&str]| {
            let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
            let filter = Filter { tag: own(tags), fault: own(faults) };
            selected(&library, &[], &filter).map(|selection| selection.files)
        };
        let smoke = select(&["smoke"], &[]).unwrap();
        assert!(!smoke.is_empty() && smoke.len() < select(&[], &[]).unwrap().len());
        for file in select(&[], &["consumer-*"]).unwrap() {
            let kinds = file.scenario.faults.iter().map(|fault| fault.get_ref().kind.get_ref());
            assert!(kinds.into_iter().any(|kind| kind.starts_with("consumer-")), "{}", file.name);
        }
        assert!(select(&["no-such-tag"], &[]).is_err());
        let help = select(&[], &["broker-kil"]).unwrap_err().help().unwrap().to_string();
        assert_eq!(help, "did you mean `broker-kill`?");
    }
}
