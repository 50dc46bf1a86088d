//! The gradient of the weights: chunk after chunk of examples, all threads compute spectra; then
//! each frequency is summed by one task, so the order of additions never changes.

use super::fft::FREQUENCIES;
use super::kernels::add_gradient;
use super::tiles::SlabsMut;
use super::{Cover, Fourier, GAP, slabs};
use crate::panels::{Line, Outer, padded};
use crate::parallel::for_each_with_scratch;
use rayon::prelude::*;
use std::array::from_fn;
use std::ops::Range;

/// Elements of the spectra of a chunk.
const CHUNK_ELEMENTS: usize = 5 << 19;

/// Examples of a chunk.
pub(super) fn chunk(cover: &Cover) -> usize {
    let g = &cover.geometry;
    let each = cover.each() * FREQUENCIES * 2 * (padded(g.input.c) + padded(g.output.c));
    let most = (CHUNK_ELEMENTS / each).max(1);
    g.input.n.div_ceil(g.input.n.div_ceil(most))
}

impl Fourier {
    /// Elements of the sums.
    fn sums(&self) -> usize {
        let g = &self.cover.geometry;
        FREQUENCIES * 4 * g.input.c * padded(g.output.c)
    }

    pub(super) fn weight_scratch(&self, threads: usize) -> usize {
        let g = &self.cover.geometry;
        let tiles = self.chunk * self.cover.each();
        let (input, output) = self.cover.frames();
        let spectra = Self::spectra(tiles, g.input.c) + Self::spectra(tiles, g.output.c);
        self.sums() + spectra + threads * input.max(output)
    }

    /// The gradient of the weights, added to.
    pub(in super::super) fn backward_weight(
        &self,
        input: &[f32],
        output_grad: &[f32],
        weight_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.cover.geometry;
        let (input_frame, output_frame) = self.cover.frames();
        let (sums, rest) = scratch.split_at_mut(self.sums());
        for first in (0..g.input.n).step_by(self.chunk) {
            let examples = first..g.input.n.min(first + self.chunk);
            let tiles = examples.len() * self.cover.each();
            let (x, rest) = rest.split_at_mut(Self::spectra(tiles, g.input.c));
            let (y, lanes) = rest.split_at_mut(Self::spectra(tiles, g.output.c));
            let tasks = self.tasks(&examples, x, g.input.c);
            for_each_with_scratch(tasks, lanes, input_frame, |(example, mut to), frame| {
                self.frame_inputs(input, example, 1, frame);
                self.input_spectra(frame, 0..self.cover.each(), &mut to);
            });
            let tasks = self.tasks(&examples, y, g.output.c);
            for_each_with_scratch(tasks, lanes, output_frame, |(example, mut to), frame| {
                self.frame_grads(output_grad, example, 1, frame);
                self.grad_spectra(frame, 0..self.cover.each(), &mut to);
            });
            self.add_products(tiles, x, y, sums, first > 0);
        }
        add_gradient(g, sums, weight_grad);
    }

    /// Each example of a chunk with its part of all slabs.
    fn tasks<'a>(
        &self,
        examples: &Range<usize>,
        spectra: &'a mut [f32],
        channels: usize,
    ) -> impl Iterator<Item = (usize, SlabsMut<'a>)> + use<'a> {
        let each = self.cover.each();
        let slabs = slabs(spectra, examples.len() * each, channels);
        let mut rest = slabs.map(|slab| slab.chunks_exact_mut(each * 2 * padded(channels)));
        examples
            .clone()
            .map(move |example| (example, from_fn(|f| rest[f].next().unwrap_or_default())))
    }

    /// Adds the products of all pairs of real and imaginary parts.
    fn add_products(&self, tiles: usize, x: &[f32], y: &[f32], sums: &mut [f32], add: bool) {
        let g = &self.cover.geometry;
        let (ci, rows, columns) = (g.input.c, padded(g.input.c), padded(g.output.c));
        let slabs = x
            .par_chunks_exact(tiles * 2 * rows + GAP)
            .zip(y.par_chunks_exact(tiles * 2 * columns + GAP));
        let sums = sums.par_chunks_exact_mut(4 * ci * columns);
        sums.zip(slabs).with_max_len(1).for_each(|(sums, (x, y))| {
            let parts = sums.chunks_exact_mut(2 * ci * columns);
            for (part, to) in parts.enumerate() {
                Self::run(Outer {
                    lines: &[Line {
                        a: 0,
                        b: 0,
                        count: tiles,
                    }],
                    a: &x[part * rows..],
                    a_step: 2 * rows,
                    height: ci,
                    b: y,
                    b_step: 2 * columns,
                    columns: 2 * columns,
                    to,
                    to_step: 2 * columns,
                    add,
                });
            }
        });
    }
}
