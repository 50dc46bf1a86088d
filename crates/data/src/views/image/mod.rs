//! Expert views of pictures: the augmentations of SimCLR.
//!
//! Source: Chen, Kornblith, Norouzi & Hinton, *A simple framework for contrastive learning of visual
//! representations* (ICML 2020), appendix A; for pictures of 32×32 appendix B.9 halves the strength
//! of the colour distortion and leaves out the blur, and these are the default values. Crops keep a fifth
//! of the area or more, as MoCo's and the viewmaker authors' do (SimCLR's keep 0.08 or more).

mod blur;
mod colour;

pub(crate) use blur::mirrored;

use super::crop::{self, Region};
use super::{Expert, at_most, range_of, unit};
use crate::DataError;
use crate::random::{Dice, shuffle};
use serde::{Deserialize, Serialize};

/// Expert views of pictures: the section `views.expert.image`. Values are in `[0, 1]` before and
/// after. Saturation, hue and grey need three channels and are left out otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageExpert {
    /// Probability of a random crop, resized to the whole picture.
    pub crop: f32,
    /// Smallest and largest part of the area that a crop keeps, in (0, 1].
    pub crop_scale: [f32; 2],
    /// Smallest and largest ratio of width to height of a crop.
    pub crop_ratio: [f32; 2],
    /// Probability of exchanging left and right.
    pub flip: f32,
    /// Probability of changing brightness, contrast, saturation and hue, in random order.
    pub jitter: f32,
    /// Brightness is multiplied by a factor in 1 ± this.
    pub brightness: f32,
    /// Distances from the mean grey are multiplied by a factor in 1 ± this.
    pub contrast: f32,
    /// Distances from grey are multiplied by a factor in 1 ± this.
    pub saturation: f32,
    /// Hues turn by up to ± this part of the circle, at most 0.5.
    pub hue: f32,
    /// Probability of taking the colour away.
    pub grey: f32,
    /// Probability of a Gaussian blur.
    pub blur: f32,
    /// Smallest and largest standard deviation of the blur, in pixels.
    pub blur_sigma: [f32; 2],
}

impl Default for ImageExpert {
    fn default() -> Self {
        Self {
            crop: 1.0,
            crop_scale: [0.2, 1.0],
            crop_ratio: [0.75, 1.333_333_4],
            flip: 0.5,
            jitter: 0.8,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
            grey: 0.2,
            blur: 0.0,
            blur_sigma: [0.1, 2.0],
        }
    }
}

impl ImageExpert {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        unit("views.expert.image.crop", self.crop)?;
        crop::check(
            [
                "views.expert.image.crop_scale",
                "views.expert.image.crop_ratio",
            ],
            self.crop_scale,
            self.crop_ratio,
        )?;
        unit("views.expert.image.flip", self.flip)?;
        unit("views.expert.image.jitter", self.jitter)?;
        at_most("views.expert.image.brightness", self.brightness, 1.0)?;
        at_most("views.expert.image.contrast", self.contrast, 1.0)?;
        at_most("views.expert.image.saturation", self.saturation, 1.0)?;
        at_most("views.expert.image.hue", self.hue, 0.5)?;
        unit("views.expert.image.grey", self.grey)?;
        unit("views.expert.image.blur", self.blur)?;
        range_of("views.expert.image.blur_sigma", self.blur_sigma, 0.01, 64.0)
    }

    /// Changes brightness, contrast, saturation and hue in a random order.
    fn distort(&self, picture: &mut [f32], channels: usize, dice: &mut Dice) {
        let mut order = [0, 1, 2, 3];
        shuffle(&mut order, dice);
        let mut factor = |reach: f32| dice.between(1.0 - reach, 1.0 + reach);
        let [brightness, contrast, saturation] =
            [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let turn = dice.between(-self.hue, self.hue);
        for step in order {
            match step {
                0 => colour::brighten(picture, brightness),
                1 => colour::contrast(picture, channels, contrast),
                2 if channels == 3 => colour::saturate(picture, saturation),
                3 if channels == 3 => colour::turn_hue(picture, turn),
                _ => {}
            }
        }
    }
}

impl Expert for ImageExpert {
    fn change_example(&self, example: &mut [f32], shape: [usize; 3], dice: &mut Dice) {
        let [channels, height, width] = shape;
        if dice.chance(self.crop) {
            let region = Region::random([height, width], self.crop_scale, self.crop_ratio, dice);
            let whole = example.to_vec();
            region.enlarge(&whole, [height, width], example);
        }
        if dice.chance(self.flip) {
            flip(example, width);
        }
        if dice.chance(self.jitter) {
            self.distort(example, channels, dice);
        }
        if dice.chance(self.grey) && channels == 3 {
            colour::saturate(example, 0.0);
        }
        if dice.chance(self.blur) {
            let sigma = dice.between(self.blur_sigma[0], self.blur_sigma[1]);
            blur::gaussian(example, [height, width], sigma);
        }
    }
}

