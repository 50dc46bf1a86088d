//! Expert views of sensor streams: masks and noise on the spectrogram, and changes of the stream
//! itself.
//!
//! Source: the spectral set is the baseline of Tamkin, Wu & Goodman, *Viewmaker networks* (ICLR
//! 2021); the other that of Um et al., *Data augmentation of wearable sensor data for Parkinson's
//! disease monitoring using convolutional neural networks* (ICMI 2017), section 3.

mod stream;

use super::mask::SpectralMask;
use super::noise::add_spectral_noise;
use super::{Expert, at_most, unit, whole};
use crate::DataError;
use crate::dataset::Signal;
use crate::random::Dice;
use serde::{Deserialize, Serialize};

/// Where streams are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SensorMode {
    /// The spectrogram.
    #[default]
    Spectral,
    /// The stream over time.
    Time,
    /// First the stream, then its spectrogram.
    Both,
}

/// Expert views of sensor streams: the section `views.expert.sensor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SensorExpert {
    /// Where streams are changed.
    pub mode: SensorMode,
    /// Spectrogram: probability of masking some frequencies and some frames.
    pub mask: f32,
    /// Spectrogram: masks are narrower than this part of the side.
    pub mask_width: f32,
    /// Spectrogram: standard deviation of added noise, in standard deviations of the data. (The
    /// paper's second baseline has 0.25, multiplied by the deviation of the log power once more.)
    pub spectral_noise: f32,
    /// Stream: probability of each of the changes, made in the order of these options.
    pub change: f32,
    /// Stream: largest angle that the axes are turned by, in degrees.
    pub rotation: f32,
    /// Stream: standard deviation of a factor for each channel, around 1.
    pub scale: f32,
    /// Stream: most pieces that are put into another order; 1 for none.
    pub segments: usize,
    /// Stream: standard deviation of the pace of time, around 1.
    pub warp: f32,
    /// Stream: number of places at which the pace of time is drawn.
    pub warp_knots: usize,
    /// Stream: standard deviation of added noise, in standard deviations of the channel.
    pub jitter: f32,
}

impl Default for SensorExpert {
    fn default() -> Self {
        Self {
            mode: SensorMode::Spectral,
            mask: 1.0,
            mask_width: 0.625,
            spectral_noise: 0.0,
            change: 0.5,
            rotation: 180.0,
            scale: 0.1,
            segments: 4,
            warp: 0.2,
            warp_knots: 4,
            jitter: 0.05,
        }
    }
}

impl SensorExpert {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        unit("views.expert.sensor.mask", self.mask)?;
        unit("views.expert.sensor.mask_width", self.mask_width)?;
        at_most(
            "views.expert.sensor.spectral_noise",
            self.spectral_noise,
            10.0,
        )?;
        unit("views.expert.sensor.change", self.change)?;
        at_most("views.expert.sensor.rotation", self.rotation, 180.0)?;
        at_most("views.expert.sensor.scale", self.scale, 1.0)?;
        whole("views.expert.sensor.segments", self.segments, 1, 64)?;
        at_most("views.expert.sensor.warp", self.warp, 1.0)?;
        whole("views.expert.sensor.warp_knots", self.warp_knots, 1, 64)?;
        at_most("views.expert.sensor.jitter", self.jitter, 10.0)
    }
}

impl Expert for SensorExpert {
    fn changes_signal(&self) -> bool {
        self.mode != SensorMode::Spectral
    }

    fn change_signal(&self, signal: &mut Signal, dice: &mut Dice) {
        if dice.chance(self.change) {
            stream::rotate_axes(signal, self.rotation, dice);
        }
        if dice.chance(self.change) {
            stream::scale(signal, self.scale, dice);
        }
        if dice.chance(self.change) {
            stream::permute(signal, self.segments, dice);
        }
        if dice.chance(self.change) {
            stream::warp_time(signal, self.warp, self.warp_knots, dice);
        }
        if dice.chance(self.change) {
            stream::jitter(signal, self.jitter, dice);
        }
    }

    fn change_example(&self, example: &mut [f32], shape: [usize; 3], dice: &mut Dice) {
        if self.mode == SensorMode::Time {
            return;
        }
        let [_, height, width] = shape;
        if dice.chance(self.mask) {
            // 0 is the mean of the normalised spectrogram.
            let mask = SpectralMask::random(height, width, self.mask_width, dice);
            mask.apply(example, height, width, 0.0);
        }
        if self.spectral_noise > 0.0 {
            let normal: Vec<f32> = example.iter().map(|_| dice.normal()).collect();
            add_spectral_noise(example, self.spectral_noise, &[1.0], &normal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::dice_of;

    fn signal() -> Signal {
        let mut dice = dice_of(4, 1, 0, 0);
        Signal {
            samples: (0..6 * 128).map(|_| dice.normal()).collect(),
            channels: 6,
            rate: 50.0,
            triads: vec![0, 3].into(),
        }
    }

    #[test]
    fn probabilities_of_zero_change_nothing() {
        let expert = SensorExpert {
            mode: SensorMode::Both,
            mask: 0.0,
            change: 0.0,
            ..Default::default()
        };
        let mut x = signal();
        expert.change_signal(&mut x, &mut dice_of(1, 2, 3, 4));
        expert.change_example(&mut x.samples, [6, 8, 16], &mut dice_of(1, 2, 3, 4));
        assert_eq!(x.samples, signal().samples);
    }

    #[test]
    fn strengths_of_zero_change_nothing() {
        let expert = SensorExpert {
            change: 1.0,
            rotation: 0.0,
            scale: 0.0,
            segments: 1,
            warp: 0.0,
            jitter: 0.0,
            ..Default::default()
        };
        let mut x = signal();
        expert.change_signal(&mut x, &mut dice_of(1, 2, 3, 4));
        let worst = x.samples.iter().zip(signal().samples);
        let worst = worst.fold(0.0f32, |w, (a, b)| w.max((a - b).abs()));
        assert!(worst < 1e-4, "{worst}");
    }

    #[test]
    fn streams_keep_their_length_differ_and_repeat() {
        let expert = SensorExpert {
            change: 1.0,
            ..Default::default()
        };
        expert.validate().unwrap();
        let view = |index| {
            let mut x = signal();
            expert.change_signal(&mut x, &mut dice_of(1, 2, 3, index));
            x.samples
        };
        for index in 0..40 {
            let x = view(index);
            assert_eq!(x.len(), 6 * 128);
            assert!(x.iter().all(|x| x.is_finite() && x.abs() < 20.0));
            assert_ne!(x, view(index + 1));
            assert_eq!(x, view(index));
        }
    }
}
