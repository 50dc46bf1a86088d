//! Results of probes in words, tables and pictures.

use super::super::output::percent;
use crate::eval::corruptions::{CorruptionsResult, Specimen};
use crate::eval::fewshot::FewshotResult;
use crate::eval::finetune::{FinetuneAt, FinetuneResult};
use crate::eval::report::{Report, TextTable};
use crate::eval::spread::Spread;
use crate::eval::subjects::{SubjectsAt, SubjectsResult};
use crate::eval::transfer::TransferResult;
use crate::eval::{
    KnnResult, Layer, LinearResult, LogisticResult, Probe, ZeroShotResult, percent_of,
};
use crate::render::{Canvas, Chart, ContactRow, Curve, Point, chart, contact_sheet};
use serde::Serialize;
use serde_json::{Value, json};

fn result(probe: Probe, result: impl Serialize) -> Value {
    json!({"probe": probe.name(), "result": result})
}

pub(super) fn knn(knn: &KnnResult) -> Report {
    let KnnResult {
        accuracy,
        k,
        temperature,
        bank_examples,
        test_examples,
    } = knn;
    let text = format!(
        "kNN accuracy: {} on {test_examples} held-out examples ({k} neighbours among \
         {bank_examples}, temperature {temperature})",
        percent(*accuracy)
    );
    Report {
        name: Probe::Knn.name(),
        text,
        results: vec![result(Probe::Knn, knn)],
        picture: None,
    }
}

pub(super) fn linear(results: &[LinearResult]) -> Report {
    let lines = results.iter().map(|result| {
        format!(
            "linear accuracy on {} {} features: {} on {} held-out examples ({} on the training \
             set)",
            result.dim,
            layer(result.layer),
            percent(result.accuracy),
            result.test_examples,
            percent(result.train_accuracy)
        )
    });
    Report {
        name: Probe::Linear.name(),
        text: lines.collect::<Vec<_>>().join("\n"),
        results: results.iter().map(|r| result(Probe::Linear, r)).collect(),
        picture: None,
    }
}

pub(super) fn logistic(logistic: &LogisticResult) -> Report {
    let fit = &logistic.fit;
    let ended = match fit.converged {
        true => format!("{} iterations", fit.iterations),
        false => format!(
            "not converged after {} iterations: gradient {:.1e}",
            fit.iterations, fit.gradient
        ),
    };
    let text = format!(
        "logistic regression on {} {} features: {} on {} held-out examples ({} on the training \
         set; λ = {}, {ended})",
        logistic.dim,
        layer(logistic.layer),
        percent(logistic.accuracy),
        logistic.test_examples,
        percent(logistic.train_accuracy),
        logistic.settings.l2,
    );
    Report {
        name: Probe::Logistic.name(),
        text,
        results: vec![result(Probe::Logistic, logistic)],
        picture: None,
    }
}

fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Pooled => "pooled",
        Layer::Prepool => "pre-pool",
    }
}

/// A point of a curve of accuracies, in per cent with one standard deviation.
fn point(x: f64, accuracy: &Spread) -> Point {
    Point {
        x,
        y: 100.0 * accuracy.mean,
        spread: 100.0 * accuracy.std.unwrap_or(0.0),
    }
}

