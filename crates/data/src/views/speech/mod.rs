//! Expert views of recordings: changes of the waveform, and masks and noise on the spectrogram.
//!
//! Source: the two sets that Tamkin, Wu & Goodman, *Viewmaker networks* (ICLR 2021) compare with
//! (spectral, the better one, is the default). For the waveform also the gain, shift and speed that are usual
//! (Ko et al., *Audio augmentation for speech recognition*, Interspeech 2015), and milder defaults than theirs:
//! at least half of a recording is kept (a twelfth there), and noise has a signal-to-noise ratio.

mod waveform;

use super::mask::SpectralMask;
use super::noise::{SPECTRAL_NOISE, add_spectral_noise};
use super::{Expert, at_most, range_of, unit, unit_range};
use crate::dataset::Signal;
use crate::random::{Dice, shuffle};
use crate::{DataError, spectrum};
use serde::{Deserialize, Serialize};

/// Where recordings are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpeechMode {
    /// The spectrogram.
    #[default]
    Spectral,
    /// The waveform.
    Waveform,
    /// First the waveform, then its spectrogram.
    Both,
}

/// Expert views of recordings: the section `views.expert.speech`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeechExpert {
    /// Where recordings are changed.
    pub mode: SpeechMode,
    /// Spectrogram: probability of masking some bands and some frames.
    pub mask: f32,
    /// Spectrogram: masks are narrower than this part of the side.
    pub mask_width: f32,
    /// Spectrogram: standard deviation of added noise, in standard deviations of the data.
    pub spectral_noise: f32,
    /// Waveform: probability of each of the changes, which are made in random order.
    pub change: f32,
    /// Waveform: smallest and largest part that is kept; the rest becomes silence.
    pub keep: [f32; 2],
    /// Waveform: range of the level of the signal over added noise, in dB.
    pub noise_snr_db: [f32; 2],
    /// Waveform: the loudness changes by up to ± this many dB.
    pub gain_db: f32,
    /// Waveform: the signal moves by up to ± this many seconds, and round the ends.
    pub shift_seconds: f32,
    /// Waveform: speed and pitch change by a factor in 1 ± this.
    pub speed: f32,
}

impl Default for SpeechExpert {
    fn default() -> Self {
        Self {
            mode: SpeechMode::Spectral,
            mask: 1.0,
            mask_width: 0.625,
            spectral_noise: SPECTRAL_NOISE,
            change: 0.5,
            keep: [0.5, 1.0],
            noise_snr_db: [5.0, 30.0],
            gain_db: 6.0,
            shift_seconds: 0.1,
            speed: 0.1,
        }
    }
}

impl SpeechExpert {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        unit("views.expert.speech.mask", self.mask)?;
        unit("views.expert.speech.mask_width", self.mask_width)?;
        at_most(
            "views.expert.speech.spectral_noise",
            self.spectral_noise,
            10.0,
        )?;
        unit("views.expert.speech.change", self.change)?;
        unit_range("views.expert.speech.keep", self.keep)?;
        range_of(
            "views.expert.speech.noise_snr_db",
            self.noise_snr_db,
            -40.0,
            120.0,
        )?;
        at_most("views.expert.speech.gain_db", self.gain_db, 60.0)?;
        at_most(
            "views.expert.speech.shift_seconds",
            self.shift_seconds,
            600.0,
        )?;
        at_most("views.expert.speech.speed", self.speed, 0.5)
    }

    fn change_waveform(&self, signal: &mut Signal, dice: &mut Dice) {
        let mut order = [0, 1, 2, 3, 4];
        shuffle(&mut order, dice);
        let samples = &mut signal.samples;
        for step in order {
            if !dice.chance(self.change) {
                continue;
            }
            match step {
                0 => waveform::keep_part(samples, self.keep, dice),
                1 => waveform::add_noise(samples, self.noise_snr_db, dice),
                2 => waveform::gain(samples, dice.between(-self.gain_db, self.gain_db)),
                3 => {
                    let seconds = dice.between(-self.shift_seconds, self.shift_seconds);
                    waveform::rotate(samples, seconds * signal.rate);
                }
                _ => waveform::speed(samples, dice.between(1.0 - self.speed, 1.0 + self.speed)),
            }
        }
    }

    fn is_spectral(&self) -> bool {
        self.mode != SpeechMode::Waveform
    }
}

