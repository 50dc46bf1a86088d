//! The options of all views that are made while examples are loaded.

use super::{ImageExpert, PatchConfig, SensorExpert, SpeechExpert, TemporalConfig};
use crate::DataError;
use serde::{Deserialize, Serialize};

/// Options of expert, patch and temporal views: part of the section `views`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewsConfig {
    /// Expert views, by modality.
    pub expert: ExpertConfig,
    /// Views by patch.
    pub patch: PatchConfig,
    /// Views by time.
    pub temporal: TemporalConfig,
}

/// Options of expert views: the section `views.expert`. Only that of the modality in use matters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpertConfig {
    /// Of pictures.
    pub image: ImageExpert,
    /// Of recordings.
    pub speech: SpeechExpert,
    /// Of sensor streams.
    pub sensor: SensorExpert,
}

impl ViewsConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key whose value cannot work.
    pub fn validate(&self) -> Result<(), DataError> {
        self.expert.image.validate()?;
        self.expert.speech.validate()?;
        self.expert.sensor.validate()?;
        self.patch.validate()?;
        self.temporal.validate()
    }
}
