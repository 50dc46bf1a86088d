//! The text branch of objectives that compare examples with texts: a tower for texts and a learned
//! scale of the logits, each with its optimiser.

use super::companions::Files;
use super::players::Embeddings;
use crate::config::{Config, OptimizerSection};
use crate::error::{Error, Result};
use crate::train::learners::optimizer;
use dfdx::prelude::{Cpu, OwnedTape, Rank0, SplitTape, SumTo, Tensor, TensorFromVec, Trace};
use std::collections::BTreeMap;
use std::f32::consts::LN_10;
use viewmaker_data::text::{PAGE, pages};
use viewmaker_device::DeviceError;
use viewmaker_exec::optim::Optimizer;
use viewmaker_exec::{Call, Machine, Maps, Profiler, Tower, Wanted, Weights};
use viewmaker_net::{Net, Purpose, zoo};
use viewmaker_objective::Loss;
use viewmaker_ops::Mode;

/// Files of a checkpoint.
pub(crate) const TEXT_TOWER: &str = "text_tower";
const TEXT_OPTIMIZER: &str = "text_tower_optimizer";
const SCALE: &str = "logit_scale";
const SCALE_OPTIMIZER: &str = "logit_scale_optimizer";

/// Stream of the generator that fills the weights.
const TEXT_STREAM: u32 = 4;

/// Largest log of the scale, ln 100, as in Radford et al., *Learning Transferable Visual Models From
/// Natural Language Supervision* (ICML 2021), section 2.5.
const LARGEST_LOG_SCALE: f32 = 2.0 * LN_10;

/// A network and what trains it.
#[derive(Debug)]
struct Learner {
    tower: Tower,
    optimizer: Box<dyn Optimizer>,
}

impl Learner {
    fn step(&mut self, lr: f32) {
        let Self { tower, optimizer } = self;
        tower.optimize(&mut **optimizer, lr);
    }

    fn save(&self, files: &mut Files, [weights, state]: [&str; 2]) -> Result<(), DeviceError> {
        files.insert(weights.to_owned(), self.tower.weights().tensors());
        files.insert(state.to_owned(), self.optimizer.state(self.tower.net())?);
        Ok(())
    }

    fn load(
        &mut self,
        files: &Files,
        [weights, state]: [&'static str; 2],
    ) -> Result<(), (&'static str, String)> {
        let empty = BTreeMap::new();
        let file = |name: &str| files.get(name).unwrap_or(&empty);
        let loaded = self.tower.weights_mut().load(file(weights));
        loaded.map_err(|error| (weights, error.to_string()))?;
        let loaded = self.optimizer.load_state(self.tower.net(), file(state));
        loaded.map_err(|name| (state, format!("tensor {name} does not fit")))
    }
}

/// What embeds texts, and the scale of the logits.
#[derive(Debug)]
pub struct TextBranch {
    texts: Learner,
    scale: Learner,
}

/// The text tower of a configuration, as a graph.
///
/// # Errors
/// When an option is out of range.
pub fn network(config: &Config, embedding_dim: usize) -> Result<Net> {
    let net = zoo::text(&zoo::TextConfig {
        page: PAGE,
        width: config.encoder.text_width,
        embedding_dim,
    });
    net.map_err(|error| Error::usage(error.to_string()))
}

impl TextBranch {
    /// A text tower for embeddings of `embedding_dim` numbers with weights drawn from the
    /// configuration's seed; the scale begins at `1 / objective.temperature`.
    ///
    /// Both learn as the encoder does, the scale without weight decay. The tower runs on `machine`, the
    /// scale, one number, on the processor.
    ///
    /// # Errors
    /// When an option is out of range, or a device has too little memory.
    pub fn new(config: &Config, embedding_dim: usize, machine: &Machine) -> Result<Self> {
        let section = &config.optim.encoder;
        let net = network(config, embedding_dim)?;
        let texts = Learner {
            optimizer: optimizer(section, &net),
            tower: Tower::on(Weights::init(net.into(), config.seed, TEXT_STREAM), machine)?,
        };
        let net = zoo::logit_scale().map_err(|error| Error::usage(error.to_string()))?;
        let undecayed = OptimizerSection {
            weight_decay: 0.0,
            ..section.clone()
        };
        let scale = Learner {
            optimizer: optimizer(&undecayed, &net),
            tower: Tower::new(Weights::init(net.into(), config.seed, TEXT_STREAM)),
        };
        let log_scale = -config.objective.temperature.ln() as f32;
        scale.tower.weights_mut().params[0] = log_scale.clamp(0.0, LARGEST_LOG_SCALE);
        Ok(Self { texts, scale })
    }

