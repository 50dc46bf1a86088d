//! Finds out what a path holds.

use super::blob::{self, Blob};
use super::pictures::Pictures;
use super::{ImageConfig, cifar, decode, folder, idx};
use crate::{ChannelStats, DataError, files};
use std::path::{Path, PathBuf};

/// The half of a data set that a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Test,
}

/// What was read: the official parts that exist (at least one).
pub(super) struct Parts {
    pub(super) train: Option<Pictures>,
    pub(super) test: Option<Pictures>,
    pub(super) class_names: Vec<String>,
    /// Name of the format, for the log.
    pub(super) format: String,
    /// Constants this data set is commonly normalised with.
    pub(super) stats: Option<ChannelStats>,
}

/// What can be given, for messages.
const FORMATS: &str = "CIFAR-10 or CIFAR-100 binary files (data_batch_1.bin, train.bin …), \
    idx files (train-images-idx3-ubyte, .gz too), PNG or JPEG pictures in a folder per class, \
    or a .tar.gz of pictures or CIFAR files";

/// Opens whatever is at `path`.
pub(super) fn open(path: &Path, config: &ImageConfig) -> Result<Parts, DataError> {
    let found = if path.is_dir() {
        files::walk(path)?
    } else {
        // Tells a missing file apart from one of an unknown format.
        files::open(path)?;
        let beside = path
            .parent()
            .map(files::list)
            .and_then(Result::ok)
            .unwrap_or_default();
        let lists = beside.into_iter().filter(|file| cifar::is_list(file));
        lists.chain([path.to_path_buf()]).collect()
    };
    let of_kind = |wanted: fn(&Path) -> bool| -> Vec<PathBuf> {
        found.iter().filter(|file| wanted(file)).cloned().collect()
    };
    if config.frames
        && !found
            .iter()
            .any(|file| is_picture(file) || files::is_tar(file))
    {
        let why = format!(
            "holds {}; data.image.frames = true expects a folder of PNG or JPEG pictures for every \
             video",
            files::describe(path)
        );
        return Err(DataError::unusable(path, why));
    }
    // Known names first: a folder may hold other files beside them, such as lists or archives.
    if found.iter().any(|file| cifar::official(file).is_some()) {
        let wanted = |file: &Path| cifar::official(file).is_some() || cifar::is_list(file);
        return cifar::open(&on_disk(of_kind(wanted)), config);
    }
    let idx = of_kind(|file| idx::part_of(file).is_some());
    if !idx.is_empty() {
        return idx::open(&idx, config);
    }
    let pictures = of_kind(is_picture);
    if !pictures.is_empty() {
        let root = if path.is_dir() {
            path
        } else {
            path.parent().unwrap_or(path)
        };
        let mut parts = folder::open(root, on_disk(pictures), config)?;
        parts.format += &files::left_out(&found, decode::UNREAD, "PNG and JPEG");
        return Ok(parts);
    }
    if found
        .iter()
        .any(|file| files::has_extension(file, &["bin"]))
    {
        return cifar::open(&on_disk(of_kind(cifar::is_wanted)), config);
    }
    let archives = of_kind(files::is_tar);
    if !archives.is_empty() {
        return open_archives(path, &archives, config);
    }
    let why = format!("holds {}; expected {FORMATS}", files::describe(path));
    Err(DataError::unusable(path, why))
}

fn open_archives(
    path: &Path,
    archives: &[PathBuf],
    config: &ImageConfig,
) -> Result<Parts, DataError> {
    let mut blobs = Vec::new();
    for archive in archives {
        let wanted = |name: &Path| is_picture(name) || cifar::is_wanted(name);
        blobs.extend(blob::of_archive(archive, wanted)?);
    }
    if blobs.iter().any(|blob| is_picture(blob.path())) {
        blobs.retain(|blob| is_picture(blob.path()));
        return folder::open_entries(archives, blobs, config);
    }
    if blobs.iter().any(|blob| !cifar::is_list(blob.path())) {
        return cifar::open(&blobs, config);
    }
    let count = files::plural(archives.len(), "archive");
    let why = format!("{count} without pictures or CIFAR files; expected {FORMATS}");
    Err(DataError::unusable(path, why))
}

pub(super) fn is_picture(path: &Path) -> bool {
    files::has_extension(path, decode::EXTENSIONS)
}

fn on_disk(paths: Vec<PathBuf>) -> Vec<Blob> {
    paths.into_iter().map(Blob::File).collect()
}
