//! The gradient of an input of few channels.
//!
//! A product for each tap would fill a fraction of a panel. Here the columns of one product are all
//! pairs of a tap and an input channel, and its results are added where the taps look.

use super::super::geometry::{Geometry, Padding};
use super::{Product, Scratch, input_gradient};
use crate::panels::{padded, panels};
use crate::parallel::for_each_with_scratch;

/// An input gradient that is computed this way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scatter(Geometry);

impl Scatter {
    /// `None` where channels fill panels well enough.
    pub(super) fn new(g: &Geometry) -> Option<Self> {
        let (area, ci) = (g.kernel * g.kernel, g.input.c);
        (2 * padded(area * ci) <= area * padded(ci)).then_some(Self(*g))
    }

    /// Pairs of a tap and a channel.
    const fn columns(&self) -> usize {
        self.0.fan_in()
    }

    /// Elements of a row of the padded input.
    const fn row(&self) -> usize {
        (self.0.input.w + 2 * self.0.padding.width()) * self.0.input.c
    }

    /// Elements of the padded input of an example.
    const fn plane(&self) -> usize {
        (self.0.input.h + 2 * self.0.padding.width()) * self.row()
    }

    pub(super) fn scratch(&self) -> Scratch {
        let columns = padded(self.columns());
        Scratch {
            fixed: self.0.output.c * columns,
            lane: self.plane() + self.0.output.w * columns,
        }
    }

    /// The gradient of the input, overwritten.
    pub(super) fn run(
        &self,
        output_grad: &[f32],
        weight: &[f32],
        input_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.0;
        let Scratch { fixed, lane } = self.scratch();
        let (weights, lanes) = scratch.split_at_mut(fixed);
        self.pack(weight, weights);
        let examples = input_grad.chunks_exact_mut(g.input.example()).enumerate();
        for_each_with_scratch(examples, lanes, lane, |(n, out), lane| {
            let (plane, line) = lane.split_at_mut(self.plane());
            plane.fill(0.0);
            let grad = &output_grad[n * g.output.example()..][..g.output.example()];
            for (oy, grad) in grad.chunks_exact(g.output.w * g.output.c).enumerate() {
                let product = Product {
                    count: g.output.w,
                    inner: g.output.c,
                    runs: &[(0, 0)],
                    from: grad,
                    from_step: g.output.c,
                    panels: weights,
                    height: g.output.c,
                    columns: self.columns(),
                };
                product.multiply(line, padded(self.columns()), false);
                self.add_row(line, &mut plane[oy * g.stride * self.row()..]);
            }
            self.crop(plane, out);
        });
    }

    /// Packs `[out][ky][kx][in]` as panels.
    fn pack(&self, weight: &[f32], packed: &mut [f32]) {
        let g = &self.0;
        let (ci, co, area) = (g.input.c, g.output.c, g.kernel * g.kernel);
        packed.fill(0.0);
        for panel in panels(self.columns()) {
            let to = &mut packed[panel.start * co..panel.end * co];
            for (o, to) in to.chunks_exact_mut(panel.len()).enumerate() {
                let kernel = &weight[o * area * ci..][..area * ci];
                for (column, to) in panel.clone().zip(to).take_while(|(c, _)| *c < area * ci) {
                    *to = kernel[column % ci * area + column / ci];
                }
            }
        }
    }

    /// Adds what a row of outputs says to the rows of the padded input from its first tap on.
    fn add_row(&self, line: &[f32], plane: &mut [f32]) {
        let g = &self.0;
        let width = g.kernel * g.input.c;
        let positions = line.chunks_exact(padded(self.columns())).take(g.output.w);
        for (x, sums) in positions.enumerate() {
            for (ky, sums) in sums[..self.columns()].chunks_exact(width).enumerate() {
                let to = &mut plane[ky * self.row() + x * g.stride * g.input.c..][..width];
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
            }
        }
    }

    /// Takes the padding away, or folds it back.
    fn crop(&self, plane: &[f32], out: &mut [f32]) {
        let g = &self.0;
        let (pad, width) = (g.padding.width(), g.input.w * g.input.c);
        if let Padding::Reflect(_) = g.padding {
            return input_gradient::fold(g, plane, out);
        }
        let rows = plane.chunks_exact(self.row()).skip(pad);
        for (to, from) in out.chunks_exact_mut(width).zip(rows) {
            to.copy_from_slice(&from[pad * g.input.c..][..width]);
        }
    }
}
