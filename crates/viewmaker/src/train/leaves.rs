//! The loss of embeddings that were not computed on the tape, and its gradient with respect to them.
//!
//! A loss sees examples only through their embeddings. So it does not have to be on one tape with the
//! networks: embeddings become leaves of a tape of their own, and their gradients go on wherever the
//! networks are.

use super::learners::Learners;
use super::step::{Learning, StepBatch, StepRates, differentiate, info, weight};
use dfdx::prelude::{Cpu, Tensor, TensorFromVec, Trace};
use viewmaker_exec::Vectors;
use viewmaker_objective::{ObjectiveError, Outputs};

/// All embeddings of a view.
pub(super) type Leaf = Tensor<Vectors, f32, Cpu>;

/// What the networks made of a whole batch: one entry a view, `[N, D]`.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Of the online views.
    pub(super) embeddings: Vec<Vec<f32>>,
    /// What the predictor made of them, where it has been computed; else it is on the tape.
    pub(super) predictions: Vec<Vec<f32>>,
    /// Of the target views.
    pub(super) targets: Vec<Vec<f32>>,
}

impl Learners {
    /// The loss of `rows` for whoever learns, and its gradient with respect to the predictions, or without
    /// these the embeddings, of every online view; none where the loss is not finite. A predictor that is
    /// on the tape gets its own gradients.
    pub(super) fn loss_of(
        &mut self,
        rows: &Rows,
        batch: StepBatch<'_>,
        (pass, learning): (u32, Learning),
        rates: StepRates,
    ) -> Result<(f32, Vec<Vec<f32>>), ObjectiveError> {
        let shape = (batch.dims[0], self.players.embedding_dim());
        let device = Cpu::default();
        let leaves = |rows: &[Vec<f32>]| -> Vec<Leaf> {
            let leaf = |rows: &Vec<f32>| device.tensor_from_vec(rows.clone(), shape);
            rows.iter().map(leaf).collect()
        };
        let (embeddings, predictions) = (leaves(&rows.embeddings), leaves(&rows.predictions));
        let mut outputs = Outputs {
            predictions: predictions.iter().map(|p| p.leaky_trace()).collect(),
            targets: leaves(&rows.targets),
            ..Outputs::default()
        };
        for z in &embeddings {
            let z = z.leaky_trace();
            let (z, prediction) = match predictions.is_empty() {
                true => self.companions.predict(z, learning.wanted()),
                false => (z, None),
            };
            outputs.embeddings.push(z);
            outputs.predictions.extend(prediction);
        }
        self.add_texts(&mut outputs, batch, learning);
        let loss = self.objective.loss(outputs, &info(batch, pass))?;
        let (loss, gradients) = differentiate(loss, weight(learning, rates));
        let Some(gradients) = gradients else {
            return Ok((loss, Vec::new()));
        };
        let last = match predictions.is_empty() {
            true => embeddings,
            false => predictions,
        };
        let gradient = |leaf: &Leaf| gradients.get(leaf).as_vec();
        Ok((loss, last.iter().map(gradient).collect()))
    }
}
