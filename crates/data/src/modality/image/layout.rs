//! What the folders of picture files mean: `train` and `test`, then one folder per class.

use super::source::Part;
use crate::DataError;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Part and class of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `None` for a file that is not used: validation data beside test data.
    pub(super) part: Option<Part>,
    /// Index into [`Layout::class_names`].
    pub(super) class: Option<u32>,
}

/// Parts and classes of all files.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) places: Vec<Place>,
    /// Sorted; empty where there are no classes.
    pub(super) class_names: Vec<String>,
}

/// The parts that folder names stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Train,
    Validation,
    Test,
}

/// Reads the layout from paths relative to the root of the data.
///
/// Folders above all files are left out of account. The class is the first folder below the part,
/// or the first folder where there are no parts. One class alone tells nothing and counts as none.
pub(super) fn of(source: &Path, paths: &[PathBuf]) -> Result<Layout, DataError> {
    let folders: Vec<Vec<String>> = paths.iter().map(|path| folders_of(path)).collect();
    let named: Vec<Option<(usize, Named)>> = folders.iter().map(|f| part_of(f)).collect();
    let has = |wanted| named.iter().flatten().any(|&(_, part)| part == wanted);
    let has_parts = named.iter().any(Option::is_some);
    let shared = shared_folders(&folders);
    let class_of = |index: usize| -> Option<&String> {
        match named[index] {
            Some((depth, _)) => folders[index].get(depth + 1),
            None => folders[index].get(shared),
        }
    };
    if let Some(stray) = named.iter().position(|n| has_parts && n.is_none()) {
        let why = "lies beside the folders train and test: move it into one of them";
        return Err(DataError::unusable(&source.join(&paths[stray]), why));
    }
    let names: BTreeSet<&String> = (0..paths.len()).filter_map(class_of).collect();
    let names: Vec<&String> = names.into_iter().collect();
    let is_labelled = names.len() > 1;
    let mut places = Vec::with_capacity(paths.len());
    for (index, path) in paths.iter().enumerate() {
        let class = class_of(index).and_then(|name| names.binary_search(&name).ok());
        if is_labelled && class.is_none() {
            let why = "lies beside the class folders: move it into one of them";
            return Err(DataError::unusable(&source.join(path), why));
        }
        places.push(Place {
            part: match named[index].map(|(_, part)| part) {
                Some(Named::Train) | None => Some(Part::Train),
                Some(Named::Test) => Some(Part::Test),
                Some(Named::Validation) => (!has(Named::Test)).then_some(Part::Test),
            },
            class: class.filter(|_| is_labelled).map(|class| class as u32),
        });
    }
    let class_names = if is_labelled {
        names.into_iter().cloned().collect()
    } else {
        Vec::new()
    };
    Ok(Layout {
        places,
        class_names,
    })
}

fn folders_of(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .filter(|name| name != ".")
        .collect();
    names.pop();
    names
}

/// The first folder that names a part, and how deep it lies.
fn part_of(folders: &[String]) -> Option<(usize, Named)> {
    folders.iter().enumerate().find_map(|(depth, name)| {
        let part = match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Named::Train,
            "val" | "valid" | "validation" => Named::Validation,
            "test" | "testing" => Named::Test,
            _ => return None,
        };
        Some((depth, part))
    })
}

/// Number of leading folders that all files share.
fn shared_folders(folders: &[Vec<String>]) -> usize {
    let Some((first, others)) = folders.split_first() else {
        return 0;
    };
    let shared = |other: &Vec<String>| first.iter().zip(other).take_while(|(a, b)| a == b).count();
    others.iter().map(shared).min().unwrap_or(first.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(paths: &[&str]) -> Result<Layout, DataError> {
        let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
        of(Path::new("root"), &paths)
    }

    fn places(paths: &[&str]) -> Vec<(Option<Part>, Option<u32>)> {
        let layout = layout(paths).unwrap();
        layout.places.iter().map(|p| (p.part, p.class)).collect()
    }

    const TRAIN: Option<Part> = Some(Part::Train);
    const TEST: Option<Part> = Some(Part::Test);

    #[test]
    fn classes_are_sorted_folders() {
        let found = layout(&["set/b/1.png", "set/a/x/2.png", "set/b/3.png"]).unwrap();
        assert_eq!(found.class_names, ["a", "b"]);
        let classes: Vec<_> = found.places.iter().map(|p| p.class).collect();
        assert_eq!(classes, [Some(1), Some(0), Some(1)]);
    }

    #[test]
    fn parts_come_before_classes() {
        let found = places(&["x/train/a/1.png", "x/train/b/1.png", "x/Test/b/1.png"]);
        assert_eq!(found, [(TRAIN, Some(0)), (TRAIN, Some(1)), (TEST, Some(1))]);
    }

    #[test]
    fn validation_stands_in_for_a_missing_test_part() {
        assert_eq!(
            places(&["train/1.png", "val/1.png"]),
            [(TRAIN, None), (TEST, None)]
        );
        let found = places(&["train/1.png", "val/1.png", "test/1.png"]);
        assert_eq!(found, [(TRAIN, None), (None, None), (TEST, None)]);
    }

    #[test]
    fn flat_folders_and_single_classes_are_unlabelled() {
        assert_eq!(places(&["1.png", "2.png"]), [(TRAIN, None); 2]);
        assert_eq!(
            places(&["photos/1.png", "photos/2.png"]),
            [(TRAIN, None); 2]
        );
        assert!(layout(&["a/1.png"]).unwrap().class_names.is_empty());
    }

    #[test]
    fn strays_are_errors() {
        let message = |paths: &[&str]| layout(paths).unwrap_err().to_string();
        assert!(message(&["a/1.png", "b/1.png", "2.png"]).starts_with("root/2.png: lies beside"));
        assert!(message(&["train/1.png", "2.png"]).starts_with("root/2.png: lies beside"));
    }
}
