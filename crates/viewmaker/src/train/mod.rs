//! Training: the loop over epochs and steps, its measurements, its checkpoints.

mod cached;
pub mod companions;
mod demands;
mod inspect;
pub mod learners;
mod leaves;
pub mod perturbation;
pub mod players;
pub mod resident;
mod snapshot;
pub mod step;
pub mod text;

use crate::config::{Config, OptimizerSection, Schedule as ScheduleName};
use crate::error::{Error, Result};
use crate::eval::collapse::Collapse;
use crate::eval::{Evaluation, KnnResult};
use crate::interrupt::Interrupt;
use crate::model::Networks;
use crate::progress::{EpochReport, StepReport, TrainPlan, Ui};
use crate::run::{RunDir, RunSummary};
use learners::Learners;
use perturbation::Perturbation;
use players::{Players, SeededNoise};
use serde::{Deserialize, Serialize};
pub(crate) use snapshot::normalization;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Instant;
use step::{StepBatch, StepOutcome, StepRates, Upcoming};
use viewmaker_data::text::pages;
use viewmaker_data::{Batch, Batches, Loader, Splits};
use viewmaker_exec::optim::Schedule;
use viewmaker_exec::{Machine, Part, Profile, Profiler};

/// Threads that load examples ahead, in training and in evaluations.
pub const WORKERS: usize = 2;

/// Sums over the steps of an epoch, for its report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct EpochSums {
    steps: u64,
    encoder_loss: f64,
    viewmaker_loss: f64,
    viewmaker_steps: u64,
    mean_distortion: f64,
}

impl EpochSums {
    fn add(&mut self, outcome: &StepOutcome) {
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

/// How a call of [`Trainer::run`] ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What came out so far.
    pub summary: RunSummary,
    /// True when Ctrl-C ended the run early; it can be resumed.
    pub interrupted: bool,
}

/// A training run in memory.
pub struct Trainer<'a> {
    config: &'a Config,
    splits: &'a Splits,
    learners: Learners,
    loader: Loader,
    progress: Progress,
    profiler: Profiler,
}

/// How far a run has come; part of every checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    step: u64,
    sums: EpochSums,
    knn_untrained: Option<f64>,
    knn_last: Option<f64>,
    knn_best: Option<f64>,
    zero_shot: Option<f64>,
    last_epoch: Option<EpochMeans>,
    collapse: Option<Collapse>,
    seconds: f64,
}

/// Means over the last whole epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct EpochMeans {
    encoder_loss: f64,
    viewmaker_loss: Option<f64>,
    mean_abs_delta: Option<f64>,
}

impl<'a> Trainer<'a> {
    /// Builds networks, optimisers, objective and loader for `config` on `splits`; the networks run
    /// on `machine`.
    ///
    /// # Errors
    /// When an option cannot work with these data, or a device has too little memory.
    pub fn new(config: &'a Config, splits: &'a Splits, machine: &Machine) -> Result<Self> {
        let shape = splits.train.shape();
        let networks = Networks::build(config, shape, splits.after_view.as_ref())?;
        let players = networks.init(config, config.seed, machine)?;
        let objective = demands::objective(config, splits, players.embedding_dim())?;
        let learners = Learners::new(config, players, objective)?;
        let mut loader = Loader::training(
            Arc::clone(&splits.train),
            config.train.batch_size,
            WORKERS,
            config.seed,
        )?
        .shared_by_all_threads(machine.is_device());
        if let Some(recipe) = config.recipe()? {
            let views = learners.objective.branches().views();
            loader = loader.with_views(Arc::new(recipe), views, config.seed);
        }
        Ok(Self {
            config,
            splits,
            learners,
            loader,
            progress: Progress::default(),
            profiler: Profiler::default(),
        })
    }

    /// Measures where the time of every step goes; see [`Trainer::profile`].
    pub fn measure(&mut self) {
        self.profiler = Profiler::on();
        self.learners.set_profiler(&self.profiler);
    }

