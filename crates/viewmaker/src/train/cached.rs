//! Gradient caching: the gradient of a large batch in the memory of a small one.
//!
//! First all embeddings are computed chunk by chunk, without keeping activations; then the loss and
//! its gradient with respect to the embeddings; then every chunk is computed again, on a tape, and the
//! embeddings' gradient flows back through it. The sum over chunks is the gradient of one pass over the
//! whole batch, exact up to rounding, because the loss sees a chunk only through its embeddings.
//!
//! Batch norm normalises by the statistics of a chunk, so with it the result is the gradient of one pass
//! in which batch norm does so (ghost batch norm). Running statistics move once per chunk, in the
//! second computation. Texts are small: their tower sees the whole batch at once.
//!
//! Source: Gao, Zhang, Han & Callan, *Scaling Deep Contrastive Learning Batch Size under Memory Limited
//! Setup* (RepL4NLP 2021), section 3.2.

use super::learners::Learners;
use super::leaves::{Leaf, Rows};
use super::perturbation::mean_distortion;
use super::players::{NoiseRequest, NoiseSource};
use super::statistics::KeptStatistics;
use super::step::request;
use super::step::{Done, Learning, StepBatch, StepRates, example_tensor};
use dfdx::prelude::{Backward, HasShape, Rank0, SumTo, TensorFromVec};
use viewmaker_exec::{Part, Wanted};
use viewmaker_objective::ObjectiveError;

impl Learners {
    /// What [`Learners::pass`] does, in chunks of `rates.chunk` examples.
    pub(super) fn cached_pass(
        &mut self,
        batch: StepBatch<'_>,
        (pass, learning): (u32, Learning),
        rates: StepRates,
        noise: &mut dyn NoiseSource,
    ) -> Result<Done, ObjectiveError> {
        let towers = [Some(&self.players.encoder), self.companions.predictor()];
        let statistics = KeptStatistics::of(towers.into_iter().flatten());
        let (cache, mean_distortion) = self.cache(batch, pass, rates, noise);
        let profiler = self.profiler();
        let (loss, gradients) = profiler.time(Part::Objective, || {
            self.loss_of(&cache, batch, (pass, learning), rates)
        })?;
        drop(statistics);
        if loss.is_finite() {
            self.replay(batch, (pass, learning), rates, noise, &gradients);
        }
        Ok(Done {
            loss,
            embeddings: cache.embeddings,
            targets: cache.targets,
            mean_distortion,
        })
    }

    /// All embeddings, without activations, and the mean distortion.
    fn cache(
        &self,
        batch: StepBatch<'_>,
        pass: u32,
        rates: StepRates,
        noise: &mut dyn NoiseSource,
    ) -> (Rows, f32) {
        let branches = self.objective.branches();
        let mut cache = Rows::default();
        let mut distortion = 0.0;
        let chunks = chunks(batch, rates.chunk);
        for (first, chunk) in &chunks {
            let mut noise = ChunkNoise::new(noise, batch, *first, *chunk);
            let views: Vec<_> = (0..branches.views())
                .map(|view| {
                    let (x, request) = (example_tensor(*chunk, view), request(*chunk, pass, view));
                    let players = &self.players;
                    rates.perturbation.apply(players, x, &mut noise, request)
                })
                .collect();
            distortion += self.profiler().time(Part::Distortion, || {
                mean_distortion(&views, *chunk, rates.perturbation)
            });
            let targets = branches.target.iter();
            let targets = targets.filter_map(|view| self.companions.target(&views[*view]));
            append(&mut cache.targets, targets.map(|z| z.as_vec()));
            let online = branches.online.iter().map(|view| views[*view].clone());
            let (z, predictions): (Vec<_>, Vec<_>) = online
                .map(|view| self.players.embed(view, Wanted::Params))
                .map(|z| self.companions.predict(z, Wanted::Params))
                .unzip();
            append(&mut cache.embeddings, z.iter().map(|z| z.as_vec()));
            let predictions = predictions.iter().flatten();
            append(&mut cache.predictions, predictions.map(|p| p.as_vec()));
        }
        (cache, distortion / chunks.len() as f32)
    }

    /// Computes every chunk again and lets its part of the gradients flow back.
    fn replay(
        &self,
        batch: StepBatch<'_>,
        (pass, learning): (u32, Learning),
        rates: StepRates,
        noise: &mut dyn NoiseSource,
        gradients: &[Vec<f32>],
    ) {
        let branches = self.objective.branches();
        for (first, chunk) in chunks(batch, rates.chunk) {
            let mut noise = ChunkNoise::new(noise, batch, first, chunk);
            for (view, gradient) in branches.online.iter().zip(gradients) {
                let moment = (pass, learning);
                let x = self.view(chunk, *view, moment, rates.perturbation, &mut noise);
                let z = self.players.embed(x, learning.wanted());
                let (z, prediction) = self.companions.predict(z, learning.wanted());
                let output = prediction.unwrap_or(z);
                let (rows, columns) = *output.shape();
                let part = &gradient[first * columns..][..rows * columns];
                let part: Leaf = output
                    .device()
                    .tensor_from_vec(part.to_vec(), (rows, columns));
                (output * part).sum::<Rank0, _>().backward();
            }
        }
    }
}

/// The parts of a batch, each with the number of its first example.
pub(super) fn chunks(batch: StepBatch<'_>, size: usize) -> Vec<(usize, StepBatch<'_>)> {
    let [n, c, h, w] = batch.dims;
    let part = |first: usize| {
        let end = n.min(first + size);
        let chunk = StepBatch {
            examples: batch.examples,
            first: batch.first + first,
            dims: [end - first, c, h, w],
            indices: &batch.indices[first..end],
            // Classes, sequences and texts concern the whole batch's loss only.
            labels: &[],
            sequences: &[],
            texts: &[],
            step: batch.step,
        };
        (first, chunk)
    };
    (0..n).step_by(size).map(part).collect()
}

/// Appends the rows of a chunk to those of its view.
fn append(cache: &mut Vec<Vec<f32>>, chunk: impl Iterator<Item = Vec<f32>>) {
    for (view, rows) in chunk.enumerate() {
        match cache.get_mut(view) {
            Some(before) => before.extend(rows),
            None => cache.push(rows),
        }
    }
}

/// The noise of some examples of a batch: the same numbers that they get in one pass.
struct ChunkNoise<'a> {
    whole: &'a mut dyn NoiseSource,
    batch: usize,
    first: usize,
    len: usize,
}

impl<'a> ChunkNoise<'a> {
    fn new(
        whole: &'a mut dyn NoiseSource,
        batch: StepBatch<'_>,
        first: usize,
        chunk: StepBatch<'_>,
    ) -> Self {
        Self {
            whole,
            batch: batch.dims[0],
            first,
            len: chunk.dims[0],
        }
    }
}

impl NoiseSource for ChunkNoise<'_> {
    fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]) {
        let example = out.len() / self.len;
        let part = (self.first * example, self.batch * example);
        self.whole.uniform_part(request, part, out);
    }
}
