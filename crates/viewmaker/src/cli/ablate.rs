//! `viewmaker ablate`

use super::output;
use crate::ablate::{Execution, Plan, Table, execute};
use crate::config::{Layer, schema};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::progress::ui;
use crate::run::write_atomically;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Run a grid over settings and seeds, and tabulate mean ± standard deviation.
///
/// Every combination of the grid is a run for every seed, in a folder of its own. Finished runs
/// are skipped and started ones go on, so that the same command completes what was interrupted; with
/// other settings it says which folder is in the way, and changes nothing. The table is printed and
/// written to table.csv and table.md.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AblateArgs {
    /// File with the grid; configs/ablations/ holds the paper's.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Runs at a time; they share the cores.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=256))]
    jobs: usize,
    /// Folder for the runs and the table; without it runs/<name of the file>.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Change one setting of all runs, for example train.epochs=1; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker ablate configs/ablations/views.toml            learned views, noise, none
  viewmaker ablate configs/ablations/budget.toml --jobs 4
  viewmaker ablate configs/ablations/views.toml --set train.steps=20 --out /tmp/quick

A file of your own:
  modalities = [\"image\"]
  seeds = [0, 1, 2]
  [base]
  train.epochs = 5
  [grid]
  viewmaker.distortion_budget = [0.02, 0.05, 0.1]";

pub(super) fn run(args: AblateArgs, interrupt: &Interrupt) -> Result<()> {
    let mut extra = Layer::default();
    for assignment in &args.set {
        extra.add_assignment(assignment, schema())?;
    }
    let plan = Plan::read(&args.file, &extra)?;
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.file));
    std::fs::create_dir_all(&out).map_err(|error| Error::io(&out, "create", error))?;
    let how = Execution {
        out: out.clone(),
        jobs: args.jobs,
    };
    let mut ui = ui(args.json);
    // Where a folder belongs to other settings, the table that is there stays.
    let (outcomes, result) = execute(&plan, &how, ui.as_mut(), interrupt)?;
    // Whatever happened to some runs, those that have finished are worth a table.
    if outcomes.iter().any(Option::is_some) {
        let table = Table::new(&plan, &outcomes);
        let csv = out.join("table.csv");
        write_atomically(&csv, table.to_csv().as_bytes())?;
        write_atomically(&out.join("table.md"), table.to_markdown().as_bytes())?;
        match args.json {
            true => output::print_json(&json!({
                "event": "result",
                "table": csv,
                "rows": table.to_json(),
                "markdown": table.to_markdown(),
            }))?,
            false => output::print(table.to_markdown().trim_end())?,
        }
    }
    result
}

fn default_out(file: &Path) -> PathBuf {
    Path::new("runs").join(file.file_stem().unwrap_or_default())
}
