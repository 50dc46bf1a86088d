//! Which input positions an output position of a convolution looks at.

use crate::Dims;

/// What lies around the input of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// This many zeros on each side.
    Zero(usize),
    /// This many positions on each side mirror the inside; the edge itself is not repeated.
    Reflect(usize),
}

impl Padding {
    /// Rows and columns added on each side.
    pub const fn width(self) -> usize {
        match self {
            Self::Zero(p) | Self::Reflect(p) => p,
        }
    }
}

/// The accepted shapes of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(super) input: Dims,
    pub(super) output: Dims,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: Padding,
}

impl Geometry {
    pub(super) const fn new(
        input: Dims,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> Self {
        let pad = padding.width();
        let output = Dims::new(
            input.n,
            (input.h + 2 * pad - kernel) / stride + 1,
            (input.w + 2 * pad - kernel) / stride + 1,
            out_channels,
        );
        Self {
            input,
            output,
            kernel,
            stride,
            padding,
        }
    }

    /// Weights of one output channel: `k² · in`.
    pub(super) const fn fan_in(&self) -> usize {
        self.kernel * self.kernel * self.input.c
    }

    /// Number of weights.
    pub(super) const fn weights(&self) -> usize {
        self.fan_in() * self.output.c
    }

    /// Output positions of the whole batch.
    pub(super) const fn positions(&self) -> usize {
        self.output.n * self.output.area()
    }

    pub(super) const fn flops(&self) -> u64 {
        2 * self.positions() as u64 * self.weights() as u64
    }

    /// The input row that kernel row `tap` of output row `at` looks at; `None` in the zero padding,
    /// and beyond any padding.
    pub(super) const fn input_row(&self, at: usize, tap: usize) -> Option<usize> {
        self.source(at, tap, self.input.h)
    }

    /// The same for columns.
    pub(super) const fn input_column(&self, at: usize, tap: usize) -> Option<usize> {
        self.source(at, tap, self.input.w)
    }

    const fn source(&self, at: usize, tap: usize, extent: usize) -> Option<usize> {
        let (padded, pad) = (at * self.stride + tap, self.padding.width());
        match self.padding {
            _ if padded >= pad && padded < extent + pad => Some(padded - pad),
            Padding::Zero(_) => None,
            Padding::Reflect(_) if padded < pad => Some(pad - padded),
            Padding::Reflect(_) if padded >= extent + 2 * pad => None,
            Padding::Reflect(_) => Some(2 * (extent - 1) + pad - padded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(padding: Padding, kernel: usize, stride: usize) -> Vec<Vec<Option<usize>>> {
        let g = Geometry::new(Dims::new(1, 4, 4, 1), 1, kernel, stride, padding);
        let taps = |at| (0..kernel).map(|t| g.input_row(at, t)).collect();
        (0..g.output.h).map(taps).collect()
    }

    #[test]
    fn zeros_surround_the_input() {
        let got = rows(Padding::Zero(1), 3, 2);
        assert_eq!(got, [[None, Some(0), Some(1)], [Some(1), Some(2), Some(3)]]);
    }

    #[test]
    fn reflection_does_not_repeat_the_edge() {
        let got = rows(Padding::Reflect(2), 5, 1);
        let first = [2, 1, 0, 1, 2].map(Some);
        let last = [1, 2, 3, 2, 1].map(Some);
        assert_eq!((&got[0][..], &got[3][..]), (&first[..], &last[..]));
    }
}
