//! What an epoch comes to: sums over its steps, measurements at its end, and the summary of a run.

use super::Trainer;
use super::step::StepOutcome;
use crate::error::Result;
use crate::eval::Evaluation;
use crate::eval::collapse::Collapse;
use crate::interrupt::Interrupt;
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

    /// Whether there are steps that no epoch's report counts yet, although their epoch, or the run, is
    /// over. A checkpoint that is written after a step can lie between the two.
    pub(super) fn owes_epoch(&self) -> bool {
        let step = self.progress.step;
        let is_over = step.is_multiple_of(self.steps_per_epoch()) || step == self.total_steps();
        is_over && self.progress.sums.steps > 0
    }

    /// Measures, reports and saves what the epoch of the last step came to.
    ///
    /// # Errors
    /// When a measurement is interrupted, and nothing has changed; when an example cannot be loaded, or
    /// the run folder cannot be written.
    pub(super) fn end_epoch(
        &mut self,
        run: &mut RunDir,
        ui: &mut dyn Ui,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let epoch = self.progress.step.saturating_sub(1) / self.steps_per_epoch();
        let every = self.config.train.knn_every;
        let last = self.progress.step == self.total_steps();
        let measure = last || (every > 0 && (epoch + 1).is_multiple_of(every));
        let (knn, zero_shot) = match measure {
            true => (self.knn(ui, interrupt)?, self.zero_shot(ui, interrupt)?),
            false => (None, None),
        };
        let collapse = self.collapse(epoch, interrupt)?;
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
    pub(super) fn knn(&self, ui: &mut dyn Ui, interrupt: &Interrupt) -> Result<Option<f64>> {
        let result = self.evaluation(interrupt).knn(ui)?;
        Ok(result.map(|result| result.accuracy))
    }

    /// Zero-shot accuracy now; `None` without labels or without a text tower.
    fn zero_shot(&self, ui: &mut dyn Ui, interrupt: &Interrupt) -> Result<Option<f64>> {
        let Some(text) = self.learners.companions.text() else {
            return Ok(None);
        };
        let result = self.evaluation(interrupt).zero_shot(text.tower(), ui)?;
        Ok(result.map(|result| result.accuracy))
    }

    fn evaluation<'b>(&'b self, interrupt: &'b Interrupt) -> Evaluation<'b> {
        Evaluation {
            players: &self.learners.players,
            splits: self.splits,
            config: self.config,
            interrupt,
            kept: None,
        }
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
