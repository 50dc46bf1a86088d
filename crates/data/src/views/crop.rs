//! Parts of a picture, resized to its whole size: crops and patches.

use super::{range_of, unit_range};
use crate::DataError;
use crate::random::{Dice, below};

/// Attempts at a region that fits.
const ATTEMPTS: usize = 10;

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// Columns, at least 1.
    pub width: usize,
}

impl Region {
    /// A random region of a `height × width` picture: its part of the area uniform in `scale`, the
    /// logarithm of its ratio of width to height uniform between those of `ratio`, its place
    /// uniform; if ten attempts do not fit, the largest region of an admissible ratio in the
    /// middle.
    ///
    /// Source: Szegedy et al., *Going deeper with convolutions* (CVPR 2015), section 6; as SimCLR
    /// uses it (Chen et al. 2020, appendix A).
    pub(crate) fn random(
        [height, width]: [usize; 2],
        scale: [f32; 2],
        ratio: [f32; 2],
        dice: &mut Dice,
    ) -> Self {
        let area = (height * width) as f32;
        for _ in 0..ATTEMPTS {
            let target = area * dice.between(scale[0], scale[1]);
            let aspect = dice.between(ratio[0].ln(), ratio[1].ln()).exp();
            let rows = (target / aspect).sqrt().round() as usize;
            let columns = (target * aspect).sqrt().round() as usize;
            if (1..=height).contains(&rows) && (1..=width).contains(&columns) {
                return Self {
                    top: below(dice, height - rows + 1),
                    left: below(dice, width - columns + 1),
                    height: rows,
                    width: columns,
                };
            }
        }
        Self::middle([height, width], ratio)
    }

    /// The largest region in the middle whose ratio of width to height lies in `ratio`.
    fn middle([height, width]: [usize; 2], ratio: [f32; 2]) -> Self {
        let whole = width as f32 / height as f32;
        let aspect = whole.clamp(ratio[0], ratio[1]);
        let (rows, columns) = match whole < aspect {
            true => ((width as f32 / aspect).round() as usize, width),
            false => (height, (height as f32 * aspect).round() as usize),
        };
        let (rows, columns) = (rows.clamp(1, height), columns.clamp(1, width));
        Self {
            top: (height - rows) / 2,
            left: (width - columns) / 2,
            height: rows,
            width: columns,
        }
    }

    /// The region of every channel of a C × H × W picture, enlarged to the whole size by bilinear
    /// interpolation between pixel centres; beyond the region its edge is continued.
    ///
    /// # Panics
    /// When the region reaches beyond the picture or the lengths differ.
    pub fn enlarge(&self, picture: &[f32], [height, width]: [usize; 2], out: &mut [f32]) {
        assert!(
            self.top + self.height <= height && self.left + self.width <= width,
            "region beyond the picture"
        );
        assert_eq!(picture.len(), out.len(), "pictures of one size");
        let rows = taps(self.top, self.height, height);
        let columns = taps(self.left, self.width, width);
        let planes = picture.chunks_exact(height * width);
        for (from, to) in planes.zip(out.chunks_exact_mut(height * width)) {
            for (row, line) in rows.iter().zip(to.chunks_exact_mut(width)) {
                let above = &from[row.first * width..][..width];
                let below = &from[row.second * width..][..width];
                for (tap, x) in columns.iter().zip(line) {
                    *x = row.mix(tap.mix_of(above), tap.mix_of(below));
                }
            }
        }
    }
}

/// Two neighbouring elements and the weight of the second.
struct Tap {
    first: usize,
    second: usize,
    weight: f32,
}

impl Tap {
    fn mix(&self, a: f32, b: f32) -> f32 {
        a + self.weight * (b - a)
    }

    fn mix_of(&self, line: &[f32]) -> f32 {
        self.mix(line[self.first], line[self.second])
    }
}

