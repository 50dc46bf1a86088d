//! Masks over bands and frames of a spectrogram, shared by speech and sensors.
//!
//! Source: Park et al., *SpecAugment* (Interspeech 2019), sections 2.2 and 2.3, with the sizes and
//! fill values of the published code of Tamkin, Wu & Goodman, *Viewmaker networks* (ICLR 2021).

use crate::random::below;
use rand::Rng;

/// Attempts at a mask that changes something.
const ATTEMPTS: usize = 4;

/// Rows `first_row .. first_row + rows` and columns `first_frame .. first_frame + frames`, which
/// are filled over their whole length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpectralMask {
    /// Masked rows (bands, frequencies).
    pub rows: usize,
    /// The lowest of them.
    pub first_row: usize,
    /// Masked frames.
    pub frames: usize,
    /// The first of them.
    pub first_frame: usize,
}

impl SpectralMask {
    /// A random mask for a spectrogram of `height` rows and `width` columns: each extent uniform
    /// from 0 to below the part `bound` of the side (0 ≤ `bound` ≤ 1), each place uniform. An
    /// empty mask is redrawn up to three times.
    pub fn random(height: usize, width: usize, bound: f32, random: &mut impl Rng) -> Self {
        let (rows, first_row) = span(height, bound, random);
        let (frames, first_frame) = span(width, bound, random);
        Self {
            rows,
            first_row,
            frames,
            first_frame,
        }
    }

    /// Fills the masked part of all channels of a C × H × W array whose planes have `height` rows
    /// with `fill`. Parts of the mask that lie outside are ignored.
    ///
    /// # Panics
    /// When `width` is 0 or the array does not consist of whole planes.
    pub fn apply<T: Copy>(&self, values: &mut [T], height: usize, width: usize, fill: T) {
        assert!(
            height > 0 && width > 0 && values.len().is_multiple_of(height * width),
            "whole planes"
        );
        let rows = self.first_row..self.first_row.saturating_add(self.rows);
        let end = self.first_frame.saturating_add(self.frames).min(width);
        let frames = self.first_frame.min(end)..end;
        for plane in values.chunks_exact_mut(height * width) {
            for (row, line) in plane.chunks_exact_mut(width).enumerate() {
                if rows.contains(&row) {
                    line.fill(fill);
                } else {
                    line[frames.clone()].fill(fill);
                }
            }
        }
    }
}

fn span(side: usize, bound: f32, random: &mut impl Rng) -> (usize, usize) {
    let bound = ((bound * side as f32).round() as usize).min(side).max(1);
    let mut span = (0, 0);
    for _ in 0..ATTEMPTS {
        let extent = below(random, bound);
        span = (extent, below(random, side.saturating_sub(extent).max(1)));
        if extent > 0 {
            break;
        }
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_ops::random::Philox;

    #[test]
    fn masks_cover_whole_rows_and_columns_of_all_channels() {
        let mask = SpectralMask {
            rows: 2,
            first_row: 1,
            frames: 1,
            first_frame: 3,
        };
        let mut x = vec![1.0; 2 * 4 * 5];
        mask.apply(&mut x, 4, 5, 0.5);
        for (i, &value) in x.iter().enumerate() {
            let (row, frame) = (i / 5 % 4, i % 5);
            let masked = (1..3).contains(&row) || frame == 3;
            assert_eq!(
                value,
                if masked { 0.5 } else { 1.0 },
                "row {row}, frame {frame}"
            );
        }
    }

    #[test]
    fn masks_stop_at_the_edge() {
        let mask = SpectralMask {
            rows: 1,
            first_row: 1,
            frames: usize::MAX,
            first_frame: 3,
        };
        let mut x = vec![1; 12];
        mask.apply(&mut x, 3, 4, 0);
        assert_eq!(x, [1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0]);
    }

    #[test]
    fn random_masks_fit_stay_below_the_bound_and_are_rarely_empty() {
        let mut random = Philox::new(1, 2, 3).sequence();
        let (mut empty, mut widest) = (0, 0);
        for _ in 0..500 {
            let mask = SpectralMask::random(32, 10, 0.625, &mut random);
            assert!(mask.rows < 20 && mask.first_row + mask.rows <= 32);
            assert!(mask.frames < 6 && mask.first_frame + mask.frames <= 10);
            empty += usize::from(mask.rows == 0 || mask.frames == 0);
            widest = widest.max(mask.rows);
        }
        assert!(empty < 10, "{empty}");
        assert_eq!(widest, 19);
        let none = SpectralMask::random(32, 10, 0.0, &mut random);
        assert_eq!((none.rows, none.frames), (0, 0));
    }
}
