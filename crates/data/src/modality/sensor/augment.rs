//! The expert views of sensor spectrograms that viewmaker is compared with: one frequency mask,
//! one time mask, optionally noise.
//!
//! Source: the published code of Tamkin, Wu & Goodman, *Viewmaker networks* (ICLR 2021); masks
//! after Park et al., *SpecAugment* (Interspeech 2019), sections 2.2 and 2.3.

use crate::random::below;
use rand::Rng;

/// Masks are narrower than this.
const MASK_BOUND: usize = 20;
/// Attempts at a mask that changes something.
const ATTEMPTS: usize = 4;
/// Standard deviation of the noise, as a multiple of the channel's standard deviation of log power.
const NOISE_SCALE: f32 = 0.25;

/// Rows `first_row .. first_row + rows` and columns `first_frame .. first_frame + frames`, which
/// are set to 0 over their whole length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpectralMask {
    /// Masked frequencies.
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
    /// below 20 (or the size of the spectrogram, if that is less), each place uniform. An empty
    /// mask is redrawn up to three times.
    pub fn random(height: usize, width: usize, random: &mut impl Rng) -> Self {
        let (rows, first_row) = Self::span(height, random);
        let (frames, first_frame) = Self::span(width, random);
        Self {
            rows,
            first_row,
            frames,
            first_frame,
        }
    }

    fn span(side: usize, random: &mut impl Rng) -> (usize, usize) {
        let mut span = (0, 0);
        for _ in 0..ATTEMPTS {
            let extent = below(random, MASK_BOUND.min(side).max(1));
            span = (extent, below(random, side.saturating_sub(extent).max(1)));
            if extent > 0 {
                break;
            }
        }
        span
    }

    /// Applies the mask to all channels of a C × `height` × `width` array.
    ///
    /// # Panics
    /// When the mask reaches beyond the spectrogram.
    pub fn apply(&self, spectrogram: &mut [f32], height: usize, width: usize) {
        let rows = self.first_row..self.first_row + self.rows;
        let frames = self.first_frame..self.first_frame + self.frames;
        assert!(
            rows.end <= height && frames.end <= width,
            "mask beyond the spectrogram"
        );
        for channel in spectrogram.chunks_exact_mut(height * width) {
            for (row, line) in channel.chunks_exact_mut(width).enumerate() {
                if rows.contains(&row) {
                    line.fill(0.0);
                } else {
                    line[frames.clone()].fill(0.0);
                }
            }
        }
    }
}

/// Adds `0.25 · std[channel] · normal` to a C × H × W array, where `normal` holds standard normal
/// numbers of the same shape and `std` the standard deviation of log power of each channel.
///
/// # Panics
/// When the lengths do not fit together.
pub fn add_noise(spectrogram: &mut [f32], std: &[f32], normal: &[f32]) {
    assert_eq!(
        spectrogram.len(),
        normal.len(),
        "add_noise: one number per value"
    );
    assert_eq!(
        spectrogram.len() % std.len().max(1),
        0,
        "add_noise: whole channels"
    );
    let plane = (spectrogram.len() / std.len().max(1)).max(1);
    let channels = spectrogram
        .chunks_exact_mut(plane)
        .zip(normal.chunks_exact(plane));
    for ((channel, normal), std) in channels.zip(std) {
        for (x, n) in channel.iter_mut().zip(normal) {
            *x += NOISE_SCALE * std * n;
        }
    }
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
        mask.apply(&mut x, 4, 5);
        for (i, &value) in x.iter().enumerate() {
            let (row, frame) = (i / 5 % 4, i % 5);
            let masked = (1..3).contains(&row) || frame == 3;
            assert_eq!(
                value,
                if masked { 0.0 } else { 1.0 },
                "row {row}, frame {frame}"
            );
        }
    }

    #[test]
    fn random_masks_fit_and_are_rarely_empty() {
        let mut random = Philox::new(1, 2, 3).sequence();
        let mut empty = 0;
        for _ in 0..500 {
            let mask = SpectralMask::random(32, 10, &mut random);
            assert!(mask.rows < 20 && mask.first_row + mask.rows <= 32);
            assert!(mask.frames < 10 && mask.first_frame + mask.frames <= 10);
            empty += usize::from(mask.rows == 0 || mask.frames == 0);
            mask.apply(&mut [0.0; 320], 32, 10);
        }
        assert!(empty < 5, "{empty}");
    }

    #[test]
    fn noise_scales_with_the_channel() {
        let mut x = [0.0; 4];
        add_noise(&mut x, &[4.0, 8.0], &[1.0, -1.0, 1.0, 0.5]);
        assert_eq!(x, [1.0, -1.0, 2.0, 1.0]);
    }
}
