//! `viewmaker eval`

mod describe;

use super::args::use_threads;
use super::output;
use crate::config::{Layer, schema};
use crate::error::{Error, Result};
use crate::eval::report::{Origin, Report};
use crate::eval::{Evaluation, KeptFeatures, Layer as Features, Probe};
use crate::progress::{Ui, ui};
use crate::trained::{Changes, Trained};
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::PathBuf;

/// Measure how good a trained encoder is, on the held-out part of its data or on other data.
///
/// Every probe prints its result and writes it, with all settings, to eval/<PROBE>.json in the run
/// folder as soon as it has been measured; some add a picture. Ctrl-C keeps the finished ones.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EvalArgs {
    /// Run folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What measures; several with commas between them.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Probe::Knn])]
    probe: Vec<Probe>,
    /// Other data of the same kind and shape, to see what transfers.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Change one setting of the evaluation, for example eval.knn_k=5; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The encoder as it was before training: what an accuracy is to be compared with.
    #[arg(long)]
    untrained: bool,
    /// Folder for the results; without it eval/ in the run folder, or eval/<name of the data>/, and
    /// untrained/ in it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl ValueEnum for Probe {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()).help(self.about()))
    }
}

const EXAMPLES: &str = "\
Examples:
  viewmaker eval runs/image-001
  viewmaker eval runs/image-001 --probe linear
  viewmaker eval runs/image-001 --probe linear,logistic --untrained
  viewmaker eval runs/image-001 --probe knn,logistic --set eval.knn_k=200
  viewmaker eval runs/image-001 --probe finetune --set eval.finetune.steps=2000
  viewmaker eval runs/image-001 --probe transfer --data ~/cifar-100-binary
  viewmaker eval runs/speech-001 --data ~/free-spoken-digit-dataset --json";

pub(super) fn run(args: EvalArgs) -> Result<()> {
    let mut ui = ui(args.json);
    if args.probe.contains(&Probe::Transfer) && args.data.is_none() {
        return Err(needs_data());
    }
    let changes = changes(&args)?;
    use_threads(&changes.config(&args.run)?)?;
    let trained = Trained::load(&args.run, &changes)?;
    trained.warnings.iter().for_each(|text| ui.on_message(text));
    ui.on_message(&trained.splits.description);
    let probes = distinct(&args.probe);
    if args.untrained {
        probes
            .iter()
            .try_for_each(|probe| check_untrained(*probe))?;
    }
    let kept = KeptFeatures::default();
    // Until here there is nothing to lose, and Ctrl-C ends the program at once.
    let interrupt = super::interrupt()?;
    let evaluation = Evaluation {
        players: &trained.players,
        splits: &trained.splits,
        config: &trained.config,
        interrupt: &interrupt,
        kept: (probes.len() > 1).then_some(&kept),
    };
    for probe in &probes {
        check(*probe, &evaluation, &trained)?;
    }
    let untrained = args.untrained.then(|| evaluation.untrained()).transpose()?;
    let evaluation = Evaluation {
        players: untrained.as_ref().unwrap_or(&trained.players),
        ..evaluation
    };
    let origin = Origin {
        run: &args.run,
        step: if args.untrained { 0 } else { trained.step },
        data: &trained.splits.description,
        config: &trained.config,
    };
    let out = out(&args, changes.data.as_deref());
    let (mut results, mut files) = (Vec::new(), Vec::new());
    for (done, probe) in probes.iter().enumerate() {
        let report = measure(*probe, &evaluation, &trained, ui.as_mut());
        ui.on_finish();
        let report = report.map_err(|error| tell_what_is_left(error, &probes, done))?;
        // One by one: hours of a probe must not be lost with the next one.
        let written = report.write(&out, origin)?;
        print(&args, &report, &written)?;
        results.extend(report.results);
        files.extend(written);
    }
    match args.json {
        true => output::print_json(&json!({
            "event": "result",
            "run": origin.run,
            "step": origin.step,
            "data": origin.data,
            "results": results,
            "files": files,
        })),
        false => Ok(()),
    }
}

/// Every probe once, in the order in which they were asked for.
fn distinct(asked: &[Probe]) -> Vec<Probe> {
    let mut probes = Vec::new();
    for probe in asked {
        if !probes.contains(probe) {
            probes.push(*probe);
        }
    }
    probes
}

/// Whether a probe can work, as far as that is known before anything is computed.
fn check(probe: Probe, evaluation: &Evaluation<'_>, trained: &Trained) -> Result<()> {
    match probe {
        Probe::Corruptions => evaluation.check_pictures()?,
        Probe::ZeroShot if trained.texts.is_none() => return Err(no_texts(trained)),
        _ => {}
    }
    if trained.splits.class_names.is_empty() {
        return Err(no_labels());
    }
    match probe {
        Probe::Subjects => evaluation.check_subjects().map(drop),
        Probe::Fewshot => evaluation.check_fewshot(),
        _ => Ok(()),
    }
}

