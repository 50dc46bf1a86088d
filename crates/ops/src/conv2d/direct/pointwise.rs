//! Kernels of one tap: a product of positions with a matrix.
//!
//! At a stride, the positions that take part are brought together first, as many as a panel of
//! weights is worth loading for, whichever row or example they belong to.

use super::super::geometry::{Geometry, Padding};
use super::pack::{Order, Slots, pack};
use super::{Product, Scratch, TASKS, run as dispatch, weight_gradient};
use crate::panels::{Line, Outer, padded};
use crate::parallel::{for_each_with_scratch, part};
use std::ops::Range;

/// Positions that are multiplied at once.
const ROWS: usize = 128;
/// The same where there are few of them, so that several threads find work.
const FEW_ROWS: usize = 32;
/// Tasks that few positions are cut into.
const FEW_TASKS: usize = 4;
/// Elements of all partial sums of a weight gradient together.
const PARTIAL_ELEMENTS: usize = 3 << 20;
/// Parts of a weight gradient, at most: adding more of them up takes as long as they save.
const PARTS: usize = TASKS / 2;

/// A convolution with one tap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointwise(Geometry);

impl Pointwise {
    /// `None` where there are more taps, or something lies around the input.
    pub(super) fn new(g: &Geometry) -> Option<Self> {
        (g.kernel == 1 && matches!(g.padding, Padding::Zero(0))).then_some(Self(*g))
    }

    /// Elements between gathered rows: one more line than channels need, so that neighbouring rows
    /// do not share a cache set.
    const fn step(&self) -> usize {
        padded(self.0.input.c) + 16
    }

    /// Positions of a task.
    fn rows(&self) -> usize {
        let each = self.0.positions().div_ceil(FEW_TASKS);
        each.clamp(FEW_ROWS, ROWS)
    }

    /// Where the channels of the input lie that output position `at` of the batch looks at.
    const fn source(&self, at: usize) -> usize {
        let g = &self.0;
        let (example, at) = (at / g.output.area(), at % g.output.area());
        let (y, x) = (at / g.output.w * g.stride, at % g.output.w * g.stride);
        ((example * g.input.h + y) * g.input.w + x) * g.input.c
    }

    /// Brings the inputs of some output positions together, [`Self::step`] elements apart.
    fn gather(&self, input: &[f32], positions: Range<usize>, to: &mut [f32]) {
        let c = self.0.input.c;
        for (to, at) in to.chunks_exact_mut(self.step()).zip(positions) {
            to[..c].copy_from_slice(&input[self.source(at)..][..c]);
        }
    }

    /// Weights, and rows on both sides.
    fn product_scratch(&self) -> Scratch {
        let (ci, co) = (self.0.input.c, self.0.output.c);
        Scratch {
            fixed: (ci * padded(co)).max(co * padded(ci)),
            lane: ROWS * (self.step() + padded(co)),
        }
    }

    /// Parts of the batch with partial sums of their own.
    fn parts(&self) -> usize {
        let sums = self.0.input.c * padded(self.0.output.c);
        let most = (PARTIAL_ELEMENTS / sums).max(1);
        self.0.positions().div_ceil(ROWS).min(PARTS).min(most)
    }

    fn sums_scratch(&self) -> Scratch {
        let columns = padded(self.0.output.c);
        Scratch {
            fixed: self.parts() * self.0.input.c * columns,
            lane: ROWS * columns,
        }
    }

    pub(super) fn scratch_len(&self, threads: usize) -> usize {
        let products = self.product_scratch().len(threads);
        products.max(self.sums_scratch().len(threads))
    }

    /// The inputs of some positions, row by row, next to output gradients of `columns` elements that
    /// begin with the first position.
    fn lines(&self, positions: &Range<usize>, columns: usize) -> Vec<Line> {
        let width = self.0.output.w;
        let mut lines = Vec::new();
        let mut at = positions.start;
        while at < positions.end {
            let end = positions.end.min((at / width + 1) * width);
            lines.push(Line {
                a: self.source(at),
                b: (at - positions.start) * columns,
                count: end - at,
            });
            at = end;
        }
        lines
    }

