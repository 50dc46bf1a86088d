//! `metrics.jsonl`: one JSON object a line, each with its `step`.

use super::{RunError, write_atomically};
use crate::progress::Event;
use serde::Serialize;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Appends to `metrics.jsonl`.
#[derive(Debug)]
pub(super) struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens the file, which may not exist yet.
    pub(super) fn open(path: PathBuf) -> Result<Self, RunError> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(RunError::io(&path, "open"))?;
        Ok(Self { path, file })
    }

    /// Writes `record` as a line that says which `event` it is.
    pub(super) fn append(&mut self, event: &str, record: &impl Serialize) -> Result<(), RunError> {
        let mut line = serde_json::to_string(&Event {
            event,
            body: record,
        })
        .map_err(|error| RunError::io(&self.path, "write")(error.into()))?;
        line.push('\n');
        self.file
            .write_all(line.as_bytes())
            .map_err(RunError::io(&self.path, "write"))
    }

    /// Brings all lines to the disk.
    pub(super) fn sync(&self) -> Result<(), RunError> {
        self.file
            .sync_all()
            .map_err(RunError::io(&self.path, "write"))
    }

    /// Drops what lies after `step`, and a last line that a kill cut short.
    pub(super) fn truncate_after(&mut self, step: u64) -> Result<(), RunError> {
        self.keep(|line| line.step.is_some_and(|at| at <= step))
    }

    /// Drops the records of kind `event` at `step`.
    pub(super) fn drop_at(&mut self, event: &str, step: u64) -> Result<(), RunError> {
        self.keep(|line| line.step != Some(step) || line.event.as_deref() != Some(event))
    }

    /// Writes the file again without the other lines.
    fn keep(&mut self, keeps: impl Fn(&Line) -> bool) -> Result<(), RunError> {
        let lines = read_lines(&self.path)?.into_iter();
        let kept: Vec<String> = lines.filter(keeps).map(|line| line.text).collect();
        let mut text = kept.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        write_atomically(&self.path, text.as_bytes())?;
        *self = Self::open(std::mem::take(&mut self.path))?;
        Ok(())
    }
}

struct Line {
    text: String,
    event: Option<String>,
    step: Option<u64>,
}

fn read_lines(path: &Path) -> Result<Vec<Line>, RunError> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(RunError::io(path, "read")(error)),
    };
    let parse = |line: &str| {
        // Nothing is found in a line that is no object.
        let value: Value = serde_json::from_str(line).unwrap_or_default();
        Line {
            text: line.to_owned(),
            event: value["event"].as_str().map(str::to_owned),
            step: value["step"].as_u64(),
        }
    };
    Ok(text.lines().map(parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn drops_what_was_not_checkpointed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = Metrics::open(path.clone()).unwrap();
        for step in 1..=5 {
            metrics
                .append("step", &json!({"step": step, "w": 0.5}))
                .unwrap();
        }
        metrics.sync().unwrap();
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"{\"step\": 3, \"lo").unwrap();
        metrics.truncate_after(3).unwrap();
        metrics
            .append("step", &json!({"step": 4, "w": 0.25}))
            .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[2], r#"{"event":"step","step":3,"w":0.5}"#);
        assert_eq!(lines[3], r#"{"event":"step","step":4,"w":0.25}"#);
        metrics.append("epoch", &json!({"step": 4})).unwrap();
        metrics.drop_at("epoch", 4).unwrap();
        metrics.drop_at("epoch", 3).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        metrics.truncate_after(0).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }
}
