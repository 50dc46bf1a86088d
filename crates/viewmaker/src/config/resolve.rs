//! From layers to a configuration.

use super::error::{ConfigError, Origin};
use super::{Config, Entry, Layer, get, modality_names, preset, schema, set, to_table};
use serde::Deserialize;
use std::collections::HashMap;
use toml::Value;

/// Merges layers, weakest first, over the built-in default of the modality and of the objective they
/// name.
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
    agree_on(modality, origin, entries())?;
    let preset = preset(modality);
    let objective = entries()
        .filter(|entry| entry.key == "objective.name")
        .filter_map(|entry| entry.value.as_ref()?.as_str())
        .next_back();
    let defaults = defaults_of(objective.unwrap_or(&preset.objective.name))?;
    let mut table = to_table(&preset);
    for entry in &defaults.entries {
        set(&mut table, &entry.key, entry.value.clone());
    }
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

/// Refuses two names of the modality: settings for one hardly suit another.
fn agree_on<'a>(
    modality: &str,
    origin: &Origin,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<(), ConfigError> {
    let named = entries.filter(|entry| entry.key == "modality");
    let texts = named.filter_map(|entry| Some((entry.value.as_ref()?.as_str()?, &entry.origin)));
    for (other, elsewhere) in texts {
        if other != modality {
            let place = origin.to_string();
            let place = place.trim_end_matches(": ");
            let why = format!("{place} says {modality}; settings are for one modality, name one");
            return Err(ConfigError::refused("modality", other, why).at(elsewhere.clone()));
        }
    }
    Ok(())
}

/// What of this configuration is not as its objective usually has it, in words; empty where nothing is.
pub(super) fn departures(config: &Config) -> Vec<String> {
    let usual = defaults_of(&config.objective.name).unwrap_or_default();
    let table = to_table(config);
    let differs = |entry: &Entry| {
        let (usual, here) = (entry.value.as_ref()?, get(&table, &entry.key)?);
        (usual != here).then(|| format!("{} = {here} (usually {usual})", entry.key))
    };
    usual.entries.iter().filter_map(differs).collect()
}

/// What the registry of objectives says should differ from the built-in defaults for an objective.
fn defaults_of(objective: &str) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    // An unknown name is refused later, with the place where it was written.
    if let Ok(entry) = viewmaker_objective::registry::find(objective) {
        for assignment in entry.defaults {
            layer.add_assignment_from(assignment, Origin::Default, schema())?;
        }
    }
    Ok(layer)
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
