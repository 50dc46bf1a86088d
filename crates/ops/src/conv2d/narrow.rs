//! Convolutions at stride 1 with far fewer output than input channels, such as the last one of an
//! image generator.
//!
//! Gathering would write `k² · in` elements for every output position and then make little of each.
//! Here every position of the padded input is multiplied by all weights at once, which gives
//! `k² · out` contributions that are added to the outputs around it; the gradient of the weights
//! gathers the output gradients in the same way.

use super::columns::{Taps, gather, scatter_add};
use super::cpu::{PARTIAL_ELEMENTS, TASKS, tile};
use super::geometry::{Geometry, Padding};
use super::weights;
use crate::gemm::{Destination, Matrix, MatrixMut, multiply};
use crate::parallel::{for_each_with_scratch, part};
use std::ops::Range;

/// A convolution with few output channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Narrow {
    geometry: Geometry,
    /// From outputs to positions of the padded input: the kernel turned by 180°.
    turned: Geometry,
    /// From the input to the padded input: a kernel of one tap.
    padded: Geometry,
    /// Positions of the padded input at once.
    tile: usize,
    /// Examples of one task.
    group: usize,
    /// Partial sums of the weight gradient.
    parts: usize,
}

impl Narrow {
    /// `None` where the plain algorithm is better.
    pub(super) fn new(g: &Geometry) -> Option<Self> {
        if g.stride != 1 || g.kernel == 1 || 4 * g.output.c > g.input.c {
            return None;
        }
        let reach = Padding::Zero(g.kernel - 1);
        let turned = Geometry::new(g.output, g.input.c, g.kernel, 1, reach);
        let padded = Geometry::new(g.input, g.input.c, 1, 1, g.padding);
        debug_assert_eq!(turned.output, padded.output);
        let tile = tile(padded.positions(), turned.fan_in() + g.input.c);
        let tiles = padded.positions().div_ceil(tile);
        Some(Self {
            geometry: *g,
            turned,
            padded,
            tile,
            group: (tile / padded.output.area()).max(1),
            parts: (PARTIAL_ELEMENTS / g.weights()).clamp(1, TASKS.min(tiles)),
        })
    }

    fn lane(&self) -> usize {
        self.tile * (self.turned.fan_in() + self.geometry.input.c)
    }

    /// Elements of working memory for output and weight gradient.
    pub(super) fn scratch_len(&self, threads: usize) -> usize {
        self.parts * self.geometry.weights() + threads * self.lane()
    }

    /// The padded input at some positions; `lane` is where it goes when it has to be copied.
    fn inputs<'a>(
        &self,
        input: &'a [f32],
        positions: Range<usize>,
        lane: &'a mut [f32],
    ) -> Matrix<'a> {
        let (count, c) = (positions.len(), self.geometry.input.c);
        if self.padded.is_pointwise() {
            return Matrix::new(&input[positions.start * c..], count, c);
        }
        gather(
            &self.padded,
            input,
            positions,
            &Taps::all(&self.padded),
            lane,
        );
        Matrix::new(lane, count, c)
    }

    /// The output of a batch.
    pub(super) fn forward(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.geometry;
        let (packed, lanes) = scratch.split_at_mut(g.weights());
        weights::pack_turned(g, weight, packed);
        let groups = output.chunks_mut(self.group * g.output.example());
        for_each_with_scratch(groups.enumerate(), lanes, self.lane(), |(n, out), lane| {
            for position in out.chunks_exact_mut(g.output.c) {
                match bias {
                    Some(bias) => position.copy_from_slice(bias),
                    None => position.fill(0.0),
                }
            }
            self.forward_group(n * self.group, input, packed, out, lane);
        });
    }

    /// Adds to the outputs of the examples from `example` on that `output` has room for.
    fn forward_group(
        &self,
        example: usize,
        input: &[f32],
        packed: &[f32],
        output: &mut [f32],
        lane: &mut [f32],
    ) {
        let (ci, width) = (self.geometry.input.c, self.turned.fan_in());
        let (columns, lane) = lane.split_at_mut(self.tile * width);
        // `[ky][kx][out][in]`, so contributions are in the order of taps after transposition.
        let weights = Matrix::new(packed, width, ci).transposed();
        let area = self.padded.output.area();
        let examples = output.len() / self.geometry.output.example();
        let end = (example + examples) * area;
        for first in (example * area..end).step_by(self.tile) {
            let positions = first..end.min(first + self.tile);
            let count = positions.len();
            let inputs = self.inputs(input, positions.clone(), lane);
            let products = MatrixMut::new(columns, count, width);
            multiply(products, Destination::Overwrite, inputs, weights);
            scatter_add(&self.turned, columns, positions, example, output);
        }
    }

    /// The gradient of the weights, added to.
    pub(super) fn backward_weight(
        &self,
        input: &[f32],
        output_grad: &[f32],
        weight_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.geometry;
        let (partial, lanes) = scratch.split_at_mut(self.parts * g.weights());
        let sums = partial.chunks_exact_mut(g.weights()).enumerate();
        for_each_with_scratch(sums, lanes, self.lane(), |(p, sum), lane| {
            self.weight_partial(p, input, output_grad, sum, lane);
        });
        for sum in partial.chunks_exact(g.weights()) {
            weights::add_turned(g, sum, weight_grad);
        }
    }

    /// Sums `output gradientsᵀ · inputs` over the positions of one part.
    fn weight_partial(
        &self,
        index: usize,
        input: &[f32],
        output_grad: &[f32],
        sum: &mut [f32],
        lane: &mut [f32],
    ) {
        let (ci, width) = (self.geometry.input.c, self.turned.fan_in());
        let (columns, lane) = lane.split_at_mut(self.tile * width);
        let positions = self.padded.positions();
        let taps = Taps::all(&self.turned);
        let mut destination = Destination::Overwrite;
        for t in part(positions.div_ceil(self.tile), self.parts, index) {
            let range = t * self.tile..positions.min((t + 1) * self.tile);
            let count = range.len();
            gather(&self.turned, output_grad, range.clone(), &taps, columns);
            let grads = Matrix::new(columns, count, width).transposed();
            let inputs = self.inputs(input, range, lane);
            multiply(MatrixMut::new(sum, width, ci), destination, grads, inputs);
            destination = Destination::Accumulate;
        }
    }
}
