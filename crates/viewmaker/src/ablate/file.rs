//! Reading the file of an ablation: every mistake is an error with its line and key.

use super::table::probes;
use crate::config::{ConfigError, Layer, Origin, Source, meant, modality_names, schema};
use crate::error::{Error, Result};
use crate::eval::Probe;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A key of the grid, and its values as they were written.
pub(super) type Axis = (String, Vec<Value>);

/// Keys, `modality` among them, and values of the points to leave out.
pub(super) type Skip = Table;

const KNOWN: [&str; 8] = [
    "title",
    "config",
    "modalities",
    "seeds",
    "probes",
    "skip",
    "base",
    "grid",
];

/// Keys that a list at the top decides.
const DECIDED: [(&str, &str); 2] = [("modality", "modalities"), ("seed", "seeds")];

/// The parsed file.
pub(super) struct File<'t> {
    table: Table,
    source: Source<'t>,
}

impl<'t> File<'t> {
    /// Parses the text of the file `path` and checks the names of its keys and sections.
    ///
    /// # Errors
    /// When the text is no TOML, or something at the top has an unknown name.
    pub(super) fn parse(text: &'t str, path: &Path) -> Result<Self> {
        let (table, source) = Source::parse(text, path)?;
        let file = Self { table, source };
        file.check_keys()?;
        Ok(file)
    }

    fn check_keys(&self) -> Result<(), ConfigError> {
        let modalities = modality_names();
        let known = || KNOWN.into_iter().chain(modalities.iter().copied());
        match self
            .table
            .keys()
            .find(|key| !known().any(|k| k == key.as_str()))
        {
            Some(key) => Err(ConfigError::UnknownKey {
                origin: self.source.origin(&[key]),
                key: key.clone(),
                nearest: meant(key, known()),
            }),
            None => Ok(()),
        }
    }

    /// An error about a key at the top.
    pub(super) fn wrong(&self, key: &str, expected: &str) -> Error {
        self.refused(key, format!("expected {expected}"))
    }

    fn refused(&self, key: &str, why: String) -> Error {
        let value = self.table.get(key);
        let value = value.map_or("nothing".to_owned(), Value::to_string);
        ConfigError::refused(key, value, why)
            .at(self.source.origin(&[key]))
            .into()
    }

