//! `summary.json`: the result of a finished run.

use super::{RunError, write_atomically};
use crate::eval::collapse::Collapse;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// What came out of a run. Accuracies are parts of 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Steps done.
    pub steps: u64,
    /// Epochs done.
    pub epochs: u64,
    /// Mean encoder loss of the last epoch.
    pub encoder_loss: Option<f64>,
    /// Mean viewmaker loss of the last epoch.
    pub viewmaker_loss: Option<f64>,
    /// Mean |δ| of the last epoch.
    pub mean_abs_delta: Option<f64>,
    /// kNN accuracy of the encoder before training.
    pub knn_accuracy_untrained: Option<f64>,
    /// kNN accuracy of the encoder after training.
    pub knn_accuracy: Option<f64>,
    /// Best kNN accuracy of all measurements.
    pub knn_accuracy_best: Option<f64>,
    /// Zero-shot accuracy after training, with objectives that embed texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_shot_accuracy: Option<f64>,
    /// Shape of the embeddings after the last epoch.
    #[serde(flatten)]
    pub collapse: Option<Collapse>,
    /// Seconds of training, all sessions together.
    pub seconds: Option<f64>,
}

impl RunSummary {
    /// Name of the file in the run folder.
    pub const FILE: &'static str = "summary.json";

    /// Writes the summary into a run folder: the run has finished.
    pub(super) fn write(&self, run: &Path) -> Result<(), RunError> {
        let path = run.join(Self::FILE);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| RunError::io(&path, "write")(error.into()))?;
        write_atomically(&path, &text)
    }

    /// The summary of the run in `run`; `None` while it has not finished.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn read(run: &Path) -> Result<Option<Self>, RunError> {
        let path = run.join(Self::FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RunError::io(&path, "read")(error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            RunError::damaged(&path, "content", "the summary of a run", error.to_string())
        })
    }
}
