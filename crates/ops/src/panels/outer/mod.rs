//! `to += aᵀ · b`.

mod direct;
mod gathered;

use super::rows::finish;
use super::{HALF, WIDTH, balanced, most_rows, panels, with_rows};
use pulp::{Simd, WithSimd};

/// Rows of both operands that follow each other at fixed steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where the first row of `a` begins.
    pub a: usize,
    /// Where the first row of `b` begins.
    pub b: usize,
    /// How many rows.
    pub count: usize,
}

/// The sum over all rows of the outer products of a row of `a` and one of `b`.
///
/// Small products read both operands as they lie in memory ([`direct`]); for others they are brought
/// together first ([`gathered`]).
pub struct Outer<'a> {
    /// The rows.
    pub lines: &'a [Line],
    /// Rows that hold at least `height` elements, `a_step` elements apart.
    pub a: &'a [f32],
    /// Elements from a row of `a` to the next one.
    pub a_step: usize,
    /// Rows of results: elements of a row of `a` that take part.
    pub height: usize,
    /// Rows that hold at least `columns` elements, `b_step` elements apart.
    pub b: &'a [f32],
    /// Elements from a row of `b` to the next one.
    pub b_step: usize,
    /// Columns of the result, a multiple of 16.
    pub columns: usize,
    /// Rows of results, `to_step` elements apart.
    pub to: &'a mut [f32],
    /// Elements from a row of results to the next one.
    pub to_step: usize,
    /// Whether the sum is added to what `to` holds, instead of replacing it.
    pub add: bool,
}

/// Results from which on operands are brought together: each element is used often enough.
const MANY_RESULTS: usize = 8 << 10;
/// Elements between two rows from which on they are brought together: few sets of the caches would
/// have to hold all of them.
const FAR: usize = 256;

impl WithSimd for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let many = self.height * self.columns >= MANY_RESULTS;
        if many || self.a_step.max(self.b_step) >= FAR {
            gathered::run(simd, self);
        } else {
            direct::run(simd, self);
        }
    }
}
