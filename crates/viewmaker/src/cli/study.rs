//! `viewmaker study`

use super::args::use_threads;
use super::output;
use crate::error::{Error, Result};
use crate::eval::Evaluation;
use crate::eval::report::{Origin, Report, TextTable};
use crate::eval::spread::Spread;
use crate::interrupt::Interrupt;
use crate::progress::{TaskReport, ui};
use crate::render::{Canvas, Chart, Curve, Point, chart};
use crate::study::batch_size::{AtSize, BatchSizeStudy, Pairs, doubling_sizes};
use crate::trained::{Changes, Trained};
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// Measure something about an objective on a trained encoder.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StudyArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    BatchSize(BatchSizeArgs),
}

/// How far NT-Xent over batches is from NT-Xent over all data, for growing batches.
///
/// Two views of every example, as the run makes them, pass through the frozen encoder. The table has
/// the objective by batch size, the gap to the objective of all data, and the gap that is left when
/// every negative of a batch counts as often as makes up for those outside of it: mean ± standard
/// deviation over random divisions into batches. Results go to study/batch-size.json and .png in the
/// run folder.
#[derive(Debug, Args)]
#[command(after_help = BATCH_SIZE_EXAMPLES)]
struct BatchSizeArgs {
    /// Run folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Batch sizes, with commas between them; without it 2, 4, 8, … and all examples.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Training examples that are "all data", spread evenly over the training set.
    #[arg(long, value_name = "N", default_value_t = 1024,
          value_parser = RangedU64ValueParser::<usize>::new().range(2..=1 << 20))]
    examples: usize,
    /// Random divisions into batches.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = RangedU64ValueParser::<u64>::new().range(1..=1000))]
    seeds: u64,
    /// Temperature; without it that of the run's objective.
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Folder for the results; without it study/ in the run folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker study batch-size runs/image-001";

const BATCH_SIZE_EXAMPLES: &str = "\
Examples:
  viewmaker study batch-size runs/image-001
  viewmaker study batch-size runs/image-001 --sizes 16,64,256 --examples 2048 --temperature 0.5";

pub(super) fn run(args: StudyArgs) -> Result<()> {
    match args.what {
        What::BatchSize(args) => batch_size(args),
    }
}

fn batch_size(args: BatchSizeArgs) -> Result<()> {
    let mut ui = ui(args.json);
    let changes = Changes::default();
    use_threads(&changes.config(&args.run)?)?;
    let trained = Trained::load(&args.run, &changes)?;
    trained.warnings.iter().for_each(|text| ui.on_message(text));
    ui.on_message(&trained.splits.description);
    let temperature = temperature(&args, &trained)?;
    let examples = args.examples.min(trained.splits.train.len());
    let sizes = sizes(&args, examples)?;
    let pairs = embed(&trained, examples, temperature)?;
    let seeds: Vec<u64> = (0..args.seeds).map(|i| trained.config.seed + i).collect();
    let total = sizes.len() as u64;
    let study = pairs.study(&sizes, &seeds, |done| {
        ui.on_task(&TaskReport {
            task: "batch sizes",
            done: done as u64,
            total,
            detail: "",
        });
    });
    ui.on_finish();
    let origin = Origin {
        run: &args.run,
        step: trained.step,
        data: &trained.splits.description,
        config: &trained.config,
    };
    let report = describe(&study);
    let out = args.out.clone().unwrap_or_else(|| args.run.join("study"));
    let files = report.write(&out, origin)?;
    if args.json {
        return output::print_json(&json!({
            "event": "result",
            "run": origin.run,
            "step": origin.step,
            "data": origin.data,
            "results": report.results,
            "files": files,
        }));
    }
    let files = files.iter().map(|file| file.display().to_string());
    let files = files.collect::<Vec<_>>().join(", ");
    output::print(&format!("{}\nwritten: {files}", report.text))
}

fn temperature(args: &BatchSizeArgs, trained: &Trained) -> Result<f64> {
    let temperature = args
        .temperature
        .unwrap_or(trained.config.objective.temperature);
    match (1e-4..=1e4).contains(&temperature) {
        true => Ok(temperature),
        false => Err(Error::usage(format!(
            "--temperature {temperature}: expected a number from 1e-4 to 1e4"
        ))),
    }
}

fn sizes(args: &BatchSizeArgs, examples: usize) -> Result<Vec<usize>> {
    if examples < 2 {
        return Err(Error::failure(format!(
            "a batch has two examples at least, and the training set has {examples}"
        )));
    }
    if args.sizes.is_empty() {
        return Ok(doubling_sizes(examples));
    }
    match args
        .sizes
        .iter()
        .find(|size| !(2..=examples).contains(*size))
    {
        Some(size) => Err(Error::usage(format!(
            "--sizes {size}: expected numbers from 2 to the {examples} examples of the study; \
             --examples takes more of the training set"
        ))),
        None => {
            let mut sizes = args.sizes.clone();
            sizes.sort_unstable();
            sizes.dedup();
            Ok(sizes)
        }
    }
}

/// Two views of examples of the training set, embedded.
fn embed(trained: &Trained, examples: usize, temperature: f64) -> Result<Pairs> {
    let evaluation = Evaluation {
        players: &trained.players,
        splits: &trained.splits,
        config: &trained.config,
        interrupt: &Interrupt::never(),
        kept: None,
    };
    let [first, second] = evaluation.two_views(examples)?;
    let dim = trained.players.embedding_dim();
    Ok(Pairs::new([&first, &second], dim, temperature))
}

fn describe(study: &BatchSizeStudy) -> Report {
    let mut table = TextTable::new(["batch", "objective", "gap", "gap of the weighted objective"]);
    for at in &study.sizes {
        let cells = [&at.objective, &at.gap, &at.weighted_gap];
        let cells = cells.map(|spread| {
            let std = spread.std.map(|std| format!(" ± {std:.4}"));
            format!("{:.4}{}", spread.mean, std.unwrap_or_default())
        });
        table.row([at.batch.to_string()].into_iter().chain(cells));
    }
    let text = format!(
        "NT-Xent over batches of {} examples, temperature {}; over all at once it is {:.4}:\n{table}",
        study.examples, study.temperature, study.full,
    );
    Report {
        name: "batch-size",
        text,
        results: vec![json!({"study": "batch-size", "result": study})],
        picture: Some(draw(study)),
    }
}

fn draw(study: &BatchSizeStudy) -> Canvas {
    let curve = |name: &str, read: fn(&AtSize) -> &Spread| Curve {
        name: name.to_owned(),
        points: study
            .sizes
            .iter()
            .map(|at| Point {
                x: at.batch as f64,
                y: read(at).mean,
                spread: read(at).std.unwrap_or(0.0),
            })
            .collect(),
    };
    let ticks = study.sizes.iter();
    let ticks = ticks.map(|at| (at.batch as f64, at.batch.to_string()));
    chart(&Chart {
        title: format!("NT-Xent: gap to all {} examples", study.examples),
        x_label: "batch size".to_owned(),
        y_label: "objective of all data - objective of batches, nats".to_owned(),
        x_ticks: ticks.collect(),
        curves: vec![
            curve("as it is", |at| &at.gap),
            curve("negatives weighted to make up for those left out", |at| {
                &at.weighted_gap
            }),
        ],
    })
}
