//! `list`: what there is to run, and what can be done to it.

use std::io::Write as _;

use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use miette::IntoDiagnostic as _;

use crate::cli::ListArguments;
use crate::command::suite;
use crate::fault;

pub(crate) fn main(arguments: &ListArguments) -> miette::Result<u8> {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    if arguments.faults {
        table.set_header(["fault", "what it does", "target", "lasts"]);
        for kind in fault::KINDS {
            let lasts = format!("{:?}", kind.default_lasts);
            table.add_row([kind.name, kind.about, kind.default_target, &lasts]);
        }
    } else {
        table.set_header(["scenario", "requirement", "title", "testbeds", "suite"]);
        for file in suite::all(&arguments.folders.scenarios_dir)? {
            let scenario = &file.scenario;
            let testbeds: Vec<_> =
                scenario.testbeds.get_ref().iter().map(|name| name.get_ref().as_str()).collect();
            table.add_row([
                file.name.as_str(),
                scenario.id.as_deref().unwrap_or(""),
                &scenario.title,
                &testbeds.join(", "),
                if scenario.in_suite { "yes" } else { "by name only" },
            ]);
        }
    }
    writeln!(std::io::stdout(), "{table}").into_diagnostic()?;
    Ok(0)
}
