//! What training asks of an objective, and what an objective asks of training.

use crate::key_queue::KeyQueue;
use crate::memory_bank::MemoryBank;
use crate::registry::Entry;
use crate::tensor::{Matrix, Scalar};
use crate::{ObjectiveConfig, ObjectiveError};
use dfdx::prelude::{Cpu, OwnedTape};
use serde::Serialize;
use std::fmt;
use viewmaker_ops::contrastive::{Contrast, ContrastError};

/// The embeddings of one view on the tape that leads back to the encoder, `[N, D]`, not normalised.
pub type Embeddings = Matrix<f32, OwnedTape<f32, Cpu>>;
/// A loss on its tape.
pub type Loss = Scalar<f32, OwnedTape<f32, Cpu>>;
/// A name, a shape and the elements in C order.
pub type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// What an objective keeps from batch to batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// Nothing.
    None,
    /// One embedding per training example.
    Bank,
    /// Embeddings of the latest batches.
    Queue,
}

/// Most views of an example that an objective may ask for.
pub const MOST_VIEWS: usize = 64;

/// The numbers of the views.
static NUMBERS: [usize; MOST_VIEWS] = {
    let mut numbers = [0; MOST_VIEWS];
    let mut view = 0;
    while view < MOST_VIEWS {
        numbers[view] = view;
        view += 1;
    }
    numbers
};

/// Which branches of computation lead to a loss: all that a trainer has to know to serve any
/// objective.
///
/// Views are numbered from 0. Every list is in the order in which [`Outputs`] has its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Branches {
    /// Views that pass through the encoder, whose gradient they give.
    pub online: &'static [usize],
    /// Views that pass through the momentum encoder (a moving average of the encoder, with batch-norm
    /// statistics of its own), without gradient; empty: there is no such network.
    pub target: &'static [usize],
    /// Whether a trained predictor follows the encoder.
    pub predictor: bool,
    /// Whether the loss needs the classes of the examples.
    pub labels: bool,
    /// What the objective keeps between batches.
    pub memory: Memory,
    /// Examples that a batch must have at least.
    pub least_batch: usize,
    /// Whether the views are moments of one recording or video in the order of time, view 0 the
    /// earliest, instead of views of one example.
    pub ordered: bool,
    /// Whether every example comes with a text, which a tower of its own embeds, and the logits with a
    /// learned scale.
    pub text: bool,
}

impl Branches {
    /// One view through the encoder.
    pub const ONE_VIEW: Self = Self {
        online: &[0],
        target: &[],
        predictor: false,
        labels: false,
        memory: Memory::None,
        least_batch: 1,
        ordered: false,
        text: false,
    };
    /// Two views through the encoder.
    pub const TWO_VIEWS: Self = Self {
        online: &[0, 1],
        ..Self::ONE_VIEW
    };

    /// `count` views through the encoder, at most [`MOST_VIEWS`].
    pub(crate) fn online_views(count: usize) -> Self {
        Self {
            online: &NUMBERS[..count.min(MOST_VIEWS)],
            ..Self::ONE_VIEW
        }
    }

    /// How many views of each example are needed, 1 to [`MOST_VIEWS`].
    pub fn views(&self) -> usize {
        let last = self.online.iter().chain(self.target).max();
        last.map_or(0, |view| view + 1)
    }

    /// Whether there is a momentum encoder.
    pub const fn momentum_encoder(&self) -> bool {
        !self.target.is_empty()
    }

