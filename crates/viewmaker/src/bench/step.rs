//! The adversarial training step of a configuration on random examples: the code that training runs,
//! without data loading and records.

use super::Spread;
use crate::config::{Config, Update};
use crate::error::{Error, Result};
use crate::model::Networks;
use crate::train::learners::Learners;
use crate::train::perturbation::Perturbation;
use crate::train::players::SeededNoise;
use crate::train::step::{StepBatch, StepRates, Upcoming};
use serde::Serialize;
use std::time::Instant;
use viewmaker_data::ChannelStats;
use viewmaker_exec::Machine;
use viewmaker_ops::random::Philox;

/// What a measurement found.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Name of the device.
    pub device: String,
    /// Precision of its products.
    pub precision: String,
    /// Examples of a step.
    pub batch: usize,
    /// Channels, height and width of an example.
    pub shape: [usize; 3],
    /// Order of the two players.
    pub update: Update,
    /// Seconds of a step.
    pub step: Spread,
    /// Examples a second, by the median.
    pub examples_per_second: f64,
    /// Megabytes of device memory in use beside other programs; `None` on the processor.
    pub device_megabytes: Option<f64>,
    /// The encoder's loss in the last step, to compare devices by.
    pub loss: f32,
}

/// The same examples again.
struct Same<'a>(&'a [f32]);

impl Upcoming for Same<'_> {
    fn examples(&mut self) -> Option<Vec<&[f32]>> {
        Some(vec![self.0])
    }
}

/// A training run that repeats one batch.
pub struct Bench<'a> {
    config: &'a Config,
    machine: &'a Machine,
    learners: Learners,
    examples: Vec<f32>,
    dims: [usize; 4],
    step: u64,
}

impl<'a> Bench<'a> {
    /// Networks with fresh weights, and a batch of examples of `shape`.
    ///
    /// # Errors
    /// When the networks cannot be built, the objective needs more than two views of an example, or a
    /// device has too little memory.
    pub fn new(
        config: &'a Config,
        shape: [usize; 3],
        after_view: Option<&ChannelStats>,
        machine: &'a Machine,
    ) -> Result<Self> {
        let networks = Networks::build(config, shape, after_view)?;
        let players = networks.init(config, config.seed, machine)?;
        let batch = config.train.batch_size;
        let objective = viewmaker_objective::build(
            &config.objective,
            config.encoder.embedding_dim,
            batch,
            config.seed,
        );
        let objective = objective.map_err(|error| Error::usage(error.to_string()))?;
        let branches = objective.branches();
        if branches.text || branches.labels || branches.ordered {
            return Err(Error::usage(format!(
                "objective.name = \"{}\" needs texts, classes or an order in time, and the benchmark's \
                 examples are noise; it measures those that need views alone, for example \
                 viewmaker-simclr",
                config.objective.name
            )));
        }
        let [c, h, w] = shape;
        let mut examples = vec![0.0; batch * c * h * w];
        Philox::new(config.seed, 1, 0).fill_uniform(&mut examples);
        Ok(Self {
            learners: Learners::new(config, players, objective)?,
            config,
            machine,
            examples,
            dims: [batch, c, h, w],
            step: 0,
        })
    }

    /// One step; returns the encoder's loss.
    fn step(&mut self) -> Result<f32> {
        let optim = &self.config.optim;
        let rates = StepRates {
            update: self.config.train.update,
            viewmaker_loss_weight: self.config.train.viewmaker_loss_weight,
            encoder_lr: optim.encoder.lr,
            viewmaker_lr: Some(optim.viewmaker.lr),
            encoder_momentum: self.config.objective.encoder_momentum as f32,
            chunk: self.config.train.chunk,
            perturbation: Perturbation::FULL,
        };
        let indices: Vec<usize> = (0..self.dims[0]).collect();
        let batch = StepBatch {
            examples: &[&self.examples],
            first: 0,
            dims: self.dims,
            indices: &indices,
            labels: &[],
            sequences: &[],
            texts: &[],
            step: self.step,
        };
        let mut noise = SeededNoise {
            seed: self.config.seed,
        };
        // In training, the loader has the next batch ready.
        let mut next = Same(&self.examples);
        let outcome = self
            .learners
            .step_before(&mut next, batch, rates, &mut noise)
            .map_err(|error| Error::failure(error.to_string()))?;
        self.learners.check()?;
        self.step += 1;
        Ok(outcome.encoder_loss)
    }

    /// Measures `repeats` steps after `warmup` that are not counted; each ends when the device has
    /// done everything.
    ///
    /// # Errors
    /// When the device fails.
    pub fn measure(&mut self, warmup: usize, repeats: usize) -> Result<Measured> {
        let mut loss = f32::NAN;
        for _ in 0..warmup {
            loss = self.step()?;
        }
        let mut seconds = Vec::new();
        for _ in 0..repeats {
            self.machine.synchronize()?;
            let start = Instant::now();
            loss = self.step()?;
            self.machine.synchronize()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        let step = Spread::of(&seconds).ok_or_else(|| Error::usage("no repeats"))?;
        let (device, precision, device_megabytes) = match self.machine {
            Machine::Cpu => ("cpu".to_owned(), "f32".to_owned(), None),
            Machine::Device(device, precision) => {
                let (free, total) = device.memory()?;
                let used = (total - free) as f64 / 1e6;
                (device.name().to_owned(), precision.to_string(), Some(used))
            }
        };
        let [batch, c, h, w] = self.dims;
        Ok(Measured {
            device,
            precision,
            batch,
            shape: [c, h, w],
            update: self.config.train.update,
            examples_per_second: batch as f64 / step.median,
            step,
            device_megabytes,
            loss,
        })
    }
}