    pub(super) fn forward(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.0;
        let Scratch { fixed, lane } = self.product_scratch();
        let (weights, lanes) = scratch.split_at_mut(fixed);
        pack(g, weight, Order::InOut, &Slots::all(g), weights);
        let each = self.rows();
        let tasks = output.chunks_mut(each * g.output.c).enumerate();
        for_each_with_scratch(tasks, lanes, lane, |(task, out), lane| {
            let (rows, line) = lane.split_at_mut(ROWS * self.step());
            let (first, count) = (task * each, out.len() / g.output.c);
            let (from, from_step) = match g.stride {
                1 => (&input[first * g.input.c..], g.input.c),
                _ => {
                    self.gather(input, first..first + count, rows);
                    (&*rows, self.step())
                }
            };
            let product = Product {
                count,
                inner: g.input.c,
                runs: &[(0, 0)],
                from,
                from_step,
                panels: weights,
                height: g.input.c,
                columns: g.output.c,
            };
            product.write(out, g.output.c, bias, line);
        });
    }

    pub(super) fn backward_input(
        &self,
        output_grad: &[f32],
        weight: &[f32],
        input_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.0;
        let (ci, co, area) = (g.input.c, g.output.c, g.output.area());
        let Scratch { fixed, lane } = self.product_scratch();
        let (weights, lanes) = scratch.split_at_mut(fixed);
        pack(g, weight, Order::OutIn, &Slots::all(g), weights);
        // A task has whole examples, because inputs lie between those that take part.
        let group = (self.rows() / area).max(1);
        let tasks = input_grad.chunks_mut(group * g.input.example()).enumerate();
        for_each_with_scratch(tasks, lanes, lane, |(task, out), rows| {
            let first = task * group * area;
            let end = first + out.len() / g.input.example() * area;
            if g.stride > 1 {
                out.fill(0.0);
            }
            for start in (first..end).step_by(ROWS) {
                let product = Product {
                    count: ROWS.min(end - start),
                    inner: co,
                    runs: &[(0, 0)],
                    from: &output_grad[start * co..],
                    from_step: co,
                    panels: weights,
                    height: co,
                    columns: ci,
                };
                let origin = self.source(first);
                if g.stride == 1 {
                    product.write(&mut out[self.source(start) - origin..], ci, None, rows);
                    continue;
                }
                let count = product.count;
                product.multiply(rows, self.step(), false);
                for (from, at) in rows.chunks_exact(self.step()).take(count).zip(start..) {
                    out[self.source(at) - origin..][..ci].copy_from_slice(&from[..ci]);
                }
            }
        });
    }

    /// The gradient of the weights, added to.
    pub(super) fn backward_weight(
        &self,
        input: &[f32],
        output_grad: &[f32],
        weight_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.0;
        let (ci, co, columns) = (g.input.c, g.output.c, padded(g.output.c));
        let Scratch { fixed, lane } = self.sums_scratch();
        let (partials, lanes) = scratch.split_at_mut(fixed);
        let tasks = partials.chunks_exact_mut(ci * columns).enumerate();
        for_each_with_scratch(tasks, lanes, lane, |(task, sums), grads| {
            let positions = part(g.positions(), self.parts(), task);
            let whole = columns == co;
            let most = if whole { positions.len().max(1) } else { ROWS };
            let mut add = false;
            for start in positions.clone().step_by(most) {
                let piece = start..positions.end.min(start + most);
                let grad = &output_grad[piece.start * co..piece.end * co];
                dispatch(Outer {
                    lines: &self.lines(&piece, columns),
                    a: input,
                    a_step: g.stride * ci,
                    height: ci,
                    b: match whole {
                        true => grad,
                        false => with_columns(grad, co, columns, grads),
                    },
                    b_step: columns,
                    columns,
                    to: sums,
                    to_step: columns,
                    add,
                });
                add = true;
            }
            if !add {
                sums.fill(0.0);
            }
        });
        weight_gradient::add_partials(g, partials, weight_grad);
    }
}

/// Copies rows of `held` elements, each with zeros behind it up to `columns`.
fn with_columns<'a>(from: &[f32], held: usize, columns: usize, to: &'a mut [f32]) -> &'a [f32] {
    for (to, from) in to.chunks_exact_mut(columns).zip(from.chunks_exact(held)) {
        let (to, rest) = to.split_at_mut(held);
        to.copy_from_slice(from);
        rest.fill(0.0);
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dims;

    #[test]
    fn rows_hold_either_side() {
        let g = |ci, co| Geometry::new(Dims::new(2, 4, 4, ci), co, 1, 2, Padding::Zero(0));
        for (ci, co) in [(3, 70), (70, 3), (16, 16)] {
            assert!(Pointwise::new(&g(ci, co)).unwrap().step() >= padded(ci));
        }
        let around = Geometry::new(Dims::new(2, 4, 4, 3), 5, 1, 1, Padding::Zero(1));
        assert!(Pointwise::new(&around).is_none());
    }
}