    /// The branches in words: `2 views, momentum encoder, queue`.
    pub fn describe(&self) -> String {
        let views = match (self.views(), self.ordered) {
            (1, _) => "1 view".to_owned(),
            (views, false) => format!("{views} views"),
            (views, true) => format!("{views} moments in the order of time"),
        };
        let parts = [
            (self.momentum_encoder(), "momentum encoder"),
            (self.predictor, "predictor"),
            (self.memory == Memory::Bank, "memory bank"),
            (self.memory == Memory::Queue, "queue"),
            (self.labels, "labels"),
            (self.text, "texts and a text tower"),
        ];
        let present = parts.into_iter().filter(|(present, _)| *present);
        let present = present.map(|(_, name)| name.to_owned());
        std::iter::once(views)
            .chain(present)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// What the networks made of the views of a batch: one tensor `[N, D]` for every view that
/// [`Branches`] lists, all of one shape.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Embeddings of the online views. With a predictor their tape has gone on into
    /// [`Outputs::predictions`], and here they serve as constants.
    pub embeddings: Vec<Embeddings>,
    /// What the predictor makes of the embeddings; empty without one.
    pub predictions: Vec<Embeddings>,
    /// Embeddings of the target views by the momentum encoder; empty without one.
    pub targets: Vec<Matrix<f32>>,
    /// Embeddings of the examples' texts; `None` without a text tower.
    pub texts: Option<Embeddings>,
    /// The learned log of the scale of the logits, a single number; `None` without a text tower.
    pub log_scale: Option<Loss>,
}

impl Outputs {
    /// Embeddings alone, as objectives without further branches have them.
    pub fn of(embeddings: Vec<Embeddings>) -> Self {
        Self {
            embeddings,
            ..Self::default()
        }
    }
}

/// The values of [`Outputs`] after a pass.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Embeddings of the online views, `[N, D]` each.
    pub embeddings: &'a [Vec<f32>],
    /// Embeddings of the target views, `[N, D]` each.
    pub targets: &'a [Vec<f32>],
}

/// The batch that a loss is computed for.
#[derive(Clone, Copy, Debug)]
pub struct BatchInfo<'a> {
    /// Index of every example in the data set.
    pub indices: &'a [usize],
    /// Class of every example, where it is known; empty where no classes are known at all.
    pub labels: &'a [Option<u32>],
    /// Recording or video of every example, where it is a moment of one; empty where examples have no
    /// place in time.
    pub sequences: &'a [Option<usize>],
    /// A number that no other pass of the training run has; random draws depend on it.
    pub pass: u32,
}

/// What an objective has to know of the training run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Width of an embedding.
    pub embedding_dim: usize,
    /// Number of training examples.
    pub dataset_len: usize,
    /// Seed of the run.
    pub seed: u64,
}

/// A loss with whatever it keeps between batches.
///
/// The encoder minimises it; the viewmaker maximises it.
pub trait Objective: fmt::Debug + Send {
    /// Its name in the registry.
    fn name(&self) -> &'static str;

    /// What it needs to be computed.
    fn branches(&self) -> Branches;

