//! Convolution with large kernels at stride 1 by the Fourier transform of tiles.
//!
//! A tile of 16 × 16 inputs gives `17 − k` outputs in each direction. Its spectrum times the
//! conjugate spectrum of the kernel, summed over input channels, is the spectrum of the outputs
//! (and of what wraps around, which is dropped). For 9 × 9 kernels that is an eighth of the products of the
//! definition, 520 instead of 5184 for each pair of channels. With `X`, `G`, `W` the spectra of inputs,
//! output gradients and kernels:
//!
//! - outputs: `X · W̄`; gradient of the inputs: `G · W`; gradient of the kernels: `X · Ḡ`.
//!
//! In each of them the transforms are the same two; scales and the double weight of conjugate
//! frequencies cancel between a transform and its adjoint.

mod fft;
mod kernels;
mod tiles;
mod weight_gradient;

use super::direct::frame::Frame;
use super::geometry::Geometry;
use crate::panels::{Rows, padded};
use crate::parallel::for_each_with_scratch;
use fft::{FREQUENCIES, SIZE};
use kernels::{Order, ToPanels, panels_len};
use pulp::{Arch, WithSimd};
use std::array::from_fn;
use std::ops::Range;
use tiles::{AddToPlanes, Layout, SlabsMut, ToOutput, ToSpectra};

/// Elements between two slabs, so that the frequencies of one tile do not share a cache set.
const GAP: usize = 16;
/// Tiles that are multiplied together.
const BLOCK: usize = 16;

/// How the outputs of a convolution are covered by tiles.
#[derive(Clone, Copy, Debug)]
struct Cover {
    geometry: Geometry,
    /// Outputs of a tile in one direction.
    outputs: usize,
    /// Rows and columns of tiles of an example.
    rows: usize,
    columns: usize,
}

impl Cover {
    fn new(geometry: Geometry) -> Self {
        let outputs = SIZE + 1 - geometry.kernel;
        Self {
            geometry,
            outputs,
            rows: geometry.output.h.div_ceil(outputs),
            columns: geometry.output.w.div_ceil(outputs),
        }
    }

    /// Tiles of an example.
    const fn each(&self) -> usize {
        self.rows * self.columns
    }

    /// Example and first output row and column of a tile.
    const fn corner(&self, tile: usize) -> (usize, usize, usize) {
        let (example, tile) = (tile / self.each(), tile % self.each());
        let (row, column) = (tile / self.columns, tile % self.columns);
        (example, row * self.outputs, column * self.outputs)
    }

    /// Rows and columns that all tiles of an example look at together.
    const fn framed(&self) -> (usize, usize) {
        let reach = SIZE - self.outputs;
        (
            self.rows * self.outputs + reach,
            self.columns * self.outputs + reach,
        )
    }

    /// Elements of a framed input and of a framed output gradient.
    fn frames(&self) -> (usize, usize) {
        let (h, w) = self.framed();
        let outputs = self.each() * self.outputs * self.outputs;
        let g = &self.geometry;
        (h * w * padded(g.input.c), outputs * padded(g.output.c))
    }
}

/// A convolution that this algorithm computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fourier {
    cover: Cover,
    /// Examples of a task.
    group: usize,
    /// Examples whose spectra exist at once in the weight gradient.
    chunk: usize,
}

impl Fourier {
    /// `None` where a convolution by its definition is better; `outer` are the channels of what
    /// is computed, `inner` those of what it is computed from.
    pub(super) fn new(g: &Geometry, inner: usize, outer: usize) -> Option<Self> {
        if g.stride != 1 || !(5..=11).contains(&g.kernel) {
            return None;
        }
        let cover = Cover::new(*g);
        // Products for one example, a transform counting as many as it takes time.
        const TRANSFORM: usize = 12500;
        let direct = g.output.area() * g.kernel * g.kernel * inner * padded(outer);
        let products = 4 * FREQUENCIES * inner * padded(outer);
        let spectra = products + TRANSFORM * (padded(inner) + padded(outer));
        if cover.each() * spectra > direct {
            return None;
        }
        let group = (BLOCK / cover.each()).clamp(1, g.input.n);
        Some(Self {
            cover,
            group,
            chunk: weight_gradient::chunk(&cover),
        })
    }

    fn run(pass: impl WithSimd<Output = ()>) {
        Arch::new().dispatch(pass);
    }

    /// Elements of the spectra of `tiles` tiles with these channels.
    const fn spectra(tiles: usize, channels: usize) -> usize {
        FREQUENCIES * (tiles * 2 * padded(channels) + GAP)
    }

