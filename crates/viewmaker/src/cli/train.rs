//! `viewmaker train`

use super::args::{ConfigArgs, use_threads};
use super::output::{self, percent};
use super::profile;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::eval::collapse::Collapse;
use crate::machine;
use crate::pictures::{self, Request};
use crate::progress::{LoggedUi, Ui, ui};
use crate::run::{RunDir, RunSummary, Unreadable};
use crate::train::Trainer;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use viewmaker_data::Splits;

/// Train an encoder and a viewmaker on images, speech or sensor streams.
///
/// Without --data, on data that come with the program. The run folder gets the configuration,
/// metrics, checkpoints and pictures. Ctrl-C finishes the step, saves, and says how to go on; a
/// resumed run ends with the same bits as an uninterrupted one on the same device, in the same
/// precision.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TrainArgs {
    /// Folder for the run; without it the next free runs/<modality>-<number>.
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder, from its latest checkpoint.
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Measure where the time of a step goes, and print it at the end.
    #[arg(long)]
    profile: bool,
    #[command(flatten)]
    settings: ConfigArgs,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker train --modality image                  the built-in pictures, in minutes
  viewmaker train --modality image --data ~/cifar-10-batches-bin --config configs/cifar10.toml
  viewmaker train --modality speech --set viewmaker.distortion_budget=0.1 --epochs 20
  viewmaker train --modality sensor --set views.source=noise --seed 3 --out runs/noise-3
  viewmaker train --modality image --set 'views.source=[expert,learned]'
  viewmaker train --modality image --objective byol
  viewmaker train --resume runs/image-001           go on after Ctrl-C
  viewmaker train --resume runs/image-001 --epochs 40";

/// Examples whose views are drawn after training.
const PICTURES: usize = 8;

pub(super) fn run(args: TrainArgs) -> Result<()> {
    let mut ui = ui(args.json);
    let (mut config, notes) = configure(&args)?;
    use_threads(&config)?;
    pictures::resolve_data(&mut config)?;
    let splits = pictures::open_data(&config)?;
    let opened = machine::open(&config)?;
    opened.prepare(|words| ui.on_message(words))?;
    let mut trainer = Trainer::new(&config, &splits, &opened.machine)?;
    if args.profile {
        trainer.measure();
    }
    let mut run = open_run(&args, &config)?;
    let mut ui = LoggedUi::new(ui.as_mut(), run.log()?);
    ui.on_message(&splits.description);
    ui.on_message(&opened.message);
    notes.iter().for_each(|note| ui.on_message(note));
    restore(&mut trainer, &mut run, &mut ui)?;
    if args.resume.is_some() {
        run.rewrite_config(&config)?;
    }
    ui.on_message(&format!("run folder: {}", run.path().display()));
    // Until here there is nothing to save, and Ctrl-C ends the program at once.
    let interrupt = super::interrupt()?;
    let outcome = trainer.run(&mut run, &mut ui, &interrupt)?;
    if let Some(profile) = trainer.profile() {
        profile::print(&profile, args.json)?;
    }
    if outcome.interrupted {
        let path = output::quoted(run.path());
        return Err(Error::Interrupted(format!(
            "step {} of {} is saved; go on with: viewmaker train --resume {path}",
            outcome.summary.steps,
            trainer.total_steps()
        )));
    }
    let files = draw(&trainer, &config, &splits, &run)?;
    report(&args, &run, &outcome.summary, &files)
}

/// The configuration of a new run, or of one that goes on, and what is to be said about that.
fn configure(args: &TrainArgs) -> Result<(Config, Vec<String>)> {
    let Some(folder) = &args.resume else {
        let config = args.settings.resolve()?;
        let notes = departures(&config);
        return Ok((config, notes));
    };
    let before = RunDir::read_config(folder)?;
    let config = args.settings.resolve_over(&RunDir::config_path(folder))?;
    before.check_continues_as(&config)?;
    let notes = before.remarks_on_continuing(&config);
    Ok((config, notes))
}

/// What an objective usually has otherwise: a file that names every key may bring it along unmeant.
fn departures(config: &Config) -> Vec<String> {
    let departures = config.departures();
    let list = || format!("{} with {}", config.objective.name, departures.join(", "));
    (!departures.is_empty()).then(list).into_iter().collect()
}