    /// The loss of one batch, from the outputs that [`Objective::branches`] asks for.
    fn loss(&mut self, outputs: Outputs, batch: &BatchInfo<'_>) -> Result<Loss, ObjectiveError>;

    /// The streaming form of the loss of `examples` examples whose embeddings have `dim` components, where
    /// it is a function of rows alone: the rows `[view][example]` of all online views, which are trained,
    /// then those of all target views, then those of [`Objective::queue`]. A trainer may then compute it
    /// where the embeddings are. `None` for every other loss, and where the setting `fused` is off.
    fn contrast(&self, _examples: usize, _dim: usize) -> Option<Contrast> {
        None
    }

    /// Sees the outputs after each pass, the encoder's and the viewmaker's alike. Memory banks are
    /// updated here.
    fn observe(&mut self, _seen: &Seen<'_>, _batch: &BatchInfo<'_>) -> Result<(), ObjectiveError> {
        Ok(())
    }

    /// Sees the outputs of the encoder's pass once the step is over. Queues are updated here: a
    /// batch must not meet itself as negatives in the viewmaker's pass.
    fn finish_step(
        &mut self,
        _seen: &Seen<'_>,
        _batch: &BatchInfo<'_>,
    ) -> Result<(), ObjectiveError> {
        Ok(())
    }

    /// The queue, if the objective keeps one.
    fn queue(&self) -> Option<&KeyQueue> {
        None
    }

    /// The memory bank, if the objective keeps one.
    fn memory_bank(&self) -> Option<&MemoryBank> {
        None
    }

    /// What a checkpoint must hold to go on as if nothing had happened.
    fn state(&self) -> Vec<NamedTensor> {
        Vec::new()
    }

    /// Restores what [`Objective::state`] gave.
    fn load_state(&mut self, state: &[NamedTensor]) -> Result<(), ObjectiveError> {
        match state {
            [] => Ok(()),
            _ => Err(wrong_state(self.name(), "no state", state)),
        }
    }
}

/// A loss as a function of its inputs and settings.
pub(crate) type StatelessLoss =
    fn(Outputs, &BatchInfo<'_>, &ObjectiveConfig) -> Result<Loss, ObjectiveError>;

/// Makes the streaming form of a loss for a number of pairs, a width and a temperature.
pub(crate) type Geometry = fn(usize, usize, f32) -> Result<Contrast, ContrastError>;

/// An objective that keeps nothing between batches.
#[derive(Debug)]
pub(crate) struct Stateless {
    entry: &'static Entry,
    config: ObjectiveConfig,
    loss: StatelessLoss,
    geometry: Option<Geometry>,
}

impl Stateless {
    pub(crate) fn boxed(
        entry: &'static Entry,
        config: &ObjectiveConfig,
        loss: StatelessLoss,
    ) -> Result<Box<dyn Objective>, ObjectiveError> {
        Self::boxed_streaming(entry, config, loss, None)
    }

    /// With a loss whose streaming form may be used in its place.
    pub(crate) fn boxed_streaming(
        entry: &'static Entry,
        config: &ObjectiveConfig,
        loss: StatelessLoss,
        geometry: Option<Geometry>,
    ) -> Result<Box<dyn Objective>, ObjectiveError> {
        Ok(Box::new(Self {
            entry,
            config: config.clone(),
            loss,
            geometry,
        }))
    }
}

impl Objective for Stateless {
    fn name(&self) -> &'static str {
        self.entry.name
    }

    fn branches(&self) -> Branches {
        self.entry.branches
    }

    fn loss(&mut self, outputs: Outputs, batch: &BatchInfo<'_>) -> Result<Loss, ObjectiveError> {
        (self.loss)(outputs, batch, &self.config)
    }

    fn contrast(&self, examples: usize, dim: usize) -> Option<Contrast> {
        let geometry = self.geometry.filter(|_| self.config.fused)?;
        let contrast = geometry(examples, dim, self.config.temperature as f32);
        // What makes no loss is refused, in words, by the loss itself.
        contrast.ok()
    }
}

/// The tensors of exactly `V` views.
pub(crate) fn expect_views<const V: usize, T>(
    name: &'static str,
    z: Vec<T>,
) -> Result<[T; V], ObjectiveError> {
    z.try_into().map_err(|z: Vec<T>| {
        ObjectiveError::input(name, format!("{V} view(s)"), z.len().to_string())
    })
}

/// The values of exactly `V` views.
pub(crate) fn expect_seen<'a, const V: usize>(
    name: &'static str,
    seen: &'a [Vec<f32>],
) -> Result<&'a [Vec<f32>; V], ObjectiveError> {
    seen.try_into()
        .map_err(|_| ObjectiveError::input(name, format!("{V} view(s)"), seen.len().to_string()))
}

/// The error of a saved state that does not fit.
pub(crate) fn wrong_state(
    objective: &'static str,
    expected: impl Into<String>,
    found: &[NamedTensor],
) -> ObjectiveError {
    let tensors = found
        .iter()
        .map(|(name, shape, _)| format!("{name} {shape:?}"));
    let tensors: Vec<String> = tensors.collect();
    ObjectiveError::State {
        objective,
        expected: expected.into(),
        found: match tensors.is_empty() {
            true => "nothing".to_owned(),
            false => tensors.join(", "),
        },
    }
}
