//! Batch-norm statistics for evaluation.
//!
//! During training the encoder sees views only, and its running statistics describe views. An
//! adversarial viewmaker moves exactly such statistics (mean levels, contrast), so that on clean
//! examples the features can fall apart although the weights are good. Before an evaluation the
//! statistics are therefore estimated again on clean training examples, and put back afterwards:
//! the idea of precise batch norm (Wu & Johnson, *Rethinking "Batch" in BatchNorm*, 2021, section
//! 3), with the layers' own moving average over enough batches to forget the views.

use crate::error::Result;
use crate::train::players::Players;
use std::sync::Arc;
use viewmaker_data::{Dataset, Loader};
use viewmaker_exec::{Call, Wanted};
use viewmaker_net::Purpose;
use viewmaker_ops::Mode;

/// With momentum 0.1, what the layers remember of the views is 0.9³² = 3 %.
const BATCHES: usize = 32;

/// Examples per batch, where there are as many.
const BATCH: usize = 64;

/// Holds the running statistics of training while the encoder has those of clean examples; dropping
/// it puts them back.
pub(super) struct CleanStatistics<'a> {
    players: &'a Players,
    trained: Vec<f32>,
}

impl<'a> CleanStatistics<'a> {
    /// Estimates the statistics on `dataset`. An encoder without running statistics stays as it
    /// is.
    ///
    /// # Errors
    /// When an example cannot be loaded.
    pub(super) fn estimate(players: &'a Players, dataset: &Arc<dyn Dataset>) -> Result<Self> {
        let trained = players.encoder.weights().state.clone();
        let guard = Self { players, trained };
        if guard.trained.is_empty() {
            return Ok(guard);
        }
        let batch = BATCH.min(dataset.len());
        // The order of training, so that a data set sorted by class gives mixed batches.
        let loader = Loader::training(Arc::clone(dataset), batch, super::WORKERS, 0)?
            .shared_by_all_threads(players.encoder.machine().is_device());
        let mut done = 0;
        for epoch in 0.. {
            for batch in loader.epoch(epoch).take(BATCHES - done) {
                let batch = batch?;
                guard.observe(&batch.x, batch.dims[0]);
                done += 1;
            }
            if done == BATCHES {
                break;
            }
        }
        Ok(guard)
    }

    fn observe(&self, x: &[f32], count: usize) {
        let encoder = &self.players.encoder;
        let call = Call {
            output: encoder.net().output(),
            extra: &[],
            mode: Mode::Train,
            wanted: Wanted::Params,
        };
        let pass = encoder.forward(x, count, Purpose::Inference, call);
        encoder.recycle(pass);
    }
}

impl Drop for CleanStatistics<'_> {
    fn drop(&mut self) {
        let trained = std::mem::take(&mut self.trained);
        self.players.encoder.weights_mut().state = trained;
    }
}
