//! Training: the loop over epochs and steps, its measurements, its checkpoints.

mod cached;
pub mod companions;
mod demands;
mod epoch;
mod inspect;
pub mod learners;
mod leaves;
pub mod perturbation;
pub mod players;
mod rates;
pub mod resident;
mod snapshot;
pub(crate) mod statistics;
pub mod step;
pub mod text;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::model::Networks;
use crate::progress::{StepReport, TrainPlan, Ui};
use crate::run::{RunDir, RunSummary};
use epoch::Progress;
use learners::Learners;
use players::{Players, SeededNoise};
pub(crate) use snapshot::normalization;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Instant;
use step::{StepBatch, StepOutcome, StepRates, Upcoming};
use viewmaker_data::text::pages;
use viewmaker_data::{Batch, Batches, Loader, Splits};
use viewmaker_exec::{Machine, Part, Profile, Profiler};

/// Threads that load examples ahead, in training and in evaluations.
pub const WORKERS: usize = 2;

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
    /// step. What Ctrl-C, or the end of a process, left undone of the end of an epoch is done first.
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
        let interrupted = match self.train(run, ui, interrupt) {
            Ok(()) => false,
            Err(Error::Interrupted(_)) => true,
            Err(error) => return Err(error),
        };
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

    /// Does what is left of the run. An interrupted evaluation leaves no trace: the next call makes it
    /// again, on the same weights.
    fn train(&mut self, run: &mut RunDir, ui: &mut dyn Ui, interrupt: &Interrupt) -> Result<()> {
        if self.progress.step == 0 && self.progress.knn_untrained.is_none() {
            self.progress.knn_untrained = self.knn(ui, interrupt)?;
        }
        ui.on_start(&TrainPlan {
            steps: self.total_steps(),
            first_step: self.progress.step,
            steps_per_epoch: self.steps_per_epoch(),
            batch_size: self.config.train.batch_size,
        });
        if self.owes_epoch() {
            // Its record may have been written without the checkpoint that belongs to it.
            run.forget_epoch_at(self.progress.step)?;
            self.end_epoch(run, ui, interrupt)?;
        }
        while self.progress.step < self.total_steps() {
            interrupt.check()?;
            self.train_epoch(run, ui, interrupt)?;
        }
        Ok(())
    }

    /// The steps to the end of the epoch, or of the run, and what is to do there.
    fn train_epoch(
        &mut self,
        run: &mut RunDir,
        ui: &mut dyn Ui,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let mut clock = Instant::now();
        let epoch = self.progress.step / self.steps_per_epoch();
        let first = (self.progress.step % self.steps_per_epoch()) as usize;
        let profiler = self.profiler.clone();
        let mut batches = self.loader.epoch_from(epoch as u32, first).peekable();
        profiler.begin_step();
        while let Some(batch) = profiler.time(Part::Data, || batches.next()) {
            self.step((&batch?, &mut Peeked(&mut batches)), epoch, run, ui)?;
            profiler.end_step();
            self.progress.seconds += clock.elapsed().as_secs_f64();
            if self.owes_epoch() {
                return self.end_epoch(run, ui, interrupt);
            }
            interrupt.check()?;
            clock = Instant::now();
            profiler.begin_step();
        }
        Ok(())
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

fn check_finite(step: u64, outcome: &StepOutcome, rates: StepRates) -> Result<()> {
    let losses = [Some(outcome.encoder_loss), outcome.viewmaker_loss];
    if losses.into_iter().flatten().all(f32::is_finite) {
        return Ok(());
    }
    Err(Error::failure(format!(
        "step {}: the loss is no longer finite (encoder {}, viewmaker {}); this step is not saved, and earlier \
         checkpoints are as they were. Try a learning rate smaller than that of this step \
         (optim.encoder.lr = {:e}) or a smaller viewmaker.distortion_budget",
        step + 1,
        outcome.encoder_loss,
        outcome
            .viewmaker_loss
            .map_or("-".to_string(), |l| l.to_string()),
        rates.encoder_lr,
    )))
}

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
