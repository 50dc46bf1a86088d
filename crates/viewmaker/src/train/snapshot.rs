//! Everything that a resumed run needs to go on bit by bit as if it had never stopped.

use super::{Progress, Trainer};
use crate::error::{Error, Result};
use crate::run::Checkpoint;
use std::collections::BTreeMap;
use viewmaker_data::ChannelStats;
use viewmaker_exec::Tensor;
use viewmaker_objective::NamedTensor;

/// Files of a checkpoint.
pub(crate) const ENCODER: &str = "encoder";
pub(crate) const VIEWMAKER: &str = "viewmaker";
const ENCODER_OPTIMIZER: &str = "encoder_optimizer";
const VIEWMAKER_OPTIMIZER: &str = "viewmaker_optimizer";
const OBJECTIVE: &str = "objective";

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
        let encoder = &self.players.encoder;
        files.insert(ENCODER.to_string(), encoder.weights().tensors());
        let state = self.encoder_optimizer.state(encoder.net())?;
        files.insert(ENCODER_OPTIMIZER.to_string(), state);
        if let (Some(tower), Some(optimizer)) =
            (self.players.views.tower(), &self.viewmaker_optimizer)
        {
            files.insert(VIEWMAKER.to_string(), tower.weights().tensors());
            let state = optimizer.state(tower.net())?;
            files.insert(VIEWMAKER_OPTIMIZER.to_string(), state);
        }
        self.companions.save(&mut files)?;
        // Weights that could not be read are old ones.
        self.check_devices()?;
        let state = self.objective.state().into_iter();
        let objective = state.map(|(name, shape, data)| (name, Tensor { shape, data }));
        files.insert(OBJECTIVE.to_string(), objective.collect());
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
        let empty = BTreeMap::new();
        let file = |name: &str| checkpoint.tensors.get(name).unwrap_or(&empty);
        let fits = |file: &str, why: String| {
            let step = checkpoint.step;
            Error::failure(format!("checkpoint of step {step}: {file}: {why}"))
        };
        let encoder = &self.players.encoder;
        let loaded = encoder.weights_mut().load(file(ENCODER));
        loaded.map_err(|e| fits(ENCODER, e.to_string()))?;
        self.encoder_optimizer
            .load_state(encoder.net(), file(ENCODER_OPTIMIZER))
            .map_err(|name| fits(ENCODER_OPTIMIZER, format!("tensor {name} does not fit")))?;
        if let (Some(tower), Some(optimizer)) =
            (self.players.views.tower(), &mut self.viewmaker_optimizer)
        {
            let loaded = tower.weights_mut().load(file(VIEWMAKER));
            loaded.map_err(|e| fits(VIEWMAKER, e.to_string()))?;
            optimizer
                .load_state(tower.net(), file(VIEWMAKER_OPTIMIZER))
                .map_err(|name| fits(VIEWMAKER_OPTIMIZER, format!("tensor {name} does not fit")))?;
        }
        self.companions
            .load(&checkpoint.tensors)
            .map_err(|(file, why)| fits(file, why))?;
        let objective = file(OBJECTIVE).iter();
        let objective = objective.map(|(name, t)| (name.clone(), t.shape.clone(), t.data.clone()));
        let objective: Vec<NamedTensor> = objective.collect();
        self.objective
            .load_state(&objective)
            .map_err(|e| fits(OBJECTIVE, e.to_string()))?;
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
