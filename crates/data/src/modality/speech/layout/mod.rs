//! How folders of recordings say what is in them. One file per layout, one line in [`LAYOUTS`].

mod commands;
mod digits;
mod folders;
mod librispeech;
mod manifest;

use super::config::Labels;
use super::decode::{EXTENSIONS, UNREAD};
use super::settings::{PublishedStats, Window};
use crate::{DataError, files};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Lists the recordings at a path, given the sound files there, with the classes asked for.
type Reader = fn(&Path, &[PathBuf], Labels) -> Result<Vec<Found>, DataError>;

/// A convention of file and folder names.
pub(super) struct Layout {
    /// Name for messages.
    pub name: &'static str,
    /// What it can label recordings with; the first is the default.
    pub labels: &'static [Labels],
    /// Kind of recordings, where the layout tells.
    pub window: Option<Window>,
    /// Published statistics of the data set, if there are.
    pub published: Option<PublishedStats>,
    /// Whether the sound files found at a path follow the convention.
    recognise: fn(&Path, &[PathBuf]) -> bool,
    /// Lists the recordings.
    read: Reader,
}

/// The layouts, the most specific first.
static LAYOUTS: &[Layout] = &[
    manifest::LAYOUT,
    commands::LAYOUT,
    digits::LAYOUT,
    librispeech::LAYOUT,
    folders::LAYOUT,
];

/// The set a recording officially belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    HeldOut,
    /// Neither: kept for another purpose.
    Neither,
}

/// A recording as its layout describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    path: PathBuf,
    class: Option<String>,
    part: Option<Part>,
}

/// A recording with its class as a number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recording {
    pub path: PathBuf,
    pub label: Option<u32>,
    pub part: Option<Part>,
}

/// All recordings at a path.
pub(super) struct Corpus {
    pub layout: &'static Layout,
    /// What they are labelled with; never [`Labels::Auto`].
    pub labels: Labels,
    pub recordings: Vec<Recording>,
    pub class_names: Vec<String>,
    /// What the log should say about recordings that nobody reads; often nothing.
    pub left_out: String,
}

/// Finds the recordings at `path` and labels them as asked.
///
/// # Errors
/// When there are none, a list of them is damaged, or their layout has no such labels.
pub(super) fn read(path: &Path, labels: Labels) -> Result<Corpus, DataError> {
    let (sounds, left_out) = sound_files(path)?;
    let layout = LAYOUTS
        .iter()
        .find(|layout| (layout.recognise)(path, &sounds));
    let Some(layout) = layout.filter(|_| !sounds.is_empty()) else {
        let why = format!(
            "holds no .wav or .flac recordings but {}: give a folder in the layout of LibriSpeech, \
             Speech Commands or the Free Spoken Digit Dataset, a folder per class, or a \
             manifest.csv with the columns path,label",
            files::describe(path)
        );
        return Err(DataError::unusable(path, why));
    };
    let labels = match labels {
        Labels::Auto => layout.labels[0],
        Labels::None => Labels::None,
        wanted if layout.labels.contains(&wanted) => wanted,
        other => {
            let known: Vec<_> = layout.labels.iter().map(|l| l.name()).collect();
            let why = format!(
                "{} is {}: its labels can be auto, {} or none",
                path.display(),
                layout.name,
                known.join(", ")
            );
            return Err(DataError::option("data.speech.labels", other.name(), why));
        }
    };
    let found = (layout.read)(path, &sounds, labels)?;
    if found.is_empty() {
        let why = format!("is {} without a recording to use", layout.name);
        return Err(DataError::unusable(path, why));
    }
    let (recordings, class_names) = number_classes(found, labels);
    Ok(Corpus {
        layout,
        labels: if class_names.is_empty() {
            Labels::None
        } else {
            labels
        },
        recordings,
        class_names,
        left_out,
    })
}