    /// The text of a key, where it is there.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "text in quotes")),
        }
    }

    /// A list of different items, at least one, read item by item.
    fn list<T: PartialEq>(
        &self,
        key: &str,
        expected: &str,
        read: fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>> {
        let written = self.table.get(key).and_then(Value::as_array);
        let items: Option<Vec<T>> = written.and_then(|items| items.iter().map(read).collect());
        let items = items
            .filter(|items| !items.is_empty())
            .ok_or_else(|| self.wrong(key, expected))?;
        match written.and_then(|written| written.get(twice(&items)?)) {
            Some(item) => Err(self.refused(key, stands_twice(item))),
            None => Ok(items),
        }
    }

    /// The modalities.
    pub(super) fn modalities(&self) -> Result<Vec<String>> {
        let expected = format!("a list of {}", modality_names().join(", "));
        self.list("modalities", &expected, |value| {
            let name = value.as_str()?;
            modality_names().contains(&name).then(|| name.to_owned())
        })
    }

    /// The seeds.
    pub(super) fn seeds(&self) -> Result<Vec<u64>> {
        self.list("seeds", "a list of whole numbers", |value| {
            value.as_integer().and_then(|seed| u64::try_from(seed).ok())
        })
    }

    /// The probes; none where the file says nothing.
    pub(super) fn probes(&self) -> Result<Vec<Probe>> {
        if !self.table.contains_key("probes") {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = probes().into_iter().map(Probe::name).collect();
        let expected = format!("a list of {}", names.join(", "));
        self.list("probes", &expected, |value| {
            let probe = Probe::by_name(value.as_str()?)?;
            probes().contains(&probe).then_some(probe)
        })
    }

    /// The points to leave out; each must name a modality or a value of the grid.
    pub(super) fn skips(&self, grid: &[Axis]) -> Result<Vec<Skip>> {
        if !self.table.contains_key("skip") {
            return Ok(Vec::new());
        }
        let expected = "a list of tables such as { modality = \"image\", \"objective.name\" = \"tcn\" } \
                        with values of the grid";
        let skips = self.list("skip", expected, |value| value.as_table().cloned())?;
        let known = |key: &str, value: &Value| match key {
            "modality" => value
                .as_str()
                .is_some_and(|m| modality_names().contains(&m)),
            _ => grid
                .iter()
                .any(|(k, values)| k == key && values.contains(value)),
        };
        let fine =
            |skip: &Skip| !skip.is_empty() && skip.iter().all(|(key, value)| known(key, value));
        match skips.iter().all(fine) {
            true => Ok(skips),
            false => Err(self.wrong("skip", expected)),
        }
    }

    /// The keys of the grid, each with at least one value, all different.
    pub(super) fn grid(&self) -> Result<Vec<Axis>> {
        let mut grid = Vec::new();
        for (key, value, origin) in self.settings("grid")? {
            let Some(values) = value.as_array().filter(|values| !values.is_empty()) else {
                let expected = "a list of values to compare";
                return Err(ConfigError::value(key, value, expected).at(origin).into());
            };
            // A mistake in the grid should show with its line, before anything runs.
            let mut read = Layer::default();
            for value in values {
                read.add(&key, value.clone(), origin.clone(), schema())?;
            }
            // 1 and 1.0 are one value of a key that takes numbers.
            let read: Vec<_> = read.entries.into_iter().map(|entry| entry.value).collect();
            if let Some(again) = twice(&read) {
                let why = stands_twice(&values[again]);
                return Err(ConfigError::refused(key, value, why).at(origin).into());
            }
            grid.push((key, values.clone()));
        }
        Ok(grid)
    }

    /// The layers below the grid: the configuration file, `[base]`, and the modality's own.
    pub(super) fn below(&self, modality: &str, path: &Path) -> Result<Vec<Layer>> {
        let mut layers = Vec::new();
        if let Some(config) = self.text("config")? {
            let config = path
                .parent()
                .map_or(PathBuf::from(&config), |dir| dir.join(&config));
            layers.push(Layer::from_file(&config, schema())?);
        }
        for section in ["base", modality] {
            let mut layer = Layer::default();
            for (key, value, origin) in self.settings(section)? {
                layer.add(&key, value, origin, schema())?;
            }
            layers.push(layer);
        }
        Ok(layers)
    }

    /// The settings of a section, nested tables flattened.
    fn settings(&self, section: &str) -> Result<Vec<(String, Value, Origin)>> {
        let mut out: Vec<(String, Value, Origin)> = Vec::new();
        match self.table.get(section) {
            None => {}
            Some(Value::Table(table)) => self.flatten(table, &mut vec![section], &mut out),
            Some(_) => return Err(self.wrong(section, "a section of settings")),
        }
        for (number, (key, value, origin)) in out.iter().enumerate() {
            let why = match DECIDED.iter().find(|(decided, _)| decided == key) {
                Some((_, list)) => format!("leave it out: `{list}` at the top decides this"),
                // As `a.b = …` and as `"a.b" = …`, which are two keys of TOML.
                None if out[..number].iter().any(|(other, ..)| other == key) => {
                    "this key stands there twice: once is enough".to_owned()
                }
                None => continue,
            };
            let error = ConfigError::refused(key, value, why);
            return Err(error.at(origin.clone()).into());
        }
        Ok(out)
    }

    fn flatten<'a>(
        &self,
        table: &'a Table,
        path: &mut Vec<&'a str>,
        out: &mut Vec<(String, Value, Origin)>,
    ) {
        for (name, value) in table {
            path.push(name);
            match value {
                Value::Table(inner) => self.flatten(inner, path, out),
                value => out.push((path[1..].join("."), value.clone(), self.source.origin(path))),
            }
            path.pop();
        }
    }
}

/// Checks that nothing in `extra` is decided by a list of the file: it would change nothing.
///
/// # Errors
/// Names the first such key.
pub(super) fn check_extra(extra: &Layer, grid: &[Axis], path: &Path) -> Result<(), ConfigError> {
    for entry in &extra.entries {
        let list = DECIDED.iter().find(|(key, _)| *key == entry.key);
        let list = list.map(|(_, list)| (*list).to_owned());
        let axis = grid.iter().find(|(key, _)| *key == entry.key);
        let list = list.or(axis.map(|_| format!("[grid] {}", entry.key)));
        if let Some(list) = list {
            let value = entry.value.as_ref();
            let value = value.map_or("none".to_owned(), Value::to_string);
            let why = format!("change `{list}` in {}, which decides this", path.display());
            let error = ConfigError::refused(&entry.key, value, why);
            return Err(error.at(entry.origin.clone()));
        }
    }
    Ok(())
}

/// Index of the first item that stands there before.
fn twice<T: PartialEq>(items: &[T]) -> Option<usize> {
    (1..items.len()).find(|&i| items[..i].contains(&items[i]))
}

fn stands_twice(item: &Value) -> String {
    format!("{item} stands there twice: once is enough")
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
