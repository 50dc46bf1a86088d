//! LibriSpeech: `[<subset>/]<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac`.
//!
//! Source: Panayotov et al., *LibriSpeech: an ASR corpus based on public domain audio books* (2015).

use super::{Found, Layout, Part, folder_name};
use crate::modality::speech::config::Labels;
use crate::modality::speech::settings::{PublishedStats, Window};
use crate::{DataError, files};
use std::path::{Path, PathBuf};

pub(super) const LAYOUT: Layout = Layout {
    name: "a folder in the layout of LibriSpeech",
    labels: &[Labels::Speaker],
    window: Some(Window::Reference),
    published: Some(PublishedStats::LibriSpeech),
    recognise: |_, sounds| sounds.iter().all(|file| speaker_of(file).is_some()),
    read,
};

/// The speaker, if name and folders agree.
fn speaker_of(file: &Path) -> Option<String> {
    let chapter = file.parent()?;
    let speaker = folder_name(chapter);
    let name = files::name_of(file);
    let mut parts = name.rsplit_once('.')?.0.split('-');
    let agree = parts.next()? == speaker && parts.next()? == files::name_of(chapter);
    let utterance = parts.next()?.parse::<u32>().is_ok();
    (agree && utterance && parts.next().is_none()).then_some(speaker)
}

/// The speakers of the official test sets are not those of the training sets. So the sets divide
/// the recordings only when nobody asks for speakers; with speakers as classes, utterances of every
/// speaker are held out.
fn read(_: &Path, sounds: &[PathBuf], labels: Labels) -> Result<Vec<Found>, DataError> {
    let found = |file: &PathBuf| {
        Some(Found {
            path: file.clone(),
            class: Some(speaker_of(file)?),
            part: (labels == Labels::None).then(|| part_of(file)).flatten(),
        })
    };
    Ok(sounds.iter().filter_map(found).collect())
}

fn part_of(file: &Path) -> Option<Part> {
    let subset = files::name_of(file.ancestors().nth(3)?);
    match subset.split('-').next()? {
        "train" => Some(Part::Train),
        "test" | "dev" => Some(Part::HeldOut),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{folder_with, summary};
    use super::super::{Labels, Part, read};

    const FILES: [&str; 3] = [
        "test-other/367/1/367-1-0000.flac",
        "train-clean-100/19/198/19-198-0000.flac",
        "train-clean-100/19/198/19-198-0001.flac",
    ];

    #[test]
    fn speakers_are_classes() {
        let folder = folder_with(&FILES);
        std::fs::write(folder.path().join("SPEAKERS.TXT"), "; x").unwrap();
        let corpus = read(folder.path(), Labels::Auto).unwrap();
        let want = [
            ("367-1-0000.flac".to_owned(), Some("367"), None),
            ("19-198-0000.flac".to_owned(), Some("19"), None),
            ("19-198-0001.flac".to_owned(), Some("19"), None),
        ];
        assert_eq!(summary(&corpus), want);
        assert_eq!(corpus.class_names, ["19", "367"]);
    }

    #[test]
    fn without_labels_the_official_sets_count() {
        let folder = folder_with(&FILES);
        let corpus = read(folder.path(), Labels::None).unwrap();
        let parts: Vec<_> = corpus.recordings.iter().map(|r| r.part).collect();
        let train = Some(Part::Train);
        assert_eq!(parts, [Some(Part::HeldOut), train, train]);
    }

    #[test]
    fn names_that_contradict_their_folder_are_not_librispeech() {
        let folder = folder_with(&["19/198/20-198-0000.flac", "19/199/19-199-0000.flac"]);
        let corpus = read(folder.path(), Labels::Auto).unwrap();
        assert_eq!(corpus.labels, Labels::Folder);
    }
}
