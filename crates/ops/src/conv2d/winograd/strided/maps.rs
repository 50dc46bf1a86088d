//! The linear maps of F(4×4, 3×3) at stride 2.
//!
//! At stride 2, taps 0 and 2 of a row of the kernel meet the even columns of a tile and tap 1 the odd
//! ones: a two-tap and a one-tap filter, added. Both are products of polynomials that F(4, 2) takes
//! at the same five points, four numbers and ∞, so their products are added before one transform
//! back. A filter of one tap is a constant and vanishes at ∞: nine products instead of twelve for
//! four outputs in one dimension, 81 instead of 144 in two.
//!
//! The points are ±½, ±5⁄4 and ∞. Single precision loses less with them than with 0, ±1, 2 and ∞, and
//! less than F(4×4, 3×3) loses at stride 1.

use super::super::super::lanes::Number;
use super::super::transform::{Map, TAPS};

/// Inputs of a tile in one direction, and their transformed values.
pub(super) const INPUTS: usize = 9;
/// Points in one direction.
pub(super) const POINTS: usize = 5;
/// Points in both directions: slabs of products.
pub(super) const SLABS: usize = POINTS * POINTS;
/// Outputs of a tile in one direction.
pub(super) const OUTPUTS: usize = 4;

/// The points ±A and ±B, and their squares.
const A: f32 = 0.5;
const B: f32 = 1.25;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// The product of the distances from A (negated) and from B to the other numbers among the points.
const FAR_A: f32 = 2.0 * A * (B2 - A2);
const FAR_B: f32 = 2.0 * B * (B2 - A2);

/// Where the transformed value `index` of a row belongs: its point, and whether it comes from the
/// odd columns. First the even columns at all points, then the odd ones at the numbers.
pub(super) const fn point(index: usize) -> (usize, bool) {
    match index < POINTS {
        true => (index, false),
        false => (index - POINTS, true),
    }
}

/// What the even and odd taps of a row count at a point: the values of `(g0, g2)` and of `g1` as
/// polynomials, divided by the product of the distances to the other points.
pub(super) const fn tap(index: usize) -> [f32; TAPS] {
    let (point, odd) = point(index);
    let (at, far) = match point {
        0 => (A, -FAR_A),
        1 => (-A, FAR_A),
        2 => (B, FAR_B),
        3 => (-B, -FAR_B),
        _ => return [0.0, 0.0, 1.0],
    };
    match odd {
        true => [0.0, 1.0 / far, 0.0],
        false => [1.0 / far, 0.0, at / far],
    }
}

/// Lagrange polynomials of the four numbers, applied to four values.
#[inline(always)]
fn numbers<T: Number>(d: [T; 4]) -> [T; 4] {
    let (even, odd) = (d[1].mul_add(-B2, d[3]), d[0].mul_add(-B2, d[2]));
    let (even2, odd2) = (d[1].mul_add(-A2, d[3]), d[0].mul_add(-A2, d[2]));
    [
        odd.mul_add(A, even),
        odd.mul_add(-A, even),
        odd2.mul_add(B, even2),
        odd2.mul_add(-B, even2),
    ]
}

/// The adjoint of [`numbers`].
#[inline(always)]
fn numbers_adjoint<T: Number>(v: [T; 4]) -> [T; 4] {
    let (sum, odd) = (v[0] + v[1], (v[0] - v[1]) * A);
    let (sum2, odd2) = (v[2] + v[3], (v[2] - v[3]) * B);
    [
        odd.mul_add(-B2, odd2 * -A2),
        sum.mul_add(-B2, sum2 * -A2),
        odd + odd2,
        sum + sum2,
    ]
}

/// `Bᵀ d` of the even and of the odd columns.
pub(super) struct Input;

impl Map<INPUTS, INPUTS> for Input {
    #[inline(always)]
    fn map<T: Number>(d: [T; INPUTS]) -> [T; INPUTS] {
        let [e0, e1, e2, e3] = numbers([d[0], d[2], d[4], d[6]]);
        let [o0, o1, o2, o3] = numbers([d[1], d[3], d[5], d[7]]);
        // (x² − A²)(x² − B²)
        let infinity = d[4].mul_add(-A2 - B2, d[0].mul_add(A2 * B2, d[8]));
        [e0, e1, e2, e3, infinity, o0, o1, o2, o3]
    }
}

/// The adjoint of [`Input`].
pub(super) struct InputAdjoint;

