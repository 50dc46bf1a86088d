//! Working memory of the passes of a convolution on a device.

use super::{Geometry, Version};
use crate::Dims;
use viewmaker_device::Span;

/// Words of 16 bytes: where parts of the working memory begin.
const ALIGNED: usize = 4;

/// What is left of the working memory.
#[derive(Clone, Debug)]
pub(super) struct Room<'a> {
    memory: &'a Span,
    used: usize,
}

impl<'a> Room<'a> {
    /// All of `memory`.
    pub(super) const fn new(memory: &'a Span) -> Self {
        Self { memory, used: 0 }
    }

    /// The next `len` elements, from a multiple of 16 bytes on.
    ///
    /// # Panics
    /// When there are fewer left than [`Geometry::device_scratch_len`] counted.
    pub(super) fn take(&mut self, len: usize) -> Span {
        let from = self.used;
        self.used += len.next_multiple_of(ALIGNED);
        self.memory.slice(from..from + len)
    }
}

impl Geometry {
    /// The input with its reflected padding, as the input gradient is first computed.
    pub(super) fn padded(&self) -> Dims {
        let pad = self.padding.width();
        Dims {
            h: self.input.h + 2 * pad,
            w: self.input.w + 2 * pad,
            ..self.input
        }
    }

    /// Weights of each of `rows` channels, in the order in which a product reads them.
    pub(super) const fn packed(&self, rows: usize, padded_channels: usize) -> usize {
        rows * self.kernel * self.kernel * padded_channels
    }

    /// Elements of working memory on a device: the most that a pass of any version takes.
    pub(crate) fn device_scratch_len(&self) -> usize {
        let (input, output) = (self.input.c, self.output.c);
        let channels = |count| self.padded_channels(count, true);
        let copy = |dims: Dims, channels: usize| match channels == dims.c {
            true => 0,
            false => dims.n * dims.area() * channels,
        };
        let lens = |lens: [usize; 3]| -> usize {
            let aligned = lens.map(|len| len.next_multiple_of(ALIGNED));
            aligned.iter().sum()
        };
        let of_output = lens([
            copy(self.input, channels(input)),
            self.packed(output, channels(input)),
            0,
        ]);
        let grad = copy(self.output, channels(output));
        let reflected = match self.reflects() {
            true => self.padded().len(),
            false => 0,
        };
        let of_input = lens([grad, self.packed(input, channels(output)), reflected]);
        let shares = Version::ALL.map(|version| self.shares(version));
        let partials = shares.into_iter().max().unwrap_or(1) * self.partial();
        let fours = self.padded_channels(input, false);
        let of_weights = lens([grad, copy(self.input, fours), partials]);
        let of_bias = self.positions().div_ceil(self.bias_share()) * output;
        of_output.max(of_input).max(of_weights).max(of_bias)
    }
}
