//! The idx format of MNIST and its relatives, plain or gzip.
//!
//! Pictures: big-endian u32 magic 2051, count, rows, columns, then one byte a pixel. Labels:
//! magic 2049, count, then one byte each. Source: <http://yann.lecun.com/exdb/mnist>.

use super::ImageConfig;
use super::decode::{self, Frame};
use super::pictures::{Origins, Pictures};
use super::source::{Part, Parts};
use crate::{DataError, files};
use std::path::{Path, PathBuf};

const PICTURES: u32 = 2051;
const LABELS: u32 = 2049;
/// Larger pictures than this are taken for a damaged header.
const MAX_SIDE: usize = 1 << 14;

/// The part that an idx file of pictures holds, by its name.
pub(super) fn part_of(path: &Path) -> Option<Part> {
    let name = files::name_of(path);
    if !(name.contains("images") && name.contains("idx3")) {
        return None;
    }
    let held_out = name.starts_with("t10k") || name.starts_with("test");
    Some(if held_out { Part::Test } else { Part::Train })
}

/// Opens files of pictures, each with the file of labels beside it if there is one.
pub(super) fn open(paths: &[PathBuf], config: &ImageConfig) -> Result<Parts, DataError> {
    let frame = config.frame(1);
    let mut parts = Parts {
        train: None,
        test: None,
        class_names: Vec::new(),
        format: "idx".to_owned(),
        stats: None,
    };
    for path in paths {
        let part = part_of(path).unwrap_or(Part::Train);
        let slot = match part {
            Part::Train => &mut parts.train,
            Part::Test => &mut parts.test,
        };
        if slot.is_some() {
            let why = "a second idx file of pictures for the same part: give the folder of one set";
            return Err(DataError::unusable(path, why));
        }
        *slot = Some(pictures(path, frame)?);
    }
    let labels = [&parts.train, &parts.test]
        .into_iter()
        .flatten()
        .flat_map(|p| p.labels());
    let classes = labels.flatten().max().map_or(0, |&largest| largest + 1);
    parts.class_names = (0..classes).map(|class| class.to_string()).collect();
    Ok(parts)
}

fn pictures(path: &Path, frame: Frame) -> Result<Pictures, DataError> {
    let content = files::read_unpacked(path)?;
    let [count, height, width] = header(path, &content, PICTURES)?;
    let possible = 1..=MAX_SIDE;
    if !possible.contains(&height) || !possible.contains(&width) {
        let expected = format!("rows and columns between 1 and {MAX_SIDE}");
        let found = format!("{height} × {width}");
        return Err(DataError::format(path, "bytes 8 to 15", expected, found));
    }
    let stored = Frame {
        channels: 1,
        height,
        width,
    };
    let pixels = body(path, &content, 16, count, stored.len())?;
    let labels = match labels_beside(path) {
        Some(file) => labels(&file, count, path)?,
        None => vec![None; count],
    };
    let bytes = pixels
        .chunks_exact(stored.len())
        .flat_map(|picture| decode::raw(picture, stored, frame))
        .collect();
    let origins = Origins::Records(vec![(0, path.to_path_buf())]);
    Ok(Pictures::in_memory(frame, bytes, labels, origins))
}

fn labels_beside(pictures: &Path) -> Option<PathBuf> {
    let name = files::name_of(pictures)
        .replace("images", "labels")
        .replace("idx3", "idx1");
    let stem = name.trim_end_matches(".gz");
    [format!("{stem}.gz"), stem.to_owned()]
        .into_iter()
        .map(|name| pictures.with_file_name(name))
        .find(|path| path.is_file())
}

fn labels(path: &Path, wanted: usize, pictures: &Path) -> Result<Vec<Option<u32>>, DataError> {
    let content = files::read_unpacked(path)?;
    let [count] = header(path, &content, LABELS)?;
    if count != wanted {
        return Err(DataError::format(
            path,
            "bytes 4 to 7",
            format!(
                "{wanted} labels, as {} has pictures",
                files::name_of(pictures)
            ),
            count.to_string(),
        ));
    }
    let labels = body(path, &content, 8, count, 1)?;
    Ok(labels.iter().map(|&label| Some(u32::from(label))).collect())
}

/// The `N` big-endian sizes behind the magic number.
fn header<const N: usize>(
    path: &Path,
    content: &[u8],
    magic: u32,
) -> Result<[usize; N], DataError> {
    let word = |index: usize| -> Result<u32, DataError> {
        match content.get(4 * index..).and_then(<[u8]>::first_chunk) {
            Some(&bytes) => Ok(u32::from_be_bytes(bytes)),
            None => Err(DataError::format(
                path,
                "header",
                format!("{} bytes", 4 * (N + 1)),
                format!("{} bytes", content.len()),
            )),
        }
    };
    let found = word(0)?;
    if found != magic {
        let expected = format!("the magic number {magic} ({magic:#010x})");
        return Err(DataError::format(
            path,
            "byte 0",
            expected,
            format!("{found} ({found:#010x})"),
        ));
    }
    let mut sizes = [0; N];
    for (index, size) in sizes.iter_mut().enumerate() {
        *size = word(index + 1)? as usize;
    }
    Ok(sizes)
}

fn body<'a>(
    path: &Path,
    content: &'a [u8],
    start: usize,
    count: usize,
    size: usize,
) -> Result<&'a [u8], DataError> {
    let body = &content[start..];
    if count > 0 && count.checked_mul(size) == Some(body.len()) {
        return Ok(body);
    }
    Err(DataError::format(
        path,
        format!("byte {start} on"),
        format!("at least one and, by the header, {count} items of {size} bytes"),
        format!("{} bytes, which is {} items", body.len(), body.len() / size),
    ))
}
