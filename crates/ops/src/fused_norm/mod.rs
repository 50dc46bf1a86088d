//! A normalisation with what follows it, in one: `rectifier(norm(x) + summand)`, where sum and
//! rectifier are optional.
//!
//! Forward, the input is read for the statistics and once more for the output; sum and rectifier
//! cost no pass over memory of their own. Backward, one pass sums the gradients behind the rectifier
//! and one writes the gradients of both inputs; the sign that the rectifier saw is computed again
//! from the input, or read from the output where there is a summand. No value between the parts is
//! stored. The bits are those of the separate operations.
//!
//! Formulas: see the two normalisations, [`Add`] and [`Activation`].

mod device;
mod reference;

use crate::activation::Activation;
use crate::add::Add;
use crate::batch_norm::{self, BatchNorm};
use crate::channel_norm::Tail;
use crate::conformance::{Case, InputKind};
use crate::instance_norm::{self, InstanceNorm};
use crate::{
    Again, Backward, Dims, Follower, Forward, Mode, Op, ParamSpec, Reads, Rebuild, ShapeError,
    StateSpec,
};
use std::sync::Arc;
use viewmaker_device::DeviceError;

/// The normalisation at the beginning of a [`FusedNorm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Norm {
    /// Over the batch.
    Batch(BatchNorm),
    /// Over each example.
    Instance(InstanceNorm),
}

impl From<BatchNorm> for Norm {
    fn from(norm: BatchNorm) -> Self {
        Self::Batch(norm)
    }
}

impl From<InstanceNorm> for Norm {
    fn from(norm: InstanceNorm) -> Self {
        Self::Instance(norm)
    }
}

/// A normalisation, then perhaps a sum with the second input, then perhaps a rectifier. Parameters
/// and state are those of the normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FusedNorm {
    norm: Norm,
    tail: Tail,
}

impl FusedNorm {
    /// The normalisation alone; [`Op::fuse`] adds to it.
    pub fn new(norm: impl Into<Norm>) -> Self {
        Self {
            norm: norm.into(),
            tail: Tail::default(),
        }
    }

    /// With what follows, in the order of computation; `None` where that cannot be one operation.
    pub fn then(self, next: Follower) -> Option<Self> {
        let mut tail = self.tail;
        match next {
            _ if tail.rectifier.is_some() => return None,
            Follower::Add if tail.add => return None,
            Follower::Add => tail.add = true,
            // The output of a negative slope does not tell the sign of its argument.
            Follower::Activation(Activation::LeakyRelu { slope }) if slope <= 0.0 => return None,
            Follower::Activation(rectifier) => tail.rectifier = Some(rectifier),
        }
        Some(Self { tail, ..self })
    }

    fn head(&self) -> &dyn Op {
        match &self.norm {
            Norm::Batch(norm) => norm,
            Norm::Instance(norm) => norm,
        }
    }

    /// Operations per element of the parts after the normalisation.
    fn tail_flops(&self) -> u64 {
        u64::from(self.tail.add) + u64::from(self.tail.rectifier.is_some())
    }
}

