//! Batch-norm statistics for evaluation.
//!
//! During training the encoder sees views only, and its running statistics describe views. An
//! adversarial viewmaker moves exactly such statistics (mean levels, contrast), so that on clean
//! examples the features can fall apart although the weights are good. Before an evaluation the
//! statistics are therefore estimated again on clean training examples, and put back afterwards:
//! the idea of precise batch norm (Wu & Johnson, *Rethinking "Batch" in BatchNorm*, 2021, section
//! 3), with the layers' own moving average over enough batches to forget the views.

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::train::players::Players;
use crate::train::statistics::KeptStatistics;
use std::sync::Arc;
use viewmaker_data::{Dataset, Loader};
use viewmaker_exec::{Call, Tower, Wanted};
use viewmaker_net::Purpose;
use viewmaker_ops::Mode;

/// With momentum 0.1, what the layers remember of the views is 0.9³² = 3 %.
const BATCHES: usize = 32;

/// Examples per batch, where there are as many.
const BATCH: usize = 64;

/// Gives the encoder the statistics of `dataset` until the guard is dropped. One without running
/// statistics stays as it is.
///
/// # Errors
/// When an example cannot be loaded, or it is interrupted; the encoder has its own statistics then.
pub(super) fn clean_statistics(
    players: &Players,
    dataset: &Arc<dyn Dataset>,
    interrupt: &Interrupt,
) -> Result<KeptStatistics> {
    let encoder = &players.encoder;
    let trained = KeptStatistics::of([encoder]);
    if encoder.weights().state.is_empty() {
        return Ok(trained);
    }
    let batch = BATCH.min(dataset.len());
    // The order of training, so that a data set sorted by class gives mixed batches.
    let loader = Loader::training(Arc::clone(dataset), batch, super::WORKERS, 0)?
        .shared_by_all_threads(encoder.machine().is_device());
    let mut done = 0;
    for epoch in 0.. {
        for batch in loader.epoch(epoch).take(BATCHES - done) {
            interrupt.check()?;
            let batch = batch?;
            observe(encoder, &batch.x, batch.dims[0]);
            done += 1;
        }
        if done == BATCHES {
            break;
        }
    }
    Ok(trained)
}

fn observe(encoder: &Tower, x: &[f32], count: usize) {
    let call = Call {
        output: encoder.net().output(),
        extra: &[],
        mode: Mode::Train,
        wanted: Wanted::Params,
    };
    let pass = encoder.forward(x, count, Purpose::Inference, call);
    encoder.recycle(pass);
}