    /// Where the time of the steps went; `None` without [`Trainer::measure`].
    pub fn profile(&self) -> Option<Profile> {
        self.profiler.profile()
    }

    /// The networks.
    pub fn players(&self) -> &Players {
        &self.learners.players
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.loader.batches_per_epoch() as u64
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.config.total_steps(self.steps_per_epoch())
    }

    /// Trains to the end, or until Ctrl-C; either way the last checkpoint in `run` holds the last
    /// step.
    ///
    /// # Errors
    /// When data cannot be loaded, the run folder cannot be written, or the loss is no longer
    /// finite. The checkpoints written before stay.
    pub fn run(
        &mut self,
        run: &mut RunDir,
        ui: &mut dyn Ui,
        interrupt: &Interrupt,
    ) -> Result<Outcome> {
        let total = self.total_steps();
        let per_epoch = self.steps_per_epoch();
        if self.progress.step == 0 && self.progress.knn_untrained.is_none() {
            self.progress.knn_untrained = self.knn(ui)?;
        }
        ui.on_start(&TrainPlan {
            steps: total,
            first_step: self.progress.step,
            steps_per_epoch: per_epoch,
            batch_size: self.config.train.batch_size,
        });
        let mut interrupted = false;
        let mut clock = Instant::now();
        while self.progress.step < total && !interrupted {
            let epoch = self.progress.step / per_epoch;
            let first = (self.progress.step % per_epoch) as usize;
            let profiler = self.profiler.clone();
            let mut batches = self.loader.epoch_from(epoch as u32, first).peekable();
            profiler.begin_step();
            while let Some(batch) = profiler.time(Part::Data, || batches.next()) {
                self.step((&batch?, &mut Peeked(&mut batches)), epoch, run, ui)?;
                profiler.end_step();
                self.progress.seconds += clock.elapsed().as_secs_f64();
                interrupted = interrupt.is_raised();
                if self.progress.step.is_multiple_of(per_epoch) || self.progress.step == total {
                    self.end_epoch(epoch, run, ui)?;
                }
                clock = Instant::now();
                profiler.begin_step();
                if self.progress.step == total || interrupted {
                    break;
                }
            }
        }
        let interrupted = interrupted && self.progress.step < total;
        match interrupted {
            true => self.save(run, None)?,
            false => run.finish(&self.summary())?,
        }
        ui.on_finish();
        Ok(Outcome {
            summary: self.summary(),
            interrupted,
        })
    }

