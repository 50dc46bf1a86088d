//! The file of an ablation, and the runs it stands for.
//!
//! ```toml
//! title = "Views"                    # optional
//! config = "../cifar10.toml"         # optional, relative to this file
//! modalities = ["image", "speech"]
//! seeds = [0, 1, 2]
//! probes = ["linear", "finetune"]    # optional: measured after training, as by `viewmaker eval`
//! skip = [{ modality = "speech", "views.source" = "none" }]    # optional: points to leave out
//!
//! [base]                             # settings of every run
//! train.epochs = 5
//!
//! [image]                            # settings of the runs of one modality
//! train.epochs = 8
//!
//! [grid]                             # every combination of these is a run for every seed
//! views.source = ["learned", "noise", "none"]
//! ```

use super::table::PROBES;
use crate::config::{
    Config, ConfigError, Layer, Origin, Source, modality_names, nearest, resolve, schema,
};
use crate::error::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// One combination of the grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The modality.
    pub modality: String,
    /// Keys of the grid and their values here.
    pub values: Vec<(String, Value)>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.modality)?;
        let mut values = self.values.iter();
        values.try_for_each(|(key, value)| write!(f, " {key} = {}", shown(value)))
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSpec {
    /// Index of its point in [`Plan::points`].
    pub point: usize,
    /// Its seed.
    pub seed: u64,
    /// Name of its folder.
    pub name: String,
    /// Its configuration.
    pub config: Config,
}

/// All runs of an ablation.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What it is about.
    pub title: String,
    /// Keys of the grid.
    pub keys: Vec<String>,
    /// Combinations, in the order of the table.
    pub points: Vec<Point>,
    /// Runs: every point with every seed.
    pub runs: Vec<RunSpec>,
    /// Probes of every run, by name.
    pub probes: Vec<String>,
    /// Combinations that are left out.
    pub skipped: Vec<Point>,
}

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

impl Plan {
    /// Reads the file of an ablation; `extra` are settings on top of those of the file.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown, or a configuration is invalid.
    pub fn read(path: &Path, extra: &Layer) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Self::parse(&text, path, extra)
    }

    /// Reads the text of the file `path`.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub fn parse(text: &str, path: &Path, extra: &Layer) -> Result<Self> {
        let (table, source) = Source::parse(text, path)?;
        let file = File { table, source };
        file.check_keys()?;
        let modalities = file.modalities()?;
        let seeds = file.seeds()?;
        let grid = file.grid()?;
        let skips = file.skips(&grid)?;
        let mut points = Vec::new();
        let mut runs = Vec::new();
        let mut skipped = Vec::new();
        for modality in &modalities {
            let below = file.below(modality, path)?;
            for values in combinations(&grid) {
                let point = Point {
                    modality: modality.clone(),
                    values,
                };
                if skips.iter().any(|skip| point.fits(skip)) {
                    skipped.push(point);
                    continue;
                }
                for seed in &seeds {
                    let config = configuration(&below, &point, *seed, extra)?;
                    runs.push(RunSpec {
                        point: points.len(),
                        seed: *seed,
                        name: run_name(&point, *seed),
                        config,
                    });
                }
                points.push(point);
            }
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            title: file.text("title")?.unwrap_or_else(|| stem.into_owned()),
            keys: grid.into_iter().map(|(key, _)| key).collect(),
            points,
            runs,
            probes: file.probes()?,
            skipped,
        })
    }
}

/// Keys, `modality` among them, and values of the points to leave out.
type Skip = Table;

impl Point {
    /// Whether this point has all values of a skip.
    fn fits(&self, skip: &Skip) -> bool {
        skip.iter().all(|(key, value)| match key.as_str() {
            "modality" => value.as_str() == Some(&self.modality),
            _ => self
                .values
                .iter()
                .any(|(own, at)| own == key && at == value),
        })
    }
}

/// Settings at one point of the grid, all layers merged.
fn configuration(below: &[Layer], point: &Point, seed: u64, extra: &Layer) -> Result<Config> {
    let mut layers = below.to_vec();
    let mut own = Layer::default();
    own.add(
        "modality",
        point.modality.as_str().into(),
        Origin::Default,
        schema(),
    )?;
    for (key, value) in &point.values {
        own.add(key, value.clone(), Origin::Default, schema())?;
    }
    let seed = i64::try_from(seed).map_err(|_| Error::usage("seeds are at most 2⁶³ − 1"))?;
    own.add("seed", seed.into(), Origin::Default, schema())?;
    layers.push(extra.clone());
    layers.push(own);
    Ok(resolve(&layers)?)
}

