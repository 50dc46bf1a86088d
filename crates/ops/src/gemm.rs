//! Matrix multiplication on slices: the safe door to the `gemm` crate.
//!
//! One thread computes one product. Operations cut their work into products of a size that depends
//! on the geometry only and spread those over the pool, so a result never depends on how many
//! threads there are.

use std::ops::Range;

/// A matrix of `rows × cols` elements read from a slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    layout: Layout,
}

/// A matrix of `rows × cols` elements written to a slice, row by row without gaps.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    data: &'a mut [f32],
    layout: Layout,
}

/// Extents and the distances between neighbours, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl Layout {
    const fn row_major(rows: usize, cols: usize) -> Self {
        Self {
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
        }
    }

    /// Elements from the first to the last one, both included; `None` where no slice has as many.
    fn elements_spanned(&self) -> Option<usize> {
        if self.rows == 0 || self.cols == 0 {
            return Some(0);
        }
        let down = (self.rows - 1).checked_mul(self.row_stride)?;
        let across = (self.cols - 1).checked_mul(self.col_stride)?;
        down.checked_add(across)?.checked_add(1)
    }
}

/// Elements of a matrix without gaps.
///
/// # Panics
/// When no slice has as many: a wrong shape is a defect of the caller.
fn elements(rows: usize, cols: usize) -> usize {
    let elements = rows.checked_mul(cols);
    elements.expect("extents of a matrix that no slice holds")
}

impl<'a> Matrix<'a> {
    /// The first `rows · cols` elements of `data`, row by row.
    ///
    /// # Panics
    /// When `data` is shorter than that: a wrong shape is a defect of the caller.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self {
            data: &data[..elements(rows, cols)],
            layout: Layout::row_major(rows, cols),
        }
    }

    /// The same elements with rows and columns exchanged; nothing moves.
    pub const fn transposed(self) -> Self {
        let Layout {
            rows,
            cols,
            row_stride,
            col_stride,
        } = self.layout;
        Self {
            data: self.data,
            layout: Layout {
                rows: cols,
                cols: rows,
                row_stride: col_stride,
                col_stride: row_stride,
            },
        }
    }

    /// Some of its rows.
    ///
    /// # Panics
    /// When it has not that many: a wrong shape is a defect of the caller.
    pub fn rows(self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.layout.rows);
        let data = match rows.is_empty() {
            true => &[],
            false => &self.data[rows.start * self.layout.row_stride..],
        };
        let layout = Layout {
            rows: rows.len(),
            ..self.layout
        };
        Self { data, layout }
    }
}

impl<'a> MatrixMut<'a> {
    /// The first `rows · cols` elements of `data`, row by row.
    ///
    /// # Panics
    /// When `data` is shorter than that: a wrong shape is a defect of the caller.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self {
            data: &mut data[..elements(rows, cols)],
            layout: Layout::row_major(rows, cols),
        }
    }
}

/// What becomes of the elements that the destination of a product held before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// They are forgotten, and may be anything.
    Overwrite,
    /// The product is added to them.
    Accumulate,
}

/// `out ← lhs · rhs`, or `out ← out + lhs · rhs`, on the calling thread.
///
/// # Panics
/// When the extents do not agree: a wrong shape is a defect of the caller.
pub fn multiply(out: MatrixMut<'_>, destination: Destination, lhs: Matrix<'_>, rhs: Matrix<'_>) {
    let (m, k, n) = (lhs.layout.rows, lhs.layout.cols, rhs.layout.cols);
    assert_eq!(
        (out.layout.rows, out.layout.cols, rhs.layout.rows),
        (m, n, k),
        "extents of a matrix product do not agree"
    );
    // The constructors and views guarantee it; checked because everything below relies on it.
    let inside = |data: &[f32], l: Layout| l.elements_spanned().is_some_and(|n| n <= data.len());
    assert!(
        inside(out.data, out.layout)
            && inside(lhs.data, lhs.layout)
            && inside(rhs.data, rhs.layout),
        "a matrix reaches beyond its slice"
    );
    // SAFETY: the extents agree, and the largest offset of each matrix,
    // `(rows − 1) · row_stride + (cols − 1) · col_stride`, lies inside its slice, both as just
    // asserted; offsets fit `isize` because slices do. `out` is borrowed mutably, so it overlaps
    // neither operand, and being row-major its elements do not overlap each other. With `read_dst`
    // false the old content of `out` is not read; it is initialised anyway.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.data.as_mut_ptr(),
            out.layout.col_stride as isize,
            out.layout.row_stride as isize,
            destination == Destination::Accumulate,
            lhs.data.as_ptr(),
            lhs.layout.col_stride as isize,
            lhs.layout.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.layout.col_stride as isize,
            rhs.layout.row_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_views() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [1.0, -1.0, 2.0, 0.5, 0.0, 3.0];
        let mut out = [f32::NAN; 4];
        let (lhs, rhs) = (Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2));
        multiply(
            MatrixMut::new(&mut out, 2, 2),
            Destination::Overwrite,
            lhs,
            rhs,
        );
        assert_eq!(out, [5.0, 9.0, 14.0, 16.5]);
        let (lhs, rhs) = (Matrix::new(&a, 3, 2), Matrix::new(&b, 3, 2));
        let out_of = MatrixMut::new(&mut out, 2, 2);
        multiply(out_of, Destination::Accumulate, lhs.transposed(), rhs);
        assert_eq!(out, [5.0 + 7.0, 9.0 + 15.5, 14.0 + 10.0, 16.5 + 18.0]);
    }

    /// 2³³ · 2³¹ is 0 modulo 2⁶⁴: an empty slice must not pass for such a matrix.
    #[test]
    #[cfg(target_pointer_width = "64")]
    #[should_panic(expected = "no slice holds")]
    fn refuses_extents_whose_product_overflows() {
        let _ = Matrix::new(&[], 1 << 33, 1 << 31);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    #[should_panic(expected = "no slice holds")]
    fn refuses_to_write_where_extents_overflow() {
        let _ = MatrixMut::new(&mut [], 1 << 33, 1 << 31);
    }

    #[test]
    fn spans_that_overflow_are_none() {
        let half = 1 << (usize::BITS / 2);
        assert_eq!(Layout::row_major(half + 1, half).elements_spanned(), None);
        assert_eq!(Layout::row_major(3, 5).elements_spanned(), Some(15));
        assert_eq!(Layout::row_major(0, usize::MAX).elements_spanned(), Some(0));
    }

    #[test]
    #[should_panic(expected = "do not agree")]
    fn refuses_extents_that_do_not_agree() {
        let a = [0.0; 6];
        let mut out = [0.0; 4];
        let out = MatrixMut::new(&mut out, 2, 2);
        multiply(
            out,
            Destination::Overwrite,
            Matrix::new(&a, 2, 3),
            Matrix::new(&a, 2, 3),
        );
    }
}
