//! Bilinear resizing, up or down, as PyTorch's `interpolate(mode="bilinear",
//! align_corners=False)` without antialiasing.
//!
//! Output position `o` of an axis that goes from `n` to `m` elements reads the input at
//! `s = max((o + ½) · n / m − ½, 0)`: the elements `⌊s⌋` and `min(⌊s⌋ + 1, n − 1)`, weighted by
//! the distance. Reducing by more than two therefore skips elements.

mod cpu;
mod device;
mod reference;

use crate::conformance::Case;
use crate::{Backward, Dims, Forward, Op, Reads, ShapeError};

/// Bilinear resizing to `height × width`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Rows of the output, at least 1.
    pub height: usize,
    /// Columns of the output, at least 1.
    pub width: usize,
}

impl Op for Resize {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn attributes(&self) -> String {
        format!("bilinear to {}×{}", self.height, self.width)
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1)?;
        let (height, width) = (self.height, self.width);
        if height == 0 || width == 0 || inputs[0].area() == 0 {
            let why = format!("cannot resize to {height}×{width}: extents must be at least 1");
            return Err(ShapeError::new(self.name(), inputs, why));
        }
        Ok(Dims::new(inputs[0].n, height, width, inputs[0].c))
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        9 * (inputs[0].n * self.height * self.width * inputs[0].c) as u64
    }

    fn backward_reads(&self) -> Reads {
        Reads::NOTHING
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

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let case = |name: &str, input: Dims, height, width| {
        Case::new(name, Resize { height, width }, &[input])
    };
    vec![
        case("resize 16×16 to 32×32", Dims::new(2, 16, 16, 3), 32, 32),
        case("resize 30×34 to 20×12", Dims::new(2, 30, 34, 3), 20, 12),
        case("resize 13×9 to 3×2", Dims::new(1, 13, 9, 5), 3, 2),
        case("resize 5×7 to 8×5", Dims::new(1, 5, 7, 1), 8, 5),
        case("resize 3×4 to 23×4", Dims::new(2, 3, 4, 17), 23, 4),
        case("resize 1×1 to 3×5", Dims::new(2, 1, 1, 2), 3, 5),
        case("resize 4×6 to 1×1", Dims::new(2, 4, 6, 2), 1, 1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_size_is_the_identity() {
        let dims = Dims::new(1, 3, 5, 2);
        let x: Vec<f32> = (0..30).map(|i| i as f32).collect();
        let mut out = vec![f32::NAN; 30];
        cpu::forward(dims, dims, &x, &mut out);
        assert_eq!(out, x);
    }

    /// By hand: four elements to two read at 0.5 and 2.5, two elements to four at 0, ¼, ¾ and 1.
    #[test]
    fn matches_values_computed_by_hand() {
        let mut out = [0.0; 2];
        let (four, two) = (Dims::new(1, 1, 4, 1), Dims::new(1, 1, 2, 1));
        cpu::forward(four, two, &[0.0, 2.0, 4.0, 8.0], &mut out);
        assert_eq!(out, [1.0, 6.0]);
        let mut out = [0.0; 4];
        cpu::forward(two, four, &[0.0, 4.0], &mut out);
        assert_eq!(out, [0.0, 1.0, 3.0, 4.0]);
    }

    #[test]
    fn refuses_empty_results() {
        let op = Resize {
            height: 0,
            width: 3,
        };
        assert!(op.output(&[Dims::new(1, 2, 2, 1)]).is_err());
    }
}
