//! A map per example becomes a vector in the order of PyTorch's `flatten` of NCHW:
//! element `(y, x, c)` goes to `c · h · w + y · w + x`.

mod cpu;
pub mod device;
mod reference;

use crate::conformance::Case;
use crate::{Backward, Dims, Forward, Op, Reads, ShapeError};

/// NHWC map to channel-major vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flatten;

impl Op for Flatten {
    fn name(&self) -> &'static str {
        "flatten"
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1)?;
        Ok(Dims::vector(inputs[0].n, inputs[0].example()))
    }

    fn flops(&self, _inputs: &[Dims]) -> u64 {
        0
    }

    fn backward_reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        let Dims { h, w, c, .. } = cx.input_dims[0];
        cpu::transpose(h * w, c, cx.inputs[0], cx.output);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        let Dims { h, w, c, .. } = cx.input_dims[0];
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            cpu::transpose(c, h * w, cx.output_grad, grad);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(cx.input_dims[0], cx.inputs[0], cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            reference::backward(cx.input_dims[0], cx.output_grad, grad);
        }
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("flatten 19×5×3", Flatten, &[Dims::new(2, 5, 3, 19)]),
        Case::new("flatten 1×4×4", Flatten, &[Dims::new(1, 4, 4, 1)]),
        Case::new("flatten vector", Flatten, &[Dims::vector(3, 7)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_channel_major() {
        // Two positions of three channels.
        let x = [0.0, 10.0, 20.0, 1.0, 11.0, 21.0];
        let mut out = [0.0; 6];
        cpu::transpose(2, 3, &x, &mut out);
        assert_eq!(out, [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]);
    }
}
