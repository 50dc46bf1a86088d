//! The configuration: what every run is made from.
//!
//! Settings come from layers (built-in default of the modality, configuration file, `--set` and
//! flags; later ones win) that [`resolve`] merges into a [`Config`]. The keys and their types are
//! read off the `Deserialize` implementations (`schema.rs`), their meaning stands in `docs/`,
//! their ranges in `validate.rs`, their default values in `preset.rs`.

mod device;
mod docs;
mod error;
mod identity;
mod layer;
mod preset;
mod probes;
mod resolve;
mod schema;
mod sections;
mod source;
mod validate;
mod views;
mod write;

pub use device::{Device, Precision};
pub use docs::doc;
pub(crate) use error::meant;
pub use error::{ConfigError, Origin, WrongValue};
pub use layer::{Entry, Layer};
pub use preset::preset;
pub use probes::*;
pub use resolve::resolve;
pub use schema::{Key, Kind, Schema};
pub use sections::*;
pub(crate) use source::Source;
pub use views::{ViewNetwork, ViewSource, ViewSources};

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::LazyLock;
use toml::{Table, Value};
use viewmaker_data::views::Stage;
use viewmaker_data::{DataConfig, DataError, Recipe};
use viewmaker_objective::ObjectiveConfig;

/// Everything that decides what a run does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A name of the modality registry.
    pub modality: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Threads; 0: one per core.
    pub threads: usize,
    /// Where the computation runs, in the words of [`Device`].
    pub device: String,
    /// How convolutions and fully connected layers multiply on a device.
    pub precision: Precision,
    /// Which data, and how they are read.
    pub data: DataSection,
    /// The network that makes views.
    pub viewmaker: ViewmakerSection,
    /// Where views come from.
    pub views: ViewsSection,
    /// The network that is wanted in the end.
    pub encoder: EncoderSection,
    /// The contrastive loss.
    pub objective: ObjectiveConfig,
    /// The course of training.
    pub train: TrainSection,
    /// One optimiser per network.
    pub optim: OptimSection,
    /// How good the features are.
    pub eval: EvalSection,
}

impl Config {
    /// Reads the `config.toml` of a run.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or does not make a valid configuration.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let layer = Layer::from_file(path, schema())?;
        resolve(&[layer])
    }

    /// The configuration as commented TOML; [`Config::read`] gives it back.
    pub fn to_toml(&self) -> String {
        write::to_toml(self)
    }

    /// Settings that its objective usually has otherwise, in words: `encoder.projection = "linear" (usually
    /// "mlp")`. A file that names every key, as `viewmaker config` writes it, brings them along when only the
    /// objective is changed.
    pub fn departures(&self) -> Vec<String> {
        resolve::departures(self)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key whose value cannot work, and what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        validate::validate(self)
    }

    /// What makes views while examples are loaded; `None` where the loader leaves them alone.
    ///
    /// # Errors
    /// When an option of the views cannot work.
    pub fn recipe(&self) -> Result<Option<Recipe>, DataError> {
        let views = &self.views;
        let mut stages = views.source.stages();
        let objective = viewmaker_objective::registry::find(&self.objective.name);
        if objective.is_ok_and(|entry| entry.branches.ordered) {
            stages.insert(0, Stage::Ordered);
        }
        Recipe::new(&self.modality, &stages, &views.options())
    }

    /// Steps of the whole run where an epoch has `steps_per_epoch` of them.
    pub fn total_steps(&self, steps_per_epoch: u64) -> u64 {
        let epochs = self.train.epochs.saturating_mul(steps_per_epoch);
        self.train.steps.unwrap_or(epochs)
    }

    /// The configuration as a value of JSON, for `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(to_table(self)).unwrap_or_default()
    }
}

/// All keys of a configuration.
pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(build_schema);
    &SCHEMA
}

fn build_schema() -> Schema {
    let whole = Schema::of::<Config>("");
    // The section `data` has flattened parts, which cannot be seen from outside.
    let mut data = Schema::default();
    data.push(Key {
        path: "data.path".to_owned(),
        kind: Kind::Text,
        optional: true,
    });
    data.extend(Schema::of::<DataConfig>("data."));
    let mut schema = Schema::default();
    for key in whole.keys() {
        if key.path == "viewmaker.distortion_budget" {
            schema.extend(std::mem::take(&mut data));
        }
        let mut key = key.clone();
        match key.path.as_str() {
            "modality" => key.kind = Kind::Choice(modality_names()),
            "encoder.name" => key.kind = Kind::Choice(encoder_names()),
            "objective.name" => key.kind = Kind::Choice(objective_names()),
            "views.source" => key.kind = key.kind.or_one(),
            _ => {}
        }
        schema.push(key);
    }
    schema
}

/// Every modality that can be named.
pub fn modality_names() -> Vec<&'static str> {
    let registry = viewmaker_data::modality::registry();
    registry.iter().map(|modality| modality.name()).collect()
}

/// Every encoder that can be named.
pub fn encoder_names() -> Vec<&'static str> {
    let registry = viewmaker_net::zoo::encoders();
    registry.iter().map(|encoder| encoder.name).collect()
}

/// Every objective that can be named.
pub fn objective_names() -> Vec<&'static str> {
    let registry = viewmaker_objective::registry();
    registry.iter().map(|objective| objective.name).collect()
}

/// The configuration as a table of TOML.
///
/// By way of text, because that writes an `f32` in the shortest form that gives it back, where
/// going through `f64` would turn 0.07 into 0.07000000029802322.
fn to_table(config: &Config) -> Table {
    toml::to_string(config)
        .ok()
        .and_then(|text| toml::from_str(&text).ok())
        .unwrap_or_default()
}

/// The value at a dotted path.
fn get<'t>(table: &'t Table, path: &str) -> Option<&'t Value> {
    match path.split_once('.') {
        Some((section, rest)) => get(table.get(section)?.as_table()?, rest),
        None => table.get(path),
    }
}

/// Sets (or with `None` removes) the value at a dotted path.
fn set(table: &mut Table, path: &str, value: Option<Value>) {
    let Some((section, rest)) = path.split_once('.') else {
        match value {
            Some(value) => table.insert(path.to_owned(), value),
            None => table.remove(path),
        };
        return;
    };
    let inner = table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(inner) = inner {
        set(inner, rest, value);
    }
}

#[cfg(test)]
mod tests;
