//! Products of small matrices, held in registers: the inner loops of the convolutions.
//!
//! A *panel* is 32 (or, at the end, 16) neighbouring columns of a matrix, row after row, so that a
//! row of it fills whole registers. A product takes a block of rows of the left matrix through one
//! panel and keeps the block of results in registers until it is complete:
//!
//! - [`Rows`]: `to = from · panels`, for outputs and input gradients. A row may consist of several
//!   runs that lie apart, such as the rows of an image patch;
//! - [`Outer`]: `to += aᵀ · b`, for weight gradients. Large operands are brought together piece by
//!   piece.
//!
//! One thread computes one product, and sums in the order of the inner index within pieces of a fixed
//! size, so that results do not depend on the number of threads.
//!
//! Blocks are as tall as the registers allow: 14 rows of two registers where there are 32 of them,
//! 6 where there are 16. Remainders are balanced (16 rows are 8 + 8, not 14 + 2).

mod outer;
mod room;
mod rows;

pub use outer::{Line, Outer};
pub use rows::Rows;

use pulp::Simd;
use std::ops::Range;

/// Columns of a panel.
pub const WIDTH: usize = 32;
/// Columns of a last panel where that is enough.
pub const HALF: usize = 16;
/// Rows of a block, at most.
pub const MOST_ROWS: usize = 14;

/// Columns rounded up to whole panels, the last of which may be a half one.
pub const fn padded(columns: usize) -> usize {
    columns.next_multiple_of(HALF)
}

/// The panels that cover `padded(columns)` columns. With `inner` rows, a panel lies at
/// `first · inner` of the packed matrix.
pub fn panels(columns: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let end = padded(columns);
    let starts = (0..end).step_by(WIDTH);
    starts.map(move |first| first..end.min(first + WIDTH))
}

/// Rows of a block with this instruction set.
#[inline(always)]
pub const fn most_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 {
        MOST_ROWS
    } else {
        6
    }
}

/// Cuts `rows` into as few blocks as possible of at most `most` rows that differ by at most one.
#[inline(always)]
pub fn balanced(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let blocks = rows.div_ceil(most);
    (0..blocks).map(move |index| crate::parallel::part(rows, blocks, index))
}

/// Calls `$function::<S, M, W>` for a number of rows that is known only at run time.
macro_rules! with_rows {
    ($rows:expr, $function:ident::<$simd:ident, _, $width:ident>($($argument:expr),* $(,)?)) => {
        match $rows {
            1 => $function::<$simd, 1, $width>($($argument),*),
            2 => $function::<$simd, 2, $width>($($argument),*),
            3 => $function::<$simd, 3, $width>($($argument),*),
            4 => $function::<$simd, 4, $width>($($argument),*),
            5 => $function::<$simd, 5, $width>($($argument),*),
            6 => $function::<$simd, 6, $width>($($argument),*),
            7 if $simd::REGISTER_COUNT >= 32 => $function::<$simd, 7, $width>($($argument),*),
            8 if $simd::REGISTER_COUNT >= 32 => $function::<$simd, 8, $width>($($argument),*),
            9 if $simd::REGISTER_COUNT >= 32 => $function::<$simd, 9, $width>($($argument),*),
            10 if $simd::REGISTER_COUNT >= 32 => $function::<$simd, 10, $width>($($argument),*),
            11 if $simd::REGISTER_COUNT >= 32 => $function::<$simd, 11, $width>($($argument),*),
            12 if $simd::REGISTER_COUNT >= 32 => $function::<$simd, 12, $width>($($argument),*),
            13 if $simd::REGISTER_COUNT >= 32 => $function::<$simd, 13, $width>($($argument),*),
            14 if $simd::REGISTER_COUNT >= 32 => $function::<$simd, 14, $width>($($argument),*),
            rows => unreachable!("a block of {rows} rows"),
        }
    };
}
use with_rows;

#[cfg(test)]
mod tests;