impl Map<INPUTS, INPUTS> for InputAdjoint {
    #[inline(always)]
    fn map<T: Number>(v: [T; INPUTS]) -> [T; INPUTS] {
        let even = numbers_adjoint([v[0], v[1], v[2], v[3]]);
        let odd = numbers_adjoint([v[5], v[6], v[7], v[8]]);
        [
            v[4].mul_add(A2 * B2, even[0]),
            odd[0],
            even[1],
            odd[1],
            v[4].mul_add(-A2 - B2, even[2]),
            odd[2],
            even[3],
            odd[3],
            v[4],
        ]
    }
}

/// `Aᵀ m`: powers of the points.
pub(super) struct Output;

impl Map<POINTS, OUTPUTS> for Output {
    #[inline(always)]
    fn map<T: Number>(m: [T; POINTS]) -> [T; OUTPUTS] {
        let (sum, odd) = (m[0] + m[1], (m[0] - m[1]) * A);
        let (sum2, odd2) = (m[2] + m[3], (m[2] - m[3]) * B);
        [
            sum + sum2,
            odd + odd2,
            sum.mul_add(A2, sum2 * B2),
            odd.mul_add(A2, odd2.mul_add(B2, m[4])),
        ]
    }
}

/// The adjoint of [`Output`].
pub(super) struct OutputAdjoint;

impl Map<OUTPUTS, POINTS> for OutputAdjoint {
    #[inline(always)]
    fn map<T: Number>(y: [T; OUTPUTS]) -> [T; POINTS] {
        let (even, odd) = (y[2].mul_add(A2, y[0]), y[3].mul_add(A2, y[1]));
        let (even2, odd2) = (y[2].mul_add(B2, y[0]), y[3].mul_add(B2, y[1]));
        [
            odd.mul_add(A, even),
            odd.mul_add(-A, even),
            odd2.mul_add(B, even2),
            odd2.mul_add(-B, even2),
            y[3],
        ]
    }
}

/// The adjoint of the transform of the kernel, whose coefficients [`tap`] gives.
pub(super) struct KernelAdjoint;

impl Map<INPUTS, TAPS> for KernelAdjoint {
    #[inline(always)]
    fn map<T: Number>(u: [T; INPUTS]) -> [T; TAPS] {
        let weighted = |a: T, b: T| a.mul_add(1.0 / FAR_A, b * (1.0 / FAR_B));
        let slopes = (u[0] + u[1]).mul_add(-A / FAR_A, (u[2] + u[3]) * (B / FAR_B));
        [
            weighted(u[1] - u[0], u[2] - u[3]),
            weighted(u[6] - u[5], u[7] - u[8]),
            slopes + u[4],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Philox;

    fn random<const N: usize>(stream: u32) -> [f32; N] {
        let philox = Philox::new(5, stream, 0);
        std::array::from_fn(|i| 2.0 * philox.uniform(i as u64) - 1.0)
    }

    fn dot<const N: usize>(a: [f32; N], b: [f32; N]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn kernel(g: [f32; TAPS]) -> [f32; INPUTS] {
        std::array::from_fn(|index| dot(tap(index), g))
    }

    #[test]
    fn filters_four_outputs_at_stride_two() {
        let (d, g): ([f32; INPUTS], [f32; TAPS]) = (random(0), random(1));
        let (u, v) = (kernel(g), Input::map(d));
        let mut m = [0.0; POINTS];
        for index in 0..INPUTS {
            m[point(index).0] += u[index] * v[index];
        }
        for (i, y) in Output::map(m).iter().enumerate() {
            let want: f32 = (0..TAPS).map(|k| g[k] * d[2 * i + k]).sum();
            assert!((y - want).abs() < 1e-6, "{y} {want}");
        }
    }

    #[test]
    fn adjoints() {
        let (nine, nine2): ([f32; INPUTS], [f32; INPUTS]) = (random(2), random(3));
        let (five, four): ([f32; POINTS], [f32; OUTPUTS]) = (random(4), random(5));
        let three: [f32; TAPS] = random(6);
        let equal = |a: f32, b: f32| assert!((a - b).abs() < 2e-6, "{a} {b}");
        equal(
            dot(Input::map(nine), nine2),
            dot(nine, InputAdjoint::map(nine2)),
        );
        equal(
            dot(Output::map(five), four),
            dot(five, OutputAdjoint::map(four)),
        );
        equal(
            dot(kernel(three), nine),
            dot(three, KernelAdjoint::map(nine)),
        );
    }
}
