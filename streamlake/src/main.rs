//! The `streamlake` program; everything it does lives in the library.

fn main() -> std::process::ExitCode {
    streamlake::cli::main_with_args(std::env::args_os())
}
