//! A look at the embeddings between epochs, which leaves no trace in the run.

use super::Trainer;
use super::cached::chunks;
use super::players::SeededNoise;
use super::statistics::KeptStatistics;
use super::step::{StepBatch, example_tensor, request};
use crate::error::Result;
use crate::eval::collapse::Collapse;
use crate::interrupt::Interrupt;
use crate::progress::Ui;
use viewmaker_exec::Wanted;

/// Examples that are looked at, where there are as many.
const EXAMPLES: usize = 256;

impl Trainer<'_> {
    /// Shape of the embeddings of two views of the examples that training will see next, as the
    /// objective sees them: normalised by the statistics of their batches.
    pub(super) fn collapse(&self, epoch: u64, interrupt: &Interrupt) -> Result<Option<Collapse>> {
        let at_once = self.config.train.examples_at_once();
        let batches = EXAMPLES.div_ceil(self.config.train.batch_size);
        let mut views = [Vec::new(), Vec::new()];
        let _statistics = KeptStatistics::of([&self.learners.players.encoder]);
        let upcoming = self.loader.epoch(epoch as u32 + 1).take(batches);
        for (number, batch) in upcoming.enumerate() {
            let batch = batch?;
            let step_batch = StepBatch {
                examples: &batch.views(),
                first: 0,
                dims: batch.dims,
                indices: &batch.indices,
                labels: &batch.labels,
                sequences: &batch.sequences,
                texts: &[],
                step: self.progress.step + number as u64,
            };
            let parts = chunks(step_batch, at_once).into_iter();
            for (_, part) in parts.take(EXAMPLES.div_ceil(at_once)) {
                interrupt.check()?;
                for (view, rows) in views.iter_mut().enumerate() {
                    rows.extend(self.embed_view(part, view));
                }
            }
        }
        let [first, second] = &views;
        Ok(Collapse::measure(
            [first, second],
            self.learners.players.embedding_dim(),
        ))
    }

    fn embed_view(&self, batch: StepBatch<'_>, view: usize) -> Vec<f32> {
        let mut noise = SeededNoise {
            seed: self.config.seed,
        };
        let perturbation = self.perturbation(self.progress.step);
        let x = example_tensor(batch, view);
        let request = request(batch, 0, view);
        let view = perturbation.apply(&self.learners.players, x, &mut noise, request);
        self.learners.players.embed(view, Wanted::Params).as_vec()
    }

    /// Tells the user when embeddings that were fine after the last epoch have collapsed.
    pub(super) fn warn_of_collapse(&self, now: Option<Collapse>, ui: &mut dyn Ui) {
        let dim = self.learners.players.embedding_dim();
        let warning = |collapse: Option<Collapse>| collapse?.warning(dim);
        if let (None, Some(text)) = (warning(self.progress.collapse), warning(now)) {
            ui.on_message(&text);
        }
    }
}