    /// Elements of a lane: frames, and the spectra of a block on both sides.
    fn lane(&self) -> usize {
        let g = &self.cover.geometry;
        let tiles = BLOCK.min(self.group * self.cover.each());
        let (input, output) = self.cover.frames();
        let spectra = Self::spectra(tiles, g.input.c) + Self::spectra(tiles, g.output.c);
        self.group * (input + output) + spectra
    }

    /// Elements of working memory for all passes.
    pub(super) fn scratch_len(&self, threads: usize) -> usize {
        let g = &self.cover.geometry;
        let panels = panels_len(Order::InOut, g).max(panels_len(Order::OutIn, g));
        (panels + threads * self.lane()).max(self.weight_scratch(threads))
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
        let g = &self.cover.geometry;
        let (panels, lanes) = scratch.split_at_mut(panels_len(Order::InOut, g));
        Self::run(ToPanels {
            geometry: g,
            weight,
            order: Order::InOut,
            to: panels,
        });
        let size = g.output.example();
        let groups = output.chunks_mut(self.group * size).enumerate();
        for_each_with_scratch(groups, lanes, self.lane(), |(n, out), lane| {
            let count = out.len() / size;
            let (frames, lane) = lane.split_at_mut(self.group * self.cover.frames().0);
            self.frame_inputs(input, n * self.group, count, frames);
            for range in self.ranges(count) {
                let (x, rest) = lane.split_at_mut(Self::spectra(range.len(), g.input.c));
                let y = &mut rest[..Self::spectra(range.len(), g.output.c)];
                self.input_spectra(frames, range.clone(), &mut slabs(x, range.len(), g.input.c));
                products(range.len(), (x, g.input.c), panels, (y, g.output.c));
                Self::run(ToOutput {
                    cover: &self.cover,
                    layout: layout(range.len(), g.output.c),
                    range,
                    from: y,
                    bias,
                    to: out,
                });
            }
        });
    }

    /// The gradient of the input, overwritten.
    pub(super) fn backward_input(
        &self,
        output_grad: &[f32],
        weight: &[f32],
        input_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.cover.geometry;
        let (panels, lanes) = scratch.split_at_mut(panels_len(Order::OutIn, g));
        Self::run(ToPanels {
            geometry: g,
            weight,
            order: Order::OutIn,
            to: panels,
        });
        let size = g.input.example();
        let groups = input_grad.chunks_mut(self.group * size).enumerate();
        for_each_with_scratch(groups, lanes, self.lane(), |(n, out), lane| {
            let count = out.len() / size;
            let (plane, framed) = self.cover.frames();
            let (frames, lane) = lane.split_at_mut(self.group * framed);
            let (planes, lane) = lane.split_at_mut(self.group * plane);
            self.frame_grads(output_grad, n * self.group, count, frames);
            planes.fill(0.0);
            for range in self.ranges(count) {
                let (x, rest) = lane.split_at_mut(Self::spectra(range.len(), g.input.c));
                let y = &mut rest[..Self::spectra(range.len(), g.output.c)];
                self.grad_spectra(
                    frames,
                    range.clone(),
                    &mut slabs(y, range.len(), g.output.c),
                );
                products(range.len(), (y, g.output.c), panels, (x, g.input.c));
                Self::run(AddToPlanes {
                    cover: &self.cover,
                    layout: layout(range.len(), g.input.c),
                    range,
                    from: x,
                    to: planes,
                });
            }
            let planes = planes.chunks_exact(plane);
            for (plane, out) in planes.zip(out.chunks_exact_mut(size)) {
                self.fold(plane, out);
            }
        });
    }

    /// Blocks of the tiles of `examples` examples.
    fn ranges(&self, examples: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let end = examples * self.cover.each();
        (0..end)
            .step_by(BLOCK)
            .map(move |first| first..end.min(first + BLOCK))
    }

    /// Copies padded inputs into frames that all tiles fit.
    fn frame_inputs(&self, input: &[f32], first: usize, count: usize, frames: &mut [f32]) {
        let g = &self.cover.geometry;
        let (size, width) = (g.input.example(), self.cover.framed().1);
        let source = Frame::of_input(g);
        let examples = input[first * size..(first + count) * size].chunks_exact(size);
        for (from, to) in examples.zip(frames.chunks_exact_mut(self.cover.frames().0)) {
            let row = |y| source.source(y, g.input.h);
            let column = |x| source.source(x, g.input.w);
            copy_framed(from, (g.input.w, g.input.c), row, column, width, to);
        }
    }

