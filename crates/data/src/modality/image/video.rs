//! Folders of pictures as videos: the pictures of a folder, sorted by name, are frames in the order
//! of time.

use super::blob::Blob;
use crate::views::FRAMES;
use crate::{DataError, files};
use std::cmp::Ordering;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Sorts blobs, each with its path inside the data, by video and by frame.
pub(super) fn sort(blobs: &mut [(Blob, PathBuf)]) {
    blobs.sort_by(|(_, a), (_, b)| {
        let folders = a.parent().cmp(&b.parent());
        folders.then_with(|| by_number(&files::name_of(a), &files::name_of(b)))
    });
}

/// The path inside the data without the folder that is the video: what classes and parts are read
/// off.
pub(super) fn without_video(path: &Path) -> PathBuf {
    let above = path.parent().and_then(Path::parent);
    above
        .unwrap_or(Path::new(""))
        .join(path.file_name().unwrap_or_default())
}

/// The frames of every video among `paths`, which are sorted.
///
/// # Errors
/// When a video has too few frames.
pub(super) fn ranges(paths: &[&Path]) -> Result<Vec<Range<usize>>, DataError> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (frame, path) in paths.iter().enumerate() {
        match ranges.last_mut() {
            Some(range) if paths[range.start].parent() == path.parent() => range.end = frame + 1,
            _ => ranges.push(frame..frame + 1),
        }
    }
    match ranges.iter().find(|range| range.len() < FRAMES) {
        None => Ok(ranges),
        Some(short) => {
            let folder = paths[short.start].parent().unwrap_or(Path::new("."));
            let count = files::plural(short.len(), "picture");
            let why = format!(
                "{count}; as a video (data.image.frames = true) a folder needs {FRAMES} frames or more"
            );
            Err(DataError::unusable(folder, why))
        }
    }
}

/// Names by their letters, and by the value of the numbers in them: `frame9` before `frame10`.
fn by_number(a: &str, b: &str) -> Ordering {
    let parts = |name: &str| -> Vec<(String, usize, String)> {
        let mut parts = Vec::new();
        let mut rest = name;
        while !rest.is_empty() {
            let letters = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (text, after) = rest.split_at(letters);
            let digits = after
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(after.len());
            let (number, after) = after.split_at(digits);
            let value = number.trim_start_matches('0');
            // Longer numbers without leading zeros are larger ones.
            parts.push((text.to_owned(), value.len(), value.to_owned()));
            rest = after;
        }
        parts
    };
    parts(a).cmp(&parts(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_sorted_by_the_numbers_in_their_names() {
        let mut names = [
            "f10.png",
            "f9.png",
            "f009b.png",
            "e11.png",
            "f1.png",
            "f01.png",
        ];
        names.sort_by(|a, b| by_number(a, b));
        let want = [
            "e11.png",
            "f01.png",
            "f1.png",
            "f9.png",
            "f009b.png",
            "f10.png",
        ];
        assert_eq!(names, want);
    }

    #[test]
    fn videos_are_runs_of_one_folder() {
        let paths = ["a/1", "a/2", "a/3", "b/1", "b/2", "b/3", "b/4"].map(Path::new);
        assert_eq!(ranges(&paths).unwrap(), [0..3, 3..7]);
        let error = ranges(&paths[..5]).unwrap_err().to_string();
        assert!(error.starts_with("b: 2 pictures; as a video"), "{error}");
        assert_eq!(
            without_video(Path::new("train/walk/v7/01.png")),
            Path::new("train/walk/01.png")
        );
        assert_eq!(without_video(Path::new("v7/01.png")), Path::new("01.png"));
        assert_eq!(without_video(Path::new("01.png")), Path::new("01.png"));
    }
}
