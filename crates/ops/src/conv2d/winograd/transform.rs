//! The small linear maps of Winograd's F(4×4, 3×3).
//!
//! A row of four outputs of a three-tap filter is `Aᵀ[(G g) ⊙ (Bᵀ d)]` with six inputs `d` (Winograd
//! 1980; Lavin & Gray 2016, *Fast algorithms for convolutional neural networks*, equation 8). The
//! matrices follow from Toom and Cook's construction for chosen points; here 0, ±√½, ±√2 and ∞,
//! which lose several times less precision than the usual 0, ±1, ±2 and ∞ because the powers of
//! the points stay close to 1.
//!
//! Everything is generic over the number so that a whole register of channels is transformed at once.

#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays are not always inlined, and only what is inlined is compiled \
              for the instruction set of the caller"
)]

use super::super::lanes::{Lanes, Number};
use pulp::Simd;

/// Inputs of a tile in one direction.
pub(super) const INPUTS: usize = 6;
/// Outputs of a tile in one direction.
pub(super) const OUTPUTS: usize = 4;
/// Taps of the kernel in one direction.
pub(super) const TAPS: usize = 3;
/// Products per tile and pair of channels.
pub(super) const PRODUCTS: usize = INPUTS * INPUTS;

/// The points ±√½ and ±√2.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;

/// A linear map of one dimension of a tile.
pub(super) trait Map<const N: usize, const M: usize> {
    /// The image of `from`.
    fn map<T: Number>(from: [T; N]) -> [T; M];
}

/// Where a tile is read, one register of channels at a time.
pub(super) trait Source<S: Simd> {
    /// What stands at row `i` and column `j`.
    fn read(&self, simd: S, i: usize, j: usize) -> Lanes<S>;
}

/// Where a tile is written.
pub(super) trait Sink<S: Simd> {
    /// Takes what belongs at row `i` and column `j`.
    fn write(&mut self, i: usize, j: usize, value: Lanes<S>);
}

/// What [`both`] keeps between columns and rows.
#[inline(always)]
pub(super) fn zeros<S: Simd, const N: usize, const M: usize>(simd: S) -> [[Lanes<S>; N]; M] {
    [[Lanes::zero(simd); N]; M]
}

/// Applies a map to the columns and then to the rows of a tile.
///
/// A column or row at a time stays in registers; a whole tile would not and lies in `between`,
/// which callers keep because clearing it takes as long as the map. Types for the map, the
/// source and the sink, because closures are not always inlined.
#[inline(always)]
pub(super) fn both<F: Map<N, M>, S: Simd, const N: usize, const M: usize>(
    simd: S,
    between: &mut [[Lanes<S>; N]; M],
    from: &impl Source<S>,
    to: &mut impl Sink<S>,
) {
    for j in 0..N {
        let mut column = [Lanes::zero(simd); N];
        for i in 0..N {
            column[i] = from.read(simd, i, j);
        }
        let column = F::map(column);
        for i in 0..M {
            between[i][j] = column[i];
        }
    }
    for i in 0..M {
        let row = F::map(between[i]);
        for j in 0..M {
            to.write(i, j, row[j]);
        }
    }
}

/// `Bᵀ d`: the coefficients of the Lagrange polynomials of the points.
pub(super) struct Input;

impl Map<INPUTS, INPUTS> for Input {
    #[inline(always)]
    fn map<T: Number>(d: [T; INPUTS]) -> [T; INPUTS] {
        let (even, odd) = (d[2].mul_add(-2.0, d[4]), d[1].mul_add(-2.0, d[3]));
        let (even2, odd2) = (d[2].mul_add(-0.5, d[4]), d[1].mul_add(-0.5, d[3]));
        [
            d[2].mul_add(-2.5, d[0] + d[4]),
            odd.mul_add(A, even),
            odd.mul_add(-A, even),
            odd2.mul_add(B, even2),
            odd2.mul_add(-B, even2),
            d[3].mul_add(-2.5, d[1] + d[5]),
        ]
    }
}

/// `B v`, the adjoint of [`Input`].
pub(super) struct InputAdjoint;

impl Map<INPUTS, INPUTS> for InputAdjoint {
    #[inline(always)]
    fn map<T: Number>(v: [T; INPUTS]) -> [T; INPUTS] {
        let (sum, odd) = (v[1] + v[2], v[1] - v[2]);
        let (sum2, odd2) = (v[3] + v[4], v[3] - v[4]);
        let rest = v[0].mul_add(-2.5, sum2 * -0.5);
        [
            v[0],
            odd.mul_add(-2.0 * A, odd2.mul_add(-0.5 * B, v[5])),
            sum.mul_add(-2.0, rest),
            v[5].mul_add(-2.5, odd.mul_add(A, odd2 * B)),
            v[0] + (sum + sum2),
            v[5],
        ]
    }
}

