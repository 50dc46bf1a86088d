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

use super::file::{Axis, File, Skip, check_extra};
use super::names::{run_name, shown};
use crate::config::{Config, ConfigError, Layer, Origin, resolve, schema};
use crate::error::{Error, Result};
use crate::eval::Probe;
use std::fmt;
use std::path::Path;
use toml::Value;

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
    /// Probes of every run.
    pub probes: Vec<Probe>,
    /// Combinations that are left out.
    pub skipped: Vec<Point>,
}

impl Plan {
    /// Reads the file of an ablation; `extra` are settings on top of those of the file.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown, a list is empty or has an item twice, a
    /// configuration is invalid, or two points are the same run.
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
        let file = File::parse(text, path)?;
        let modalities = file.modalities()?;
        let seeds = file.seeds()?;
        let grid = file.grid()?;
        let skips = file.skips(&grid)?;
        check_extra(extra, &grid, path)?;
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
        if points.is_empty() {
            return Err(file.wrong("skip", "a point of the grid to be left"));
        }
        refuse_twins(&points, &runs, path)?;
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
fn combinations(grid: &[Axis]) -> Vec<Vec<(String, Value)>> {
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

/// Checks that no two runs have one folder or compute the same: the table would show one result
/// twice.
fn refuse_twins(points: &[Point], runs: &[RunSpec], path: &Path) -> Result<()> {
    for (number, run) in runs.iter().enumerate() {
        let is_twin = |other: &&RunSpec| {
            other.name.eq_ignore_ascii_case(&run.name) || other.config == run.config
        };
        if let Some(twin) = runs[..number].iter().find(is_twin) {
            return Err(Error::usage(format!(
                "{}: [{}] and [{}] are one run (folders {} and {}); leave one of them out",
                path.display(),
                points[twin.point],
                points[run.point],
                twin.name,
                run.name
            )));
        }
    }
    Ok(())
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
        assert_eq!(
            names[0],
            "image-source=learned-widths=_4__8__16_~bda8bf9a-seed=0"
        );
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
        let all = r#"skip = [{ modality = "image" }, { modality = "sensor" }]"#;
        let text = message(&TEXT.replace("[base]", &format!("{all}\n[base]")));
        assert!(
            text.contains("expected a point of the grid to be left"),
            "{text}"
        );
    }

    #[test]
    fn points_that_are_one_run_are_refused() {
        let text = message(&TEXT.replace("\"none\"", "[\"learned\"]"));
        assert!(
            text.starts_with(
                "my.toml: [image views.source = learned viewmaker.widths = [4, 8, 16]] and "
            ),
            "{text}"
        );
        assert!(text.ends_with("leave one of them out"), "{text}");
        // Different numbers that are one number in single precision.
        let widths = "viewmaker.widths = [[4, 8, 16], [8, 16, 32]]";
        let close = "optim.encoder.lr = [0.1, 0.1000000001]";
        let text = message(&TEXT.replace(widths, close));
        assert!(text.contains("are one run"), "{text}");
    }
}
