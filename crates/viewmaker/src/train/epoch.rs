//! What an epoch comes to: sums over its steps, measurements at its end, and the summary of a run.

use super::Trainer;
use super::step::StepOutcome;
use crate::error::Result;
use crate::eval::collapse::Collapse;
use crate::eval::{Evaluation, KnnResult};
use crate::progress::{EpochReport, Ui};
use crate::run::{RunDir, RunSummary};
use serde::{Deserialize, Serialize};

/// Sums over the steps of an epoch, for its report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct EpochSums {
    steps: u64,
    encoder_loss: f64,
    viewmaker_loss: f64,
    viewmaker_steps: u64,
    mean_distortion: f64,
}

impl EpochSums {
    pub(super) fn add(&mut self, outcome: &StepOutcome) {
        self.steps += 1;
        self.encoder_loss += f64::from(outcome.encoder_loss);
        self.mean_distortion += f64::from(outcome.mean_distortion);
        if let Some(loss) = outcome.viewmaker_loss {
            self.viewmaker_loss += f64::from(loss);
            self.viewmaker_steps += 1;
        }
    }

    fn mean(sum: f64, count: u64) -> Option<f64> {
        (count > 0).then(|| sum / count as f64)
    }
}

/// How far a run has come; part of every checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) step: u64,
    pub(super) sums: EpochSums,
    pub(super) knn_untrained: Option<f64>,
    pub(super) knn_last: Option<f64>,
    pub(super) knn_best: Option<f64>,
    pub(super) zero_shot: Option<f64>,
    pub(super) last_epoch: Option<EpochMeans>,
    pub(super) collapse: Option<Collapse>,
    pub(super) seconds: f64,
}

/// Means over the last whole epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct EpochMeans {
    encoder_loss: f64,
    viewmaker_loss: Option<f64>,
    mean_abs_delta: Option<f64>,
}

impl Trainer<'_> {
    /// What came out so far.
    pub(super) fn summary(&self) -> RunSummary {
        let progress = &self.progress;
        let last = progress.last_epoch.as_ref();
        RunSummary {
            steps: progress.step,
            epochs: progress.step / self.steps_per_epoch().max(1),
            encoder_loss: last.map(|means| means.encoder_loss),
            viewmaker_loss: last.and_then(|means| means.viewmaker_loss),
            mean_abs_delta: last.and_then(|means| means.mean_abs_delta),
            knn_accuracy_untrained: progress.knn_untrained,
            knn_accuracy: progress.knn_last,
            knn_accuracy_best: progress.knn_best,
            zero_shot_accuracy: progress.zero_shot,
            collapse: progress.collapse,
            seconds: Some(progress.seconds),
        }
    }

    /// Measures, reports and saves what an epoch came to.
    pub(super) fn end_epoch(
        &mut self,
        epoch: u64,
        run: &mut RunDir,
        ui: &mut dyn Ui,
    ) -> Result<()> {
        let every = self.config.train.knn_every;
        let last = self.progress.step == self.total_steps();
        let measure = last || (every > 0 && (epoch + 1).is_multiple_of(every));
        let knn = if measure { self.knn(ui)? } else { None };
        let zero_shot = if measure { self.zero_shot(ui)? } else { None };
        let collapse = self.collapse(epoch)?;
        self.warn_of_collapse(collapse, ui);
        let sums = std::mem::take(&mut self.progress.sums);
        let distortion = EpochSums::mean(sums.mean_distortion, sums.steps);
        let means = EpochMeans {
            encoder_loss: EpochSums::mean(sums.encoder_loss, sums.steps).unwrap_or(f64::NAN),
            viewmaker_loss: EpochSums::mean(sums.viewmaker_loss, sums.viewmaker_steps),
            mean_abs_delta: distortion.and_then(|mean| self.distortion(mean)),
        };
        let report = EpochReport {
            epoch: epoch + 1,
            step: self.progress.step,
            encoder_loss: means.encoder_loss,
            viewmaker_loss: means.viewmaker_loss,
            mean_abs_delta: means.mean_abs_delta,
            knn_accuracy: knn,
            zero_shot_accuracy: zero_shot,
            collapse,
        };
        self.progress.last_epoch = Some(means);
        self.progress.collapse = collapse;
        self.progress.knn_last = knn.or(self.progress.knn_last);
        self.progress.zero_shot = zero_shot.or(self.progress.zero_shot);
        self.progress.knn_best = knn.max_by_value(self.progress.knn_best);
        run.record_epoch(&report)?;
        ui.on_epoch(&report);
        self.save(run, knn)
    }

    /// A mean |δ|, where something is perturbed.
    pub(super) fn distortion(&self, mean: f64) -> Option<f64> {
        self.learners.players.views.tower().map(|_| mean)
    }

    /// Nearest-neighbour accuracy now; `None` without labels.
    fn knn(&self, ui: &mut dyn Ui) -> Result<Option<f64>> {
        let evaluation = Evaluation {
            players: &self.learners.players,
            splits: self.splits,
            config: self.config,
        };
        Ok(evaluation
            .knn(ui)?
            .map(|KnnResult { accuracy, .. }| accuracy))
    }

    /// Zero-shot accuracy now; `None` without labels or without a text tower.
    fn zero_shot(&self, ui: &mut dyn Ui) -> Result<Option<f64>> {
        let Some(text) = self.learners.companions.text() else {
            return Ok(None);
        };
        let evaluation = Evaluation {
            players: &self.learners.players,
            splits: self.splits,
            config: self.config,
        };
        let result = evaluation.zero_shot(text.tower(), ui)?;
        Ok(result.map(|result| result.accuracy))
    }
}

/// The larger of two optional numbers.
trait MaxByValue {
    fn max_by_value(self, other: Self) -> Self;
}

impl MaxByValue for Option<f64> {
    fn max_by_value(self, other: Self) -> Self {
        match (self, other) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        }
    }
}
