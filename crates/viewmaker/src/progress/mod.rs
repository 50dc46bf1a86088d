//! What long work tells its user: the [`Ui`] trait that trainers and probes call, and its forms.
//!
//! A terminal gets a progress bar, a file or pipe gets plain lines, `--json` gets one JSON object
//! a line. Progress goes to standard error (JSON: standard output), so that results can be piped.

mod bar;
mod json;
mod logged;
mod meter;
mod plain;

pub use bar::BarUi;
pub use json::JsonUi;
pub use logged::LoggedUi;
pub use meter::Meter;
pub use plain::PlainUi;

use crate::eval::collapse::Collapse;
use serde::Serialize;
use std::io::IsTerminal;

/// What is known when training starts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainPlan {
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps already done (after a resume), else 0.
    pub first_step: u64,
    /// Steps of one epoch.
    pub steps_per_epoch: u64,
    /// Examples of one step.
    pub batch_size: usize,
}

/// One training step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: u64,
    /// Epoch of this step, from 0.
    pub epoch: u64,
    /// Loss of the encoder.
    pub encoder_loss: f64,
    /// Loss of the viewmaker; `None` where it does not learn.
    pub viewmaker_loss: Option<f64>,
    /// Mean |δ| over the views of this step; `None` without perturbation.
    pub mean_abs_delta: Option<f64>,
}

/// One finished epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpochReport {
    /// Epochs done, this one included.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Mean loss of the encoder over the epoch.
    pub encoder_loss: f64,
    /// Mean loss of the viewmaker over the epoch; `None` where it does not learn.
    pub viewmaker_loss: Option<f64>,
    /// Mean |δ| over the epoch; `None` without perturbation.
    pub mean_abs_delta: Option<f64>,
    /// Accuracy of the nearest-neighbour classifier on held-out data, in `[0, 1]`; `None` where
    /// there are no labels or it was not measured this time.
    pub knn_accuracy: Option<f64>,
    /// Accuracy of the zero-shot classifier on held-out data, in `[0, 1]`; `None` like
    /// `knn_accuracy`, and without a text tower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_shot_accuracy: Option<f64>,
    /// Shape of the embeddings after the epoch.
    #[serde(flatten)]
    pub collapse: Option<Collapse>,
}

/// A stretch of work that is not a training step: reading data, embedding a set, a linear probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskReport<'a> {
    /// What is being done, for example `linear probe`.
    pub task: &'a str,
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// What to show beside the count, for example `loss 1.23`; may be empty.
    pub detail: &'a str,
}

/// A record with the name of what it reports, as JSON lines carry it.
#[derive(Serialize)]
pub(crate) struct Event<'a, T> {
    pub(crate) event: &'a str,
    #[serde(flatten)]
    pub(crate) body: &'a T,
}

/// Listens to long work. Every method returns quickly and never fails: a closed terminal must not
/// stop a training run.
pub trait Ui {
    /// Training is about to start (or to go on).
    fn on_start(&mut self, plan: &TrainPlan);
    /// A step is done.
    fn on_step(&mut self, report: &StepReport);
    /// An epoch is done.
    fn on_epoch(&mut self, report: &EpochReport);
    /// Other work has advanced; `done == total` ends it.
    fn on_task(&mut self, report: &TaskReport<'_>);
    /// A sentence for the user.
    fn on_message(&mut self, text: &str);
    /// Training has ended, or stopped early: the display is put away.
    fn on_finish(&mut self);
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilentUi;

impl Ui for SilentUi {
    fn on_start(&mut self, _: &TrainPlan) {}
    fn on_step(&mut self, _: &StepReport) {}
    fn on_epoch(&mut self, _: &EpochReport) {}
    fn on_task(&mut self, _: &TaskReport<'_>) {}
    fn on_message(&mut self, _: &str) {}
    fn on_finish(&mut self) {}
}

/// The right form for where the output goes.
pub fn ui(json: bool) -> Box<dyn Ui> {
    if json {
        Box::new(JsonUi::new(std::io::stdout()))
    } else if std::io::stderr().is_terminal() {
        Box::new(BarUi::new())
    } else {
        Box::new(PlainUi::new(std::io::stderr()))
    }
}

/// `encoder 1.234 · viewmaker -1.230 · |δ| 0.0500`, without what is not known.
fn describe_losses(encoder: f64, viewmaker: Option<f64>, delta: Option<f64>) -> String {
    let mut parts = vec![format!("encoder {encoder:.3}")];
    parts.extend(viewmaker.map(|loss| format!("viewmaker {loss:.3}")));
    parts.extend(delta.map(|delta| format!("|δ| {delta:.4}")));
    parts.join(" · ")
}

/// The line that reports an epoch.
fn describe_epoch(report: &EpochReport) -> String {
    let losses = describe_losses(
        report.encoder_loss,
        report.viewmaker_loss,
        report.mean_abs_delta,
    );
    let knn = report
        .knn_accuracy
        .map(|accuracy| format!(" · kNN {:.1} %", 100.0 * accuracy))
        .unwrap_or_default();
    let zero_shot = report
        .zero_shot_accuracy
        .map(|accuracy| format!(" · zero-shot {:.1} %", 100.0 * accuracy))
        .unwrap_or_default();
    let shape = report
        .collapse
        .map(|c| {
            format!(
                " · std {:.2} · rank {:.1}",
                c.embedding_std, c.effective_rank
            )
        })
        .unwrap_or_default();
    format!(
        "epoch {} done (step {}): {losses}{shape}{knn}{zero_shot}",
        report.epoch, report.step
    )
}

/// A duration as `1:02:03`, `2:03` or `3 s`.
fn describe_seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    pub(crate) fn plan() -> TrainPlan {
        TrainPlan {
            steps: 20,
            first_step: 0,
            steps_per_epoch: 10,
            batch_size: 64,
        }
    }

    pub(crate) fn step(step: u64) -> StepReport {
        StepReport {
            step,
            epoch: (step - 1) / 10,
            encoder_loss: 3.25,
            viewmaker_loss: Some(-3.25),
            mean_abs_delta: Some(0.05),
        }
    }

    pub(crate) fn epoch() -> EpochReport {
        EpochReport {
            epoch: 1,
            step: 10,
            encoder_loss: 3.0,
            viewmaker_loss: None,
            mean_abs_delta: None,
            knn_accuracy: Some(0.5),
            zero_shot_accuracy: None,
            collapse: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_epochs_and_durations() {
        let mut report = samples::epoch();
        let line = describe_epoch(&report);
        assert_eq!(line, "epoch 1 done (step 10): encoder 3.000 · kNN 50.0 %");
        report.viewmaker_loss = Some(-3.0);
        report.mean_abs_delta = Some(0.05);
        report.knn_accuracy = None;
        let line = describe_epoch(&report);
        assert!(line.ends_with("encoder 3.000 · viewmaker -3.000 · |δ| 0.0500"));
        assert_eq!(describe_seconds(3.2), "3 s");
        assert_eq!(describe_seconds(123.0), "2:03");
        assert_eq!(describe_seconds(3723.0), "1:02:03");
    }
}