/// Where each of `size` elements lies among the `count` elements from `start` on.
fn taps(start: usize, count: usize, size: usize) -> Vec<Tap> {
    let step = count as f32 / size as f32;
    let tap = |i: usize| {
        let place = ((i as f32 + 0.5) * step - 0.5).clamp(0.0, (count - 1) as f32);
        let first = place as usize;
        Tap {
            first: start + first,
            second: start + (first + 1).min(count - 1),
            weight: place - first as f32,
        }
    };
    (0..size).map(tap).collect()
}

/// Checks the part of the area and the ratio of a region.
pub(super) fn check(
    keys: [&'static str; 2],
    scale: [f32; 2],
    ratio: [f32; 2],
) -> Result<(), DataError> {
    unit_range(keys[0], scale)?;
    if scale[0] <= 0.0 {
        let why = "parts of the area must be greater than 0";
        return Err(DataError::option(keys[0], format!("{scale:?}"), why));
    }
    range_of(keys[1], ratio, 0.1, 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::dice_of;

    fn ramp(channels: usize, height: usize, width: usize) -> Vec<f32> {
        (0..channels * height * width)
            .map(|i| (i % width) as f32 + 10.0 * (i / width % height) as f32)
            .collect()
    }

    #[test]
    fn the_whole_picture_is_the_identity() {
        let x = ramp(2, 5, 7);
        let mut out = vec![0.0; x.len()];
        let whole = Region {
            top: 0,
            left: 0,
            height: 5,
            width: 7,
        };
        whole.enlarge(&x, [5, 7], &mut out);
        assert_eq!(out, x);
    }

    /// On a linear ramp, bilinear interpolation is exact wherever it does not leave the region.
    #[test]
    fn linear_pictures_stay_linear() {
        let (height, width) = (8, 8);
        let x = ramp(1, height, width);
        let mut out = vec![0.0; x.len()];
        let region = Region {
            top: 2,
            left: 1,
            height: 4,
            width: 4,
        };
        region.enlarge(&x, [height, width], &mut out);
        for (i, &got) in out.iter().enumerate() {
            let place = |o: usize| ((o as f32 + 0.5) * 0.5 - 0.5).clamp(0.0, 3.0);
            let want = 1.0 + place(i % width) + 10.0 * (2.0 + place(i / width));
            assert!((got - want).abs() < 1e-4, "{i}: {got} against {want}");
        }
    }

    #[test]
    fn a_single_pixel_fills_the_picture() {
        let x = ramp(1, 4, 4);
        let mut out = vec![0.0; 16];
        let pixel = Region {
            top: 3,
            left: 2,
            height: 1,
            width: 1,
        };
        pixel.enlarge(&x, [4, 4], &mut out);
        assert_eq!(out, [32.0; 16]);
    }

    #[test]
    fn random_regions_keep_scale_ratio_and_place() {
        let mut dice = dice_of(1, 2, 3, 4);
        let (scale, ratio) = ([0.2, 0.9], [0.75, 4.0 / 3.0]);
        let mut areas = Vec::new();
        for _ in 0..2000 {
            let r = Region::random([64, 48], scale, ratio, &mut dice);
            assert!(r.top + r.height <= 64 && r.left + r.width <= 48);
            areas.push((r.height * r.width) as f32 / (64.0 * 48.0));
            let aspect = r.width as f32 / r.height as f32;
            // Sides are whole numbers.
            assert!((0.70..1.43).contains(&aspect), "{r:?}");
        }
        assert!(areas.iter().all(|a| (0.18..=0.92).contains(a)));
        let small = areas.iter().filter(|&&a| a < 0.4).count();
        assert!((500..1000).contains(&small), "{small} of 2000");
    }

    #[test]
    fn what_cannot_fit_is_taken_from_the_middle() {
        let mut dice = dice_of(1, 2, 3, 4);
        let r = Region::random([4, 40], [1.0, 1.0], [0.75, 4.0 / 3.0], &mut dice);
        assert_eq!((r.height, r.width), (4, 5));
        assert_eq!((r.top, r.left), (0, 17));
        let r = Region::random([40, 4], [1.0, 1.0], [0.75, 4.0 / 3.0], &mut dice);
        assert_eq!((r.height, r.width), (5, 4));
    }
}
