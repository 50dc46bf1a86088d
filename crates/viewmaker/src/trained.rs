//! A run that has been trained, brought back into memory.

use crate::config::{Config, Layer, resolve, schema};
use crate::error::{Error, Result};
use crate::machine;
use crate::model::Networks;
use crate::pictures;
use crate::run::{Checkpoint, RunDir, RunError, Unreadable};
use crate::train::normalization;
use crate::train::players::Players;
use crate::train::text::{TEXT_TOWER, TextBranch};
use std::path::{Path, PathBuf};
use viewmaker_data::{ChannelStats, Splits};
use viewmaker_exec::Tower;

/// Configuration, data and networks of a run.
pub struct Trained {
    /// The configuration.
    pub config: Config,
    /// The data it was trained on, or those asked for instead; their `after_view` is the
    /// normalisation that the encoder was trained with.
    pub splits: Splits,
    /// The normalisation after the views that the data themselves suggest.
    pub data_statistics: Option<ChannelStats>,
    /// The networks, with the weights of the latest checkpoint.
    pub players: Players,
    /// The network that embeds texts, where the objective has one.
    pub texts: Option<Tower>,
    /// Steps they were trained for.
    pub step: u64,
    /// A sentence for each later checkpoint that could not be read.
    pub warnings: Vec<String>,
}

/// What is to be different from the run.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Data instead of those of the run.
    pub data: Option<PathBuf>,
    /// Settings on top of those of the run.
    pub settings: Layer,
}

impl Changes {
    /// The configuration of the run in `folder` with the changes.
    ///
    /// # Errors
    /// When there is no run, its configuration is damaged, or a setting cannot work.
    pub fn config(&self, folder: &Path) -> Result<Config> {
        let mut config = RunDir::read_config(folder)?;
        if !self.settings.entries.is_empty() {
            let of_run = Layer::from_file(&RunDir::config_path(folder), schema())?;
            config = resolve(&[of_run, self.settings.clone()])?;
        }
        if self.data.is_some() {
            config.data.path.clone_from(&self.data);
        }
        Ok(config)
    }
}

impl Trained {
    /// Loads the latest checkpoint of the run in `folder`.
    ///
    /// # Errors
    /// When there is no run, it has no checkpoint yet, the checkpoint is damaged or belongs to
    /// another model, or the data cannot be opened or have another shape.
    pub fn load(folder: &Path, changes: &Changes) -> Result<Self> {
        let config = changes.config(folder)?;
        let Some(latest) = RunDir::latest_checkpoint(folder)? else {
            let path = folder.to_path_buf();
            let why = "it has no checkpoint yet".to_owned();
            return Err(RunError::NoRun { path, why }.into());
        };
        let (checkpoint, at) = (latest.checkpoint, latest.folder);
        let mut splits = pictures::open_data(&config)?;
        let shape = splits.train.shape();
        let data_statistics = splits.after_view.clone();
        splits.after_view = normalization(&checkpoint, &at)?.or(splits.after_view);
        let explain = |error: Error| match &changes.data {
            Some(path) => other_shape(path, shape, &error),
            None => error,
        };
        let networks = Networks::build(&config, shape, splits.after_view.as_ref());
        let networks = networks.map_err(explain)?;
        let machine = machine::open(&config)?.machine;
        let players = networks.init(&config, config.seed, &machine)?;
        load_weights(&players.encoder, "encoder", &checkpoint, &at).map_err(explain)?;
        if let crate::train::players::Views::Learned(tower) = &players.views {
            load_weights(tower, "viewmaker", &checkpoint, &at)?;
        }
        let objective = viewmaker_objective::registry::find(&config.objective.name);
        let texts = match objective.is_ok_and(|entry| entry.branches.text) {
            true => {
                let branch = TextBranch::new(&config, players.embedding_dim(), &machine)?;
                load_weights(branch.tower(), TEXT_TOWER, &checkpoint, &at)?;
                Some(branch.tower().clone())
            }
            false => None,
        };
        Ok(Self {
            config,
            splits,
            data_statistics,
            players,
            texts,
            step: checkpoint.step,
            warnings: latest.damaged.iter().map(warning).collect(),
        })
    }
}

/// Weights that do not fit when other data were asked for: most likely these have another shape.
fn other_shape(data: &Path, [channels, height, width]: [usize; 3], error: &Error) -> Error {
    Error::usage(format!(
        "--data {}: the encoder does not fit examples of {channels}×{height}×{width}, as these data \
         have them; use data with the channels that the run was trained on ({error})",
        data.display()
    ))
}

fn warning(damaged: &Unreadable) -> String {
    let Unreadable { step, error } = damaged;
    format!("warning: the checkpoint of step {step} is left out: {error}")
}

fn load_weights(tower: &Tower, file: &str, checkpoint: &Checkpoint, at: &Path) -> Result<()> {
    let tensors = checkpoint.file(file, at)?;
    tower.weights_mut().load(tensors).map_err(|error| {
        let path = at.join(format!("{file}.safetensors"));
        Error::failure(format!("{}: {error}", path.display()))
    })
}
