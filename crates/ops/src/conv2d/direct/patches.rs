//! Outputs where a patch is a few elements, as in a first layer: the rows of a patch are so short
//! that a product would hardly begin before the next one. Patches are brought together, as many as
//! a block of rows of outputs has.

use super::frame::Frame;
use super::pack::{Order, Slots, pack};
use super::{Product, Scratch};
use crate::conv2d::geometry::Geometry;
use crate::panels::padded;
use crate::parallel::for_each_with_scratch;

/// Elements of a row of a patch up to which patches are brought together.
const SHORT: usize = 24;
/// Outputs whose patches exist at once, where a row of outputs has fewer.
const POSITIONS: usize = 128;
/// Elements that are copied at once. What is copied beyond a row of a patch is overwritten by the
/// next one.
const CHUNK: usize = 8;

/// A convolution whose patches are brought together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patches<'a> {
    geometry: &'a Geometry,
    frame: Frame,
    /// Rows of outputs at once.
    rows: usize,
}

impl<'a> Patches<'a> {
    /// `None` where rows of patches are long enough.
    pub(super) fn new(geometry: &'a Geometry) -> Option<Self> {
        let g = geometry;
        (g.kernel > 1 && g.kernel * g.input.c <= SHORT).then(|| Self {
            geometry,
            frame: Frame::of_input(g),
            rows: (POSITIONS / g.output.w).clamp(1, g.output.h),
        })
    }

    /// Elements of the patches that exist at once, and of a chunk behind them.
    fn patches_len(&self) -> usize {
        self.rows * self.geometry.output.w * self.geometry.fan_in() + CHUNK
    }

    pub(super) fn scratch(&self) -> Scratch {
        let g = self.geometry;
        let columns = padded(g.output.c);
        Scratch {
            fixed: g.fan_in() * columns,
            lane: self.frame.len() + self.patches_len() + self.rows * g.output.w * columns,
        }
    }

    pub(super) fn forward(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry;
        let Scratch { fixed, lane } = self.scratch();
        let (panels, lanes) = scratch.split_at_mut(fixed);
        pack(g, weight, Order::InOut, &Slots::all(g), panels);
        let examples = output.chunks_exact_mut(g.output.example()).enumerate();
        for_each_with_scratch(examples, lanes, lane, |(n, out), lane| {
            let (framed, lane) = lane.split_at_mut(self.frame.len());
            let (patches, line) = lane.split_at_mut(self.patches_len());
            let input = &input[n * g.input.example()..][..g.input.example()];
            let framed = self.frame.fill(input, framed);
            let blocks = out.chunks_mut(self.rows * g.output.w * g.output.c);
            for (block, out) in blocks.enumerate() {
                let count = out.len() / g.output.c;
                self.gather(framed, block * self.rows, count, patches);
                let product = Product {
                    count,
                    inner: g.fan_in(),
                    runs: &[(0, 0)],
                    from: patches,
                    from_step: g.fan_in(),
                    panels,
                    height: g.fan_in(),
                    columns: g.output.c,
                };
                product.write(out, g.output.c, bias, line);
            }
        });
    }

    /// Copies the patches of `count` outputs, whole rows of them from `first_row` on.
    fn gather(&self, framed: &[f32], first_row: usize, count: usize, to: &mut [f32]) {
        let g = self.geometry;
        let row = g.kernel * g.input.c;
        for position in 0..count {
            let (oy, ox) = (first_row + position / g.output.w, position % g.output.w);
            for ky in 0..g.kernel {
                let from = &framed[self.frame.at(oy * g.stride + ky, ox * g.stride)..];
                copy(from, row, &mut to[position * g.fan_in() + ky * row..]);
            }
        }
    }
}

/// Copies `len` elements and whatever follows them within a chunk.
#[inline]
fn copy(from: &[f32], len: usize, to: &mut [f32]) {
    let whole = len.next_multiple_of(CHUNK);
    if from.len() < whole || to.len() < whole {
        return to[..len].copy_from_slice(&from[..len]);
    }
    let chunks = to[..whole].as_chunks_mut::<CHUNK>().0.iter_mut();
    for (to, from) in chunks.zip(from[..whole].as_chunks::<CHUNK>().0) {
        *to = *from;
    }
}
