//! A run that has been trained, brought back into memory.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::Networks;
use crate::pictures;
use crate::run::{Checkpoint, RunDir, RunError};
use crate::train::normalization;
use crate::train::players::Players;
use std::path::{Path, PathBuf};
use viewmaker_data::Splits;
use viewmaker_exec::Tower;

/// Configuration, data and networks of a run.
pub struct Trained {
    /// The configuration.
    pub config: Config,
    /// The data it was trained on, or those asked for instead.
    pub splits: Splits,
    /// The networks, with the weights of the latest checkpoint.
    pub players: Players,
    /// Steps they were trained for.
    pub step: u64,
}

impl Trained {
    /// Loads the latest checkpoint of the run in `folder`; `data` replaces the data of the run.
    ///
    /// # Errors
    /// When there is no run, it has no checkpoint yet, the checkpoint is damaged or belongs to
    /// another model, or the data cannot be opened or have another shape.
    pub fn load(folder: &Path, data: Option<PathBuf>) -> Result<Self> {
        let mut config = RunDir::read_config(folder)?;
        if data.is_some() {
            config.data.path = data;
        }
        let Some((checkpoint, at)) = RunDir::latest_checkpoint(folder)? else {
            let path = folder.to_path_buf();
            let why = "it has no checkpoint yet".to_owned();
            return Err(RunError::NoRun { path, why }.into());
        };
        let splits = pictures::open_data(&config)?;
        let shape = splits.train.shape();
        let stats = normalization(&checkpoint).or(splits.after_view.clone());
        let networks = Networks::build(&config, shape, stats.as_ref())?;
        let players = networks.init(&config, config.seed);
        load_weights(&players.encoder, "encoder", &checkpoint, &at)?;
        if let crate::train::players::Views::Learned(tower) = &players.views {
            load_weights(tower, "viewmaker", &checkpoint, &at)?;
        }
        Ok(Self {
            config,
            splits,
            players,
            step: checkpoint.step,
        })
    }
}

fn load_weights(tower: &Tower, file: &str, checkpoint: &Checkpoint, at: &Path) -> Result<()> {
    let tensors = checkpoint.file(file, at)?;
    tower.weights_mut().load(tensors).map_err(|error| {
        let path = at.join(format!("{file}.safetensors"));
        Error::failure(format!("{}: {error}", path.display()))
    })
}
