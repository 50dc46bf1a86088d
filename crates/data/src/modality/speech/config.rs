//! Options of the modality `speech`.

use super::settings::{Settings, Window};
use crate::DataError;
use serde::{Deserialize, Serialize};

/// Which recordings the window is made for; it decides every value that is left at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// `clip` for embedded data, spoken digits, Speech Commands, and folders of files that are
    /// mostly shorter than two seconds; `reference` otherwise.
    #[default]
    Auto,
    /// The paper's: 150,526 samples at 16 kHz (9.4 s), windows of 2048, 64 bands.
    Reference,
    /// One second, windows of 32 ms, 32 bands, at the rate of the files up to 16 kHz.
    Clip,
}

/// What the class of a recording is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// The first that the layout of the files knows.
    #[default]
    Auto,
    /// The speaker (LibriSpeech, Speech Commands, spoken digits).
    Speaker,
    /// The name of the folder (Speech Commands, a folder per class).
    Folder,
    /// The digit in the file name (spoken digits).
    Digit,
    /// The column `label` of `manifest.csv`.
    Manifest,
    /// Nothing: unlabelled.
    None,
}

impl Labels {
    /// The value as it is written in a configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Speaker => "speaker",
            Self::Folder => "folder",
            Self::Digit => "digit",
            Self::Manifest => "manifest",
            Self::None => "none",
        }
    }
}

/// Options of the modality `speech`: the section `data.speech`. A 0 leaves the value to the preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeechConfig {
    /// Which recordings the window is made for.
    pub preset: Preset,
    /// What the class of a recording is.
    pub labels: Labels,
    /// Samples per second that recordings are brought to, in Hz.
    pub sample_rate: u32,
    /// Samples of an example: longer recordings are cut (at the end; in training, at the end or at
    /// the beginning by chance), shorter ones are followed by silence.
    pub max_samples: usize,
    /// Points of the Fourier transform and its window.
    pub n_fft: usize,
    /// Samples from one frame to the next; 0 gives as many frames as mel bands.
    pub hop_length: usize,
    /// Mel bands: the height of the spectrogram.
    pub n_mels: usize,
    /// Upper end of the highest band in Hz; 0 for 8000 Hz or half the sample rate.
    pub fmax: f64,
    /// Mean that spectrograms are normalised with, in dB; by default that of the training data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize_mean: Option<f32>,
    /// Standard deviation that spectrograms are normalised with, in dB; by default that of the
    /// training data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize_std: Option<f32>,
    /// Memory for spectrograms that are kept instead of computed anew every epoch, in MiB.
    pub cache_mib: usize,
}

impl Default for SpeechConfig {
    fn default() -> Self {
        Self {
            preset: Preset::Auto,
            labels: Labels::Auto,
            sample_rate: 0,
            max_samples: 0,
            n_fft: 0,
            hop_length: 0,
            n_mels: 0,
            fmax: 0.0,
            normalize_mean: None,
            normalize_std: None,
            cache_mib: 512,
        }
    }
}

