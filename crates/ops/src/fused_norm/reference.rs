//! The parts one after the other, in double precision.

use crate::activation::Activation;
use crate::channel_norm::Tail;
use crate::{Backward, Forward, Op};

fn rectify(rectifier: Option<Activation>, x: f64) -> f64 {
    match rectifier {
        None => x,
        Some(Activation::Relu) => x.max(0.0),
        Some(Activation::LeakyRelu { slope }) if x <= 0.0 => f64::from(slope) * x,
        Some(Activation::LeakyRelu { .. }) => x,
    }
}

/// The derivative where the value is `y`.
fn derivative(rectifier: Option<Activation>, y: f64) -> f64 {
    match rectifier {
        Some(Activation::Relu) if y <= 0.0 => 0.0,
        Some(Activation::LeakyRelu { slope }) if y <= 0.0 => f64::from(slope),
        _ => 1.0,
    }
}

pub(super) fn forward(norm: &dyn Op, tail: Tail, cx: Forward<'_, f64>) {
    let output = cx.output;
    let mut state: Vec<&mut [f64]> = cx.state.iter_mut().map(|s| &mut **s).collect();
    norm.reference_forward(Forward {
        mode: cx.mode,
        input_dims: &cx.input_dims[..1],
        output_dims: cx.output_dims,
        inputs: &cx.inputs[..1],
        params: cx.params,
        state: &mut state,
        output: &mut *output,
        saved: &mut [],
        scratch: &mut [],
    });
    if tail.add {
        for (y, summand) in output.iter_mut().zip(cx.inputs[1]) {
            *y += summand;
        }
    }
    for y in output {
        *y = rectify(tail.rectifier, *y);
    }
}

pub(super) fn backward(norm: &dyn Op, tail: Tail, cx: Backward<'_, f64>) {
    let pairs = cx.output_grad.iter().zip(cx.output);
    let behind: Vec<f64> = pairs
        .map(|(g, &y)| g * derivative(tail.rectifier, y))
        .collect();
    let (input_grad, summand_grad) = cx.input_grads.split_at_mut(1);
    if let Some(Some(grad)) = summand_grad.first_mut() {
        grad.copy_from_slice(&behind);
    }
    let mut input_grad = [input_grad[0].as_deref_mut()];
    let mut param_grads: Option<Vec<&mut [f64]>> = cx
        .param_grads
        .map(|grads| grads.iter_mut().map(|g| &mut **g).collect());
    norm.reference_backward(Backward {
        mode: cx.mode,
        input_dims: &cx.input_dims[..1],
        output_dims: cx.output_dims,
        inputs: &cx.inputs[..1],
        params: cx.params,
        state: cx.state,
        output: cx.output,
        saved: cx.saved,
        output_grad: &behind,
        input_grads: &mut input_grad,
        param_grads: param_grads.as_deref_mut(),
        scratch: &mut [],
    });
}