/// Exchanges left and right.
fn flip(picture: &mut [f32], width: usize) {
    picture.chunks_exact_mut(width).for_each(<[f32]>::reverse);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::dice_of;

    fn picture(channels: usize, index: usize) -> Vec<f32> {
        let mut dice = dice_of(9, 1, 0, index);
        (0..channels * 12 * 16).map(|_| dice.unit()).collect()
    }

    const NOTHING: ImageExpert = ImageExpert {
        crop: 0.0,
        crop_scale: [0.2, 1.0],
        crop_ratio: [0.75, 1.333_333_4],
        flip: 0.0,
        jitter: 0.0,
        brightness: 0.4,
        contrast: 0.4,
        saturation: 0.4,
        hue: 0.1,
        grey: 0.0,
        blur: 0.0,
        blur_sigma: [0.1, 2.0],
    };

    #[test]
    fn flipping_twice_is_the_identity() {
        let x = picture(3, 0);
        let mut y = x.clone();
        flip(&mut y, 16);
        assert_eq!((y[0], y[15]), (x[15], x[0]));
        flip(&mut y, 16);
        assert_eq!(x, y);
    }

    #[test]
    fn probabilities_of_zero_change_nothing() {
        for channels in [1, 2, 3, 4] {
            let x = picture(channels, 1);
            let mut y = x.clone();
            NOTHING.change_example(&mut y, [channels, 12, 16], &mut dice_of(1, 2, 3, 4));
            assert_eq!(x, y);
        }
    }

    #[test]
    fn views_stay_in_range_differ_and_repeat() {
        let expert = ImageExpert {
            blur: 0.5,
            ..Default::default()
        };
        expert.validate().unwrap();
        for channels in [1, 2, 3] {
            let x = picture(channels, 2);
            let view = |index| {
                let mut y = x.clone();
                let mut dice = dice_of(1, 2, 3, index);
                expert.change_example(&mut y, [channels, 12, 16], &mut dice);
                y
            };
            for index in 0..50 {
                let y = view(index);
                assert!(y.iter().all(|v| (0.0..=1.0).contains(v)));
                assert_ne!(y, view(index + 1));
                assert_eq!(y, view(index));
            }
        }
    }

    #[test]
    fn each_probability_is_that_of_its_change() {
        let changed = |expert: &ImageExpert| {
            let x = picture(3, 5);
            let count = (0..400).filter(|&index| {
                let mut y = x.clone();
                expert.change_example(&mut y, [3, 12, 16], &mut dice_of(1, 2, 3, index));
                x != y
            });
            count.count()
        };
        let half = |set: fn(&mut ImageExpert)| {
            let mut expert = NOTHING;
            set(&mut expert);
            changed(&expert)
        };
        for count in [
            half(|e| e.crop = 0.5),
            half(|e| e.flip = 0.5),
            half(|e| e.jitter = 0.5),
            half(|e| e.grey = 0.5),
            half(|e| e.blur = 0.5),
        ] {
            assert!((150..250).contains(&count), "{count} of 400");
        }
    }

    #[test]
    fn bad_values_name_their_key() {
        let message = |set: fn(&mut ImageExpert)| {
            let mut expert = ImageExpert::default();
            set(&mut expert);
            expert.validate().unwrap_err().to_string()
        };
        for (text, start) in [
            (message(|e| e.flip = 1.5), "views.expert.image.flip = 1.5"),
            (message(|e| e.hue = 0.6), "views.expert.image.hue = 0.6"),
            (
                message(|e| e.crop_scale = [0.5, 0.2]),
                "views.expert.image.crop_scale = [0.5, 0.2]",
            ),
            (
                message(|e| e.crop_scale = [0.0, 0.2]),
                "views.expert.image.crop_scale = [0.0, 0.2]",
            ),
            (
                message(|e| e.crop_ratio = [0.0, 1.0]),
                "views.expert.image.crop_ratio = [0.0, 1.0]",
            ),
            (
                message(|e| e.brightness = f32::NAN),
                "views.expert.image.brightness = NaN",
            ),
        ] {
            assert!(text.starts_with(start), "{text}");
        }
    }
}
