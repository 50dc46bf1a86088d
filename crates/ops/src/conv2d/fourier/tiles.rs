//! Between framed activations and the spectra of their tiles.

use super::Cover;
use super::fft::{
    Complex, FREQUENCIES, Frequencies, Pixels, SIZE, Spectrum, Tile, columns, spectrum, tile,
};
use crate::conv2d::lanes::{Lanes, MOST_LANES};
use crate::panels::padded;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// A slab for each frequency, to be written: a row per tile with all real and then all imaginary
/// parts.
pub(super) type SlabsMut<'a> = [&'a mut [f32]; FREQUENCIES];

/// Where spectra lie that are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Elements from a frequency to the next one.
    pub(super) slab: usize,
    /// Elements from real to imaginary parts.
    pub(super) part: usize,
}

/// Computes the spectra of some tiles, counted from the first frame.
pub(super) struct ToSpectra<'a, 'b> {
    pub(super) cover: &'a Cover,
    pub(super) range: Range<usize>,
    /// Frames that follow each other, channels padded.
    pub(super) frames: &'a [f32],
    /// Columns and elements of a frame.
    pub(super) width: usize,
    pub(super) frame: usize,
    pub(super) channels: usize,
    /// Rows of a tile that are not all zero.
    pub(super) rows: usize,
    pub(super) to: &'a mut SlabsMut<'b>,
}

impl WithSimd for ToSpectra<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let part = padded(self.channels);
        let mut columns = columns(simd);
        for (t, index) in self.range.enumerate() {
            let (example, y, x) = self.cover.corner(index);
            let origin = example * self.frame + (y * self.width + x) * part;
            for first in (0..part).step_by(S::F32_LANES) {
                let from = Framed {
                    from: &self.frames[origin + first..],
                    row: self.width * part,
                    column: part,
                    extent: self.rows,
                };
                let mut to = ToSlabs {
                    to: &mut *self.to,
                    at: t * 2 * part + first,
                    part,
                };
                spectrum(simd, self.rows, &mut columns, &from, &mut to);
            }
        }
    }
}

/// A tile of a frame; beyond `extent` rows and columns it is zero.
struct Framed<'a> {
    from: &'a [f32],
    row: usize,
    column: usize,
    extent: usize,
}

impl<S: Simd> Tile<S> for Framed<'_> {
    #[inline(always)]
    fn read(&self, simd: S, y: usize, x: usize) -> Lanes<S> {
        if y < self.extent && x < self.extent {
            Lanes::load(simd, &self.from[y * self.row + x * self.column..])
        } else {
            Lanes::zero(simd)
        }
    }
}

struct ToSlabs<'a, 'b> {
    to: &'a mut SlabsMut<'b>,
    at: usize,
    part: usize,
}

impl<S: Simd> Spectrum<S> for ToSlabs<'_, '_> {
    #[inline(always)]
    fn write(&mut self, frequency: usize, value: Complex<S>) {
        let to = &mut self.to[frequency][self.at..];
        value.re.store(to);
        value.im.store(&mut to[self.part..]);
    }
}

struct FromSlabs<'a> {
    from: &'a [f32],
    layout: Layout,
}

impl<S: Simd> Frequencies<S> for FromSlabs<'_> {
    #[inline(always)]
    fn read(&self, simd: S, frequency: usize) -> Complex<S> {
        let from = &self.from[frequency * self.layout.slab..];
        Complex {
            re: Lanes::load(simd, from),
            im: Lanes::load(simd, &from[self.layout.part..]),
        }
    }
}

/// Turns spectra into the outputs of some tiles, counted from the first example of `to`.
pub(super) struct ToOutput<'a> {
    pub(super) cover: &'a Cover,
    pub(super) range: Range<usize>,
    pub(super) from: &'a [f32],
    pub(super) layout: Layout,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) to: &'a mut [f32],
}

impl WithSimd for ToOutput<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let g = &self.cover.geometry;
        let (co, outputs) = (g.output.c, self.cover.outputs);
        let mut columns = columns(simd);
        for (t, index) in self.range.enumerate() {
            let (example, y, x) = self.cover.corner(index);
            let origin = example * g.output.example() + (y * g.output.w + x) * co;
            for first in (0..co).step_by(S::F32_LANES) {
                let from = FromSlabs {
                    from: &self.from[t * 2 * self.layout.part + first..],
                    layout: self.layout,
                };
                let lanes = S::F32_LANES.min(co - first);
                let mut bias = [0.0; MOST_LANES];
                if let Some(values) = self.bias {
                    bias[..lanes].copy_from_slice(&values[first..first + lanes]);
                }
                let mut to = ToOutputs {
                    to: &mut self.to[origin + first..],
                    row: g.output.w * co,
                    column: co,
                    rows: outputs.min(g.output.h - y),
                    columns: outputs.min(g.output.w - x),
                    lanes,
                    bias: Lanes::load(simd, &bias),
                };
                tile(
                    simd,
                    outputs.next_multiple_of(2),
                    &mut columns,
                    &from,
                    &mut to,
                );
            }
        }
    }
}

struct ToOutputs<'a, S: Simd> {
    to: &'a mut [f32],
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
    /// Channels of this register.
    lanes: usize,
    bias: Lanes<S>,
}

impl<S: Simd> Pixels<S> for ToOutputs<'_, S> {
    #[inline(always)]
    fn write(&mut self, _simd: S, y: usize, x: usize, value: Lanes<S>) {
        if y >= self.rows || x >= self.columns {
            return;
        }
        let (value, to) = (value + self.bias, y * self.row + x * self.column);
        if self.lanes == S::F32_LANES {
            value.store(&mut self.to[to..]);
        } else {
            let mut whole = [0.0; MOST_LANES];
            value.store(&mut whole);
            self.to[to..to + self.lanes].copy_from_slice(&whole[..self.lanes]);
        }
    }
}

/// Adds tiles with these spectra to planes of padded inputs, counted from the first plane.
pub(super) struct AddToPlanes<'a> {
    pub(super) cover: &'a Cover,
    pub(super) range: Range<usize>,
    pub(super) from: &'a [f32],
    pub(super) layout: Layout,
    /// Planes, channels padded.
    pub(super) to: &'a mut [f32],
}

impl WithSimd for AddToPlanes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (height, width) = self.cover.framed();
        let part = self.layout.part;
        let mut columns = columns(simd);
        for (t, index) in self.range.enumerate() {
            let (example, y, x) = self.cover.corner(index);
            let origin = ((example * height + y) * width + x) * part;
            for first in (0..part).step_by(S::F32_LANES) {
                let from = FromSlabs {
                    from: &self.from[t * 2 * part + first..],
                    layout: self.layout,
                };
                let mut to = AddToPlane {
                    to: &mut self.to[origin + first..],
                    row: width * part,
                    column: part,
                };
                tile(simd, SIZE, &mut columns, &from, &mut to);
            }
        }
    }
}

struct AddToPlane<'a> {
    to: &'a mut [f32],
    row: usize,
    column: usize,
}

impl<S: Simd> Pixels<S> for AddToPlane<'_> {
    #[inline(always)]
    fn write(&mut self, simd: S, y: usize, x: usize, value: Lanes<S>) {
        let to = &mut self.to[y * self.row + x * self.column..];
        (Lanes::load(simd, to) + value).store(to);
    }
}
