//! Instance normalisation on a device: every example is a group.

use super::InstanceNorm;
use crate::Dims;
use crate::channel_norm::Tail;
use crate::channel_norm::device::Groups;
use crate::device::{Again, Backward, Forward, OnDevice};
use viewmaker_device::DeviceError;

/// Elements of working memory.
pub(crate) fn scratch_len(dims: Dims) -> usize {
    let (rows, c) = (dims.area(), dims.c);
    2 * c * dims.n * (rows.div_ceil(crate::device::share(rows, c, dims.n)) + 1)
}

/// Normalises every example and applies the tail.
pub(crate) fn forward(op: &InstanceNorm, tail: Tail, cx: &Forward<'_>) -> Result<(), DeviceError> {
    let groups = Groups::examples(cx.device, cx.input_dims[0], tail);
    groups.statistics(&cx.inputs[0], cx.saved, op.eps, None, cx.scratch)?;
    groups.output(cx)
}

/// The output once more, with the statistics that the forward pass saved.
pub(crate) fn rebuild(tail: Tail, cx: &Again<'_>) -> Result<(), DeviceError> {
    Groups::examples(cx.device, cx.input_dims[0], tail).output_again(cx)
}

/// The gradients that are asked for.
pub(crate) fn backward(tail: Tail, cx: &Backward<'_>) -> Result<(), DeviceError> {
    Groups::examples(cx.device, cx.input_dims[0], tail).gradients(cx, true)
}

impl OnDevice for InstanceNorm {
    fn device_scratch_len(&self, inputs: &[Dims]) -> usize {
        scratch_len(inputs[0])
    }

    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        forward(self, Tail::default(), cx)
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        backward(Tail::default(), cx)
    }
}
