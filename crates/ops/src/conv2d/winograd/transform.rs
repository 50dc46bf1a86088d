//! The small linear maps of Winograd's F(4×4, 3×3).
//!
//! A row of four outputs of a three-tap filter is `Aᵀ[(G g) ⊙ (Bᵀ d)]` with six inputs `d` (Winograd
//! 1980; Lavin & Gray 2016, *Fast algorithms for convolutional neural networks*, equation 8). The
//! matrices follow from Toom and Cook's construction for chosen points; here 0, ±√½, ±√2 and ∞,
//! which lose several times less precision than the usual 0, ±1, ±2 and ∞ because the powers of
//! the points stay close to 1.
//!
//! Everything is generic over the number so that a whole register of channels is transformed at once.

use super::super::lanes::Number;

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

/// Applies a map to the columns and then to the rows of a tile.
#[inline(always)]
pub(super) fn both<F: Map<N, M>, T: Number, const N: usize, const M: usize>(
    tile: [[T; N]; N],
) -> [[T; M]; M] {
    // A type for the map and loops over arrays: closures and the methods of arrays are not always
    // inlined, and only what is inlined is compiled for the instruction set of the caller.
    let mut columns = [[tile[0][0]; N]; M];
    for x in 0..N {
        let mut column = tile[0];
        for y in 0..N {
            column[y] = tile[y][x];
        }
        for (row, value) in columns.iter_mut().zip(F::map(column)) {
            row[x] = value;
        }
    }
    let mut out = [[tile[0][0]; M]; M];
    for (out, row) in out.iter_mut().zip(columns) {
        *out = F::map(row);
    }
    out
}

/// `Bᵀ d`: the coefficients of the Lagrange polynomials of the points.
pub(super) struct Input;

impl Map<INPUTS, INPUTS> for Input {
    #[inline(always)]
    fn map<T: Number>(d: [T; INPUTS]) -> [T; INPUTS] {
        let (even, odd) = (d[4] - d[2] * 2.0, (d[3] - d[1] * 2.0) * A);
        let (even2, odd2) = (d[4] - d[2] * 0.5, (d[3] - d[1] * 0.5) * B);
        [
            d[0] + d[4] - d[2] * 2.5,
            even + odd,
            even - odd,
            even2 + odd2,
            even2 - odd2,
            d[1] + d[5] - d[3] * 2.5,
        ]
    }
}

/// `B v`, the adjoint of [`Input`].
pub(super) struct InputAdjoint;

impl Map<INPUTS, INPUTS> for InputAdjoint {
    #[inline(always)]
    fn map<T: Number>(v: [T; INPUTS]) -> [T; INPUTS] {
        let (sum, odd) = (v[1] + v[2], (v[1] - v[2]) * A);
        let (sum2, odd2) = (v[3] + v[4], (v[3] - v[4]) * B);
        [
            v[0],
            v[5] - odd * 2.0 - odd2 * 0.5,
            v[0] * -2.5 - sum * 2.0 - sum2 * 0.5,
            odd + odd2 - v[5] * 2.5,
            v[0] + sum + sum2,
            v[5],
        ]
    }
}

/// `Aᵀ m`: powers of the points.
pub(super) struct Output;

impl Map<INPUTS, OUTPUTS> for Output {
    #[inline(always)]
    fn map<T: Number>(m: [T; INPUTS]) -> [T; OUTPUTS] {
        let (sum, odd) = (m[1] + m[2], (m[1] - m[2]) * A);
        let (sum2, odd2) = (m[3] + m[4], (m[3] - m[4]) * B);
        [
            m[0] + sum + sum2,
            odd + odd2,
            sum * 0.5 + sum2 * 2.0,
            odd * 0.5 + odd2 * 2.0 + m[5],
        ]
    }
}

/// `A y`, the adjoint of [`Output`].
pub(super) struct OutputAdjoint;

impl Map<OUTPUTS, INPUTS> for OutputAdjoint {
    #[inline(always)]
    fn map<T: Number>(y: [T; OUTPUTS]) -> [T; INPUTS] {
        let (even, odd) = (y[0] + y[2] * 0.5, (y[1] + y[3] * 0.5) * A);
        let (even2, odd2) = (y[0] + y[2] * 2.0, (y[1] + y[3] * 2.0) * B);
        [
            y[0],
            even + odd,
            even - odd,
            even2 + odd2,
            even2 - odd2,
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
