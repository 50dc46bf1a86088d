//! Batch normalisation on a device: the whole batch is one group.

use super::BatchNorm;
use crate::channel_norm::Tail;
use crate::channel_norm::device::{Groups, Running};
use crate::device::{Again, Backward, Forward, OnDevice};
use crate::{Dims, Mode};
use viewmaker_device::DeviceError;

/// Elements of working memory.
pub(crate) fn scratch_len(dims: Dims) -> usize {
    let (rows, c) = (dims.n * dims.area(), dims.c);
    2 * c * (rows.div_ceil(crate::device::share(rows, c, 1)) + 1)
}

/// Normalises with the statistics of the mode, and applies the tail.
pub(crate) fn forward(op: &BatchNorm, tail: Tail, cx: &Forward<'_>) -> Result<(), DeviceError> {
    let groups = Groups::batch(cx.device, cx.input_dims[0], tail);
    match cx.mode {
        Mode::Train => {
            let running = Running {
                state: cx.state,
                momentum: op.momentum,
            };
            groups.statistics(&cx.inputs[0], cx.saved, op.eps, Some(&running), cx.scratch)?;
        }
        Mode::Eval => groups.running(cx.state, cx.saved, op.eps)?,
    }
    groups.output(cx)
}

/// The output once more, with the statistics that the forward pass saved.
pub(crate) fn rebuild(tail: Tail, cx: &Again<'_>) -> Result<(), DeviceError> {
    Groups::batch(cx.device, cx.input_dims[0], tail).output_again(cx)
}

/// The gradients that are asked for.
pub(crate) fn backward(tail: Tail, cx: &Backward<'_>) -> Result<(), DeviceError> {
    Groups::batch(cx.device, cx.input_dims[0], tail).gradients(cx, cx.mode == Mode::Train)
}

impl OnDevice for BatchNorm {
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
