//! Supervised training of a classifier.

use super::Finetuning;
use crate::error::{Error, Result};
use crate::eval::features::{Extraction, extract};
use crate::eval::{BATCH, WORKERS};
use crate::interrupt::Interrupt;
use crate::train::players::{Players, Views};
use dfdx::losses::cross_entropy_with_logits_loss;
use dfdx::prelude::{AsArray, Backward, Cpu, HasShape, TensorFromVec, Trace};
use std::sync::Arc;
use viewmaker_data::{Batch, Dataset, Loader};
use viewmaker_exec::optim::{Adam, Schedule};
use viewmaker_exec::{Call, Tower, Wanted};
use viewmaker_ops::Mode;

/// One training.
pub(super) struct Training<'a> {
    pub(super) settings: &'a Finetuning,
    /// Seed of the order of the examples.
    pub(super) seed: u64,
    /// Ends it after a step.
    pub(super) interrupt: &'a Interrupt,
}

impl Training<'_> {
    /// Trains all weights on labelled examples.
    pub(super) fn run(&self, tower: &Tower, labelled: Arc<dyn Dataset>) -> Result<()> {
        let Finetuning {
            steps,
            batch_size,
            lr,
            weight_decay,
            ..
        } = *self.settings;
        let batch_size = batch_size.min(labelled.len());
        let loader = Loader::training(labelled, batch_size, WORKERS, self.seed)?
            .shared_by_all_threads(tower.machine().is_device());
        let mut adam = Adam::new(tower.net(), [0.9, 0.999], 1e-8, weight_decay, true);
        let schedule = Schedule::Cosine {
            warmup_steps: 0,
            total_steps: steps,
        };
        let mut step = 0;
        for epoch in 0.. {
            for batch in loader.epoch(epoch).take((steps - step) as usize) {
                self.interrupt.check()?;
                let loss = gradient(tower, &batch?);
                if !loss.is_finite() {
                    return Err(Error::failure(format!(
                        "fine-tuning: the loss is no longer finite after {step} steps; try a smaller \
                         eval.finetune.lr (= {lr})"
                    )));
                }
                let rate = lr * schedule.factor(step);
                tower.optimize(&mut adam, rate);
                tower.check()?;
                step += 1;
            }
            if step == steps {
                break;
            }
        }
        Ok(())
    }

    /// Accuracy on the labelled examples of `test`, in `[0, 1]`.
    pub(super) fn accuracy(&self, tower: Tower, test: &Arc<dyn Dataset>) -> Result<f64> {
        let how = Extraction {
            value: tower.net().output(),
            batch_size: BATCH,
            workers: WORKERS,
            unlabelled: false,
            interrupt: self.interrupt,
        };
        let classifier = Players {
            encoder: tower,
            views: Views::None,
        };
        let scores = extract(&classifier, test, how, &mut |_, _| {})?;
        let accuracy = scores.accuracy_of(&scores.largest());
        accuracy.ok_or_else(|| Error::failure("none of the held-out examples has a label"))
    }
}

/// Puts the gradient of the mean cross-entropy into the tower; returns the cross-entropy.
fn gradient(tower: &Tower, batch: &Batch) -> f32 {
    tower.zero_grads();
    let [n, c, h, w] = batch.dims;
    let device = Cpu::default();
    let x = device.tensor_from_vec(batch.x.clone(), (n, c, h, w));
    let call = Call {
        output: tower.net().output(),
        extra: &[],
        mode: Mode::Train,
        wanted: Wanted::Params,
    };
    let scores = tower.vectors(x.leaky_traced(), call);
    let classes = scores.shape().1;
    let mut targets = vec![0.0; n * classes];
    for (row, label) in targets.chunks_exact_mut(classes).zip(&batch.labels) {
        if let Some(label) = *label {
            row[label as usize] = 1.0;
        }
    }
    let targets = device.tensor_from_vec(targets, (n, classes));
    let loss = cross_entropy_with_logits_loss(scores, targets);
    let value = loss.array();
    if value.is_finite() {
        loss.backward();
    }
    value
}
