//! What the command line says.

use super::steps::repository;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Times the same work here and in PyTorch.
///
/// Run it as `cargo bench --bench peer -- [OPTIONS]`.
#[derive(Clone, Debug, Parser)]
#[command(name = "peer", max_term_width = 100)]
pub struct Args {
    /// Only items whose name contains this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub filter: Vec<String>,
    /// Pairs of runs per item; without it 7, and 5 for training steps.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub pairs: Option<u16>,
    /// Threads of both sides (the spectrogram items always use one).
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// Least time of one timed run, in seconds: short work is repeated until it takes this long.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.25)]
    pub run_seconds: f64,
    /// Write the results to this file after every item. Items that the file has from another run
    /// with the same versions on the same machine stay. Relative paths, here and below, start at
    /// the root of the working copy.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the names of the items and stop.
    #[arg(long)]
    pub list: bool,
    /// Measure one side only; ours needs no Python.
    #[arg(long, value_name = "SIDE")]
    pub only: Option<Side>,
    /// The Python interpreter that has PyTorch; without it that of the environment variable
    /// VIEWMAKER_PYTHON, or python3.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Do not try torch.compile: a quick look instead of PyTorch's best.
    #[arg(long)]
    pub no_compile: bool,
    /// Folder with WAV and FLAC recordings for the spectrogram items; without it they are synthesised.
    #[arg(long, value_name = "DIR")]
    speech_dir: Option<PathBuf>,
    /// Serve as our worker: requests on standard input, answers on standard output.
    #[arg(long, hide = true)]
    pub worker: bool,
    /// `cargo bench` passes this to every benchmark.
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Args {
    /// The Python interpreter: a path, or a name that the system looks up.
    pub fn python(&self) -> PathBuf {
        let given = self.python.clone();
        let python = given
            .or_else(|| std::env::var_os("VIEWMAKER_PYTHON").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("python3"));
        match python.components().count() {
            1 => python,
            _ => repository().join(python),
        }
    }

    /// The file for the results.
    pub fn json(&self) -> Option<PathBuf> {
        // cargo starts benchmarks in the folder of their package.
        self.json.as_ref().map(|path| repository().join(path))
    }

    /// The folder of recordings.
    pub fn speech_dir(&self) -> Option<PathBuf> {
        let folder = self.speech_dir.as_ref();
        folder.map(|path| repository().join(path))
    }

    /// Whether an item is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|text| name.contains(text.as_str()))
    }

    /// Whether a side takes part.
    pub fn measures(&self, side: Side) -> bool {
        self.only.is_none_or(|only| only == side)
    }
}

/// One of the two contestants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// This program.
    Ours,
    /// PyTorch.
    Theirs,
}
