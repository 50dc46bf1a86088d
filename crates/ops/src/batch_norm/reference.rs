//! Batch normalisation in double precision.

use super::BatchNorm;
use crate::channel_norm::reference::{Channel, moments};
use crate::{Backward, Forward, Mode};

pub(super) fn forward(op: &BatchNorm, cx: Forward<'_, f64>) {
    let (x, c) = (cx.inputs[0], cx.input_dims[0].c);
    let rows = (x.len() / c) as f64;
    let momentum = f64::from(op.momentum);
    for index in 0..c {
        let (mean, variance) = match cx.mode {
            Mode::Train => moments(x, c, index),
            Mode::Eval => (cx.state[0][index], cx.state[1][index]),
        };
        channel(op, cx.mode, index, mean, variance, cx.params[0][index]).forward(
            x,
            c,
            cx.params[1][index],
            cx.output,
        );
        if cx.mode == Mode::Train {
            let unbiased = variance * rows / (rows - 1.0).max(1.0);
            cx.state[0][index] += momentum * (mean - cx.state[0][index]);
            cx.state[1][index] += momentum * (unbiased - cx.state[1][index]);
        }
    }
    if cx.mode == Mode::Train {
        cx.state[2][0] += 1.0;
    }
}

pub(super) fn backward(op: &BatchNorm, mut cx: Backward<'_, f64>) {
    let (x, c) = (cx.inputs[0], cx.input_dims[0].c);
    for index in 0..c {
        let (mean, variance) = match cx.mode {
            Mode::Train => moments(x, c, index),
            Mode::Eval => (cx.state[0][index], cx.state[1][index]),
        };
        let channel = channel(op, cx.mode, index, mean, variance, cx.params[0][index]);
        let out = cx.input_grads[0].as_deref_mut();
        let (weight_grad, bias_grad) = channel.backward(x, cx.output_grad, c, out);
        if let Some(grads) = cx.param_grads.as_deref_mut() {
            grads[0][index] += weight_grad;
            grads[1][index] += bias_grad;
        }
    }
}

fn channel(
    op: &BatchNorm,
    mode: Mode,
    index: usize,
    mean: f64,
    variance: f64,
    weight: f64,
) -> Channel {
    Channel {
        index,
        mean,
        inv_std: 1.0 / (variance + f64::from(op.eps)).sqrt(),
        weight,
        moving: mode == Mode::Train,
    }
}