    fn summary(&self) -> RunSummary {
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

    fn step(
        &mut self,
        (batch, next): (&Batch, &mut dyn Upcoming),
        epoch: u64,
        run: &mut RunDir,
        ui: &mut dyn Ui,
    ) -> Result<()> {
        let step = self.progress.step;
        let rates = self.rates(step, epoch);
        let mut noise = SeededNoise {
            seed: self.config.seed,
        };
        let texts = match self.learners.objective.branches().text {
            true => pages(&batch.captions),
            false => Vec::new(),
        };
        let step_batch = StepBatch {
            examples: &batch.views(),
            first: 0,
            dims: batch.dims,
            indices: &batch.indices,
            labels: &batch.labels,
            sequences: &batch.sequences,
            texts: &texts,
            step,
        };
        let profiler = self.profiler.clone();
        let outcome = profiler
            .time(Part::Rest, || {
                let noise = &mut noise;
                self.learners.step_before(next, step_batch, rates, noise)
            })
            .map_err(|error| Error::failure(error.to_string()))?;
        // What a device could not do has results that are not numbers.
        self.learners.check()?;
        profiler.time(Part::Records, || {
            self.record(outcome, epoch, rates, run, ui)
        })
    }

    /// Adds a step to the measurements of the run.
    fn record(
        &mut self,
        outcome: StepOutcome,
        epoch: u64,
        rates: StepRates,
        run: &mut RunDir,
        ui: &mut dyn Ui,
    ) -> Result<()> {
        let step = self.progress.step;
        check_finite(step, &outcome, rates)?;
        self.progress.step += 1;
        self.progress.sums.add(&outcome);
        let report = StepReport {
            step: self.progress.step,
            epoch,
            encoder_loss: f64::from(outcome.encoder_loss),
            viewmaker_loss: outcome.viewmaker_loss.map(f64::from),
            mean_abs_delta: self.distortion(f64::from(outcome.mean_distortion)),
        };
        run.record_step(&report)?;
        ui.on_step(&report);
        let every = self.config.train.checkpoint_every;
        if every > 0 && self.progress.step.is_multiple_of(every) {
            self.save(run, None)?;
        }
        Ok(())
    }

    fn end_epoch(&mut self, epoch: u64, run: &mut RunDir, ui: &mut dyn Ui) -> Result<()> {
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

    fn distortion(&self, mean: f64) -> Option<f64> {
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

    fn rates(&self, step: u64, epoch: u64) -> StepRates {
        let frozen = self.config.train.freeze_viewmaker_after;
        let optim = &self.config.optim;
        let rate = |section| self.learning_rate(section, step);
        StepRates {
            update: self.config.train.update,
            viewmaker_loss_weight: self.config.train.viewmaker_loss_weight,
            encoder_lr: rate(&optim.encoder),
            viewmaker_lr: match frozen {
                Some(after) if epoch >= after => None,
                _ => Some(rate(&optim.viewmaker)),
            },
            encoder_momentum: self.encoder_momentum(step),
            chunk: self.config.train.chunk,
            perturbation: self.perturbation(step),
        }
    }

    fn encoder_momentum(&self, step: u64) -> f32 {
        let objective = &self.config.objective;
        let schedule = objective.momentum_schedule;
        schedule.at(objective.encoder_momentum, step, self.total_steps()) as f32
    }

    /// How views are perturbed at `step`: the budget grows linearly during its warm-up.
    fn perturbation(&self, step: u64) -> Perturbation {
        let section = &self.config.viewmaker;
        let warmup = f64::from(section.budget_warmup_epochs) * self.steps_per_epoch() as f64;
        Perturbation {
            perturbs: section.perturbs,
            strength: match (step + 1) as f64 {
                done if done < warmup => (done / warmup) as f32,
                _ => 1.0,
            },
        }
    }

    fn learning_rate(&self, section: &OptimizerSection, step: u64) -> f32 {
        let schedule = match section.schedule {
            ScheduleName::Constant => Schedule::Constant,
            ScheduleName::Cosine => Schedule::Cosine {
                warmup_steps: (f64::from(section.warmup_epochs) * self.steps_per_epoch() as f64)
                    .round() as u64,
                total_steps: self.total_steps(),
            },
        };
        section.lr * schedule.factor(step)
    }

    fn save(&self, run: &mut RunDir, score: Option<f64>) -> Result<()> {
        run.save_checkpoint(&self.checkpoint()?, score)?;
        Ok(())
    }
}

/// The next batch of an epoch, as soon as the loader has it.
struct Peeked<'a>(&'a mut Peekable<Batches>);

impl Upcoming for Peeked<'_> {
    fn examples(&mut self) -> Option<Vec<&[f32]>> {
        // What could not be loaded is reported when its turn has come.
        let batch = self.0.peek()?.as_ref().ok()?;
        Some(batch.views())
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

fn check_finite(step: u64, outcome: &StepOutcome, rates: StepRates) -> Result<()> {
    let losses = [Some(outcome.encoder_loss), outcome.viewmaker_loss];
    if losses.into_iter().flatten().all(f32::is_finite) {
        return Ok(());
    }
    Err(Error::failure(format!(
        "step {}: the loss is no longer finite (encoder {}, viewmaker {}); the last checkpoint is \
         intact. Try a smaller learning rate (optim.encoder.lr = {}) or a smaller \
         viewmaker.distortion_budget",
        step + 1,
        outcome.encoder_loss,
        outcome
            .viewmaker_loss
            .map_or("-".to_string(), |l| l.to_string()),
        rates.encoder_lr,
    )))
}
