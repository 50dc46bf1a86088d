//! Between weights and their spectra, as panels of real matrices.
//!
//! With real and imaginary parts side by side, a product of complex matrices is one of real
//! matrices of twice the size. Outputs need `x · w̄`, input gradients `g · w`: the signs differ.

use super::Fourier;
use super::fft::{
    self, Complex, FREQUENCIES, Frequencies, Pixels, SIZE, Spectrum, Tile, spectrum, tile,
};
use crate::conv2d::geometry::Geometry;
use crate::conv2d::lanes::{Lanes, MOST_LANES};
use crate::panels::{WIDTH, padded};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Kernels of a register of channels, tap by tap.
type Taps = [[f32; MOST_LANES]; SIZE * SIZE];

/// Which channels count the rows of the panels; the other ones count their columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// For outputs, conjugated.
    InOut,
    /// For input gradients.
    OutIn,
}

impl Order {
    const fn extents(self, g: &Geometry) -> (usize, usize) {
        match self {
            Self::InOut => (g.input.c, g.output.c),
            Self::OutIn => (g.output.c, g.input.c),
        }
    }
}

/// Elements of the panels of one frequency.
pub(super) const fn slab(order: Order, g: &Geometry) -> usize {
    let (rows, columns) = order.extents(g);
    2 * rows * 2 * padded(columns)
}

/// Computes the spectra of all kernels.
pub(super) struct ToPanels<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) weight: &'a [f32],
    pub(super) order: Order,
    pub(super) to: &'a mut [f32],
}

impl WithSimd for ToPanels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (g, area) = (self.geometry, self.geometry.kernel * self.geometry.kernel);
        let (rows, columns) = self.order.extents(g);
        let (row_step, column_step, sign) = match self.order {
            Order::InOut => (area, g.fan_in(), -1.0),
            Order::OutIn => (g.fan_in(), area, 1.0),
        };
        let mut between = fft::columns(simd);
        let mut taps: Taps = [[0.0; MOST_LANES]; SIZE * SIZE];
        for first in (0..padded(columns)).step_by(S::F32_LANES) {
            let lanes = S::F32_LANES.min(columns.saturating_sub(first));
            taps.fill([0.0; MOST_LANES]);
            for row in 0..rows {
                for lane in 0..lanes {
                    let at = row * row_step + (first + lane) * column_step;
                    for (tap, w) in taps.iter_mut().zip(&self.weight[at..at + area]) {
                        tap[lane] = *w;
                    }
                }
                let at = |row: usize, column: usize| {
                    column / WIDTH * WIDTH * 2 * rows + row * WIDTH + column % WIDTH
                };
                let imaginary = padded(columns) + first;
                let mut to = ToPanel {
                    to: &mut *self.to,
                    slab: slab(self.order, g),
                    diagonal: [at(row, first), at(rows + row, imaginary)],
                    across: [at(row, imaginary), at(rows + row, first)],
                    sign,
                };
                let kernel = Kernel {
                    taps: &taps,
                    extent: g.kernel,
                };
                spectrum(
                    simd,
                    g.kernel.next_multiple_of(2),
                    &mut between,
                    &kernel,
                    &mut to,
                );
            }
        }
    }
}

struct Kernel<'a> {
    taps: &'a Taps,
    extent: usize,
}

impl<S: Simd> Tile<S> for Kernel<'_> {
    #[inline(always)]
    fn read(&self, simd: S, y: usize, x: usize) -> Lanes<S> {
        if y < self.extent && x < self.extent {
            Lanes::load(simd, &self.taps[y * self.extent + x])
        } else {
            Lanes::zero(simd)
        }
    }
}

struct ToPanel<'a> {
    to: &'a mut [f32],
    slab: usize,
    /// Where the real part goes.
    diagonal: [usize; 2],
    /// Where the imaginary part goes, times `sign` and its opposite.
    across: [usize; 2],
    sign: f32,
}

impl<S: Simd> Spectrum<S> for ToPanel<'_> {
    #[inline(always)]
    fn write(&mut self, frequency: usize, value: Complex<S>) {
        let to = &mut self.to[frequency * self.slab..];
        value.re.store(&mut to[self.diagonal[0]..]);
        value.re.store(&mut to[self.diagonal[1]..]);
        (value.im * self.sign).store(&mut to[self.across[0]..]);
        (value.im * -self.sign).store(&mut to[self.across[1]..]);
    }
}

/// Adds the gradients of weights whose sums of products are
/// `[frequency][re | im of in][re | im of out, padded]`.
pub(super) fn add_gradient(g: &Geometry, sums: &[f32], weight_grad: &mut [f32]) {
    let tasks = weight_grad.par_chunks_mut(MOST_LANES * g.fan_in());
    tasks.enumerate().for_each(|(block, to)| {
        Fourier::run(AddGradient {
            geometry: g,
            sums,
            first: block * MOST_LANES,
            to,
        });
    });
}

struct AddGradient<'a> {
    geometry: &'a Geometry,
    sums: &'a [f32],
    /// First output channel.
    first: usize,
    /// Kernels of at most [`MOST_LANES`] output channels.
    to: &'a mut [f32],
}

impl WithSimd for AddGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let g = self.geometry;
        let (columns, area) = (padded(g.output.c), g.kernel * g.kernel);
        let mut between = fft::columns(simd);
        let mut taps: Taps = [[0.0; MOST_LANES]; SIZE * SIZE];
        for (index, to) in self.to.chunks_mut(S::F32_LANES * g.fan_in()).enumerate() {
            for i in 0..g.input.c {
                let from = Products {
                    from: &self.sums[i * 2 * columns + self.first + index * S::F32_LANES..],
                    slab: 4 * g.input.c * columns,
                    below: 2 * g.input.c * columns,
                    beside: columns,
                };
                let mut pixels = ToKernel {
                    taps: &mut taps,
                    extent: g.kernel,
                };
                tile(
                    simd,
                    g.kernel.next_multiple_of(2),
                    &mut between,
                    &from,
                    &mut pixels,
                );
                for (lane, to) in to.chunks_exact_mut(g.fan_in()).enumerate() {
                    let to = &mut to[i * area..][..area];
                    for (to, tap) in to.iter_mut().zip(&taps) {
                        *to += tap[lane];
                    }
                }
            }
        }
    }
}

/// `x · ḡ` from the four products of real and imaginary parts.
struct Products<'a> {
    from: &'a [f32],
    slab: usize,
    /// From products with the real part of the input to those with its imaginary part.
    below: usize,
    /// The same for output gradients.
    beside: usize,
}

impl<S: Simd> Frequencies<S> for Products<'_> {
    #[inline(always)]
    fn read(&self, simd: S, frequency: usize) -> Complex<S> {
        let from = &self.from[frequency * self.slab..];
        let at = |offset: usize| Lanes::load(simd, &from[offset..]);
        Complex {
            re: at(0) + at(self.below + self.beside),
            im: at(self.below) - at(self.beside),
        }
    }
}

struct ToKernel<'a> {
    taps: &'a mut Taps,
    extent: usize,
}

impl<S: Simd> Pixels<S> for ToKernel<'_> {
    #[inline(always)]
    fn write(&mut self, _simd: S, y: usize, x: usize, value: Lanes<S>) {
        if y < self.extent && x < self.extent {
            value.store(&mut self.taps[y * self.extent + x]);
        }
    }
}

/// Elements of the panels of all frequencies.
pub(super) const fn panels_len(order: Order, g: &Geometry) -> usize {
    FREQUENCIES * slab(order, g)
}
