//! Average pooling.

use super::{reference, single_input};
use crate::{Backward, Dims, Forward, Op, Reads, ShapeError};
use rayon::prelude::*;

/// Mean over windows of `kernel × kernel` positions that do not overlap; rows and columns left over
/// at the end are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool {
    /// Rows and columns of the window, and the distance between windows.
    pub kernel: usize,
}

/// Mean over all positions: a vector per example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAvgPool;

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool"
    }

    fn attributes(&self) -> String {
        format!("{k}×{k}", k = self.kernel)
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        let input = single_input(self.name(), inputs)?;
        let k = self.kernel;
        if k == 0 || k > input.h.min(input.w) {
            let why = format!("a window of {k}×{k} positions does not fit");
            return Err(ShapeError::new(self.name(), inputs, why));
        }
        Ok(Dims::new(input.n, input.h / k, input.w / k, input.c))
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        inputs[0].len() as u64
    }

    fn backward_reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        let windows = Windows::square(self.kernel, cx.input_dims[0], cx.output_dims);
        windows.average(cx.inputs[0], cx.output);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        let windows = Windows::square(self.kernel, cx.input_dims[0], cx.output_dims);
        if let Some(input_grad) = &mut cx.input_grads[0] {
            windows.spread(cx.output_grad, input_grad);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::average_forward(self.kernel, self.kernel, cx);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        reference::average_backward(self.kernel, self.kernel, cx);
    }
}

impl Op for GlobalAvgPool {
    fn name(&self) -> &'static str {
        "global_avg_pool"
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        let input = single_input(self.name(), inputs)?;
        Ok(Dims::vector(input.n, input.c))
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        inputs[0].len() as u64
    }

    fn backward_reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        Windows::whole(cx.input_dims[0]).average(cx.inputs[0], cx.output);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        if let Some(input_grad) = &mut cx.input_grads[0] {
            Windows::whole(cx.input_dims[0]).spread(cx.output_grad, input_grad);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        let Dims { h, w, .. } = cx.input_dims[0];
        reference::average_forward(h, w, cx);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        let Dims { h, w, .. } = cx.input_dims[0];
        reference::average_backward(h, w, cx);
    }
}

/// Windows of `rows × columns` positions that do not overlap.
struct Windows {
    input: Dims,
    output: Dims,
    rows: usize,
    columns: usize,
}

impl Windows {
    const fn square(kernel: usize, input: Dims, output: Dims) -> Self {
        Self {
            input,
            output,
            rows: kernel,
            columns: kernel,
        }
    }

    const fn whole(input: Dims) -> Self {
        Self {
            input,
            output: Dims::vector(input.n, input.c),
            rows: input.h,
            columns: input.w,
        }
    }

    /// The output position that input position `(y, x)` belongs to.
    fn window(&self, y: usize, x: usize) -> Option<usize> {
        let (oy, ox) = (y / self.rows, x / self.columns);
        (oy < self.output.h && ox < self.output.w).then_some(oy * self.output.w + ox)
    }

    fn scale(&self) -> f32 {
        1.0 / (self.rows * self.columns) as f32
    }

    /// `(y, x)` of every position of an input example.
    fn positions(&self) -> impl Iterator<Item = (usize, usize)> {
        let (h, w) = (self.input.h, self.input.w);
        (0..h).flat_map(move |y| (0..w).map(move |x| (y, x)))
    }

    fn average(&self, input: &[f32], output: &mut [f32]) {
        let c = self.input.c;
        let examples = output.par_chunks_exact_mut(self.output.example());
        let examples = examples.zip(input.par_chunks_exact(self.input.example()));
        examples.for_each(|(out, x)| {
            out.fill(0.0);
            for (x, (iy, ix)) in x.chunks_exact(c).zip(self.positions()) {
                if let Some(to) = self.window(iy, ix) {
                    let to = &mut out[to * c..][..c];
                    to.iter_mut().zip(x).for_each(|(o, x)| *o += x);
                }
            }
            out.iter_mut().for_each(|o| *o *= self.scale());
        });
    }

    /// The adjoint of [`average`](Self::average).
    fn spread(&self, output_grad: &[f32], input_grad: &mut [f32]) {
        let c = self.input.c;
        let examples = input_grad.par_chunks_exact_mut(self.input.example());
        let examples = examples.zip(output_grad.par_chunks_exact(self.output.example()));
        examples.for_each(|(out, grad)| {
            for (out, (iy, ix)) in out.chunks_exact_mut(c).zip(self.positions()) {
                match self.window(iy, ix) {
                    Some(from) => {
                        let from = &grad[from * c..][..c];
                        let pairs = out.iter_mut().zip(from);
                        pairs.for_each(|(o, g)| *o = g * self.scale());
                    }
                    None => out.fill(0.0),
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_left_over_are_dropped() {
        let input = [Dims::new(1, 5, 7, 3)];
        assert_eq!(
            AvgPool { kernel: 2 }.output(&input),
            Ok(Dims::new(1, 2, 3, 3))
        );
        let error = AvgPool { kernel: 6 }.output(&input).unwrap_err();
        assert!(error.to_string().contains("6×6"), "{error}");
        assert_eq!(GlobalAvgPool.output(&input), Ok(Dims::vector(1, 3)));
    }
}