impl Op for FusedNorm {
    fn name(&self) -> &'static str {
        let leaky = matches!(self.tail.rectifier, Some(Activation::LeakyRelu { .. }));
        let rectified = self.tail.rectifier.is_some();
        match (&self.norm, self.tail.add, rectified, leaky) {
            (Norm::Batch(_), false, false, _) => "batch_norm",
            (Norm::Batch(_), true, false, _) => "batch_norm+add",
            (Norm::Batch(_), false, true, false) => "batch_norm+relu",
            (Norm::Batch(_), false, true, true) => "batch_norm+leaky_relu",
            (Norm::Batch(_), true, true, false) => "batch_norm+add+relu",
            (Norm::Batch(_), true, true, true) => "batch_norm+add+leaky_relu",
            (Norm::Instance(_), false, false, _) => "instance_norm",
            (Norm::Instance(_), true, false, _) => "instance_norm+add",
            (Norm::Instance(_), false, true, false) => "instance_norm+relu",
            (Norm::Instance(_), false, true, true) => "instance_norm+leaky_relu",
            (Norm::Instance(_), true, true, false) => "instance_norm+add+relu",
            (Norm::Instance(_), true, true, true) => "instance_norm+add+leaky_relu",
        }
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1 + usize::from(self.tail.add))?;
        let output = self.head().output(&inputs[..1])?;
        if self.tail.add {
            Add.output(inputs)?;
        }
        if let Some(rectifier) = self.tail.rectifier {
            rectifier.output(&[output])?;
        }
        Ok(output)
    }

    fn params(&self, inputs: &[Dims]) -> Vec<ParamSpec> {
        self.head().params(&inputs[..1])
    }

    fn state(&self, inputs: &[Dims]) -> Vec<StateSpec> {
        self.head().state(&inputs[..1])
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        self.head().flops(&inputs[..1]) + self.tail_flops() * inputs[0].len() as u64
    }

    fn saved_len(&self, inputs: &[Dims]) -> usize {
        self.head().saved_len(&inputs[..1])
    }

    fn scratch_len(&self, inputs: &[Dims], threads: usize) -> usize {
        self.head().scratch_len(&inputs[..1], threads)
    }

    fn backward_reads(&self) -> Reads {
        // The summand itself is not read.
        Reads {
            inputs: 1,
            output: self.tail.reads_output(),
        }
    }

    /// A summand would have to be kept for it, which is as large as the output.
    fn rebuilder(&self) -> Option<&dyn Rebuild> {
        (!self.tail.add).then_some(self)
    }

    fn fuse(&self, next: Follower) -> Option<Arc<dyn Op>> {
        let fused = self.then(next)?;
        Some(Arc::new(fused))
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        match &self.norm {
            Norm::Batch(norm) => batch_norm::cpu::forward(norm, self.tail, cx),
            Norm::Instance(norm) => instance_norm::cpu::forward(norm, self.tail, cx),
        }
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        match &self.norm {
            Norm::Batch(_) => batch_norm::cpu::backward(self.tail, cx),
            Norm::Instance(_) => instance_norm::cpu::backward(self.tail, cx),
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(self.head(), self.tail, cx);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        reference::backward(self.head(), self.tail, cx);
    }
}

impl Rebuild for FusedNorm {
    fn rebuild(&self, cx: Again<'_>) {
        match &self.norm {
            Norm::Batch(_) => batch_norm::cpu::rebuild(self.tail, cx),
            Norm::Instance(_) => instance_norm::cpu::rebuild(self.tail, cx),
        }
    }

    fn device_rebuild(&self, cx: &crate::device::Again<'_>) -> Result<(), DeviceError> {
        self.launch_again(cx)
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let relu = Follower::Activation(Activation::Relu);
    let leaky = Follower::Activation(Activation::LeakyRelu { slope: 0.2 });
    let batch = || Norm::from(BatchNorm::default());
    let instance = || Norm::from(InstanceNorm::default());
    let small = Dims::new(2, 5, 7, 23);
    let large = Dims::new(2, 16, 16, 64);
    let long = Dims::new(1, 160, 120, 3);
    let mut cases = Vec::new();
    for (norm, tail, dims, mode) in [
        (batch(), vec![relu], small, Mode::Train),
        (batch(), vec![relu], large, Mode::Train),
        (batch(), vec![relu], small, Mode::Eval),
        (batch(), vec![Follower::Add, relu], small, Mode::Train),
        (batch(), vec![Follower::Add, relu], large, Mode::Train),
        (batch(), vec![Follower::Add, relu], small, Mode::Eval),
        (batch(), vec![Follower::Add], small, Mode::Train),
        (batch(), vec![leaky], small, Mode::Train),
        (instance(), vec![relu], small, Mode::Train),
        (instance(), vec![relu], long, Mode::Train),
        (instance(), vec![leaky], small, Mode::Train),
        (instance(), vec![Follower::Add], small, Mode::Train),
        (instance(), vec![Follower::Add, leaky], small, Mode::Train),
    ] {
        let mut parts = tail.iter().copied();
        let op = parts.try_fold(FusedNorm::new(norm), |op, next| op.then(next));
        let Some(op) = op else { continue };
        let inputs = vec![dims; 1 + usize::from(op.tail.add)];
        let name = format!("{} {dims} {mode:?}", op.name());
        cases.push(
            Case::new(name, op, &inputs)
                .mode(mode)
                .input(InputKind::Normal),
        );
    }
    cases
}

#[cfg(test)]
mod tests;
