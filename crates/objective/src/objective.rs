//! What training asks of an objective.

use crate::memory_bank::MemoryBank;
use crate::tensor::{Matrix, Scalar};
use crate::{ObjectiveConfig, ObjectiveError};
use dfdx::prelude::{Cpu, OwnedTape};
use std::fmt;

/// The embeddings of one view on the tape that leads back to the encoder, `[N, D]`, not normalised.
pub type Embeddings = Matrix<f32, OwnedTape<f32, Cpu>>;
/// A loss on its tape.
pub type Loss = Scalar<f32, OwnedTape<f32, Cpu>>;
/// A name, a shape and the elements in C order.
pub type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// The batch that a loss is computed for.
#[derive(Clone, Copy, Debug)]
pub struct BatchInfo<'a> {
    /// Index of every example in the data set.
    pub indices: &'a [usize],
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

    /// How many views of each example it compares, 1 or 2.
    fn views(&self) -> usize;

    /// The loss of one batch: one tensor for each view, all of one shape.
    fn loss(&mut self, z: Vec<Embeddings>, batch: &BatchInfo<'_>) -> Result<Loss, ObjectiveError>;

    /// Sees the embeddings (`[N, D]` for each view, as given to [`Objective::loss`]) after each
    /// pass, the encoder's and the viewmaker's alike. Memory banks are updated here.
    fn observe(
        &mut self,
        _embeddings: &[Vec<f32>],
        _batch: &BatchInfo<'_>,
    ) -> Result<(), ObjectiveError> {
        Ok(())
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
        match state.first() {
            None => Ok(()),
            Some((name, ..)) => Err(ObjectiveError::State {
                objective: self.name(),
                expected: "no state".to_owned(),
                found: name.clone(),
            }),
        }
    }
}

/// A loss of two views and a temperature.
type TwoViewLoss = fn(Embeddings, Embeddings, f64) -> Result<Loss, ObjectiveError>;

/// An objective that compares two views and keeps nothing.
#[derive(Debug)]
pub(crate) struct TwoViews {
    name: &'static str,
    temperature: f64,
    loss: TwoViewLoss,
}

impl TwoViews {
    /// `fused` or `plain`, as the configuration says.
    pub(crate) fn boxed(
        name: &'static str,
        config: &ObjectiveConfig,
        fused: TwoViewLoss,
        plain: TwoViewLoss,
    ) -> Box<dyn Objective> {
        Box::new(Self {
            name,
            temperature: config.temperature,
            loss: if config.fused { fused } else { plain },
        })
    }
}

impl Objective for TwoViews {
    fn name(&self) -> &'static str {
        self.name
    }

    fn views(&self) -> usize {
        2
    }

    fn loss(&mut self, z: Vec<Embeddings>, _batch: &BatchInfo<'_>) -> Result<Loss, ObjectiveError> {
        let [z1, z2] = expect_views(self.name, z)?;
        (self.loss)(z1, z2, self.temperature)
    }
}

/// The embeddings of exactly `V` views.
pub(crate) fn expect_views<const V: usize>(
    name: &'static str,
    z: Vec<Embeddings>,
) -> Result<[Embeddings; V], ObjectiveError> {
    z.try_into().map_err(|z: Vec<Embeddings>| {
        ObjectiveError::input(name, format!("{V} view(s)"), z.len().to_string())
    })
}
