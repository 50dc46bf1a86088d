//! The options that make up a configuration; several commands share them.

use crate::config::{self, Config, Device, Layer, Origin, resolve, schema};
use crate::error::{Error, Result};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use std::path::{Path, PathBuf};
use toml::Value;
use viewmaker_data::Modality;

// Where settings come from. Later wins: built-in default of the modality, --config, --set, flags.
// (No doc comment: clap would show it instead of the command's own.)
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct ConfigArgs {
    /// Kind of data.
    #[arg(long, value_name = "NAME", value_parser = modality_parser())]
    modality: Option<String>,
    /// File or folder of your own data; without it, data that come with the program.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Configuration file; configs/ holds the paper's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is trained; `viewmaker objectives` explains each.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(config::objective_names()), hide_possible_values = true)]
    objective: Option<String>,
    /// Change one setting, for example optim.encoder.lr=0.1; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of every random choice.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Passes over the training data.
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Steps in all, instead of epochs.
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    steps: Option<u64>,
    /// Threads; 0 means one per core. The result does not depend on it.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Where to compute: auto, cpu, cuda, or cuda:N for card N.
    #[arg(long, value_name = "DEVICE")]
    device: Option<Device>,
}

impl ConfigArgs {
    /// The layers on top of the built-in default, weakest first.
    pub(super) fn layers(&self) -> Result<Vec<Layer>> {
        let mut layers = Vec::new();
        if let Some(path) = &self.config {
            layers.push(Layer::from_file(path, schema())?);
        }
        let mut set = Layer::default();
        for assignment in &self.set {
            set.add_assignment(assignment, schema())?;
        }
        layers.push(set);
        layers.push(self.flags()?);
        Ok(layers)
    }

    /// What `--modality` says.
    pub(super) fn modality(&self) -> Option<&str> {
        self.modality.as_deref()
    }

    /// The configuration that these options describe.
    pub(super) fn resolve(&self) -> Result<Config> {
        Ok(resolve(&self.layers()?)?)
    }

    /// The configuration of a run in `path` with these options on top.
    pub(super) fn resolve_over(&self, path: &Path) -> Result<Config> {
        let mut layers = vec![Layer::from_file(path, schema())?];
        layers.extend(self.layers()?);
        Ok(resolve(&layers)?)
    }

    fn flags(&self) -> Result<Layer> {
        let mut layer = Layer::default();
        if let Some(modality) = &self.modality {
            layer.add_flag("modality", modality.as_str(), "--modality");
        }
        if let Some(path) = &self.data {
            let Some(text) = path.to_str() else {
                let message = format!("--data: {} is not valid Unicode", path.display());
                return Err(Error::usage(message));
            };
            layer.add_flag("data.path", text, "--data");
        }
        if let Some(objective) = &self.objective {
            layer.add_flag("objective.name", objective.as_str(), "--objective");
        }
        let numbers = [
            ("seed", self.seed, "--seed"),
            ("train.epochs", self.epochs, "--epochs"),
            ("train.steps", self.steps, "--steps"),
            ("threads", self.threads.map(|n| n as u64), "--threads"),
        ];
        for (key, number, flag) in numbers {
            if let Some(number) = number {
                layer.add_flag(key, whole(number, key, flag)?, flag);
            }
        }
        if self.epochs.is_some() {
            // Whatever a file says about steps, the flag is about epochs.
            layer.unset_by_flag("train.steps", "--epochs");
        }
        if let Some(device) = self.device {
            layer.add_flag("device", device.to_string(), "--device");
        }
        Ok(layer)
    }
}

/// The names of the registry, each with its line of help.
fn modality_parser() -> PossibleValuesParser {
    let registry = viewmaker_data::modality::registry().iter();
    let value = |m: &&dyn Modality| PossibleValue::new(m.name()).help(m.about());
    PossibleValuesParser::new(registry.map(value))
}

/// A number as TOML has them.
fn whole(number: u64, key: &str, flag: &'static str) -> Result<Value, config::ConfigError> {
    i64::try_from(number).map(Value::Integer).map_err(|_| {
        config::ConfigError::value(key, number, "2⁶³ − 1 or less").at(Origin::Flag(flag))
    })
}

/// Makes rayon use the configured number of threads.
pub(super) fn use_threads(config: &Config) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads)
        .build_global()
        .map_err(|error| Error::failure(format!("cannot start threads: {error}")))
}