impl SpeechConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key whose value cannot work.
    pub fn validate(&self) -> Result<(), DataError> {
        let ranges = [
            (
                "data.speech.sample_rate",
                self.sample_rate as usize,
                1_000,
                192_000,
            ),
            ("data.speech.max_samples", self.max_samples, 64, 1 << 24),
            ("data.speech.n_fft", self.n_fft, 16, 1 << 16),
            ("data.speech.hop_length", self.hop_length, 1, 1 << 20),
            ("data.speech.n_mels", self.n_mels, 4, 512),
        ];
        for (key, value, low, high) in ranges {
            if value != 0 && !(low..=high).contains(&value) {
                let why = format!("must lie between {low} and {high}, or be 0 for the preset's");
                return Err(DataError::option(key, value, why));
            }
        }
        if !(self.fmax == 0.0 || (self.fmax >= 100.0 && self.fmax.is_finite())) {
            let why = "must be at least 100 Hz, or 0 for 8000 Hz or half the sample rate";
            return Err(DataError::option("data.speech.fmax", self.fmax, why));
        }
        self.validate_normalization()
    }

    /// [`SpeechConfig::cache_mib`] in bytes.
    pub(super) fn cache_bytes(&self) -> usize {
        self.cache_mib.saturating_mul(1 << 20)
    }

    fn validate_normalization(&self) -> Result<(), DataError> {
        let (mean, std) = (self.normalize_mean, self.normalize_std);
        if let Some(mean) = mean.filter(|m| !m.is_finite()) {
            let why = "must be a finite number of dB";
            return Err(DataError::option("data.speech.normalize_mean", mean, why));
        }
        if let Some(std) = std.filter(|s| !(s.is_finite() && *s > 0.0)) {
            let why = "must be a positive number of dB";
            return Err(DataError::option("data.speech.normalize_std", std, why));
        }
        match (mean, std) {
            (Some(mean), None) => {
                let why = "needs data.speech.normalize_std beside it";
                Err(DataError::option("data.speech.normalize_mean", mean, why))
            }
            (None, Some(std)) => {
                let why = "needs data.speech.normalize_mean beside it";
                Err(DataError::option("data.speech.normalize_std", std, why))
            }
            _ => Ok(()),
        }
    }

    /// The spectrogram for recordings that `window` suits and that have `rate` Hz: values that were
    /// given stand, the others follow from the window.
    ///
    /// # Errors
    /// When the values do not fit together.
    pub(crate) fn settings(&self, window: Window, rate: u32) -> Result<Settings, DataError> {
        Settings::resolve(self, self.window(window), rate)
    }

    /// What the preset says, or `automatic` where it leaves the choice.
    fn window(&self, automatic: Window) -> Window {
        match self.preset {
            Preset::Auto => automatic,
            Preset::Reference => Window::Reference,
            Preset::Clip => Window::Clip,
        }
    }

    /// These options with the values of `settings` in place of zeros.
    pub(crate) fn with_settings(&self, settings: &Settings) -> Self {
        Self {
            sample_rate: settings.sample_rate,
            max_samples: settings.max_samples,
            n_fft: settings.n_fft,
            hop_length: settings.hop_length,
            n_mels: settings.n_mels,
            fmax: settings.fmax,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: impl FnOnce(&mut SpeechConfig)) -> String {
        let mut config = SpeechConfig::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn bad_values_name_their_key() {
        for (text, start) in [
            (
                message(|c| c.sample_rate = 10),
                "data.speech.sample_rate = 10",
            ),
            (message(|c| c.n_fft = 8), "data.speech.n_fft = 8"),
            (message(|c| c.n_mels = 1000), "data.speech.n_mels = 1000"),
            (
                message(|c| c.max_samples = 1),
                "data.speech.max_samples = 1",
            ),
            (
                message(|c| c.hop_length = 1 << 21),
                "data.speech.hop_length = 2097152",
            ),
            (message(|c| c.fmax = -1.0), "data.speech.fmax = -1"),
            (message(|c| c.fmax = f64::NAN), "data.speech.fmax = NaN"),
            (
                message(|c| c.normalize_mean = Some(1.0)),
                "data.speech.normalize_mean = 1",
            ),
            (
                message(|c| c.normalize_std = Some(0.0)),
                "data.speech.normalize_std = 0",
            ),
        ] {
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn settings_fill_the_zeros_only() {
        let config = SpeechConfig {
            n_mels: 64,
            ..Default::default()
        };
        let settings = config.settings(Window::Clip, 8000).unwrap();
        let full = config.with_settings(&settings);
        assert_eq!(
            (full.n_mels, full.sample_rate, full.max_samples),
            (64, 8000, 8000)
        );
        assert_eq!(full.settings(Window::Reference, 16_000).unwrap(), settings);
    }
}
