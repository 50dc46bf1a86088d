//! Instance normalisation over height and width of each example (Ulyanov, Vedaldi & Lempitsky
//! 2016), as PyTorch's `InstanceNorm2d(affine=True)`: biased variance, no running statistics, the
//! same in training and evaluation.
//!
//! A map of one position has variance 0: its output is the bias and its gradient 0.

pub(crate) mod cpu;
pub(crate) mod device;
mod reference;

use crate::channel_norm::{self, Tail};
use crate::conformance::Case;
use crate::fused_norm::FusedNorm;
use crate::{Again, Backward, Dims, Follower, Forward, Op, ParamSpec, Reads, Rebuild, ShapeError};
use std::sync::Arc;
use viewmaker_device::DeviceError;

/// Instance normalisation with scale and shift; parameters `weight` and `bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstanceNorm {
    /// Added to the variance; finite and positive.
    pub eps: f32,
}

impl Default for InstanceNorm {
    fn default() -> Self {
        Self { eps: 1e-5 }
    }
}

impl InstanceNorm {
    /// Elements of scratch for one example.
    fn example_scratch(dims: Dims) -> usize {
        channel_norm::cpu::scratch_len(dims.area(), dims.c) + 2 * dims.c
    }
}

impl Op for InstanceNorm {
    fn name(&self) -> &'static str {
        "instance_norm"
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        channel_norm::check(self.name(), self.eps, inputs)
    }

    fn params(&self, inputs: &[Dims]) -> Vec<ParamSpec> {
        channel_norm::affine(inputs[0].c)
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        channel_norm::FLOPS * inputs[0].len() as u64
    }

    /// Mean and reciprocal standard deviation per example and channel.
    fn saved_len(&self, inputs: &[Dims]) -> usize {
        2 * inputs[0].n * inputs[0].c
    }

    fn scratch_len(&self, inputs: &[Dims], _threads: usize) -> usize {
        inputs[0].n * Self::example_scratch(inputs[0])
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

impl Rebuild for InstanceNorm {
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
        Dims::new(2, 16, 16, 129),
        Dims::new(2, 5, 7, 23),
        Dims::new(1, 3, 5, 1),
        Dims::new(1, 160, 120, 3),
        Dims::new(3, 1, 1, 4),
    ];
    let case = |dims: Dims| {
        let name = format!("instance_norm {dims}");
        Case::new(name, InstanceNorm::default(), &[dims])
    };
    let mut cases: Vec<Case> = shapes.into_iter().map(case).collect();
    // With two positions the gradient is a difference of almost equal numbers: exactly, it is of
    // the order of eps.
    cases.push(case(Dims::new(2, 1, 2, 3)).backward(1e-5, 1e-5));
    cases
}

#[cfg(test)]
mod tests;