    /// The network that embeds texts.
    pub fn tower(&self) -> &Tower {
        &self.texts.tower
    }

    /// The log of the scale now.
    pub fn log_scale(&self) -> f32 {
        self.scale.tower.weights().params[0]
    }

    /// From now on `profiler` measures the text tower.
    pub(super) fn set_profiler(&self, profiler: &Profiler) {
        self.texts.tower.set_profiler(profiler.clone());
    }

    /// Embeddings of `count` pages and the log of the scale, on tapes that lead back to their
    /// parameters if those learn.
    pub(super) fn outputs(
        &self,
        pages: &[f32],
        count: usize,
        learns: bool,
    ) -> (Embeddings<OwnedTape<f32, Cpu>>, Loss) {
        let device = Cpu::default();
        let [c, h, w] = PAGE;
        let x: Tensor<Maps, f32, Cpu> = device.tensor_from_vec(pages.to_vec(), (count, c, h, w));
        let one: Tensor<Maps, f32, Cpu> = device.tensor_from_vec(vec![1.0], (1, 1, 1, 1));
        let (texts, scale) = (&self.texts.tower, &self.scale.tower);
        let z = texts.vectors(x.leaky_traced(), call(texts, Mode::Train));
        let scale = scale.vectors(one.leaky_traced(), call(scale, Mode::Train));
        let scale = scale.sum::<Rank0, _>();
        if learns {
            return (z, scale);
        }
        let (z, scale) = (z.split_tape().0, scale.split_tape().0);
        (z.leaky_traced(), scale.leaky_traced())
    }

    pub(super) fn zero_grads(&self) {
        self.texts.tower.zero_grads();
        self.scale.tower.zero_grads();
    }

    /// Moves the tower and the scale along their gradients; the scale stays between 1 and 100.
    pub(super) fn step(&mut self, lr: f32) {
        self.texts.step(lr);
        self.scale.step(lr);
        let log_scale = &mut self.scale.tower.weights_mut().params[0];
        *log_scale = log_scale.clamp(0.0, LARGEST_LOG_SCALE);
    }

    pub(super) fn save(&self, files: &mut Files) -> Result<(), DeviceError> {
        self.texts.save(files, [TEXT_TOWER, TEXT_OPTIMIZER])?;
        self.scale.save(files, [SCALE, SCALE_OPTIMIZER])
    }

    pub(super) fn load(&mut self, files: &Files) -> Result<(), (&'static str, String)> {
        self.texts.load(files, [TEXT_TOWER, TEXT_OPTIMIZER])?;
        self.scale.load(files, [SCALE, SCALE_OPTIMIZER])
    }
}

/// Embeddings of texts by a trained tower, one row each.
pub fn encode<T: AsRef<str>>(tower: &Tower, texts: &[T]) -> Vec<f32> {
    let call = call(tower, Mode::Eval);
    let mut pass = tower.forward(&pages(texts), texts.len(), Purpose::Inference, call);
    let rows = pass.value(call.output).to_vec();
    tower.recycle(pass);
    rows
}

fn call(tower: &Tower, mode: Mode) -> Call<'static> {
    Call {
        output: tower.net().output(),
        extra: &[],
        mode,
        wanted: Wanted::Params,
    }
}