/// The sound files at a path, itself or all below it, and what the log should say about others.
fn sound_files(path: &Path) -> Result<(Vec<PathBuf>, String), DataError> {
    if path.is_dir() {
        let mut found = files::walk(path)?;
        let left_out = files::left_out(&found, UNREAD, "WAV and FLAC");
        found.retain(|file| files::has_extension(file, EXTENSIONS));
        return Ok((found, left_out));
    }
    std::fs::metadata(path).map_err(|e| DataError::io(path, "open", e))?;
    // A manifest stands for the files that it lists.
    let counts = files::has_extension(path, EXTENSIONS) || manifest::file_at(path).is_some();
    let sounds = match counts {
        true => vec![path.to_path_buf()],
        false => Vec::new(),
    };
    Ok((sounds, String::new()))
}

/// Gives every class its number: by value where all names are numbers, else by name.
fn number_classes(found: Vec<Found>, labels: Labels) -> (Vec<Recording>, Vec<String>) {
    let mut numbers = BTreeMap::<(u64, String), u32>::new();
    let numeric = found
        .iter()
        .filter_map(|f| f.class.as_deref())
        .all(|class| class.parse::<u64>().is_ok());
    let key = |class: &str| {
        let value = if numeric {
            class.parse().unwrap_or(u64::MAX)
        } else {
            0
        };
        (value, class.to_owned())
    };
    let class_of = |f: &Found| f.class.clone().filter(|_| labels != Labels::None);
    for class in found.iter().filter_map(class_of) {
        numbers.insert(key(&class), 0);
    }
    for (number, value) in numbers.values_mut().enumerate() {
        *value = number as u32;
    }
    let recordings = found
        .iter()
        .map(|f| Recording {
            path: f.path.clone(),
            label: class_of(f).map(|class| numbers[&key(&class)]),
            part: f.part,
        })
        .collect();
    let names = numbers.into_keys().map(|(_, name)| name).collect();
    (recordings, names)
}

/// The name of the folder that a file is in.
fn folder_name(file: &Path) -> String {
    file.parent().map(files::name_of).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A folder with empty files: layouts go by names alone.
    pub(in crate::modality::speech) fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    /// `(name, class, part)` of every recording.
    pub(super) fn summary(corpus: &Corpus) -> Vec<(String, Option<&str>, Option<Part>)> {
        let class = |label: u32| corpus.class_names[label as usize].as_str();
        corpus
            .recordings
            .iter()
            .map(|r| (files::name_of(&r.path), r.label.map(class), r.part))
            .collect()
    }

    #[test]
    fn nothing_to_hear_is_an_error_that_says_what_is_there() {
        let folder = folder_with(&["a.txt", "b.txt"]);
        let message = read(folder.path(), Labels::Auto).err().unwrap().to_string();
        assert!(
            message.contains("no .wav or .flac recordings but 2 files (2 .txt)"),
            "{message}"
        );
        let missing = folder.path().join("none");
        let message = read(&missing, Labels::Auto).err().unwrap().to_string();
        assert!(message.contains("none: cannot open"), "{message}");
    }

    #[test]
    fn numeric_classes_are_in_numeric_order() {
        let folder = folder_with(&["10/a.wav", "9/b.wav", "100/c.wav"]);
        let corpus = read(folder.path(), Labels::Auto).unwrap();
        assert_eq!(corpus.class_names, ["9", "10", "100"]);
    }

    #[test]
    fn labels_that_the_layout_lacks_are_an_error() {
        let folder = folder_with(&["a/1.wav", "b/2.wav"]);
        let message = read(folder.path(), Labels::Digit)
            .err()
            .unwrap()
            .to_string();
        assert!(
            message.starts_with("data.speech.labels = digit: "),
            "{message}"
        );
        assert!(
            message.ends_with("its labels can be auto, folder or none"),
            "{message}"
        );
        let corpus = read(folder.path(), Labels::None).unwrap();
        assert!(corpus.class_names.is_empty());
        assert!(corpus.recordings.iter().all(|r| r.label.is_none()));
    }
}