/// A name, and which of the accuracies of a row is meant.
type Method<R> = (&'static str, fn(&R) -> &Spread);

const ACCURACY: &str = "accuracy on held-out examples, %";

pub(super) fn finetune(finetune: &FinetuneResult) -> Report {
    let methods: [Method<FinetuneAt>; 3] = [
        ("fine-tuned", |at| &at.finetuned),
        ("from scratch", |at| &at.scratch),
        ("logistic probe", |at| &at.linear),
    ];
    let titles = ["labels", "examples"].into_iter();
    let mut table = TextTable::new(titles.chain(methods.iter().map(|(name, _)| *name)));
    for at in &finetune.fractions {
        let start = [percent_of(at.fraction), at.examples.to_string()];
        let cells = methods.iter().map(|(_, read)| read(at).percent());
        table.row(start.into_iter().chain(cells));
    }
    let curves = methods.map(|(name, read)| Curve {
        name: name.to_owned(),
        points: finetune
            .fractions
            .iter()
            .map(|at| point(at.examples as f64, read(at)))
            .collect(),
    });
    let ticks = finetune.fractions.iter();
    let ticks = ticks.map(|at| (at.examples as f64, percent_of(at.fraction)));
    let settings = &finetune.settings;
    let text = format!(
        "training with few labels: accuracy on {} held-out examples, mean ± standard deviation over \
         {} ({} steps of {}, learning rate {}):\n{table}",
        finetune.test_examples,
        seeds(finetune.seeds.len()),
        settings.steps,
        settings.batch_size,
        settings.lr,
    );
    Report {
        name: Probe::Finetune.name(),
        text,
        results: vec![result(Probe::Finetune, finetune)],
        picture: Some(chart(&Chart {
            title: "training with few labels".to_owned(),
            x_label: format!("part of {} labelled examples", finetune.train_examples),
            y_label: ACCURACY.to_owned(),
            x_ticks: ticks.collect(),
            curves: curves.into(),
        })),
    }
}

fn seeds(count: usize) -> String {
    match count {
        1 => "1 seed".to_owned(),
        count => format!("{count} seeds"),
    }
}

pub(super) fn fewshot(fewshot: &FewshotResult) -> Report {
    let mut table = TextTable::new(["episodes", "accuracy", "untrained encoder"]);
    for at in &fewshot.shots {
        let interval =
            |mean: f64, half: f64| format!("{:.1} ± {:.1} %", 100.0 * mean, 100.0 * half);
        table.row([
            format!("{}-way {}-shot", at.settings.ways, at.settings.shots),
            interval(at.accuracy, at.interval95),
            interval(at.untrained, at.untrained_interval95),
        ]);
    }
    let episodes = fewshot.shots.first().map_or(0, |at| at.settings.episodes);
    let text = format!(
        "nearest class mean on {} {} features of {} held-out examples: mean and 95 % interval over \
         {episodes} episodes:\n{table}",
        fewshot.dim,
        layer(fewshot.layer),
        fewshot.test_examples,
    );
    Report {
        name: Probe::Fewshot.name(),
        text,
        results: vec![result(Probe::Fewshot, fewshot)],
        picture: None,
    }
}

pub(super) fn transfer(transfer: &TransferResult) -> Report {
    let untrained = &transfer.untrained;
    let mut table = TextTable::new(["probe", "this encoder", "untrained encoder"]);
    for (name, accuracy, untrained) in [
        ("kNN", transfer.knn.accuracy, &untrained.knn),
        ("logistic", transfer.logistic.accuracy, &untrained.logistic),
    ] {
        table.row([name.to_owned(), percent(accuracy), untrained.percent()]);
    }
    let text = format!(
        "transfer: accuracy on {} held-out examples, probes trained on {} (untrained: mean ± standard \
         deviation over {}):\n{table}",
        transfer.logistic.test_examples,
        transfer.logistic.train_examples,
        seeds(untrained.seeds.len()),
    );
    Report {
        name: Probe::Transfer.name(),
        text,
        results: vec![result(Probe::Transfer, transfer)],
        picture: None,
    }
}

pub(super) fn subjects(subjects: &SubjectsResult) -> Report {
    let mut table = TextTable::new(["subjects", "examples", "accuracy", "untrained encoder"]);
    for at in &subjects.counts {
        table.row([
            at.subjects.to_string(),
            format!("{:.0}", at.examples),
            at.accuracy.percent(),
            at.untrained.percent(),
        ]);
    }
    let curve = |name: &str, read: fn(&SubjectsAt) -> &Spread| Curve {
        name: name.to_owned(),
        points: subjects
            .counts
            .iter()
            .map(|at| point(at.subjects as f64, read(at)))
            .collect(),
    };
    let curves = vec![
        curve("features of the run", |at| &at.accuracy),
        curve("features of the untrained encoder", |at| &at.untrained),
    ];
    let ticks = subjects.counts.iter();
    let ticks = ticks.map(|at| (at.subjects as f64, at.subjects.to_string()));
    let text = format!(
        "a probe trained on few of {} subjects: accuracy on {} windows of {} others, mean ± standard \
         deviation over the choice of subjects:\n{table}",
        subjects.train_subjects, subjects.test_examples, subjects.test_subjects,
    );
    Report {
        name: Probe::Subjects.name(),
        text,
        results: vec![result(Probe::Subjects, subjects)],
        picture: Some(chart(&Chart {
            title: "transfer between subjects".to_owned(),
            x_label: "subjects that the probe is trained on".to_owned(),
            y_label: ACCURACY.to_owned(),
            x_ticks: ticks.collect(),
            curves,
        })),
    }
}

pub(super) fn corruptions(corruptions: &CorruptionsResult, specimen: &Specimen) -> Report {
    let severities = severities(specimen);
    let titles = severities.iter().map(|number| format!("severity {number}"));
    let titles = std::iter::once("corruption".to_owned()).chain(titles);
    let mut table = TextTable::new(titles.chain(["mean".to_owned()]));
    for row in &corruptions.corruptions {
        let cells = row.accuracies.iter().chain([&row.mean]);
        let cells = cells.map(|accuracy| percent(*accuracy));
        table.row([row.corruption.to_owned()].into_iter().chain(cells));
    }
    let text = format!(
        "corrupted pictures: accuracy on {} held-out examples, {} clean, {} on average over what \
         follows:\n{table}",
        corruptions.test_examples,
        percent(corruptions.clean),
        percent(corruptions.mean),
    );
    Report {
        name: Probe::Corruptions.name(),
        text,
        results: vec![result(Probe::Corruptions, corruptions)],
        picture: Some(sheet(specimen)),
    }
}

pub(super) fn zero_shot(zero_shot: &ZeroShotResult) -> Report {
    let text = format!(
        "zero-shot accuracy: {} on {} held-out examples ({} prompts a class)",
        percent(zero_shot.accuracy),
        zero_shot.test_examples,
        zero_shot.prompts.len()
    );
    Report {
        name: Probe::ZeroShot.name(),
        text,
        results: vec![result(Probe::ZeroShot, zero_shot)],
        picture: None,
    }
}

/// Numbers of the severities.
fn severities(specimen: &Specimen) -> Vec<usize> {
    let count = specimen.corrupted.first().map_or(0, |(_, all)| all.len());
    (1..=count).collect()
}

/// One picture under all corruptions.
fn sheet(specimen: &Specimen) -> Canvas {
    let numbers = severities(specimen).into_iter().map(|n| n.to_string());
    let columns: Vec<String> = std::iter::once("clean".to_owned()).chain(numbers).collect();
    let rows: Vec<ContactRow<'_>> = specimen
        .corrupted
        .iter()
        .map(|(name, pictures)| ContactRow {
            title: (*name).to_owned(),
            pictures: std::iter::once(&specimen.clean)
                .chain(pictures)
                .map(Vec::as_slice)
                .collect(),
        })
        .collect();
    contact_sheet(&columns, &rows, specimen.shape)
}
