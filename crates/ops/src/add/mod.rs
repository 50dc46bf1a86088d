//! Sum of two activations of the same shape: the end of a residual block.

mod cpu;
mod device;
mod reference;

use crate::conformance::Case;
use crate::{Backward, Dims, Follower, Forward, Op, Reads, ShapeError};

/// `a + b`, element by element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Add;

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 2)?;
        if inputs[0] == inputs[1] {
            return Ok(inputs[0]);
        }
        let why = "both inputs must have the same shape";
        Err(ShapeError::new(self.name(), inputs, why))
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        inputs[0].len() as u64
    }

    fn follower(&self) -> Option<Follower> {
        Some(Follower::Add)
    }

    fn backward_reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        cpu::forward(cx.inputs[0], cx.inputs[1], cx.output);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        for grad in cx.input_grads.iter_mut().flatten() {
            cpu::backward(cx.output_grad, grad);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(cx.inputs[0], cx.inputs[1], cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        for grad in cx.input_grads.iter_mut().flatten() {
            reference::backward(cx.output_grad, grad);
        }
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let twice = |d: Dims| [d, d];
    vec![
        Case::new("add vector", Add, &twice(Dims::vector(1, 1))),
        Case::new("add 3×5×7", Add, &twice(Dims::new(2, 5, 7, 3))),
        Case::new("add 64×16×16", Add, &twice(Dims::new(2, 16, 16, 64))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_different_shapes() {
        let inputs = [Dims::new(1, 2, 3, 4), Dims::new(1, 3, 2, 4)];
        assert!(Add.output(&inputs).is_err());
        assert!(Add.output(&inputs[..1]).is_err());
    }
}
