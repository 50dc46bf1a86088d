//! The contract of the command line: exit codes, messages, files, and that a killed run goes on
//! as if nothing had happened.

#[path = "cli_cases/ablate.rs"]
mod ablate;
#[path = "cli_cases/bench.rs"]
mod bench;
#[path = "cli_cases/configs.rs"]
mod configs;
#[path = "cli_cases/end_to_end.rs"]
mod end_to_end;
#[path = "cli_cases/errors.rs"]
mod errors;
#[path = "cli_cases/eval.rs"]
mod eval;
#[path = "cli_cases/help.rs"]
mod help;
#[path = "cli_cases/objectives.rs"]
mod objectives;
#[path = "cli_cases/resume.rs"]
mod resume;
#[path = "cli_cases/support.rs"]
mod support;
#[path = "cli_cases/texts.rs"]
mod texts;
