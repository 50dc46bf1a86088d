//! The command line: what can be typed, and what each command does with the library.

mod ablate;
mod args;
mod bench;
mod config;
mod eval;
mod objectives;
mod output;
mod profile;
mod study;
mod summary;
mod train;
mod views;

use crate::error::{Error, Result, error_json};
use crate::interrupt::Interrupt;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Learned views for contrastive learning.
///
/// Trains an encoder without labels, together with a viewmaker network that learns which views of
/// the data to train it on.
#[derive(Debug, Parser)]
#[command(name = "viewmaker", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker train --modality image               on the built-in pictures, in minutes
  viewmaker train --modality speech --data ~/LibriSpeech
  viewmaker eval runs/image-001 --probe logistic how good the encoder is
  viewmaker views runs/image-001                 what the viewmaker does to pictures
  viewmaker config --modality sensor             every setting, explained

`viewmaker help <command>` explains a command, with more examples.";

/// The commands; each is explained where its arguments are.
#[derive(Debug, Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Eval(eval::EvalArgs),
    Views(views::ViewsArgs),
    Summary(summary::SummaryArgs),
    Config(config::ConfigCommandArgs),
    Objectives(objectives::ObjectivesArgs),
    Ablate(ablate::AblateArgs),
    Study(study::StudyArgs),
    Bench(bench::BenchArgs),
}

/// Runs the program on the arguments of the process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Errors are JSON too when JSON was asked for, even those of the arguments themselves.
    let json = arguments.iter().any(|argument| argument == "--json");
    let result = match Cli::try_parse_from(&arguments) {
        Ok(cli) => run(cli.command),
        Err(error) => return refuse(&error, json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // `viewmaker … | head` has read all it wanted.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, json);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Views(args) => views::run(args),
        Command::Summary(args) => summary::run(args),
        Command::Config(args) => config::run(args),
        Command::Objectives(args) => objectives::run(args),
        Command::Ablate(args) => ablate::run(args, &interrupt()?),
        Command::Study(args) => study::run(args),
        Command::Bench(args) => bench::run(args),
    }
}

/// Has Ctrl-C raise a flag from now on.
fn interrupt() -> Result<Interrupt> {
    Interrupt::install()
        .map_err(|error| Error::failure(format!("cannot listen for Ctrl-C: {error}")))
}

/// Help and version are no errors; anything else that clap says is one of usage.
fn refuse(error: &clap::Error, json: bool) -> ExitCode {
    const USAGE: u8 = 2;
    // A closed output is no reason to complain.
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if json {
        let text = error.to_string();
        let message = text.trim().trim_start_matches("error: ");
        let _ = output::print(&error_json("usage", message, USAGE).to_string());
    } else {
        let _ = error.print();
    }
    ExitCode::from(USAGE)
}

fn report(error: &Error, json: bool) {
    use std::io::Write;
    if json {
        let _ = output::print(&error.to_json().to_string());
    } else {
        let _ = writeln!(std::io::stderr(), "{}: {error}", label(error));
    }
}

fn label(error: &Error) -> &'static str {
    match error {
        Error::Interrupted(_) => "stopped",
        _ => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
