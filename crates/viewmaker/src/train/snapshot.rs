//! Everything that a resumed run needs to go on bit by bit as if it had never stopped.

use super::{Progress, Trainer};
use crate::error::{Error, Result};
use crate::run::{Checkpoint, RunError};
use std::collections::BTreeMap;
use std::path::Path;
use viewmaker_data::ChannelStats;

/// Key of the checkpoint's description for the normalisation between viewmaker and encoder.
const AFTER_VIEW: &str = "after_view";

/// The normalisation that the encoder of the checkpoint in `at` was trained with: data that it is tried
/// on later must not bring their own. `None` where there was none.
///
/// # Errors
/// When what the checkpoint says of it has another form.
pub(crate) fn normalization(
    checkpoint: &Checkpoint,
    at: &Path,
) -> Result<Option<ChannelStats>, RunError> {
    let Some(value) = checkpoint.meta.get(AFTER_VIEW) else {
        return Ok(None);
    };
    match serde_json::from_value(value.clone()) {
        Ok((mean, std)) => Ok(Some(ChannelStats { mean, std })),
        Err(_) => Err(RunError::damaged(
            &at.join(Checkpoint::MANIFEST),
            format!("meta.{AFTER_VIEW}"),
            "two lists of numbers, means and deviations of the channels",
            value.to_string(),
        )),
    }
}

impl Trainer<'_> {
    /// The state after the last step.
    ///
    /// # Errors
    /// When it cannot be read from a device.
    pub(super) fn checkpoint(&self) -> Result<Checkpoint> {
        let mut files = BTreeMap::new();
        self.learners.save(&mut files)?;
        let mut meta = serde_json::to_value(&self.progress).unwrap_or_default();
        if let Some(stats) = &self.splits.after_view {
            meta[AFTER_VIEW] = serde_json::json!([stats.mean, stats.std]);
        }
        Ok(Checkpoint {
            step: self.progress.step,
            epoch: self.progress.step / self.steps_per_epoch().max(1),
            tensors: files,
            meta,
        })
    }

    /// Continues from `checkpoint`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape: the checkpoint belongs to another model.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let fits = |file: &str, why: String| {
            let step = checkpoint.step;
            Error::failure(format!("checkpoint of step {step}: {file}: {why}"))
        };
        self.learners
            .load(&checkpoint.tensors)
            .map_err(|(file, why)| fits(file, why))?;
        let meta = checkpoint.meta.clone();
        let progress: Progress =
            serde_json::from_value(meta).map_err(|e| fits("meta", e.to_string()))?;
        self.progress = Progress {
            step: checkpoint.step,
            ..progress
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_normalisation_of_another_form_is_not_ignored() {
        let with = |meta| Checkpoint {
            meta,
            ..Checkpoint::default()
        };
        let at = Path::new("run/checkpoints/step-00000002");
        let read = |meta| normalization(&with(meta), at);
        assert_eq!(read(json!({})).unwrap(), None);
        let stats = read(json!({"after_view": [[0.5], [0.25]]})).unwrap();
        let expected = ChannelStats {
            mean: vec![0.5],
            std: vec![0.25],
        };
        assert_eq!(stats, Some(expected));
        for damaged in [json!([[0.5]]), json!("none"), json!([[0.5], ["a"]])] {
            let message = read(json!({"after_view": damaged}))
                .unwrap_err()
                .to_string();
            let place =
                "run/checkpoints/step-00000002/checkpoint.json: meta.after_view: expected two";
            assert!(message.starts_with(place), "{message}");
        }
    }
}