impl Expert for SpeechExpert {
    fn changes_signal(&self) -> bool {
        self.mode != SpeechMode::Spectral
    }

    fn change_signal(&self, signal: &mut Signal, dice: &mut Dice) {
        self.change_waveform(signal, dice);
    }

    /// Masked power is 0: as a level, the floor of the decibels.
    fn change_levels(&self, levels: &mut [f32], shape: [usize; 3], dice: &mut Dice) {
        let [_, height, width] = shape;
        if self.is_spectral() && dice.chance(self.mask) {
            let mask = SpectralMask::random(height, width, self.mask_width, dice);
            mask.apply(levels, height, width, spectrum::SILENCE_DB);
        }
    }

    fn change_example(&self, example: &mut [f32], _shape: [usize; 3], dice: &mut Dice) {
        if self.is_spectral() && self.spectral_noise > 0.0 {
            let normal: Vec<f32> = example.iter().map(|_| dice.normal()).collect();
            add_spectral_noise(example, self.spectral_noise, &[1.0], &normal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::dice_of;

    fn tone() -> Signal {
        Signal {
            samples: (0..4000).map(|i| 0.3 * (i as f32 * 0.21).sin()).collect(),
            channels: 1,
            rate: 8000.0,
            triads: Vec::new().into(),
        }
    }

    #[test]
    fn probabilities_of_zero_change_nothing() {
        let expert = SpeechExpert {
            mode: SpeechMode::Both,
            mask: 0.0,
            spectral_noise: 0.0,
            change: 0.0,
            ..Default::default()
        };
        let (mut signal, mut levels) = (tone(), vec![0.5; 64]);
        expert.change_signal(&mut signal, &mut dice_of(1, 2, 3, 4));
        assert_eq!(signal.samples, tone().samples);
        expert.change_levels(&mut levels, [1, 8, 8], &mut dice_of(1, 2, 3, 4));
        expert.change_example(&mut levels, [1, 8, 8], &mut dice_of(1, 2, 3, 4));
        assert_eq!(levels, [0.5; 64]);
    }

    #[test]
    fn waveforms_stay_finite_differ_and_repeat() {
        let expert = SpeechExpert {
            mode: SpeechMode::Waveform,
            change: 1.0,
            ..Default::default()
        };
        expert.validate().unwrap();
        let view = |index| {
            let mut signal = tone();
            expert.change_signal(&mut signal, &mut dice_of(1, 2, 3, index));
            signal.samples
        };
        for index in 0..40 {
            let x = view(index);
            assert!(x.iter().all(|x| x.is_finite() && x.abs() < 10.0));
            assert!((3600..=4450).contains(&x.len()), "{}", x.len());
            assert_ne!(x, view(index + 1));
            assert_eq!(x, view(index));
        }
        for silence in [vec![], vec![0.0; 7]] {
            let mut signal = Signal {
                samples: silence.clone(),
                ..tone()
            };
            expert.change_signal(&mut signal, &mut dice_of(1, 2, 3, 4));
            assert!(signal.samples.iter().all(|&x| x == 0.0));
        }
    }

    #[test]
    fn masked_levels_are_silence() {
        let expert = SpeechExpert::default();
        let mut levels = vec![-10.0; 32 * 32];
        expert.change_levels(&mut levels, [1, 32, 32], &mut dice_of(1, 2, 3, 4));
        let silent = levels.iter().filter(|&&x| x == -100.0).count();
        assert!(silent > 0 && levels.iter().all(|&x| x == -100.0 || x == -10.0));
    }
}
