//! Our training step: the code that `viewmaker train` runs.

use super::fixtures::{Check, fill, uniform};
use super::items::StepWork;
use super::worker::Task;
use std::collections::BTreeMap;
use viewmaker::config::Config;
use viewmaker::error::{Error, Result};
use viewmaker::train::learners::Learners;
use viewmaker::train::perturbation::Perturbation;
use viewmaker::train::players::{NoiseRequest, NoiseSource, SeededNoise, Views};
use viewmaker::train::step::{StepBatch, StepOutcome, StepRates};
use viewmaker_exec::{Machine, Tensor, Tower};
use viewmaker_net::Net;

/// A training run that repeats one batch.
pub struct Step {
    config: Config,
    learners: Learners,
    examples: Vec<f32>,
    dims: [usize; 4],
    indices: Vec<usize>,
    step: u64,
}

impl Step {
    /// Networks with the weights of the fill rule, and a batch.
    ///
    /// # Errors
    /// When the networks cannot be built.
    pub fn new(work: &StepWork) -> Result<Self> {
        let config = work.task.config(work.update)?;
        let networks = work.task.networks()?;
        let players = networks.init(&config, 0, &Machine::Cpu)?;
        let Views::Learned(views) = &players.views else {
            return Err(Error::failure("the step has no viewmaker"));
        };
        for tower in [&players.encoder, views] {
            refill(tower)?;
        }
        let dim = config.encoder.embedding_dim;
        let objective = viewmaker_objective::build(&config.objective, dim, work.batch, 0)
            .map_err(|error| Error::failure(error.to_string()))?;
        let [c, h, w] = work.input;
        Ok(Self {
            learners: Learners::new(&config, players, objective)?,
            config,
            examples: uniform("x", work.batch * c * h * w),
            dims: [work.batch, c, h, w],
            indices: (0..work.batch).collect(),
            step: 0,
        })
    }

    fn step(&mut self, noise: &mut dyn NoiseSource) -> Result<StepOutcome> {
        let optim = &self.config.optim;
        let rates = StepRates {
            update: self.config.train.update,
            viewmaker_loss_weight: self.config.train.viewmaker_loss_weight,
            encoder_lr: optim.encoder.lr,
            viewmaker_lr: Some(optim.viewmaker.lr),
            encoder_momentum: 0.0,
            chunk: 0,
            perturbation: Perturbation::FULL,
        };
        let batch = StepBatch {
            examples: &[&self.examples],
            first: 0,
            dims: self.dims,
            indices: &self.indices,
            labels: &[],
            sequences: &[],
            texts: &[],
            step: self.step,
        };
        let outcome = self
            .learners
            .step(batch, rates, noise)
            .map_err(|error| Error::failure(error.to_string()))?;
        self.step += 1;
        Ok(outcome)
    }
}

impl Task for Step {
    fn check(&mut self) -> Result<Check> {
        let mut check = Check::new();
        let count = |net: &Net| vec![net.params().iter().map(|p| p.len()).sum::<usize>() as f64];
        check.insert(
            "encoder parameters".into(),
            count(self.learners.players.encoder.net()),
        );
        if let Some(views) = self.learners.players.views.tower() {
            check.insert("viewmaker parameters".into(), count(views.net()));
        }
        for number in ["first", "second"] {
            let outcome = self.step(&mut KnownNoise)?;
            let losses = [Some(outcome.encoder_loss), outcome.viewmaker_loss];
            let losses = losses.into_iter().flatten().map(f64::from).collect();
            check.insert(format!("losses of the {number} step"), losses);
        }
        Ok(check)
    }

    fn run(&mut self) -> Result<()> {
        self.step(&mut SeededNoise { seed: 0 }).map(drop)
    }
}

/// Gives every tensor of a network the values of the fill rule.
fn refill(tower: &Tower) -> Result<()> {
    let tensors = tower.weights().tensors();
    let refilled = tensors.into_iter().map(|(name, Tensor { shape, .. })| {
        let data = fill(&name, &shape);
        (name, Tensor { shape, data })
    });
    let refilled: BTreeMap<String, Tensor> = refilled.collect();
    let loaded = tower.weights_mut().load(&refilled);
    loaded.map_err(|error| Error::failure(error.to_string()))
}

/// Noise that the other side can make as well.
struct KnownNoise;

impl NoiseSource for KnownNoise {
    fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]) {
        let NoiseRequest {
            step,
            pass,
            view,
            channel,
        } = request;
        let name = format!("noise.{step}.{pass}.{view}.{channel}");
        out.copy_from_slice(&uniform(&name, out.len()));
    }
}
