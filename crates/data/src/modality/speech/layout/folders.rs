//! Any recordings: a folder per class, or files without classes; below folders named train and
//! test if there are.

use super::{Found, Layout, Part, folder_name};
use crate::DataError;
use crate::modality::speech::config::Labels;
use std::path::{Component, Path, PathBuf};

pub(super) const LAYOUT: Layout = Layout {
    name: "a folder of recordings",
    labels: &[Labels::Folder],
    window: None,
    published: None,
    recognise: |_, _| true,
    read,
};

fn read(root: &Path, sounds: &[PathBuf], _: Labels) -> Result<Vec<Found>, DataError> {
    let divided = root.join("train").is_dir();
    let mut found: Vec<_> = sounds
        .iter()
        .map(|file| {
            let part = first_folder(root, file)
                .filter(|_| divided)
                .and_then(part_named);
            let depth = if part.is_some() { 2 } else { 1 };
            let inside = file
                .strip_prefix(root)
                .map_or(0, |f| f.components().count());
            Found {
                path: file.clone(),
                class: (inside > depth).then(|| folder_name(file)),
                part,
            }
        })
        .collect();
    // Files lie in folders for many reasons; a single one distinguishes nothing.
    let mut classes: Vec<_> = found.iter().map(|f| f.class.clone()).collect();
    classes.dedup();
    if classes.len() < 2 || classes.contains(&None) {
        for recording in &mut found {
            recording.class = None;
        }
    }
    Ok(found)
}

/// The first folder on the way from `root` to `file`.
fn first_folder<'a>(root: &Path, file: &'a Path) -> Option<&'a str> {
    let mut way = file.strip_prefix(root).ok()?.components();
    match (way.next()?, way.next()) {
        (Component::Normal(name), Some(_)) => name.to_str(),
        _ => None,
    }
}

fn part_named(name: &str) -> Option<Part> {
    match name.to_ascii_lowercase().as_str() {
        "train" => Some(Part::Train),
        "test" | "val" | "valid" | "validation" | "dev" => Some(Part::HeldOut),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{folder_with, summary};
    use super::super::{Labels, Part, read};

    #[test]
    fn a_folder_is_a_class() {
        let folder = folder_with(&["cat/1.wav", "cat/2.flac", "dog/1.WAV", "notes.txt"]);
        let corpus = read(folder.path(), Labels::Auto).unwrap();
        let want = [
            ("1.wav".to_owned(), Some("cat"), None),
            ("2.flac".to_owned(), Some("cat"), None),
            ("1.WAV".to_owned(), Some("dog"), None),
        ];
        assert_eq!(summary(&corpus), want);
    }

    #[test]
    fn train_and_test_folders_divide() {
        let folder = folder_with(&["train/a/1.wav", "train/b/2.wav", "test/a/3.wav"]);
        let corpus = read(folder.path(), Labels::Auto).unwrap();
        let want = [
            ("3.wav".to_owned(), Some("a"), Some(Part::HeldOut)),
            ("1.wav".to_owned(), Some("a"), Some(Part::Train)),
            ("2.wav".to_owned(), Some("b"), Some(Part::Train)),
        ];
        assert_eq!(summary(&corpus), want);
    }

    #[test]
    fn files_without_folders_and_single_files_are_unlabelled() {
        for names in [
            &["1.wav", "2.wav"][..],
            &["x/1.wav", "x/2.wav"],
            &["x/1.wav", "2.wav"],
        ] {
            let folder = folder_with(names);
            let corpus = read(folder.path(), Labels::Auto).unwrap();
            assert_eq!((corpus.labels, corpus.recordings.len()), (Labels::None, 2));
        }
        let folder = folder_with(&["1.wav"]);
        let corpus = read(&folder.path().join("1.wav"), Labels::Auto).unwrap();
        assert_eq!(corpus.recordings.len(), 1);
    }
}