fn open_run(args: &TrainArgs, config: &Config) -> Result<RunDir> {
    let Some(folder) = &args.resume else {
        return Ok(RunDir::create(args.out.as_deref(), config)?);
    };
    let (run, _) = RunDir::open(folder)?;
    Ok(run)
}

/// Goes back to the latest checkpoint, or to the beginning of a run that has none. A run that has come further
/// than it is asked to stays as it is.
fn restore(trainer: &mut Trainer<'_>, run: &mut RunDir, ui: &mut dyn Ui) -> Result<()> {
    let step = match RunDir::latest_checkpoint(run.path())? {
        Some(latest) => {
            let (done, total) = (latest.checkpoint.step, trainer.total_steps());
            if done > total {
                return Err(Error::usage(format!(
                    "--resume: {done} steps are done, and {total} are asked for: ask for more with --epochs or \
                     --steps, or train anew"
                )));
            }
            trainer.restore(&latest.checkpoint)?;
            for Unreadable { step, error } in latest.damaged {
                let kept = run.set_aside(step)?;
                ui.on_message(&format!(
                    "warning: {error}; this checkpoint is kept as {}, and the run goes on from the one \
                     before",
                    kept.display()
                ));
            }
            ui.on_message(&format!("going on from {}", latest.folder.display()));
            latest.checkpoint.step
        }
        None => 0,
    };
    Ok(run.rewind_to(step)?)
}

/// Draws views of held-out examples into the run folder.
fn draw(
    trainer: &Trainer<'_>,
    config: &Config,
    splits: &Splits,
    run: &RunDir,
) -> Result<Vec<PathBuf>> {
    let written = pictures::write(&Request {
        config,
        players: trainer.players(),
        dataset: splits.test.as_ref(),
        class_names: &splits.class_names,
        before_view: splits.before_view.as_ref(),
        count: PICTURES,
        out: &run.views(),
    })?;
    Ok(written.files)
}

/// Says what came out and what to do next.
fn report(args: &TrainArgs, run: &RunDir, summary: &RunSummary, files: &[PathBuf]) -> Result<()> {
    let folder = run.path();
    if args.json {
        return output::print_json(&json!({
            "event": "result",
            "run": folder,
            "summary": summary,
            "pictures": files,
        }));
    }
    let time = summary.seconds.map(|seconds| format!(" in {seconds:.0} s"));
    let mut lines = vec![format!(
        "done: {} steps{}",
        summary.steps,
        time.unwrap_or_default()
    )];
    lines.extend(accuracy(summary));
    lines.extend(zero_shot(summary));
    lines.extend(summary.collapse.map(|collapse| shape(&collapse)));
    lines.extend(pictures_line(files));
    lines.push(next_command(folder, summary));
    output::print(&lines.join("\n"))
}

/// Where the pictures are: the file, or the folder of several.
fn pictures_line(files: &[PathBuf]) -> Option<String> {
    let is_picture = |file: &&PathBuf| file.extension().is_some_and(|end| end == "png");
    let mut pictures = files.iter().filter(is_picture);
    let first = pictures.next()?;
    let place = match (pictures.next(), first.parent()) {
        (Some(_), Some(folder)) => folder,
        _ => first.as_path(),
    };
    Some(format!("pictures of views: {}", place.display()))
}

fn accuracy(summary: &RunSummary) -> Option<String> {
    let trained = percent(summary.knn_accuracy?);
    let untrained = summary.knn_accuracy_untrained.map(percent);
    let untrained = untrained.map(|u| format!(" (before training {u})"));
    Some(format!(
        "kNN accuracy on held-out data: {trained}{}",
        untrained.unwrap_or_default()
    ))
}

fn zero_shot(summary: &RunSummary) -> Option<String> {
    let accuracy = percent(summary.zero_shot_accuracy?);
    Some(format!("zero-shot accuracy on held-out data: {accuracy}"))
}

fn shape(collapse: &Collapse) -> String {
    format!(
        "embeddings: standard deviation {:.2}, effective rank {:.1}, alignment {:.3}, uniformity {:.2}",
        collapse.embedding_std, collapse.effective_rank, collapse.alignment, collapse.uniformity
    )
}

fn next_command(folder: &Path, summary: &RunSummary) -> String {
    let folder = output::quoted(folder);
    match summary.knn_accuracy {
        Some(_) => format!("next: viewmaker eval {folder} --probe logistic"),
        None => format!("next: viewmaker views {folder}"),
    }
}
