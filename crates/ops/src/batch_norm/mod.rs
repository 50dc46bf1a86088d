//! Batch normalisation over batch, height and width (Ioffe & Szegedy 2015), as PyTorch's
//! `BatchNorm2d` and `BatchNorm1d`.
//!
//! In training the biased variance of the batch normalises, and the running statistics move towards
//! the batch by `momentum`, the running variance towards the **unbiased** variance. In evaluation
//! the running statistics normalise and are constants for the gradient.
//!
//! A batch with a single position per channel has no unbiased variance. PyTorch refuses to train on
//! it; shapes are checked here before the mode is known, and such a batch is legitimate in
//! evaluation, so in training its variance counts as 0 and its output is the bias.

pub(crate) mod cpu;
pub(crate) mod device;
mod reference;

use crate::channel_norm::{self, Tail};
use crate::conformance::Case;
use crate::fused_norm::FusedNorm;
use crate::{
    Again, Backward, Dims, Follower, Forward, Mode, Op, ParamSpec, Reads, Rebuild, ShapeError,
    StateSpec,
};
use std::sync::Arc;
use viewmaker_device::DeviceError;

/// Batch normalisation with scale, shift and running statistics.
///
/// Parameters: `weight` and `bias`. State: `running_mean`, `running_var` and
/// `num_batches_tracked`, which counts exactly up to 2²⁴ batches and then stays there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance; finite and positive.
    pub eps: f32,
    /// Share of the batch in the running statistics, in `[0, 1]`.
    pub momentum: f32,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self {
            eps: 1e-5,
            momentum: 0.1,
        }
    }
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        let dims = channel_norm::check(self.name(), self.eps, inputs)?;
        if (0.0..=1.0).contains(&self.momentum) {
            return Ok(dims);
        }
        let why = format!("momentum must be in [0, 1], found {}", self.momentum);
        Err(ShapeError::new(self.name(), inputs, why))
    }

    fn params(&self, inputs: &[Dims]) -> Vec<ParamSpec> {
        channel_norm::affine(inputs[0].c)
    }

    fn state(&self, inputs: &[Dims]) -> Vec<StateSpec> {
        let state = |name, shape, init| StateSpec { name, shape, init };
        let c = inputs[0].c;
        vec![
            state("running_mean", vec![c], 0.0),
            state("running_var", vec![c], 1.0),
            state("num_batches_tracked", vec![], 0.0),
        ]
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        channel_norm::FLOPS * inputs[0].len() as u64
    }

    /// Mean and reciprocal standard deviation per channel.
    fn saved_len(&self, inputs: &[Dims]) -> usize {
        2 * inputs[0].c
    }

    fn scratch_len(&self, inputs: &[Dims], _threads: usize) -> usize {
        let Dims { n, c, .. } = inputs[0];
        channel_norm::cpu::scratch_len(n * inputs[0].area(), c) + 2 * c
    }

    fn backward_reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn rebuilder(&self) -> Option<&dyn Rebuild> {
        Some(self)
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        cpu::forward(self, Tail::default(), cx);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        cpu::backward(Tail::default(), cx);
    }

    fn fuse(&self, next: Follower) -> Option<Arc<dyn Op>> {
        FusedNorm::new(*self).fuse(next)
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(self, cx);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        reference::backward(self, cx);
    }
}

impl Rebuild for BatchNorm {
    fn rebuild(&self, cx: Again<'_>) {
        cpu::rebuild(Tail::default(), cx);
    }

    fn device_rebuild(&self, cx: &crate::device::Again<'_>) -> Result<(), DeviceError> {
        device::rebuild(Tail::default(), cx)
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let shapes = [
        Dims::new(4, 16, 16, 64),
        Dims::new(2, 5, 7, 23),
        Dims::new(1, 3, 5, 1),
        Dims::new(1, 200, 100, 5),
        Dims::vector(8, 20),
    ];
    let mut cases = Vec::new();
    for dims in shapes {
        for mode in [Mode::Train, Mode::Eval] {
            let name = format!("batch_norm {dims} {mode:?}");
            cases.push(Case::new(name, BatchNorm::default(), &[dims]).mode(mode));
        }
    }
    let other = BatchNorm {
        eps: 1e-3,
        momentum: 0.5,
    };
    let dims = [Dims::new(3, 4, 4, 6)];
    cases.push(Case::new("batch_norm eps 1e-3 momentum 0.5", other, &dims));
    cases
}

#[cfg(test)]
mod tests;
