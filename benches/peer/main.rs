//! `cargo bench --bench peer`: the same work here and in PyTorch, in one run on one machine.
//!
//! Two workers take turns: ours is this executable started again, theirs is `peer.py`. Each item of
//! work gets a fresh pair of processes, so that peak memory is that item's, and both prove before
//! any timing that they compute the same numbers. `benches/README.md` explains the columns.
#![forbid(unsafe_code)]

pub mod args;
pub mod duel;
mod files;
pub mod fixtures;
pub mod items;
mod layer;
pub mod layers;
mod loading;
mod loss;
mod machine;
mod process;
mod report;
mod runner;
mod spectrogram;
mod step;
mod steps;
pub mod worker;

use args::Args;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(&Args::parse(), &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Does what the arguments ask for; `out` gets what is meant to be read.
pub fn run(args: &Args, out: &mut dyn std::io::Write) -> viewmaker::Result<()> {
    if args.worker {
        return worker::serve(&mut std::io::stdin().lock(), out);
    }
    runner::run(args, out)
}
