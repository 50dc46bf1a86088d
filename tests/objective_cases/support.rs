//! What these tests share: small networks on a few examples, and single steps of them.

use std::sync::Arc;
use viewmaker::config::{Config, OptimizerName, Update, preset};
use viewmaker::model::Networks;
use viewmaker::train::learners::Learners;
use viewmaker::train::perturbation::Perturbation;
use viewmaker::train::players::{NoiseRequest, NoiseSource};
use viewmaker::train::step::{StepBatch, StepOutcome, StepRates};
use viewmaker_data::text;
use viewmaker_data::{Batch, Draw, Loader, Recipe, Splits};
use viewmaker_exec::{Call, Machine, Tower, Wanted, Weights};
use viewmaker_net::{Net, Purpose};
use viewmaker_objective::build;
use viewmaker_ops::{Mode, random::Philox};

pub const BATCH: usize = 8;

/// Small networks on a few embedded examples.
pub fn config(modality: &str, objective: &str) -> Config {
    let mut config = preset(modality);
    config.data.options.embedded_train = 3 * BATCH;
    config.data.options.embedded_test = 10;
    config.data.options.image.size = 16;
    config.viewmaker.widths = [4, 6, 8];
    config.viewmaker.num_res_blocks = 1;
    config.viewmaker.distortion_budget = 0.2;
    config.encoder.embedding_dim = 16;
    config.objective.name = objective.to_owned();
    config.objective.queue = 2 * BATCH;
    config.objective.negatives = 16;
    config.objective.predictor_hidden = 12;
    config.objective.ways = 3;
    config.optim.encoder.weight_decay = 0.0;
    config
}

/// The same noise in every step.
pub struct Still;

impl NoiseSource for Still {
    fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]) {
        let stream = 100 + request.channel * 2 + request.view;
        Philox::new(7, stream, 0).fill_uniform(out);
    }
}

/// Everything that a step needs.
pub struct Bench {
    pub learners: Learners,
    pub batch: Batch,
    texts: Vec<f32>,
}

/// A batch of views that the loader makes.
fn made(splits: &Splits, recipe: Recipe, views: usize) -> Batch {
    let loader = Loader::training(Arc::clone(&splits.train), BATCH, 0, 3).unwrap();
    let mut batches = loader.with_views(Arc::new(recipe), views, 3).epoch(0);
    batches.next().unwrap().unwrap()
}

/// The same noise for both halves of a batch.
pub struct Halves;

impl NoiseSource for Halves {
    fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]) {
        let (first, second) = out.split_at_mut(out.len() / 2);
        Still.uniform(request, first);
        second.copy_from_slice(first);
    }
}

/// The same with plain descent, whose steps are the gradients.
pub fn descending(config: &Config) -> Config {
    let mut config = config.clone();
    config.optim.encoder.name = OptimizerName::Sgd;
    config.optim.encoder.momentum = 0.0;
    config
}

impl Bench {
    pub fn new(config: &Config, splits: &Splits) -> Self {
        Self::around(config, splits, None)
    }

    /// With an encoder of its own.
    pub fn around(config: &Config, splits: &Splits, encoder: Option<Net>) -> Self {
        let shape = splits.train.shape();
        let networks = Networks::build(config, shape, splits.after_view.as_ref()).unwrap();
        let mut players = networks.init(config, 3, &Machine::Cpu).unwrap();
        if let Some(net) = encoder {
            players.encoder = Tower::new(Weights::init(net.into(), 3, 1));
        }
        let (dim, examples) = (players.embedding_dim(), splits.train.len());
        let objective = build(&config.objective, dim, examples, 3).unwrap();
        let indices: Vec<usize> = (0..BATCH).map(|i| 3 * i).collect();
        let batch = match config.recipe().unwrap() {
            Some(recipe) => made(splits, recipe, objective.branches().views()),
            None => Batch::of(&*splits.train, &indices, Draw::FIXED).unwrap(),
        };
        Self {
            learners: Learners::new(config, players, objective).unwrap(),
            texts: text::pages(&batch.captions),
            batch,
        }
    }

    pub fn step(&mut self, rates: StepRates) -> StepOutcome {
        self.step_with(rates, &mut Still)
    }

    pub fn step_with(&mut self, rates: StepRates, noise: &mut dyn NoiseSource) -> StepOutcome {
        let batch = StepBatch {
            examples: &self.batch.views(),
            first: 0,
            dims: self.batch.dims,
            indices: &self.batch.indices,
            labels: &self.batch.labels,
            sequences: &self.batch.sequences,
            texts: &self.texts,
            step: 0,
        };
        self.learners.step(batch, rates, noise).unwrap()
    }

    /// The losses of some steps on the same batch, with the objective's memory as it was before.
    pub fn losses(&mut self, rates: StepRates, steps: usize) -> Vec<f32> {
        let memory = self.learners.objective.state();
        let mut losses = Vec::new();
        for _ in 0..steps {
            losses.push(self.step(rates).encoder_loss);
            self.learners.objective.load_state(&memory).unwrap();
        }
        losses
    }
}

pub const RATES: StepRates = StepRates {
    update: Update::Simultaneous,
    viewmaker_loss_weight: 1.0,
    encoder_lr: 3e-3,
    viewmaker_lr: None,
    encoder_momentum: 0.9,
    chunk: 0,
    perturbation: Perturbation::FULL,
};

/// What `tower` makes of the batch, and its running statistics afterwards.
pub fn embed(tower: &Tower, batch: &Batch) -> (Vec<f32>, Vec<f32>) {
    let copy = Tower::new(tower.weights().clone());
    let call = Call {
        output: copy.net().output(),
        extra: &[],
        mode: Mode::Train,
        wanted: Wanted::Params,
    };
    let mut pass = copy.forward(&batch.x, batch.dims[0], Purpose::Inference, call);
    let z = pass.value(call.output).to_vec();
    let state = copy.weights().state.clone();
    (z, state)
}
