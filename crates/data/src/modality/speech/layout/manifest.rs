//! A list of files with labels: `manifest.csv` with the columns `path`, `label` and, if wanted,
//! `split`. Paths are relative to the list.

use super::{Found, Layout, Part};
use crate::modality::speech::config::Labels;
use crate::{DataError, files};
use std::path::{Path, PathBuf};

pub(super) const LAYOUT: Layout = Layout {
    name: "a manifest.csv",
    labels: &[Labels::Manifest],
    window: None,
    published: None,
    recognise: |path, _| file_at(path).is_some(),
    read,
};

/// The list at a path: itself or the file `manifest.csv` in it.
pub(super) fn file_at(path: &Path) -> Option<PathBuf> {
    let file = if path.is_dir() {
        path.join("manifest.csv")
    } else {
        path.to_path_buf()
    };
    (file.is_file() && files::has_extension(&file, &["csv"])).then_some(file)
}

fn read(path: &Path, _: &[PathBuf], _: Labels) -> Result<Vec<Found>, DataError> {
    let file = file_at(path).unwrap_or_else(|| path.to_path_buf());
    let text = files::read_text(&file)?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let columns = Columns::find(&file, reader.headers().map_err(|e| damaged(&file, &e))?)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|e| damaged(&file, &e))?;
        let line = row.position().map_or(0, csv::Position::line);
        found.push(columns.recording(&file, folder, line, &row)?);
    }
    if found.is_empty() {
        return Err(DataError::format(&file, "line 2", "a recording", "nothing"));
    }
    Ok(found)
}

fn damaged(file: &Path, error: &csv::Error) -> DataError {
    let line = error.position().map_or(1, csv::Position::line);
    let found = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("{len} fields where the header has {expected_len}")
        }
        _ => error.to_string(),
    };
    DataError::format(file, format!("line {line}"), "a row of the table", found)
}

struct Columns {
    path: usize,
    label: Option<usize>,
    split: Option<usize>,
}

impl Columns {
    fn find(file: &Path, header: &csv::StringRecord) -> Result<Self, DataError> {
        let column = |name: &str| header.iter().position(|h| h.eq_ignore_ascii_case(name));
        let Some(path) = column("path") else {
            let names: Vec<_> = header.iter().collect();
            let found = format!("the columns {}", names.join(", "));
            let expected = "the columns path,label and optionally split";
            return Err(DataError::format(file, "line 1", expected, found));
        };
        Ok(Self {
            path,
            label: column("label"),
            split: column("split"),
        })
    }

    fn recording(
        &self,
        file: &Path,
        folder: &Path,
        line: u64,
        row: &csv::StringRecord,
    ) -> Result<Found, DataError> {
        let cell = |column: Option<usize>| {
            column
                .and_then(|c| row.get(c))
                .filter(|text| !text.is_empty())
        };
        let place = || format!("line {line}");
        let Some(path) = cell(Some(self.path)) else {
            return Err(DataError::format(file, place(), "a path", "an empty field"));
        };
        let path = folder.join(path);
        if !path.is_file() {
            let found = format!("{}, which is no file", path.display());
            return Err(DataError::format(
                file,
                place(),
                "the path of a recording",
                found,
            ));
        }
        let part = cell(self.split).map(|name| {
            part_named(name).ok_or_else(|| {
                let expected = "the split train, validation or test";
                DataError::format(file, place(), expected, format!("\"{name}\""))
            })
        });
        Ok(Found {
            path,
            class: cell(self.label).map(str::to_owned),
            part: part.transpose()?,
        })
    }
}

fn part_named(name: &str) -> Option<Part> {
    match name.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Part::Train),
        "test" | "testing" | "valid" | "validation" | "dev" | "held-out" => Some(Part::HeldOut),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{folder_with, summary};
    use super::super::{Labels, Part, read};

    fn with_manifest(text: &str) -> tempfile::TempDir {
        let folder = folder_with(&["x/1.wav", "x/2, loud.flac"]);
        std::fs::write(folder.path().join("manifest.csv"), text).unwrap();
        folder
    }

    #[test]
    fn rows_become_recordings() {
        let text = "label,path,split\nyes,x/1.wav,train\nno,\"x/2, loud.flac\",Test\n";
        let folder = with_manifest(text);
        let corpus = read(folder.path(), Labels::Auto).unwrap();
        assert_eq!(corpus.class_names, ["no", "yes"]);
        let want = [
            ("1.wav".to_owned(), Some("yes"), Some(Part::Train)),
            ("2, loud.flac".to_owned(), Some("no"), Some(Part::HeldOut)),
        ];
        assert_eq!(summary(&corpus), want);
        let by_file = read(&folder.path().join("manifest.csv"), Labels::Manifest).unwrap();
        assert_eq!(summary(&by_file), want);
    }

    #[test]
    fn without_labels_it_is_unlabelled() {
        let corpus = read(with_manifest("path\nx/1.wav\n").path(), Labels::Auto).unwrap();
        assert_eq!((corpus.labels, corpus.recordings.len()), (Labels::None, 1));
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, want) in [
            (
                "file,label\nx/1.wav,a\n",
                "manifest.csv: line 1: expected the columns path,label",
            ),
            (
                "path,label\nx/1.wav,a\nx/9.wav,b\n",
                "manifest.csv: line 3: expected the path of",
            ),
            (
                "path,label\nx/1.wav\n",
                "manifest.csv: line 2: expected a row of the table",
            ),
            (
                "path,label,split\nx/1.wav,a,later\n",
                "line 2: expected the split train",
            ),
            ("path,label\n", "manifest.csv: line 2: expected a recording"),
            ("path,label\n ,a\n", "manifest.csv: line 2: expected a path"),
        ] {
            let folder = with_manifest(text);
            let message = read(folder.path(), Labels::Auto).err().unwrap().to_string();
            assert!(message.contains(want), "{message}");
        }
    }
}
