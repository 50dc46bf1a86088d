//! `viewmaker eval`

use super::args::use_threads;
use super::output::{self, percent};
use crate::error::{Error, Result};
use crate::eval::{Evaluation, KnnResult, Layer, LinearResult};
use crate::progress::{Ui, ui};
use crate::run::RunDir;
use crate::trained::Trained;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Measure how good a trained encoder is, on the held-out part of its data or on other data.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EvalArgs {
    /// Run folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What reads the features.
    #[arg(long, value_enum, default_value_t = Probe::Knn)]
    probe: Probe,
    /// Other data of the same kind and shape, to see what transfers.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Probe {
    /// Votes of the nearest neighbours; takes seconds.
    Knn,
    /// A linear classifier, as in the paper: on pooled and on pre-pool features.
    Linear,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker eval runs/image-001
  viewmaker eval runs/image-001 --probe linear
  viewmaker eval runs/speech-001 --data ~/free-spoken-digit-dataset --json";

pub(super) fn run(args: EvalArgs) -> Result<()> {
    let mut ui = ui(args.json);
    use_threads(&RunDir::read_config(&args.run)?)?;
    let data = args.data.as_deref().map(std::path::absolute).transpose();
    let data = data.map_err(|error| Error::usage(format!("--data: {error}")))?;
    let trained = Trained::load(&args.run, data)?;
    ui.on_message(&trained.splits.description);
    let evaluation = Evaluation {
        players: &trained.players,
        splits: &trained.splits,
        config: &trained.config,
    };
    let (lines, results) = match args.probe {
        Probe::Knn => knn(&evaluation, ui.as_mut())?,
        Probe::Linear => linear(&evaluation, ui.as_mut())?,
    };
    ui.on_finish();
    match args.json {
        false => output::print(&lines.join("\n")),
        true => output::print_json(&json!({
            "event": "result",
            "run": args.run,
            "step": trained.step,
            "data": trained.splits.description,
            "results": results,
        })),
    }
}

type Report = (Vec<String>, Vec<Value>);

fn knn(evaluation: &Evaluation<'_>, ui: &mut dyn Ui) -> Result<Report> {
    let result = evaluation.knn(ui)?.ok_or_else(no_labels)?;
    let KnnResult {
        accuracy,
        k,
        bank_examples,
        test_examples,
        ..
    } = &result;
    let line = format!(
        "kNN accuracy: {} on {test_examples} held-out examples ({k} neighbours among \
         {bank_examples})",
        percent(*accuracy)
    );
    Ok((vec![line], vec![json!({"probe": "knn", "result": result})]))
}

fn linear(evaluation: &Evaluation<'_>, ui: &mut dyn Ui) -> Result<Report> {
    let (mut lines, mut results) = (Vec::new(), Vec::new());
    for layer in [Layer::Pooled, Layer::Prepool] {
        let result = evaluation.linear(layer, ui)?.ok_or_else(no_labels)?;
        lines.push(describe_linear(&result));
        results.push(json!({"probe": "linear", "result": result}));
    }
    Ok((lines, results))
}

fn describe_linear(result: &LinearResult) -> String {
    let layer = match result.layer {
        Layer::Pooled => "pooled",
        Layer::Prepool => "pre-pool",
    };
    format!(
        "linear accuracy on {} {layer} features: {} on {} held-out examples ({} on the training \
         set)",
        result.dim,
        percent(result.accuracy),
        result.test_examples,
        percent(result.train_accuracy)
    )
}

fn no_labels() -> Error {
    Error::failure("the data have no labels: there is nothing to compare predictions with")
}
