//! What came out of one run of an ablation: its summary, and what probes made of it.

use crate::error::{Error, Result};
use crate::eval::Probe;
use crate::eval::report::settings;
use crate::run::{RunDir, RunSummary};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A finished run with the results of all probes that the ablation asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Summary of the training.
    pub summary: RunSummary,
    /// Results by probe, as `viewmaker eval` writes them.
    probes: BTreeMap<Probe, Vec<Value>>,
}

impl From<RunSummary> for Outcome {
    /// A run without probes.
    fn from(summary: RunSummary) -> Self {
        Self {
            summary,
            probes: BTreeMap::new(),
        }
    }
}

impl Outcome {
    /// Adds the results of a probe.
    pub fn with(mut self, probe: Probe, results: Vec<Value>) -> Self {
        self.probes.insert(probe, results);
        self
    }

    /// Reads the folder of a run; `None` while training or one of `probes` has not finished. What
    /// somebody measured there with other data or settings of evaluation does not count.
    ///
    /// # Errors
    /// When a file cannot be read or is damaged.
    pub fn read(folder: &Path, probes: &[Probe]) -> Result<Option<Self>> {
        let Some(summary) = RunSummary::read(folder)? else {
            return Ok(None);
        };
        let measured = measured(folder, &summary, probes)?;
        let mut outcome = Self::from(summary);
        for (probe, results) in measured {
            match results {
                Some(results) => outcome = outcome.with(probe, results),
                None => return Ok(None),
            }
        }
        Ok(Some(outcome))
    }

    /// Probes of `wanted` whose results are missing in the folder of a finished run.
    ///
    /// # Errors
    /// As [`Outcome::read`].
    pub fn missing(folder: &Path, wanted: &[Probe]) -> Result<Vec<Probe>> {
        let Some(summary) = RunSummary::read(folder)? else {
            return Ok(wanted.to_vec());
        };
        let measured = measured(folder, &summary, wanted)?.into_iter();
        let missing = measured.filter(|(_, results)| results.is_none());
        Ok(missing.map(|(probe, _)| probe).collect())
    }

    /// The results of a probe; empty if it was not asked for.
    pub fn probe(&self, probe: Probe) -> &[Value] {
        self.probes.get(&probe).map_or(&[], Vec::as_slice)
    }
}

fn path(folder: &Path, probe: Probe) -> PathBuf {
    folder.join("eval").join(format!("{}.json", probe.name()))
}

/// Results of a probe; `None` where it has not been run.
type Measured = (Probe, Option<Vec<Value>>);

/// What probes made of a finished run, with its own data and settings.
fn measured(folder: &Path, summary: &RunSummary, probes: &[Probe]) -> Result<Vec<Measured>> {
    if probes.is_empty() {
        return Ok(Vec::new());
    }
    let settings = settings(&RunDir::read_config(folder)?);
    let read = |&probe| Ok((probe, read_probe(folder, probe, summary.steps, &settings)?));
    probes.iter().map(read).collect()
}

/// The results of a probe of the network after `steps` steps, measured with these settings.
fn read_probe(
    folder: &Path,
    probe: Probe,
    steps: u64,
    settings: &Value,
) -> Result<Option<Vec<Value>>> {
    let path = path(folder, probe);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(&path, "read", error)),
    };
    let file: Value = serde_json::from_slice(&text).map_err(|error| {
        let path = path.display();
        Error::failure(format!(
            "{path} is damaged ({error}); remove it to measure again"
        ))
    })?;
    if file["step"].as_u64() != Some(steps) || file["settings"] != *settings {
        return Ok(None);
    }
    let results = file["results"].as_array();
    Ok(results.map(|results| results.iter().map(|r| r["result"].clone()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, preset};
    use serde_json::json;

    #[test]
    fn a_run_is_done_when_its_probes_are() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        let probes = [Probe::Linear, Probe::Fewshot];
        assert_eq!(Outcome::read(folder, &probes).unwrap(), None);
        assert_eq!(Outcome::missing(folder, &probes).unwrap(), probes);
        let config = preset("image");
        std::fs::write(RunDir::config_path(folder), config.to_toml()).unwrap();
        std::fs::write(
            folder.join(RunSummary::FILE),
            r#"{"steps": 3, "epochs": 1}"#,
        )
        .unwrap();
        assert!(Outcome::read(folder, &[]).unwrap().is_some());
        assert_eq!(Outcome::missing(folder, &probes).unwrap(), probes);
        std::fs::create_dir(folder.join("eval")).unwrap();
        let write = |probe: Probe, step: u64, config: &Config| {
            let results = [json!({"result": {"accuracy": 0.5}})];
            let file = json!({"step": step, "settings": settings(config), "results": results});
            std::fs::write(path(folder, probe), file.to_string()).unwrap();
        };
        write(Probe::Linear, 3, &config);
        write(Probe::Fewshot, 2, &config);
        // What was measured earlier in the training does not count.
        assert_eq!(Outcome::missing(folder, &probes).unwrap(), [Probe::Fewshot]);
        assert_eq!(Outcome::read(folder, &probes).unwrap(), None);
        // Nor does what was measured in another way, or on other data.
        let mut other = config.clone();
        other.eval.linear_epochs += 1;
        let mut elsewhere = config.clone();
        elsewhere.data.path = Some("/elsewhere".into());
        for config in [other, elsewhere] {
            write(Probe::Fewshot, 3, &config);
            assert_eq!(Outcome::missing(folder, &probes).unwrap(), [Probe::Fewshot]);
        }
        write(Probe::Fewshot, 3, &config);
        let outcome = Outcome::read(folder, &probes).unwrap().unwrap();
        assert_eq!(outcome.probe(Probe::Linear)[0]["accuracy"], 0.5);
        std::fs::write(path(folder, Probe::Linear), "{").unwrap();
        let error = Outcome::read(folder, &probes).unwrap_err().to_string();
        assert!(error.contains("linear.json is damaged"), "{error}");
    }
}
