//! A copy of an example with everything around it that patches look at.

use super::super::geometry::Geometry;
use super::Padding;

/// The extents of a frame and what lies where in it.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Frame {
    inside: (usize, usize, usize),
    /// Rows above, columns to the left.
    before: usize,
    /// Rows and columns of the frame.
    extents: (usize, usize),
    reflect: bool,
}

impl Frame {
    /// The padded input of a convolution.
    pub(in super::super) const fn of_input(g: &Geometry) -> Self {
        let pad = g.padding.width();
        Self {
            inside: (g.input.h, g.input.w, g.input.c),
            before: pad,
            extents: (g.input.h + 2 * pad, g.input.w + 2 * pad),
            reflect: matches!(g.padding, Padding::Reflect(_)),
        }
    }

    /// An output gradient among zeros.
    pub(in super::super) const fn of_grad(g: &Geometry, before: usize, after: usize) -> Self {
        let around = before + after;
        Self {
            inside: (g.output.h, g.output.w, g.output.c),
            before,
            extents: (g.output.h + around, g.output.w + around),
            reflect: false,
        }
    }

    /// Elements of a filled frame; zero where an example needs none.
    pub(in super::super) const fn len(&self) -> usize {
        if self.is_trivial() {
            return 0;
        }
        self.extents.0 * self.extents.1 * self.inside.2
    }

    const fn is_trivial(&self) -> bool {
        self.extents.0 == self.inside.0 && self.extents.1 == self.inside.1
    }

    /// Where the channels of a position of the frame begin.
    pub(in super::super) const fn at(&self, row: usize, column: usize) -> usize {
        (row * self.extents.1 + column) * self.inside.2
    }

    /// The framed example: a copy in `room`, or the example itself where nothing is around it.
    pub(in super::super) fn fill<'a>(&self, example: &'a [f32], room: &'a mut [f32]) -> &'a [f32] {
        if self.is_trivial() {
            return example;
        }
        let (h, w, c) = self.inside;
        let room = &mut room[..self.len()];
        for (y, line) in room.chunks_exact_mut(self.extents.1 * c).enumerate() {
            let Some(row) = self.source(y, h) else {
                line.fill(0.0);
                continue;
            };
            let from = &example[row * w * c..][..w * c];
            let (left, rest) = line.split_at_mut(self.before * c);
            let (middle, right) = rest.split_at_mut(w * c);
            middle.copy_from_slice(from);
            let left = left.chunks_exact_mut(c).enumerate();
            let right = right.chunks_exact_mut(c).enumerate();
            let sides = left.chain(right.map(|(x, to)| (self.before + w + x, to)));
            for (x, to) in sides {
                match self.source(x, w) {
                    Some(column) => to.copy_from_slice(&from[column * c..][..c]),
                    None => to.fill(0.0),
                }
            }
        }
        room
    }

    /// Which of `extent` rows or columns of the example a row or column of the frame shows.
    pub(in super::super) const fn source(&self, at: usize, extent: usize) -> Option<usize> {
        if at >= self.before && at < self.before + extent {
            return Some(at - self.before);
        }
        if !self.reflect || at >= extent + 2 * self.before {
            return None;
        }
        if at < self.before {
            Some(self.before - at)
        } else {
            Some(2 * (extent - 1) + self.before - at)
        }
    }
}
