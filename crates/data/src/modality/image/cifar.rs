//! The binary version of CIFAR-10 and CIFAR-100.
//!
//! Records without a header: 1 label byte (CIFAR-100: coarse and fine label), then 1024 red, 1024
//! green and 1024 blue bytes, rows from the top. Source: <https://www.cs.toronto.edu/~kriz/cifar.html>.

use super::ImageConfig;
use super::blob::Blob;
use super::decode::{self, Frame};
use super::pictures::{Origins, Pictures};
use super::source::{Part, Parts};
use crate::{ChannelStats, DataError, files};
use std::path::Path;

/// What CIFAR pictures look like in the file.
const STORED: Frame = Frame {
    channels: 3,
    height: 32,
    width: 32,
};

/// CIFAR-10 or CIFAR-100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ten,
    Hundred,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ten => "CIFAR-10",
            Self::Hundred => "CIFAR-100",
        }
    }

    /// Bytes before the pixels; the last of them is the label.
    fn label_bytes(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Hundred => 2,
        }
    }

    fn classes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Hundred => 100,
        }
    }

    fn record(self) -> usize {
        self.label_bytes() + STORED.len()
    }

    /// Constants that CIFAR-10 is normalised with in Tamkin, Wu & Goodman, *Viewmaker Networks*
    /// (ICLR 2021).
    fn published_stats(self, frame: Frame) -> Option<ChannelStats> {
        (self == Self::Ten && frame.channels == 3).then(|| ChannelStats {
            mean: vec![0.491, 0.482, 0.446],
            std: vec![0.247, 0.243, 0.261],
        })
    }
}

/// The set and part that an official file name stands for.
pub(super) fn official(path: &Path) -> Option<(Kind, Part)> {
    let name = files::name_of(path);
    match name.as_str() {
        "train.bin" => Some((Kind::Hundred, Part::Train)),
        "test.bin" => Some((Kind::Hundred, Part::Test)),
        "test_batch.bin" => Some((Kind::Ten, Part::Test)),
        _ if name.starts_with("data_batch_") && name.ends_with(".bin") => {
            Some((Kind::Ten, Part::Train))
        }
        _ => None,
    }
}

/// True for the files that are read from a folder or archive.
pub(super) fn is_wanted(path: &Path) -> bool {
    files::has_extension(path, &["bin"]) || is_list(path)
}

/// True for a list of class names.
pub(super) fn is_list(path: &Path) -> bool {
    names_kind(path).is_some()
}

fn names_kind(path: &Path) -> Option<Kind> {
    match files::name_of(path).as_str() {
        "batches.meta.txt" => Some(Kind::Ten),
        "fine_label_names.txt" => Some(Kind::Hundred),
        _ => None,
    }
}

/// Opens record files and the lists of class names among `blobs`. Files with other than official
/// names count as training data.
pub(super) fn open(blobs: &[Blob], config: &ImageConfig) -> Result<Parts, DataError> {
    let frame = config.frame(STORED.channels);
    let records: Vec<&Blob> = blobs
        .iter()
        .filter(|b| files::has_extension(b.path(), &["bin"]))
        .collect();
    let kind = kind_of(&records)?;
    let part_of = |blob: &Blob| official(blob.path()).map_or(Part::Train, |(_, part)| part);
    let of = |part| {
        let chosen: Vec<&Blob> = records
            .iter()
            .copied()
            .filter(|b| part_of(b) == part)
            .collect();
        (!chosen.is_empty())
            .then(|| pictures(kind, &chosen, frame))
            .transpose()
    };
    let (train, test) = (of(Part::Train)?, of(Part::Test)?);
    let class_names = class_names(kind, blobs)?;
    let format = format!("{} binary", kind.name());
    let stats = kind.published_stats(frame);
    Ok(Parts {
        train,
        test,
        class_names,
        format,
        stats,
    })
}

fn kind_of(records: &[&Blob]) -> Result<Kind, DataError> {
    let mut known = records
        .iter()
        .filter_map(|b| official(b.path()).map(|(kind, _)| (kind, b)));
    if let Some((kind, _)) = known.next() {
        return match known.find(|(other, _)| *other != kind) {
            Some((_, blob)) => Err(DataError::unusable(
                blob.path(),
                "CIFAR-10 and CIFAR-100 files lie together: give the folder or file of one",
            )),
            None => Ok(kind),
        };
    }
    for blob in records {
        let size = blob.read()?.len();
        if size > 0 && !size.is_multiple_of(Kind::Ten.record()) {
            let hundred = size.is_multiple_of(Kind::Hundred.record());
            return Ok(if hundred { Kind::Hundred } else { Kind::Ten });
        }
    }
    Ok(Kind::Ten)
}

fn pictures(kind: Kind, blobs: &[&Blob], frame: Frame) -> Result<Pictures, DataError> {
    let (mut bytes, mut labels, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for blob in blobs {
        starts.push((labels.len(), blob.path().to_path_buf()));
        let content = blob.read()?;
        check_size(kind, blob.path(), content.len())?;
        for (number, record) in content.chunks_exact(kind.record()).enumerate() {
            let (head, pixels) = record.split_at(kind.label_bytes());
            labels.push(Some(label(kind, blob.path(), number, head)?));
            bytes.extend(decode::raw(pixels, STORED, frame));
        }
    }
    Ok(Pictures::in_memory(
        frame,
        bytes,
        labels,
        Origins::Records(starts),
    ))
}

fn check_size(kind: Kind, path: &Path, size: usize) -> Result<(), DataError> {
    let record = kind.record();
    let whole = size / record;
    if size > 0 && size == whole * record {
        return Ok(());
    }
    let found = match size {
        0 => "an empty file".to_owned(),
        _ => format!(
            "{size} bytes: {whole} whole and {} left over",
            size - whole * record
        ),
    };
    Err(DataError::format(
        path,
        format!("byte {}", whole * record),
        format!("{} records of {record} bytes", kind.name()),
        found,
    ))
}

fn label(kind: Kind, path: &Path, number: usize, head: &[u8]) -> Result<u32, DataError> {
    let label = head[head.len() - 1];
    if usize::from(label) < kind.classes() {
        return Ok(u32::from(label));
    }
    let byte = number * kind.record() + head.len() - 1;
    Err(DataError::format(
        path,
        format!("record {number}, byte {byte}"),
        format!("a {} label from 0 to {}", kind.name(), kind.classes() - 1),
        label.to_string(),
    ))
}

/// The class names in the list that comes with the data; numbers where there is none.
fn class_names(kind: Kind, blobs: &[Blob]) -> Result<Vec<String>, DataError> {
    let Some(list) = blobs.iter().find(|b| names_kind(b.path()) == Some(kind)) else {
        return Ok((0..kind.classes()).map(|class| class.to_string()).collect());
    };
    let text = String::from_utf8_lossy(&list.read()?).into_owned();
    let names: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(str::to_owned)
        .collect();
    if names.len() != kind.classes() {
        return Err(DataError::format(
            list.path(),
            "lines",
            format!("{} class names, one a line", kind.classes()),
            names.len().to_string(),
        ));
    }
    Ok(names)
}
