//! From layers to a configuration.

use super::error::{ConfigError, Origin};
use super::{Config, Layer, modality_names, preset, set, to_table};
use serde::Deserialize;
use std::collections::HashMap;
use toml::Value;

/// Merges layers, weakest first, over the built-in default of the modality they name.
///
/// # Errors
/// When no layer names a modality, or a value cannot work; the message says where it was written.
pub fn resolve(layers: &[Layer]) -> Result<Config, ConfigError> {
    let entries = || layers.iter().flat_map(|layer| &layer.entries);
    let modality = entries()
        .filter(|entry| entry.key == "modality")
        .filter_map(|entry| Some((entry.value.as_ref()?.as_str()?, &entry.origin)))
        .next_back();
    let Some((modality, origin)) = modality else {
        return Err(ConfigError::MissingModality(modality_names().join("|")));
    };
    if !modality_names().contains(&modality) {
        let words = modality_names();
        let expected = format!("one of {}", words.join(", "));
        let error = ConfigError::value("modality", modality, expected);
        return Err(error.at(origin.clone()).suggesting(words));
    }
    let mut table = to_table(&preset(modality));
    let mut origins = HashMap::new();
    for entry in entries() {
        set(&mut table, &entry.key, entry.value.clone());
        origins.insert(entry.key.as_str(), &entry.origin);
    }
    let locate = |error| locate(error, &origins);
    let mut config = deserialize(Value::Table(table)).map_err(locate)?;
    if let Some(path) = &mut config.data.path
        && let Ok(absolute) = std::path::absolute(&path)
    {
        // A run must find its data again from any folder.
        *path = absolute;
    }
    config.validate().map_err(locate)?;
    Ok(config)
}

/// Types have been checked entry by entry; what is left are numbers too large for their key.
fn deserialize(value: Value) -> Result<Config, ConfigError> {
    Config::deserialize(value).map_err(|error| ConfigError::Syntax {
        origin: Origin::Default,
        message: error.to_string().trim().replace('\n', " "),
    })
}

/// Adds the place where the offending value was written.
fn locate(error: ConfigError, origins: &HashMap<&str, &Origin>) -> ConfigError {
    let origin = match &error {
        ConfigError::Value(wrong) => origins.get(wrong.key.as_str()).map(|o| (*o).clone()),
        _ => None,
    };
    error.at(origin.unwrap_or_default())
}
