//! Instance normalisation in double precision.

use super::InstanceNorm;
use crate::channel_norm::reference::{Channel, moments};
use crate::{Backward, Forward};

pub(super) fn forward(op: &InstanceNorm, cx: Forward<'_, f64>) {
    let dims = cx.input_dims[0];
    for n in 0..dims.n {
        let of = n * dims.example()..(n + 1) * dims.example();
        let (x, out) = (&cx.inputs[0][of.clone()], &mut cx.output[of]);
        for index in 0..dims.c {
            let channel = channel(op, x, dims.c, index, cx.params[0][index]);
            channel.forward(x, dims.c, cx.params[1][index], out);
        }
    }
}

pub(super) fn backward(op: &InstanceNorm, mut cx: Backward<'_, f64>) {
    let dims = cx.input_dims[0];
    for n in 0..dims.n {
        let of = n * dims.example()..(n + 1) * dims.example();
        let (x, g) = (&cx.inputs[0][of.clone()], &cx.output_grad[of.clone()]);
        for index in 0..dims.c {
            let channel = channel(op, x, dims.c, index, cx.params[0][index]);
            let out = cx.input_grads[0].as_deref_mut();
            let out = out.map(|out| &mut out[of.clone()]);
            let (weight_grad, bias_grad) = channel.backward(x, g, dims.c, out);
            if let Some(grads) = cx.param_grads.as_deref_mut() {
                grads[0][index] += weight_grad;
                grads[1][index] += bias_grad;
            }
        }
    }
}

fn channel(op: &InstanceNorm, x: &[f64], c: usize, index: usize, weight: f64) -> Channel {
    let (mean, variance) = moments(x, c, index);
    Channel {
        index,
        mean,
        inv_std: 1.0 / (variance + f64::from(op.eps)).sqrt(),
        weight,
        moving: true,
    }
}