/// Every combination of the grid; one empty combination for an empty grid.
fn combinations(grid: &[(String, Vec<Value>)]) -> Vec<Vec<(String, Value)>> {
    let mut all = vec![Vec::new()];
    for (key, values) in grid {
        all = all
            .into_iter()
            .flat_map(|point: Vec<(String, Value)>| {
                values.iter().map(move |value| {
                    let mut longer = point.clone();
                    longer.push((key.clone(), value.clone()));
                    longer
                })
            })
            .collect();
    }
    all
}

/// A folder name such as `image-source=learned-seed=0`.
fn run_name(point: &Point, seed: u64) -> String {
    let mut parts = vec![point.modality.clone()];
    for (key, value) in &point.values {
        let key = key.rsplit('.').next().unwrap_or(key);
        parts.push(format!("{key}={}", shown(value)));
    }
    parts.push(format!("seed={seed}"));
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_=.+".contains(c);
    parts
        .join("-")
        .chars()
        .map(|c| if fine(c) { c } else { '_' })
        .collect()
}

/// A value without quotes; a list of words with `+` between them.
pub(super) fn shown(value: &Value) -> String {
    let words = |items: &Vec<Value>| {
        let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
        words.map(|words| words.join("+"))
    };
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => words(items).unwrap_or_else(|| value.to_string()),
        other => other.to_string(),
    }
}

/// The parsed file.
struct File<'t> {
    table: Table,
    source: Source<'t>,
}

