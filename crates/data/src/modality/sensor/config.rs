//! Options of the modality `sensor`.

use super::corpus::Defaults;
use crate::DataError;
use serde::{Deserialize, Deserializer, Serialize};

/// Options of the modality `sensor`: the section `data.sensor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SensorConfig {
    /// Steps of a window. By default 1000 for PAMAP2, 128 for UCI HAR, else 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// Steps from one evaluation window to the next; half a window by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// Points of the Fourier transform; a spectrogram has `n_fft / 2 + 1` rows.
    pub n_fft: usize,
    /// Steps from one column of the spectrogram to the next; by default what gives 32 columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop_length: Option<usize>,
    /// Samples per second, for seconds and hertz in options and pictures. By default what the time column of
    /// tables says, 100 for PAMAP2, else 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_hz: Option<f32>,
    /// CSV: the columns that are channels; by default all that have no other meaning.
    pub columns: Vec<String>,
    /// CSV: the column with the class; without it the data are unlabelled.
    pub label_column: String,
    /// CSV: the column that says who wore the sensors; without it every file is one wearer.
    pub subject_column: String,
    /// CSV: the column with the time in seconds. It is no channel, and no window spans a gap in it.
    pub time_column: String,
    /// Activities to use, by name or number; by default the twelve of PAMAP2's protocol, the six
    /// basic ones of HAPT, and all of UCI HAR and CSV.
    #[serde(deserialize_with = "texts")]
    pub activities: Vec<String>,
    /// Subjects never trained on; by default those of the source's official split, if it has one.
    #[serde(deserialize_with = "texts")]
    pub test_subjects: Vec<String>,
    /// Further subjects never trained on, for choosing options; by default 5 for PAMAP2.
    #[serde(deserialize_with = "texts")]
    pub validation_subjects: Vec<String>,
    /// Which of the two the held-out set consists of.
    pub held_out: HeldOut,
    /// Random windows that make an epoch. By default 10,000 for PAMAP2; for the other formats one
    /// for every evaluation window that the training part would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_examples: Option<usize>,
}

/// The subjects that accuracy is measured on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldOut {
    /// [`SensorConfig::test_subjects`].
    #[default]
    Test,
    /// [`SensorConfig::validation_subjects`].
    Validation,
}

impl Default for SensorConfig {
    fn default() -> Self {
        Self {
            window: None,
            stride: None,
            n_fft: 63,
            hop_length: None,
            rate_hz: None,
            columns: Vec::new(),
            label_column: DEFAULT_LABEL_COLUMN.into(),
            subject_column: DEFAULT_SUBJECT_COLUMN.into(),
            time_column: DEFAULT_TIME_COLUMN.into(),
            activities: Vec::new(),
            test_subjects: Vec::new(),
            validation_subjects: Vec::new(),
            held_out: HeldOut::Test,
            train_examples: None,
        }
    }
}

pub(super) const DEFAULT_LABEL_COLUMN: &str = "label";
pub(super) const DEFAULT_SUBJECT_COLUMN: &str = "subject";
pub(super) const DEFAULT_TIME_COLUMN: &str = "time";

/// Fewest rows and columns of a spectrogram that the networks can work with.
const MIN_SIDE: usize = 8;
/// Most rows and columns of a spectrogram.
const MAX_SIDE: usize = 1024;
/// Columns of a spectrogram that the default hop aims at.
const DEFAULT_FRAMES: usize = 32;

impl SensorConfig {
    /// Checks every value that can be judged without knowing the data.
    ///
    /// # Errors
    /// Names the first key whose value cannot work.
    pub fn validate(&self) -> Result<(), DataError> {
        let rows = self.n_fft / 2 + 1;
        if !(MIN_SIDE..=MAX_SIDE).contains(&rows) {
            let (low, high) = (2 * (MIN_SIDE - 1), 2 * (MAX_SIDE - 1));
            let why = format!("must lie between {low} and {high}");
            return Err(DataError::option("data.sensor.n_fft", self.n_fft, why));
        }
        for (key, count) in [
            ("data.sensor.window", self.window),
            ("data.sensor.stride", self.stride),
            ("data.sensor.hop_length", self.hop_length),
            ("data.sensor.train_examples", self.train_examples),
        ] {
            if count == Some(0) {
                return Err(DataError::option(key, 0, "must be at least 1"));
            }
        }
        if let Some(rate) = self.rate_hz
            && !(rate > 0.0 && rate.is_finite())
        {
            let why = "must be a positive number of samples per second";
            return Err(DataError::option("data.sensor.rate_hz", rate, why));
        }
        self.validate_subjects()
    }

