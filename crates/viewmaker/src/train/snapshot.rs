//! Everything that a resumed run needs to go on bit by bit as if it had never stopped.

use super::{Progress, Trainer};
use crate::error::{Error, Result};
use crate::run::Checkpoint;
use std::collections::BTreeMap;
use viewmaker_data::ChannelStats;

/// Key of the checkpoint's description for the normalisation between viewmaker and encoder.
const AFTER_VIEW: &str = "after_view";

/// The normalisation that the encoder of a checkpoint was trained with: data that it is tried on
/// later must not bring their own.
pub(crate) fn normalization(checkpoint: &Checkpoint) -> Option<ChannelStats> {
    let value = checkpoint.meta.get(AFTER_VIEW)?.clone();
    let (mean, std) = serde_json::from_value(value).ok()?;
    Some(ChannelStats { mean, std })
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
