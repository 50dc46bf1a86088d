//! Maximum pooling.

use super::{reference, single_input};
use crate::{Backward, Dims, Forward, Op, ShapeError};
use rayon::prelude::*;
use std::ops::Range;

/// Maximum over windows of `kernel × kernel` positions. Padding never wins; of equal values the
/// first in row order gets the gradient, and a NaN wins over everything, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool {
    /// Rows and columns of the window.
    pub kernel: usize,
    /// Distance between neighbouring windows.
    pub stride: usize,
    /// Rows and columns of padding on each side, at most half the kernel.
    pub padding: usize,
}

impl MaxPool {
    /// Input rows or columns that output row or column `at` looks at.
    pub(super) fn window(&self, at: usize, extent: usize) -> Range<usize> {
        let start = at * self.stride;
        let end = (start + self.kernel).saturating_sub(self.padding);
        start.saturating_sub(self.padding)..end.min(extent)
    }
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn attributes(&self) -> String {
        format!(
            "{k}×{k} s{} p{}",
            self.stride,
            self.padding,
            k = self.kernel
        )
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        let input = single_input(self.name(), inputs)?;
        let Self {
            kernel,
            stride,
            padding,
        } = *self;
        let refuse = |why: String| Err(ShapeError::new(self.name(), inputs, why));
        if kernel == 0 || stride == 0 || 2 * padding > kernel {
            return refuse(format!(
                "expected kernel and stride of at least 1 and padding of at most half the kernel, \
                 found {kernel}, {stride} and {padding}"
            ));
        }
        if input.h.min(input.w) + 2 * padding < kernel {
            return refuse(format!(
                "a window of {kernel}×{kernel} positions does not fit with padding {padding}"
            ));
        }
        let extent = |x: usize| (x + 2 * padding - kernel) / stride + 1;
        Ok(Dims::new(
            input.n,
            extent(input.h),
            extent(input.w),
            input.c,
        ))
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        let windows = self.output(inputs).map_or(0, |d| d.len());
        (windows * self.kernel * self.kernel) as u64
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        let (input, output) = (cx.input_dims[0], cx.output_dims);
        let rows = cx.output.par_chunks_exact_mut(output.w * output.c);
        rows.enumerate().for_each(|(line, row)| {
            let (n, oy) = (line / output.h, line % output.h);
            let x = &cx.inputs[0][n * input.example()..][..input.example()];
            for (ox, out) in row.chunks_exact_mut(output.c).enumerate() {
                out.fill(f32::NEG_INFINITY);
                self.each_source(input, oy, ox, |from| {
                    let x = &x[from..from + input.c];
                    for (out, &x) in out.iter_mut().zip(x) {
                        // Written so that a NaN passes.
                        *out = if x > *out || x.is_nan() { x } else { *out };
                    }
                });
            }
        });
    }

    /// Finds each maximum again: the first input equal to the output.
    fn backward(&self, cx: Backward<'_, f32>) {
        let (input, output) = (cx.input_dims[0], cx.output_dims);
        let Some(input_grad) = &mut cx.input_grads[0] else {
            return;
        };
        let examples = input_grad.par_chunks_exact_mut(input.example());
        let x = cx.inputs[0].par_chunks_exact(input.example());
        let y = cx.output.par_chunks_exact(output.example());
        let dy = cx.output_grad.par_chunks_exact(output.example());
        examples
            .zip(x)
            .zip(y.zip(dy))
            .for_each(|((dx, x), (y, dy))| {
                dx.fill(0.0);
                for (at, (&y, &dy)) in y.iter().zip(dy).enumerate() {
                    let (position, c) = (at / output.c, at % output.c);
                    let (oy, ox) = (position / output.w, position % output.w);
                    if let Some(from) = self.first(input, oy, ox, |from| {
                        let x = x[from + c];
                        x == y || x.is_nan()
                    }) {
                        dx[from + c] += dy;
                    }
                }
            });
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::maximum_forward(self, cx);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        reference::maximum_backward(self, cx);
    }
}

impl MaxPool {
    /// Calls `visit` with the offset of every position of a window, in row order.
    fn each_source(&self, input: Dims, oy: usize, ox: usize, mut visit: impl FnMut(usize)) {
        self.first(input, oy, ox, |from| {
            visit(from);
            false
        });
    }

    /// Offset of the first position of a window, in row order, that is `wanted`.
    fn first(
        &self,
        input: Dims,
        oy: usize,
        ox: usize,
        mut wanted: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let columns = self.window(ox, input.w);
        for y in self.window(oy, input.h) {
            for x in columns.clone() {
                let from = (y * input.w + x) * input.c;
                if wanted(from) {
                    return Some(from);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mode;

    fn pool(kernel: usize, stride: usize, padding: usize) -> MaxPool {
        MaxPool {
            kernel,
            stride,
            padding,
        }
    }

    #[test]
    fn of_equal_values_the_first_gets_the_gradient() {
        let op = pool(2, 2, 0);
        let input = [Dims::new(1, 2, 2, 1)];
        let output_dims = op.output(&input).unwrap();
        let x = [1.0, 3.0, 3.0, 3.0];
        let (mut y, mut dx) = ([f32::NAN], [f32::NAN; 4]);
        op.forward(Forward {
            mode: Mode::Train,
            input_dims: &input,
            output_dims,
            inputs: &[&x],
            params: &[],
            state: &mut [],
            output: &mut y,
            saved: &mut [],
            scratch: &mut [],
        });
        op.backward(Backward {
            mode: Mode::Train,
            input_dims: &input,
            output_dims,
            inputs: &[&x],
            params: &[],
            state: &[],
            output: &y,
            saved: &[],
            output_grad: &[2.0],
            input_grads: &mut [Some(&mut dx)],
            param_grads: None,
            scratch: &mut [],
        });
        assert_eq!((y, dx), ([3.0], [0.0, 2.0, 0.0, 0.0]));
    }

    #[test]
    fn extents_and_refusals() {
        let input = [Dims::new(2, 32, 31, 64)];
        assert_eq!(pool(3, 2, 1).output(&input), Ok(Dims::new(2, 16, 16, 64)));
        assert!(pool(3, 2, 2).output(&input).is_err());
        assert!(pool(3, 0, 1).output(&input).is_err());
        assert!(pool(40, 1, 0).output(&input).is_err());
    }
}
