//! Which recordings are for training and which are held out.

use super::config::Labels;
use super::layout::{Corpus, Part, Recording};
use super::recordings::{Entry, Span};
use crate::{DataError, split};
use std::collections::BTreeMap;
use std::path::Path;

/// The recordings of a corpus, divided.
pub(super) struct Partition {
    pub entries: Vec<Entry>,
    /// Indices of entries, ascending.
    pub train: Vec<usize>,
    /// Indices of entries, ascending.
    pub held_out: Vec<usize>,
    /// How they were divided, for the log.
    pub rule: &'static str,
}

/// Divides the recordings as their source says, if it says; else `fraction` of every class is held
/// out, chosen by `seed`. A speaker with a single utterance is in both sets: with the first half to
/// train on, with the second held out.
///
/// # Errors
/// When one of the sets would be empty.
pub(super) fn divide(
    source: &Path,
    corpus: &Corpus,
    fraction: f32,
    seed: u64,
) -> Result<Partition, DataError> {
    let has = |part| corpus.recordings.iter().any(|r| r.part == Some(part));
    if has(Part::Train) && has(Part::HeldOut) {
        return Ok(official(&corpus.recordings));
    }
    let mut partition = Partition {
        entries: Vec::new(),
        train: Vec::new(),
        held_out: Vec::new(),
        rule: "divided at random in every class",
    };
    let mut whole = Vec::new();
    let mut counts = BTreeMap::<Option<u32>, usize>::new();
    for recording in &corpus.recordings {
        *counts.entry(recording.label).or_default() += 1;
    }
    for recording in &corpus.recordings {
        let alone = recording.label.is_some() && counts[&recording.label] == 1;
        if alone && corpus.labels == Labels::Speaker {
            partition.rule = "speakers with one utterance: its halves; others: divided at random";
            let index = partition.entries.len();
            partition.train.push(index);
            partition.held_out.push(index + 1);
            partition.entries.push(entry(recording, Span::FirstHalf));
            partition.entries.push(entry(recording, Span::SecondHalf));
        } else {
            whole.push(recording);
        }
    }
    if !whole.is_empty() {
        let labels: Vec<_> = whole.iter().map(|r| r.label).collect();
        let division = split::by_class(source, &labels, fraction, seed)?;
        let first = partition.entries.len();
        partition
            .train
            .extend(division.train.iter().map(|i| first + i));
        partition
            .held_out
            .extend(division.held_out.iter().map(|i| first + i));
        partition
            .entries
            .extend(whole.iter().map(|r| entry(r, Span::Whole)));
    }
    Ok(partition)
}

fn official(recordings: &[Recording]) -> Partition {
    let indices = |part| {
        let of = move |(i, r): (usize, &Recording)| (r.part == Some(part)).then_some(i);
        recordings.iter().enumerate().filter_map(of).collect()
    };
    Partition {
        entries: recordings.iter().map(|r| entry(r, Span::Whole)).collect(),
        train: indices(Part::Train),
        held_out: indices(Part::HeldOut),
        rule: "divided as the source says",
    }
}

fn entry(recording: &Recording, span: Span) -> Entry {
    Entry {
        path: recording.path.clone(),
        span,
        label: recording.label,
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{self, tests::folder_with};
    use super::*;

    fn divided(names: &[&str], labels: Labels) -> Result<Partition, DataError> {
        let folder = folder_with(names);
        let corpus = layout::read(folder.path(), labels).unwrap();
        divide(folder.path(), &corpus, 0.25, 1)
    }

    #[test]
    fn the_source_decides_where_it_does() {
        let names = ["1_a_0.wav", "1_a_5.wav", "2_a_1.wav", "2_a_9.wav"];
        let partition = divided(&names, Labels::Auto).unwrap();
        assert_eq!(
            (partition.train, partition.held_out),
            (vec![1, 3], vec![0, 2])
        );
    }

    #[test]
    fn without_an_official_test_set_every_class_is_divided() {
        let names = [
            "1_a_5.wav",
            "1_b_5.wav",
            "1_c_5.wav",
            "2_a_6.wav",
            "2_b_6.wav",
        ];
        let partition = divided(&names, Labels::Auto).unwrap();
        let held_out: Vec<_> = partition
            .held_out
            .iter()
            .map(|&i| partition.entries[i].label)
            .collect();
        assert_eq!(held_out, [Some(0), Some(1)]);
        assert_eq!(partition.train.len(), 3);
    }

    #[test]
    fn single_utterances_are_halved_for_speakers_only() {
        let names = [
            "1/2/1-2-0000.flac",
            "3/4/3-4-0000.flac",
            "3/4/3-4-0001.flac",
        ];
        let partition = divided(&names, Labels::Auto).unwrap();
        let spans: Vec<_> = partition.entries.iter().map(|e| e.span).collect();
        assert_eq!(
            spans,
            [Span::FirstHalf, Span::SecondHalf, Span::Whole, Span::Whole]
        );
        assert!(partition.train.contains(&0) && partition.held_out.contains(&1));
        assert_eq!((partition.train.len(), partition.held_out.len()), (2, 2));
        let error = divided(&["a/1.wav", "b/1.wav"], Labels::Auto)
            .err()
            .unwrap();
        assert!(error.to_string().contains("cannot be divided"), "{error}");
    }
}
