//! The `viewmaker` command.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    viewmaker::cli::main()
}
