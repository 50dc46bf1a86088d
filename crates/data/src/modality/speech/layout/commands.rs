//! Speech Commands: `<word>/<speaker>_nohash_<n>.wav`, with lists of the files that are not for
//! training.
//!
//! Source: Warden, *Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition* (2018).

use super::{Found, Layout, Part, folder_name};
use crate::modality::speech::config::Labels;
use crate::modality::speech::settings::{PublishedStats, Window};
use crate::{DataError, files};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const VALIDATION: &str = "validation_list.txt";
const TESTING: &str = "testing_list.txt";

pub(super) const LAYOUT: Layout = Layout {
    name: "a folder in the layout of Speech Commands",
    labels: &[Labels::Folder, Labels::Speaker],
    window: Some(Window::Clip),
    published: Some(PublishedStats::SpeechCommands),
    recognise: |path, _| path.join(VALIDATION).is_file() || path.join(TESTING).is_file(),
    read,
};

fn read(root: &Path, sounds: &[PathBuf], labels: Labels) -> Result<Vec<Found>, DataError> {
    let validation = listed(&root.join(VALIDATION))?;
    let testing = listed(&root.join(TESTING))?;
    let part_of = |file: &Path| {
        let name = format!("{}/{}", folder_name(file), files::name_of(file));
        if testing.contains(&name) {
            Part::HeldOut
        } else if validation.contains(&name) {
            // With no testing list, the validation list is what is held out.
            if testing.is_empty() {
                Part::HeldOut
            } else {
                Part::Neither
            }
        } else {
            Part::Train
        }
    };
    let found = sounds
        .iter()
        // Words are folders of the root; `_background_noise_` holds no words.
        .filter(|file| file.parent().and_then(Path::parent) == Some(root))
        .filter(|file| !folder_name(file).starts_with('_'))
        .map(|file| Found {
            path: file.clone(),
            class: Some(match labels {
                Labels::Speaker => speaker_of(file),
                _ => folder_name(file),
            }),
            part: Some(part_of(file)),
        })
        .collect();
    Ok(found)
}

/// The lines of a list; none where there is no list.
fn listed(list: &Path) -> Result<HashSet<String>, DataError> {
    if !list.is_file() {
        return Ok(HashSet::new());
    }
    let text = files::read_text(list)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// What stands before `_nohash_` in the name.
fn speaker_of(file: &Path) -> String {
    let name = files::name_of(file);
    let speaker = name.split("_nohash_").next().unwrap_or(&name);
    speaker.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{folder_with, summary};
    use super::super::{Labels, Part, read};

    const FILES: [&str; 5] = [
        "_background_noise_/tap.wav",
        "yes/aa_nohash_0.wav",
        "yes/bb_nohash_0.wav",
        "no/aa_nohash_0.wav",
        "no/cc_nohash_1.wav",
    ];

    #[test]
    fn lists_divide_the_files() {
        let folder = folder_with(&FILES);
        std::fs::write(
            folder.path().join("testing_list.txt"),
            "no/cc_nohash_1.wav\n",
        )
        .unwrap();
        std::fs::write(
            folder.path().join("validation_list.txt"),
            "yes/bb_nohash_0.wav\n",
        )
        .unwrap();
        let corpus = read(folder.path(), Labels::Auto).unwrap();
        let want = [
            ("aa_nohash_0.wav".to_owned(), Some("no"), Some(Part::Train)),
            (
                "cc_nohash_1.wav".to_owned(),
                Some("no"),
                Some(Part::HeldOut),
            ),
            ("aa_nohash_0.wav".to_owned(), Some("yes"), Some(Part::Train)),
            (
                "bb_nohash_0.wav".to_owned(),
                Some("yes"),
                Some(Part::Neither),
            ),
        ];
        assert_eq!(summary(&corpus), want);
        let speakers = read(folder.path(), Labels::Speaker).unwrap();
        assert_eq!(speakers.class_names, ["aa", "bb", "cc"]);
    }

    #[test]
    fn background_noise_alone_is_an_error() {
        let folder = folder_with(&["_background_noise_/tap.wav", "testing_list.txt"]);
        let message = read(folder.path(), Labels::Auto).err().unwrap().to_string();
        assert!(
            message.ends_with("Speech Commands without a recording to use"),
            "{message}"
        );
    }

    #[test]
    fn one_list_is_enough() {
        let folder = folder_with(&FILES);
        std::fs::write(
            folder.path().join("validation_list.txt"),
            "no/cc_nohash_1.wav\n",
        )
        .unwrap();
        let corpus = read(folder.path(), Labels::Auto).unwrap();
        let held_out = corpus
            .recordings
            .iter()
            .filter(|r| r.part == Some(Part::HeldOut));
        assert_eq!(held_out.count(), 1);
    }
}
