//! The `data` section of the configuration.

use crate::DataError;
use crate::modality::{image::ImageConfig, sensor::SensorConfig, speech::SpeechConfig};
use serde::{Deserialize, Serialize};

/// How data are read. Every modality has its own subsection; only that of the modality in use
/// matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Part of the examples held out where the source has no official test set, in (0, 1).
    pub validation_fraction: f32,
    /// At most this many examples of each of the two sets (spread evenly over it); all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Training examples of the embedded data.
    pub embedded_train: usize,
    /// Held-out examples of the embedded data.
    pub embedded_test: usize,
    /// Options of the modality `image`.
    pub image: ImageConfig,
    /// Options of the modality `speech`.
    pub speech: SpeechConfig,
    /// Options of the modality `sensor`.
    pub sensor: SensorConfig,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            validation_fraction: 0.1,
            limit: None,
            embedded_train: 4096,
            embedded_test: 1024,
            image: ImageConfig::default(),
            speech: SpeechConfig::default(),
            sensor: SensorConfig::default(),
        }
    }
}

impl DataConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key whose value cannot work.
    pub fn validate(&self) -> Result<(), DataError> {
        let fraction = self.validation_fraction;
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(DataError::option(
                "data.validation_fraction",
                fraction,
                "must lie strictly between 0 and 1",
            ));
        }
        for (key, count) in [
            ("data.limit", self.limit.unwrap_or(1)),
            ("data.embedded_train", self.embedded_train),
            ("data.embedded_test", self.embedded_test),
        ] {
            if count == 0 {
                return Err(DataError::option(key, count, "must be at least 1"));
            }
        }
        self.image.validate()?;
        self.speech.validate()?;
        self.sensor.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        DataConfig::default().validate().unwrap();
    }

    #[test]
    fn bad_values_name_their_key() {
        let broken: [(DataConfig, &str); 4] = [
            (
                with(|c| c.validation_fraction = 1.0),
                "data.validation_fraction = 1",
            ),
            (
                with(|c| c.validation_fraction = f32::NAN),
                "data.validation_fraction = NaN",
            ),
            (with(|c| c.limit = Some(0)), "data.limit = 0"),
            (with(|c| c.embedded_test = 0), "data.embedded_test = 0"),
        ];
        for (config, start) in broken {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(start), "{message}");
        }
    }

    fn with(change: impl FnOnce(&mut DataConfig)) -> DataConfig {
        let mut config = DataConfig::default();
        change(&mut config);
        config
    }
}