    /// Copies output gradients into frames of whole tiles.
    fn frame_grads(&self, grad: &[f32], first: usize, count: usize, frames: &mut [f32]) {
        let g = &self.cover.geometry;
        let (size, width) = (g.output.example(), self.cover.columns * self.cover.outputs);
        let examples = grad[first * size..(first + count) * size].chunks_exact(size);
        for (from, to) in examples.zip(frames.chunks_exact_mut(self.cover.frames().1)) {
            let row = |y| (y < g.output.h).then_some(y);
            let column = |x| (x < g.output.w).then_some(x);
            copy_framed(from, (g.output.w, g.output.c), row, column, width, to);
        }
    }

    fn input_spectra(&self, frames: &[f32], range: Range<usize>, to: &mut SlabsMut<'_>) {
        Self::run(ToSpectra {
            cover: &self.cover,
            range,
            frames,
            width: self.cover.framed().1,
            frame: self.cover.frames().0,
            channels: self.cover.geometry.input.c,
            rows: SIZE,
            to,
        });
    }

    fn grad_spectra(&self, frames: &[f32], range: Range<usize>, to: &mut SlabsMut<'_>) {
        Self::run(ToSpectra {
            cover: &self.cover,
            range,
            frames,
            width: self.cover.columns * self.cover.outputs,
            frame: self.cover.frames().1,
            channels: self.cover.geometry.output.c,
            rows: self.cover.outputs,
            to,
        });
    }

    /// Adds every position of a padded plane to the input position it mirrors.
    fn fold(&self, plane: &[f32], input_grad: &mut [f32]) {
        let g = &self.cover.geometry;
        let (c, source) = (padded(g.input.c), Frame::of_input(g));
        let (height, width) = (
            g.input.h + 2 * g.padding.width(),
            g.input.w + 2 * g.padding.width(),
        );
        input_grad.fill(0.0);
        let rows = plane.chunks_exact(self.cover.framed().1 * c).take(height);
        for (y, row) in rows.enumerate() {
            let Some(y) = source.source(y, g.input.h) else {
                continue;
            };
            for (x, from) in row.chunks_exact(c).take(width).enumerate() {
                if let Some(x) = source.source(x, g.input.w) {
                    let to = &mut input_grad[(y * g.input.w + x) * g.input.c..][..g.input.c];
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                }
            }
        }
    }
}

/// Copies an example into a frame whose channels are padded; what has no source is zero.
fn copy_framed(
    from: &[f32],
    (w, c): (usize, usize),
    row: impl Fn(usize) -> Option<usize>,
    column: impl Fn(usize) -> Option<usize>,
    width: usize,
    to: &mut [f32],
) {
    for (y, line) in to.chunks_exact_mut(width * padded(c)).enumerate() {
        let Some(y) = row(y) else {
            line.fill(0.0);
            continue;
        };
        for (x, to) in line.chunks_exact_mut(padded(c)).enumerate() {
            match column(x) {
                Some(x) => {
                    to[..c].copy_from_slice(&from[(y * w + x) * c..][..c]);
                    to[c..].fill(0.0);
                }
                None => to.fill(0.0),
            }
        }
    }
}

/// Cuts the spectra of `tiles` tiles into slabs.
fn slabs(spectra: &mut [f32], tiles: usize, channels: usize) -> SlabsMut<'_> {
    let len = tiles * 2 * padded(channels);
    let mut slabs = spectra.chunks_exact_mut(len + GAP);
    from_fn(|_| &mut slabs.next().unwrap_or_default()[..len])
}

const fn layout(tiles: usize, channels: usize) -> Layout {
    let part = padded(channels);
    Layout {
        slab: tiles * 2 * part + GAP,
        part,
    }
}

/// Spectra times panels, frequency by frequency.
fn products(
    tiles: usize,
    (from, inner): (&[f32], usize),
    panels: &[f32],
    (to, outer): (&mut [f32], usize),
) {
    let (source, target) = (layout(tiles, inner), layout(tiles, outer));
    let from = from.chunks_exact(source.slab);
    let to = to.chunks_exact_mut(target.slab);
    let panels = panels.chunks_exact(panels.len() / FREQUENCIES);
    for ((from, to), panels) in from.zip(to).zip(panels) {
        Fourier::run(Rows {
            count: tiles,
            inner,
            runs: &[(0, 0), (source.part, inner)],
            from,
            from_step: 2 * source.part,
            panels,
            height: 2 * inner,
            columns: 2 * target.part,
            to,
            to_step: 2 * target.part,
            add: false,
        });
    }
}
