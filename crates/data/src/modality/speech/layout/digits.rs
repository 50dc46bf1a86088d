//! Free Spoken Digit Dataset: `{digit}_{speaker}_{index}.wav`; indices 0 to 4 are its test set.
//!
//! Source: Jackson et al., *Free Spoken Digit Dataset* (2016–), its README.

use super::{Found, Layout, Part};
use crate::modality::speech::config::Labels;
use crate::modality::speech::settings::Window;
use crate::{DataError, files};
use std::path::{Path, PathBuf};

/// Recordings of a digit by a speaker that are held out: those with a smaller index.
const TEST_INDICES: u32 = 5;

pub(super) const LAYOUT: Layout = Layout {
    name: "a folder of spoken digits ({digit}_{speaker}_{index}.wav)",
    labels: &[Labels::Digit, Labels::Speaker],
    window: Some(Window::Clip),
    published: None,
    recognise: |_, sounds| sounds.iter().all(|file| parse(file).is_some()),
    read,
};

struct Name {
    digit: String,
    speaker: String,
    index: u32,
}

fn parse(file: &Path) -> Option<Name> {
    let name = files::name_of(file);
    let mut parts = name.rsplit_once('.')?.0.split('_');
    let (digit, speaker, index) = (parts.next()?, parts.next()?, parts.next()?);
    let is_digit = digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit();
    let whole = is_digit && !speaker.is_empty() && parts.next().is_none();
    whole.then_some(())?;
    Some(Name {
        digit: digit.to_owned(),
        speaker: speaker.to_owned(),
        index: index.parse().ok()?,
    })
}

fn read(_: &Path, sounds: &[PathBuf], labels: Labels) -> Result<Vec<Found>, DataError> {
    let found = |file: &PathBuf| {
        let name = parse(file)?;
        Some(Found {
            path: file.clone(),
            class: Some(match labels {
                Labels::Speaker => name.speaker,
                _ => name.digit,
            }),
            part: Some(match name.index {
                ..TEST_INDICES => Part::HeldOut,
                _ => Part::Train,
            }),
        })
    };
    Ok(sounds.iter().filter_map(found).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{folder_with, summary};
    use super::super::{Labels, Part, read};

    #[test]
    fn names_say_digit_speaker_and_set() {
        let folder = folder_with(&["r/7_theo_4.wav", "r/7_theo_5.wav", "r/0_lucas_12.wav"]);
        let corpus = read(folder.path(), Labels::Auto).unwrap();
        let want = [
            ("0_lucas_12.wav".to_owned(), Some("0"), Some(Part::Train)),
            ("7_theo_4.wav".to_owned(), Some("7"), Some(Part::HeldOut)),
            ("7_theo_5.wav".to_owned(), Some("7"), Some(Part::Train)),
        ];
        assert_eq!(summary(&corpus), want);
        let speakers = read(folder.path(), Labels::Speaker).unwrap();
        assert_eq!(speakers.class_names, ["lucas", "theo"]);
    }

    #[test]
    fn one_other_name_makes_it_a_plain_folder() {
        for other in ["77_theo_1.wav", "7_theo.wav", "7_theo_x.wav", "7_a_1_2.wav"] {
            let folder = folder_with(&["7_theo_4.wav", other]);
            let corpus = read(folder.path(), Labels::Auto).unwrap();
            assert_eq!(corpus.labels, Labels::None, "{other}");
        }
    }
}
