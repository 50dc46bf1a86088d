//! Nearest-neighbour upsampling by two: `out[i, j] = in[i / 2, j / 2]`.
//!
//! The output size is explicit, because undoing a stride of two on an odd size needs one row or
//! column less than twice the input: the last one is cropped.

mod cpu;
mod device;
mod reference;

use crate::conformance::Case;
use crate::{Again, Backward, Dims, Forward, Op, Reads, Rebuild, ShapeError};
use viewmaker_device::DeviceError;

/// Nearest ×2 upsampling to `height × width`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upsample {
    /// Rows of the output: twice those of the input, or one less.
    pub height: usize,
    /// Columns of the output: twice those of the input, or one less.
    pub width: usize,
}

impl Op for Upsample {
    fn name(&self) -> &'static str {
        "upsample"
    }

    fn attributes(&self) -> String {
        format!("nearest ×2 to {}×{}", self.height, self.width)
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1)?;
        let Dims { n, h, w, c } = inputs[0];
        let fits = |size: usize, from: usize| size > 0 && size.div_ceil(2) == from;
        if fits(self.height, h) && fits(self.width, w) {
            return Ok(Dims::new(n, self.height, self.width, c));
        }
        let (height, width) = (self.height, self.width);
        let why = format!(
            "cannot double {h}×{w} to {height}×{width}: each extent must be twice the input's, or \
             one less"
        );
        Err(ShapeError::new(self.name(), inputs, why))
    }

    fn flops(&self, _inputs: &[Dims]) -> u64 {
        0
    }

    fn backward_reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn rebuilder(&self) -> Option<&dyn Rebuild> {
        Some(self)
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        cpu::forward(cx.input_dims[0], cx.output_dims, cx.inputs[0], cx.output);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            cpu::backward(cx.input_dims[0], cx.output_dims, cx.output_grad, grad);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(cx.input_dims[0], cx.output_dims, cx.inputs[0], cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            reference::backward(cx.input_dims[0], cx.output_dims, cx.output_grad, grad);
        }
    }
}

/// A quarter of what it writes is all it reads.
impl Rebuild for Upsample {
    fn rebuild(&self, cx: Again<'_>) {
        cpu::forward(cx.input_dims[0], cx.output_dims, cx.inputs[0], cx.output);
    }

    fn device_rebuild(&self, cx: &crate::device::Again<'_>) -> Result<(), DeviceError> {
        Self::launch_again(cx)
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let case = |name: &str, input: Dims, height, width| {
        Case::new(name, Upsample { height, width }, &[input])
    };
    vec![
        case("upsample 8×8 to 16×16", Dims::new(2, 8, 8, 16), 16, 16),
        case("upsample 4×3 to 7×6", Dims::new(1, 4, 3, 5), 7, 6),
        case("upsample 4×3 to 8×5", Dims::new(2, 4, 3, 1), 8, 5),
        case("upsample 1×1 to 1×1", Dims::new(2, 1, 1, 3), 1, 1),
        case("upsample 1×2 to 2×3", Dims::new(1, 1, 2, 3), 2, 3),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_other_factors() {
        let to = |height, width| Upsample { height, width }.output(&[Dims::new(1, 4, 3, 2)]);
        assert_eq!(to(8, 5), Ok(Dims::new(1, 8, 5, 2)));
        for (height, width) in [(9, 6), (6, 6), (8, 4), (8, 7), (0, 6)] {
            assert!(to(height, width).is_err(), "{height}×{width}");
        }
    }
}