/// Refuses what says nothing about an untrained encoder.
fn check_untrained(probe: Probe) -> Result<()> {
    let why = match probe {
        Probe::Finetune | Probe::Transfer | Probe::Subjects => {
            "compares with the untrained encoder anyway"
        }
        Probe::ZeroShot => "needs a text tower that was trained with the encoder",
        Probe::Knn | Probe::Linear | Probe::Logistic | Probe::Fewshot | Probe::Corruptions => {
            return Ok(());
        }
    };
    let name = probe.name();
    Err(Error::usage(format!("--untrained: --probe {name} {why}")))
}

/// What Ctrl-C has left, with the words that measure it.
fn tell_what_is_left(error: Error, probes: &[Probe], done: usize) -> Error {
    let Error::Interrupted(_) = error else {
        return error;
    };
    let left: Vec<&str> = probes[done..].iter().map(|probe| probe.name()).collect();
    Error::Interrupted(format!(
        "{done} of {} probes measured and written; the others: the same command with --probe {}",
        probes.len(),
        left.join(",")
    ))
}

/// Prints the outcome of one probe.
fn print(args: &EvalArgs, report: &Report, files: &[PathBuf]) -> Result<()> {
    if args.json {
        return output::print_json(&json!({
            "event": "probe",
            "probe": report.name,
            "results": report.results,
            "files": files,
        }));
    }
    let files = files.iter().map(|file| file.display().to_string());
    let files = files.collect::<Vec<_>>().join(", ");
    output::print(&format!("{}\nwritten: {files}", report.text))
}

/// What the command line wants otherwise than the run.
fn changes(args: &EvalArgs) -> Result<Changes> {
    let data = args.data.as_deref().map(std::path::absolute).transpose();
    let data = data.map_err(|error| Error::usage(format!("--data: {error}")))?;
    let mut settings = Layer::default();
    for assignment in &args.set {
        settings.add_assignment(assignment, schema())?;
    }
    let may_change =
        |key: &str| key.starts_with("eval.") || (data.is_some() && key.starts_with("data."));
    match settings
        .entries
        .iter()
        .find(|entry| !may_change(&entry.key))
    {
        Some(entry) => Err(Error::usage(format!(
            "--set {}: an evaluation changes nothing about the run; what can be set here begins \
             with eval. (and, beside --data, with data.)",
            entry.key
        ))),
        None => Ok(Changes { data, settings }),
    }
}

/// The folder for the results.
fn out(args: &EvalArgs, data: Option<&std::path::Path>) -> PathBuf {
    if let Some(out) = &args.out {
        return out.clone();
    }
    let folder = args.run.join("eval");
    let folder = match data.and_then(std::path::Path::file_name) {
        Some(name) => folder.join(name),
        None => folder,
    };
    match args.untrained {
        true => folder.join("untrained"),
        false => folder,
    }
}

fn measure(
    probe: Probe,
    evaluation: &Evaluation<'_>,
    trained: &Trained,
    ui: &mut dyn Ui,
) -> Result<Report> {
    match probe {
        Probe::Knn => {
            let result = evaluation.knn(ui)?.ok_or_else(no_labels)?;
            Ok(describe::knn(&result))
        }
        Probe::Linear => {
            let mut results = Vec::new();
            for layer in [Features::Pooled, Features::Prepool] {
                results.push(evaluation.linear(layer, ui)?.ok_or_else(no_labels)?);
            }
            Ok(describe::linear(&results))
        }
        Probe::Logistic => {
            let result = evaluation.logistic(Features::Pooled, ui)?;
            Ok(describe::logistic(&result.ok_or_else(no_labels)?))
        }
        Probe::Finetune => {
            let result = evaluation.finetune(ui)?.ok_or_else(no_labels)?;
            Ok(describe::finetune(&result))
        }
        Probe::Fewshot => {
            let result = evaluation.fewshot(ui)?.ok_or_else(no_labels)?;
            Ok(describe::fewshot(&result))
        }
        Probe::Transfer => {
            let result = evaluation.transfer(trained.data_statistics.as_ref(), ui)?;
            Ok(describe::transfer(&result.ok_or_else(no_labels)?))
        }
        Probe::Subjects => {
            let result = evaluation.subjects(ui)?.ok_or_else(no_labels)?;
            Ok(describe::subjects(&result))
        }
        Probe::Corruptions => {
            let result = evaluation.corruptions(ui)?.ok_or_else(no_labels)?;
            Ok(describe::corruptions(&result, &evaluation.specimen()?))
        }
        Probe::ZeroShot => {
            let texts = trained.texts.as_ref().ok_or_else(|| no_texts(trained))?;
            let result = evaluation.zero_shot(texts, ui)?.ok_or_else(no_labels)?;
            Ok(describe::zero_shot(&result))
        }
    }
}

fn needs_data() -> Error {
    Error::usage(
        "--probe transfer: needs --data PATH, other labelled data of the same modality than those of \
         the run",
    )
}

fn no_texts(trained: &Trained) -> Error {
    Error::usage(format!(
        "--probe zero-shot: this run was trained without texts (objective.name = \"{}\"); the \
         objectives that embed texts say so in `viewmaker objectives`",
        trained.config.objective.name
    ))
}

fn no_labels() -> Error {
    Error::failure("the data have no labels: there is nothing to compare predictions with")
}