    fn validate_subjects(&self) -> Result<(), DataError> {
        let both = |id: &&String| self.test_subjects.iter().any(|t| same_id(t, id));
        if let Some(id) = self.validation_subjects.iter().find(both) {
            let why = "this subject is among data.sensor.test_subjects too";
            return Err(DataError::option(
                "data.sensor.validation_subjects",
                id,
                why,
            ));
        }
        Ok(())
    }

    /// The geometry of windows and spectrograms, with what is not set taken from the format.
    pub(super) fn geometry(&self, defaults: &Defaults) -> Result<Geometry, DataError> {
        self.validate()?;
        let window = self.window.unwrap_or(defaults.window);
        if window < self.n_fft {
            let why = format!("must be at least data.sensor.n_fft = {}", self.n_fft);
            return Err(DataError::option("data.sensor.window", window, why));
        }
        let geometry = Geometry {
            window,
            stride: self.stride.unwrap_or((window / 2).max(1)),
            n_fft: self.n_fft,
            hop: self.hop_length.unwrap_or(window.div_ceil(DEFAULT_FRAMES)),
            rate_hz: self.rate_hz.unwrap_or(defaults.rate_hz),
        };
        let frames = geometry.frames();
        if !(MIN_SIDE..=MAX_SIDE).contains(&frames) {
            let why = format!(
                "a window of {window} steps then has {frames} columns, and {MIN_SIDE} to \
                 {MAX_SIDE} are supported"
            );
            return Err(DataError::option(
                "data.sensor.hop_length",
                geometry.hop,
                why,
            ));
        }
        Ok(geometry)
    }
}

/// Sizes of windows and spectrograms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Geometry {
    pub(super) window: usize,
    pub(super) stride: usize,
    pub(super) n_fft: usize,
    pub(super) hop: usize,
    pub(super) rate_hz: f32,
}

impl Geometry {
    /// Rows of a spectrogram.
    pub(super) fn rows(&self) -> usize {
        self.n_fft / 2 + 1
    }

    /// Columns of a spectrogram: frames are centred, so padding adds `n_fft / 2` at both ends.
    pub(super) fn frames(&self) -> usize {
        (self.window + 2 * (self.n_fft / 2) - self.n_fft) / self.hop + 1
    }
}

/// Whether two subject or activity identifiers mean the same: `02` is `2`, case does not matter.
pub(super) fn same_id(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a.eq_ignore_ascii_case(b),
    }
}

/// A list of texts in which plain numbers may stand without quotes: `[1, "2", "anna"]`.
fn texts<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Item {
        Number(u64),
        Text(String),
    }
    let items = Vec::<Item>::deserialize(input)?;
    let text = |item| match item {
        Item::Number(number) => number.to_string(),
        Item::Text(text) => text,
    };
    Ok(items.into_iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut SensorConfig)) -> SensorConfig {
        let mut config = SensorConfig::default();
        change(&mut config);
        config
    }

    const LONG: Defaults = Defaults {
        window: 1000,
        rate_hz: 100.0,
        train_examples: None,
        test_subjects: &[],
        validation_subjects: &[],
    };

    #[test]
    fn default_hop_gives_32_columns() {
        let geometry = SensorConfig::default().geometry(&LONG).unwrap();
        assert_eq!(
            (geometry.hop, geometry.rows(), geometry.frames()),
            (32, 32, 32)
        );
        for (window, hop) in [(256, 8), (128, 4), (500, 16)] {
            let config = with(|c| c.window = Some(window));
            let geometry = config.geometry(&LONG).unwrap();
            assert_eq!((geometry.hop, geometry.frames()), (hop, 32), "{window}");
        }
    }

    #[test]
    fn bad_values_name_their_key() {
        let broken: [(SensorConfig, &str); 7] = [
            (with(|c| c.n_fft = 13), "data.sensor.n_fft = 13"),
            (with(|c| c.window = Some(0)), "data.sensor.window = 0"),
            (with(|c| c.window = Some(62)), "data.sensor.window = 62"),
            (
                with(|c| c.hop_length = Some(500)),
                "data.sensor.hop_length = 500",
            ),
            (
                with(|c| c.hop_length = Some(0)),
                "data.sensor.hop_length = 0",
            ),
            (
                with(|c| c.rate_hz = Some(f32::NAN)),
                "data.sensor.rate_hz = NaN",
            ),
            (
                with(|c| {
                    c.test_subjects = vec!["07".into()];
                    c.validation_subjects = vec!["7".into()];
                }),
                "data.sensor.validation_subjects = 7",
            ),
        ];
        for (config, start) in broken {
            let message = config.geometry(&LONG).unwrap_err().to_string();
            assert!(message.starts_with(start), "{message}");
        }
    }

    #[test]
    fn identifiers_are_compared_by_value() {
        assert!(same_id("02", "2") && same_id("Anna", "anna"));
        assert!(!same_id("2", "20") && !same_id("2", "b"));
    }
}
