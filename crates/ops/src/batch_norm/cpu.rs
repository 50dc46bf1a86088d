//! Batch normalisation on the CPU: the whole batch is one group.

use super::BatchNorm;
use crate::channel_norm::cpu::{
    Stats, gradient_means, input_gradient, inv_std, moments, normalise, scaled_gradient,
};
use crate::{Backward, Mode};

/// Takes the statistics of the batch `x` into `saved` and moves the running ones.
pub(super) fn batch_statistics(
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
pub(super) fn running_statistics(op: &BatchNorm, state: &[&mut [f32]], saved: &mut [f32]) {
    let (running_mean, running_var) = (&state[0], &state[1]);
    let (mean, inv) = saved.split_at_mut(running_mean.len());
    mean.copy_from_slice(running_mean);
    for (inv, &variance) in inv.iter_mut().zip(running_var.iter()) {
        *inv = inv_std(f64::from(variance), op.eps);
    }
}

/// Normalises `x` with the statistics in `saved`.
pub(super) fn forward(x: &[f32], saved: &[f32], params: &[&[f32]], out: &mut [f32]) {
    normalise(x, Stats::new(saved), params[0], params[1], out);
}

/// Gradients with respect to input, scale and shift.
pub(super) fn backward(cx: Backward<'_, f32>) {
    let (x, g, weight) = (cx.inputs[0], cx.output_grad, cx.params[0]);
    let stats = Stats::new(cx.saved);
    let c = stats.mean.len();
    let (partials, means) = cx.scratch.split_at_mut(cx.scratch.len() - 2 * c);
    if cx.param_grads.is_some() || cx.mode == Mode::Train {
        gradient_means(x, g, stats, partials, means);
    }
    if let Some([weight_grad, bias_grad]) = cx.param_grads {
        let rows = (x.len() / c) as f32;
        for i in 0..c {
            weight_grad[i] += rows * means[c + i];
            bias_grad[i] += rows * means[i];
        }
    }
    if let Some(out) = cx.input_grads[0].as_deref_mut() {
        match cx.mode {
            Mode::Train => input_gradient(x, g, stats, weight, means, out),
            Mode::Eval => scaled_gradient(g, stats.inv_std, weight, out),
        }
    }
}
