//! Layer normalisation: the channels of every position get mean 0 and variance 1, then each channel a
//! factor and a summand of its own.
//!
//! Source: Ba, Kiros & Hinton, *Layer Normalization* (2016), equation 4, over the channels alone, as in
//! transformers. ε = 1e-5 as in PyTorch.

mod cpu;
mod device;
mod reference;

use crate::conformance::Case;
use crate::{Backward, Dims, Forward, Init, Op, ParamSpec, Reads, ShapeError};

/// Added to the variance.
const EPSILON: f64 = 1e-5;

/// Normalisation over the channels of every position; parameters `weight` and `bias`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerNorm;

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1)?;
        Ok(inputs[0])
    }

    fn params(&self, inputs: &[Dims]) -> Vec<ParamSpec> {
        let param = |name, value| ParamSpec {
            name,
            shape: vec![inputs[0].c],
            init: Init::Constant(value),
        };
        vec![param("weight", 1.0), param("bias", 0.0)]
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        8 * inputs[0].len() as u64
    }

    fn saved_len(&self, inputs: &[Dims]) -> usize {
        2 * inputs[0].n * inputs[0].area()
    }

    fn backward_reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        cpu::forward(cx.inputs[0], cx.params, cx.output, cx.saved);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        if let Some(grads) = cx.param_grads {
            cpu::param_grads(cx.inputs[0], cx.saved, cx.output_grad, grads);
        }
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            cpu::input_grad(cx.inputs[0], cx.params[0], cx.saved, cx.output_grad, grad);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(cx.inputs[0], cx.params, cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        let grad = cx.input_grads[0].as_deref_mut();
        let (x, weight, dy) = (cx.inputs[0], cx.params[0], cx.output_grad);
        reference::backward(x, weight, dy, grad, cx.param_grads);
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let case = |n, h, w, c| {
        let name = format!("layer_norm {n} of {c}×{h}×{w}");
        Case::new(name, LayerNorm, &[Dims::new(n, h, w, c)])
    };
    vec![case(1, 1, 1, 3), case(3, 2, 5, 8), case(2, 1, 40, 64)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_positions_give_the_bias() {
        let mut y = [f32::NAN; 6];
        let (weight, bias) = ([2.0, 3.0, 4.0], [0.5, -0.5, 1.0]);
        cpu::forward(&[7.0; 6], &[&weight, &bias], &mut y, &mut [0.0; 4]);
        assert_eq!(y, [0.5, -0.5, 1.0, 0.5, -0.5, 1.0]);
        assert!(LayerNorm.output(&[]).is_err());
    }
}
