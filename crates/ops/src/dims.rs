//! The shape of an activation: batch, height, width, channels.

use std::fmt;

/// Shape of one activation in the layout every operation uses: NHWC, C order.
///
/// A vector of `c` features per example is `n × 1 × 1 × c`. All four extents are at least 1 for a
/// value inside a network; operations reject inputs for which their result would be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dims {
    /// Examples in the batch.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels, the fastest-moving index.
    pub c: usize,
}

impl Dims {
    /// A batch of `n` maps of `h × w` positions with `c` channels.
    pub const fn new(n: usize, h: usize, w: usize, c: usize) -> Self {
        Self { n, h, w, c }
    }

    /// A batch of `n` feature vectors of length `c`.
    pub const fn vector(n: usize, c: usize) -> Self {
        Self { n, h: 1, w: 1, c }
    }

    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// True when any extent is zero.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of elements of one example: `h · w · c`.
    pub const fn example(&self) -> usize {
        self.h * self.w * self.c
    }

    /// Number of positions of one example: `h · w`.
    pub const fn area(&self) -> usize {
        self.h * self.w
    }

    /// True for `h = w = 1`: a vector per example.
    pub const fn is_vector(&self) -> bool {
        self.h == 1 && self.w == 1
    }

    /// The same shape for another batch size.
    pub const fn with_batch(self, n: usize) -> Self {
        Self { n, ..self }
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_vector() {
            write!(f, "{}×[{}]", self.n, self.c)
        } else {
            write!(f, "{}×[{}×{}×{}]", self.n, self.c, self.h, self.w)
        }
    }
}
