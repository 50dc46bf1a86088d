//! What a probe tells: sentences and a table for people, JSON for programs, a picture.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::render::Canvas;
use crate::run::write_atomically;
use serde_json::{Value, json};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where measured numbers come from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The run.
    pub run: &'a Path,
    /// Steps that it was trained for.
    pub step: u64,
    /// The data, in words.
    pub data: &'a str,
    /// The configuration, as it was for the measurement.
    pub config: &'a Config,
}

/// What decides a result beside the network: the sections `data` and `eval` of a configuration, as
/// they stand in the file of a result.
pub fn settings(config: &Config) -> Value {
    let all = config.to_json();
    json!({"data": all["data"], "eval": all["eval"]})
}

/// The outcome of one probe.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of the probe, and of the files.
    pub name: &'static str,
    /// For people.
    pub text: String,
    /// For programs: objects with `probe` and `result`.
    pub results: Vec<Value>,
    /// A curve or a sheet, where one makes sense.
    pub picture: Option<Canvas>,
}

impl Report {
    /// Writes `<name>.json`, and `<name>.png` if there is a picture, into `folder`; returns the files.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path, origin: Origin<'_>) -> Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", error))?;
        let path = folder.join(format!("{}.json", self.name));
        let content = json!({
            "run": origin.run,
            "step": origin.step,
            "data": origin.data,
            "settings": settings(origin.config),
            "results": self.results,
        });
        write_atomically(&path, format!("{content:#}\n").as_bytes())?;
        let mut files = vec![path];
        if let Some(picture) = &self.picture {
            let path = folder.join(format!("{}.png", self.name));
            picture.write_png(&path)?;
            files.push(path);
        }
        Ok(files)
    }
}

/// A table with aligned columns: the first to the left, the others to the right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// A table with these titles.
    pub fn new(titles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut table = Self::default();
        table.row(titles);
        table
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        let lines = self.rows.iter().map(|row| {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, &width))| match column {
                0 => format!("{cell:width$}"),
                _ => format!("{cell:>width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            line.trim_end().to_owned()
        });
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = TextTable::new(["labels", "fine-tuned", "scratch"]);
        table.row(["1 %", "12.0 ± 1.0 %", "9 %"]);
        let expected = "\
labels    fine-tuned  scratch
1 %     12.0 ± 1.0 %      9 %";
        assert_eq!(table.to_string(), expected);
        assert_eq!(TextTable::default().to_string(), "");
    }

    #[test]
    fn files_are_named_after_the_probe() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("eval");
        let report = Report {
            name: "knn",
            text: String::new(),
            results: vec![json!({"probe": "knn"})],
            picture: Some(Canvas::new(3, 3)),
        };
        let origin = Origin {
            run: Path::new("runs/a"),
            step: 7,
            data: "words",
            config: &crate::config::preset("image"),
        };
        let files = report.write(&folder, origin).unwrap();
        assert_eq!(files, [folder.join("knn.json"), folder.join("knn.png")]);
        let text = std::fs::read_to_string(&files[0]).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["step"], 7);
        assert_eq!(value["settings"], settings(origin.config));
        assert!(value["settings"]["eval"]["knn_k"].is_number());
        assert_eq!(value["results"][0]["probe"], "knn");
    }
}