impl File<'_> {
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
                nearest: nearest(key, known()).into_iter().collect(),
            }),
            None => Ok(()),
        }
    }

    /// An error about a key at the top.
    fn wrong(&self, key: &str, expected: &str) -> Error {
        let value = self
            .table
            .get(key)
            .map_or("nothing".to_owned(), Value::to_string);
        ConfigError::value(key, value, expected)
            .at(self.source.origin(&[key]))
            .into()
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "text in quotes")),
        }
    }

    /// A list that is not empty, read item by item.
    fn list<T>(&self, key: &str, expected: &str, read: fn(&Value) -> Option<T>) -> Result<Vec<T>> {
        let items = self.table.get(key).and_then(Value::as_array);
        let items: Option<Vec<T>> = items.and_then(|items| items.iter().map(read).collect());
        items
            .filter(|items| !items.is_empty())
            .ok_or_else(|| self.wrong(key, expected))
    }

    fn modalities(&self) -> Result<Vec<String>> {
        let expected = format!("a list of {}", modality_names().join(", "));
        self.list("modalities", &expected, |value| {
            let name = value.as_str()?;
            modality_names().contains(&name).then(|| name.to_owned())
        })
    }

    fn seeds(&self) -> Result<Vec<u64>> {
        self.list("seeds", "a list of whole numbers", |value| {
            value.as_integer().and_then(|seed| u64::try_from(seed).ok())
        })
    }

    fn probes(&self) -> Result<Vec<String>> {
        if !self.table.contains_key("probes") {
            return Ok(Vec::new());
        }
        let expected = format!("a list of {}", PROBES.join(", "));
        self.list("probes", &expected, |value| {
            let name = value.as_str()?;
            PROBES.contains(&name).then(|| name.to_owned())
        })
    }

    /// The points to leave out; each must name a modality or a value of the grid.
    fn skips(&self, grid: &[(String, Vec<Value>)]) -> Result<Vec<Skip>> {
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

    fn grid(&self) -> Result<Vec<(String, Vec<Value>)>> {
        let settings = self.settings("grid")?;
        let mut grid = Vec::new();
        for (key, value, origin) in settings {
            let Value::Array(values) = value else {
                let expected = "a list of values to compare";
                return Err(ConfigError::value(key, value, expected).at(origin).into());
            };
            // A mistake in the grid should show with its line, before anything runs.
            for value in &values {
                Layer::default().add(&key, value.clone(), origin.clone(), schema())?;
            }
            grid.push((key, values));
        }
        Ok(grid)
    }

    /// The layers below the grid: the configuration file, `[base]`, and the modality's own.
    fn below(&self, modality: &str, path: &Path) -> Result<Vec<Layer>> {
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
        let mut out = Vec::new();
        match self.table.get(section) {
            None => {}
            Some(Value::Table(table)) => self.flatten(table, &mut vec![section], &mut out),
            Some(_) => return Err(self.wrong(section, "a section of settings")),
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
title = "Views"
modalities = ["image", "sensor"]
seeds = [0, 7]

[base]
train.epochs = 3

[sensor]
"train.epochs" = 4

[grid]
views.source = ["learned", "none"]
viewmaker.widths = [[4, 8, 16], [8, 16, 32]]
"#;

    fn parse(text: &str) -> Result<Plan> {
        Plan::parse(text, Path::new("my.toml"), &Layer::default())
    }

    fn message(text: &str) -> String {
        let error = parse(text).expect_err("an error was expected");
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn every_combination_runs_with_every_seed() {
        let plan = parse(TEXT).unwrap();
        assert_eq!(plan.keys, ["views.source", "viewmaker.widths"]);
        assert_eq!((plan.points.len(), plan.runs.len()), (8, 16));
        let mut names: Vec<&str> = plan.runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names[0], "image-source=learned-widths=_4__8__16_-seed=0");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 16, "folders must not collide");
        let last = &plan.runs[15];
        assert_eq!(
            (last.seed, last.config.seed, last.config.train.epochs),
            (7, 7, 4)
        );
        assert_eq!(plan.runs[0].config.train.epochs, 3);
        assert_eq!(last.config.modality, "sensor");
        assert_eq!(last.config.viewmaker.widths, [8, 16, 32]);
    }

    #[test]
    fn the_command_line_has_the_last_word_on_the_base() {
        let mut extra = Layer::default();
        extra.add_assignment("train.epochs=1", schema()).unwrap();
        let plan = Plan::parse(TEXT, Path::new("my.toml"), &extra).unwrap();
        assert!(plan.runs.iter().all(|run| run.config.train.epochs == 1));
    }

    #[test]
    fn points_can_be_left_out() {
        let skip = r#"skip = [{ modality = "sensor", "views.source" = "none" }]"#;
        let plan = parse(&TEXT.replace("[base]", &format!("{skip}\n[base]"))).unwrap();
        assert_eq!((plan.points.len(), plan.runs.len()), (6, 12));
        assert_eq!(plan.skipped.len(), 2);
        let text = plan.skipped[0].to_string();
        assert!(text.starts_with("sensor views.source = none"), "{text}");
        assert!(plan.runs.iter().all(|run| run.point < 6));
        for wrong in [
            r#"skip = [{ modality = "taste" }]"#,
            r#"skip = [{ "views.source" = "noise" }]"#,
            "skip = [{}]",
            "skip = true",
        ] {
            let text = message(&TEXT.replace("[base]", &format!("{wrong}\n[base]")));
            assert!(text.starts_with("my.toml:6: skip = "), "{text}");
        }
    }

    #[test]
    fn probes_are_those_with_columns() {
        let with = |probes: &str| TEXT.replace("[base]", &format!("probes = {probes}\n[base]"));
        assert_eq!(parse(&with(r#"["linear"]"#)).unwrap().probes, ["linear"]);
        assert!(parse(TEXT).unwrap().probes.is_empty());
        let text = message(&with(r#"["magic"]"#));
        assert!(text.contains("a list of linear, logistic"), "{text}");
    }

    #[test]
    fn mistakes_name_line_and_key() {
        assert_eq!(
            message(&TEXT.replace("[grid]", "[gird]")),
            "my.toml:12: unknown key `gird`; did you mean `grid`?"
        );
        assert_eq!(
            message(&TEXT.replace("views.source", "views.sorce")),
            "my.toml:13: unknown key `views.sorce`; did you mean `views.source`?"
        );
        let text = message(&TEXT.replace("\"none\"", "\"nothing\""));
        assert!(
            text.starts_with("my.toml:13: views.source = \"nothing\": expected one of"),
            "{text}"
        );
        let text = message(&TEXT.replace("[0, 7]", "[]"));
        assert_eq!(
            text,
            "my.toml:4: seeds = []: expected a list of whole numbers"
        );
        let text = message(&TEXT.replace("train.epochs = 3", "train.epochs = 0"));
        assert_eq!(text, "my.toml:7: train.epochs = 0: expected 1 or more");
        let text = message(&TEXT.replace("[\"learned\", \"none\"]", "\"none\""));
        assert!(
            text.contains("expected a list of values to compare"),
            "{text}"
        );
    }
}
