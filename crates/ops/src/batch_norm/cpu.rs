//! Batch normalisation on the CPU: the whole batch is one group.

use super::BatchNorm;
use crate::channel_norm::Tail;
use crate::channel_norm::cpu::{Group, InputGrads, Stats, inv_std, moments};
use crate::{Again, Backward, Forward, Mode};

/// Takes the statistics of the batch `x` into `saved` and moves the running ones.
fn batch_statistics(
    op: &BatchNorm,
    x: &[f32],
    state: &mut [&mut [f32]],
    scratch: &mut [f32],
    saved: &mut [f32],
) {
    let [running_mean, running_var, batches] = state else {
        unreachable!("batch norm has three state tensors");
    };
    let c = running_mean.len();
    let rows = (x.len() / c) as f64;
    let unbiased = if rows > 1.0 { rows / (rows - 1.0) } else { 1.0 };
    let momentum = f64::from(op.momentum);
    let blend = |running: &mut f32, batch: f64| {
        const MAX: f64 = f32::MAX as f64;
        let moved = (1.0 - momentum) * f64::from(*running) + momentum * batch;
        // A variance beyond the range must not turn the running one infinite for ever.
        *running = if moved > MAX { f32::MAX } else { moved as f32 };
    };
    let partials = scratch.len() - 2 * c;
    let (mean, inv) = saved.split_at_mut(c);
    moments(x, c, &mut scratch[..partials], |i, m, variance| {
        mean[i] = m as f32;
        inv[i] = inv_std(variance, op.eps);
        blend(&mut running_mean[i], m);
        blend(&mut running_var[i], variance * unbiased);
    });
    batches[0] += 1.0;
}

/// Takes the running statistics into `saved`.
fn running_statistics(op: &BatchNorm, state: &[&mut [f32]], saved: &mut [f32]) {
    let (running_mean, running_var) = (&state[0], &state[1]);
    let (mean, inv) = saved.split_at_mut(running_mean.len());
    mean.copy_from_slice(running_mean);
    for (inv, &variance) in inv.iter_mut().zip(running_var.iter()) {
        *inv = inv_std(f64::from(variance), op.eps);
    }
}

/// Normalises with the statistics of the mode, and applies the tail.
pub(crate) fn forward(op: &BatchNorm, tail: Tail, cx: Forward<'_, f32>) {
    match cx.mode {
        Mode::Train => batch_statistics(op, cx.inputs[0], cx.state, cx.scratch, cx.saved),
        Mode::Eval => running_statistics(op, cx.state, cx.saved),
    }
    group(cx.inputs[0], cx.saved, cx.params, tail).apply(cx.inputs.get(1).copied(), cx.output);
}

/// The output once more, with the statistics that the forward pass saved.
pub(crate) fn rebuild(tail: Tail, cx: Again<'_>) {
    group(cx.inputs[0], cx.saved, cx.params, tail).apply(cx.inputs.get(1).copied(), cx.output);
}

fn group<'a>(x: &'a [f32], saved: &'a [f32], params: &[&'a [f32]], tail: Tail) -> Group<'a> {
    Group {
        x,
        stats: Stats::new(saved),
        weight: params[0],
        bias: params[1],
        tail,
    }
}

/// Gradients with respect to inputs, scale and shift.
pub(crate) fn backward(tail: Tail, cx: Backward<'_, f32>) {
    let group = group(cx.inputs[0], cx.saved, cx.params, tail);
    let (y, grad, c) = (cx.output, cx.output_grad, group.weight.len());
    let (partials, means) = cx.scratch.split_at_mut(cx.scratch.len() - 2 * c);
    let moving = cx.mode == Mode::Train && cx.input_grads[0].is_some();
    if cx.param_grads.is_some() || moving {
        group.gradient_means(y, grad, partials, means);
    }
    if let Some([weight_grad, bias_grad]) = cx.param_grads {
        let rows = (group.x.len() / c) as f32;
        for i in 0..c {
            weight_grad[i] += rows * means[c + i];
            bias_grad[i] += rows * means[i];
        }
    }
    let means = moving.then_some(&*means);
    group.input_gradients(y, grad, means, InputGrads::new(cx.input_grads));
}
