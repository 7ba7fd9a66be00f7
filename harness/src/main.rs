//! The harness's command line; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    streamlake_harness::cli::main(std::env::args_os())
}