/// `Aᵀ m`: powers of the points.
pub(super) struct Output;

impl Map<INPUTS, OUTPUTS> for Output {
    #[inline(always)]
    fn map<T: Number>(m: [T; INPUTS]) -> [T; OUTPUTS] {
        let (sum, odd) = (m[1] + m[2], m[1] - m[2]);
        let (sum2, odd2) = (m[3] + m[4], m[3] - m[4]);
        [
            m[0] + (sum + sum2),
            odd.mul_add(A, odd2 * B),
            sum.mul_add(0.5, sum2 * 2.0),
            odd.mul_add(0.5 * A, odd2.mul_add(2.0 * B, m[5])),
        ]
    }
}

/// `A y`, the adjoint of [`Output`].
pub(super) struct OutputAdjoint;

impl Map<OUTPUTS, INPUTS> for OutputAdjoint {
    #[inline(always)]
    fn map<T: Number>(y: [T; OUTPUTS]) -> [T; INPUTS] {
        let (even, odd) = (y[2].mul_add(0.5, y[0]), y[3].mul_add(0.5, y[1]));
        let (even2, odd2) = (y[2].mul_add(2.0, y[0]), y[3].mul_add(2.0, y[1]));
        [
            y[0],
            odd.mul_add(A, even),
            odd.mul_add(-A, even),
            odd2.mul_add(B, even2),
            odd2.mul_add(-B, even2),
            y[3],
        ]
    }
}

/// `G g`: values of the kernel's polynomial at the points, divided by the product of the
/// distances to the other points.
pub(super) struct Kernel;

impl Map<TAPS, INPUTS> for Kernel {
    #[inline(always)]
    fn map<T: Number>(g: [T; TAPS]) -> [T; INPUTS] {
        let (even, odd) = (
            (g[0] + g[2] * 0.5) * (-2.0 / 3.0),
            g[1] * (A * (-2.0 / 3.0)),
        );
        let (even2, odd2) = ((g[0] + g[2] * 2.0) * (1.0 / 6.0), g[1] * (B * (1.0 / 6.0)));
        [
            g[0],
            even + odd,
            even - odd,
            even2 + odd2,
            even2 - odd2,
            g[2],
        ]
    }
}

/// `Gᵀ u`, the adjoint of [`Kernel`].
pub(super) struct KernelAdjoint;

impl Map<INPUTS, TAPS> for KernelAdjoint {
    #[inline(always)]
    fn map<T: Number>(u: [T; INPUTS]) -> [T; TAPS] {
        let sum = (u[1] + u[2]) * (-2.0 / 3.0);
        let sum2 = (u[3] + u[4]) * (1.0 / 6.0);
        let odd = (u[1] - u[2]) * (A * (-2.0 / 3.0));
        let odd2 = (u[3] - u[4]) * (B * (1.0 / 6.0));
        [u[0] + sum + sum2, odd + odd2, sum * 0.5 + sum2 * 2.0 + u[5]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Philox;

    fn random<const N: usize>(stream: u32) -> [f32; N] {
        let philox = Philox::new(4, stream, 0);
        std::array::from_fn(|i| 2.0 * philox.uniform(i as u64) - 1.0)
    }

    fn dot<const N: usize>(a: [f32; N], b: [f32; N]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn filters_four_outputs() {
        let (d, g): ([f32; INPUTS], [f32; TAPS]) = (random(0), random(1));
        let (u, v) = (Kernel::map(g), Input::map(d));
        let got = Output::map(std::array::from_fn(|i| u[i] * v[i]));
        for (i, y) in got.iter().enumerate() {
            let want: f32 = (0..TAPS).map(|k| g[k] * d[i + k]).sum();
            assert!((y - want).abs() < 1e-6, "{y} {want}");
        }
    }

    #[test]
    fn adjoints() {
        let (six, six2): ([f32; INPUTS], [f32; INPUTS]) = (random(2), random(3));
        let (four, three): ([f32; OUTPUTS], [f32; TAPS]) = (random(4), random(5));
        let equal = |a: f32, b: f32| assert!((a - b).abs() < 2e-6, "{a} {b}");
        equal(
            dot(Input::map(six), six2),
            dot(six, InputAdjoint::map(six2)),
        );
        equal(
            dot(Output::map(six), four),
            dot(six, OutputAdjoint::map(four)),
        );
        equal(
            dot(Kernel::map(three), six),
            dot(three, KernelAdjoint::map(six)),
        );
    }
}
