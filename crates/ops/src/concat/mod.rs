//! Concatenation along the channels: how noise channels join an activation.

mod cpu;
mod device;
mod reference;

use crate::conformance::Case;
use crate::{Backward, Dims, Forward, Op, Reads, ShapeError};

/// One or more inputs of equal batch, height and width, their channels one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Concat;

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        let Some(first) = inputs.first() else {
            let why = "expected at least one input";
            return Err(ShapeError::new(self.name(), inputs, why));
        };
        let places = |d: &Dims| (d.n, d.h, d.w);
        if inputs.iter().any(|d| places(d) != places(first)) {
            let why = "all inputs must have the same batch, height and width";
            return Err(ShapeError::new(self.name(), inputs, why));
        }
        Ok(Dims {
            c: inputs.iter().map(|d| d.c).sum(),
            ..*first
        })
    }

    fn flops(&self, _inputs: &[Dims]) -> u64 {
        0
    }

    fn backward_reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        cpu::forward(cx.input_dims, cx.output_dims.c, cx.inputs, cx.output);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        let mut first = 0;
        for (dims, grad) in cx.input_dims.iter().zip(cx.input_grads) {
            if let Some(grad) = grad.as_deref_mut() {
                cpu::backward(first, dims.c, cx.output_dims.c, cx.output_grad, grad);
            }
            first += dims.c;
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(cx.input_dims, cx.inputs, cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        reference::backward(cx.input_dims, cx.output_grad, cx.input_grads);
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let map = |c| Dims::new(2, 9, 5, c);
    vec![
        Case::new("concat 128+1", Concat, &[map(128), map(1)]),
        Case::new("concat 3+1+2", Concat, &[map(3), map(1), map(2)]),
        Case::new("concat alone", Concat, &[Dims::new(1, 2, 3, 4)]),
        Case::new(
            "concat vectors",
            Concat,
            &[Dims::vector(1, 1), Dims::vector(1, 2)],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_different_places_and_nothing() {
        assert!(Concat.output(&[]).is_err());
        let inputs = [Dims::new(1, 2, 3, 4), Dims::new(1, 2, 4, 4)];
        assert!(Concat.output(&inputs).is_err());
    }
}
