//! What came out of one run of an ablation: its summary, and what probes made of it.

use crate::error::{Error, Result};
use crate::run::RunSummary;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A finished run with the results of all probes that the ablation asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Summary of the training.
    pub summary: RunSummary,
    /// Results by probe, as `viewmaker eval` writes them.
    probes: BTreeMap<String, Vec<Value>>,
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
    pub fn with(mut self, probe: &str, results: Vec<Value>) -> Self {
        self.probes.insert(probe.to_owned(), results);
        self
    }

    /// Reads the folder of a run; `None` while training or one of `probes` has not finished.
    ///
    /// # Errors
    /// When a file cannot be read or is damaged.
    pub fn read(folder: &Path, probes: &[String]) -> Result<Option<Self>> {
        let Some(summary) = RunSummary::read(folder)? else {
            return Ok(None);
        };
        let steps = summary.steps;
        let mut outcome = Self::from(summary);
        for probe in probes {
            match read_probe(folder, probe, steps)? {
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
    pub fn missing<'p>(folder: &Path, wanted: &'p [String]) -> Result<Vec<&'p str>> {
        let steps = RunSummary::read(folder)?.map(|summary| summary.steps);
        let mut missing = Vec::new();
        for probe in wanted {
            let found = match steps {
                Some(steps) => read_probe(folder, probe, steps)?,
                None => None,
            };
            if found.is_none() {
                missing.push(probe.as_str());
            }
        }
        Ok(missing)
    }

    /// The results of a probe; empty if it was not asked for.
    pub fn probe(&self, name: &str) -> &[Value] {
        self.probes.get(name).map_or(&[], Vec::as_slice)
    }
}

fn path(folder: &Path, probe: &str) -> PathBuf {
    folder.join("eval").join(format!("{probe}.json"))
}

/// The results of a probe of the network after `steps` steps.
fn read_probe(folder: &Path, probe: &str, steps: u64) -> Result<Option<Vec<Value>>> {
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
    if file["step"].as_u64() != Some(steps) {
        return Ok(None);
    }
    let results = file["results"].as_array();
    Ok(results.map(|results| results.iter().map(|r| r["result"].clone()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_done_when_its_probes_are() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        let probes = ["linear".to_owned(), "fewshot".to_owned()];
        assert_eq!(Outcome::read(folder, &probes).unwrap(), None);
        std::fs::write(
            folder.join(RunSummary::FILE),
            r#"{"steps": 3, "epochs": 1}"#,
        )
        .unwrap();
        assert!(Outcome::read(folder, &[]).unwrap().is_some());
        assert_eq!(Outcome::missing(folder, &probes).unwrap(), probes);
        std::fs::create_dir(folder.join("eval")).unwrap();
        let write = |probe: &str, step: u64| {
            let text =
                format!(r#"{{"step": {step}, "results": [{{"result": {{"accuracy": 0.5}}}}]}}"#);
            std::fs::write(path(folder, probe), text).unwrap();
        };
        write("linear", 3);
        write("fewshot", 2);
        // What was measured earlier in the training does not count.
        assert_eq!(Outcome::missing(folder, &probes).unwrap(), ["fewshot"]);
        assert_eq!(Outcome::read(folder, &probes).unwrap(), None);
        write("fewshot", 3);
        let outcome = Outcome::read(folder, &probes).unwrap().unwrap();
        assert_eq!(outcome.probe("linear")[0]["accuracy"], 0.5);
        std::fs::write(path(folder, "linear"), "{").unwrap();
        let error = Outcome::read(folder, &probes).unwrap_err().to_string();
        assert!(error.contains("linear.json is damaged"), "{error}");
    }
}
