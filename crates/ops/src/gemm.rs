//! Matrix multiplication on slices: the safe door to the `gemm` crate.
//!
//! One thread computes one product. Operations cut their work into products of a size that depends
//! on the geometry only and spread those over the pool, so a result never depends on how many
//! threads there are.

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
}

impl<'a> Matrix<'a> {
    /// The first `rows · cols` elements of `data`, row by row.
    ///
    /// # Panics
    /// When `data` is shorter than that: a wrong shape is a defect of the caller.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self {
            data: &data[..rows * cols],
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
}

impl<'a> MatrixMut<'a> {
    /// The first `rows · cols` elements of `data`, row by row.
    ///
    /// # Panics
    /// When `data` is shorter than that: a wrong shape is a defect of the caller.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self {
            data: &mut data[..rows * cols],
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
    // SAFETY: the extents agree, as just asserted. Each matrix was made from a slice of exactly
    // `rows · cols` elements whose strides are `cols, 1` or, transposed, `1, cols`; so the largest
    // offset, `(rows − 1) · row_stride + (cols − 1) · col_stride`, stays inside the slice, and
    // offsets fit `isize` because slices do. `out` is borrowed mutably, so it overlaps neither
    // operand. With `read_dst` false the old content of `out` is not read; it is initialised anyway.
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
