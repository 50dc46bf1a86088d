//! Files and archive entries alike: a name and its bytes.

use crate::{DataError, files};
use std::path::{Path, PathBuf};

/// Where the bytes of a file are.
pub(super) enum Blob {
    /// On the disk.
    File(PathBuf),
    /// Taken out of an archive: `archive.tar.gz/folder/entry`, and the bytes.
    Entry(PathBuf, Vec<u8>),
}

impl Blob {
    /// The path of the file, or of the archive with the entry's path behind it.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Entry(path, _) => path,
        }
    }

    /// The bytes as they are stored.
    pub(super) fn read(&self) -> Result<std::borrow::Cow<'_, [u8]>, DataError> {
        Ok(match self {
            Self::File(path) => files::read(path)?.into(),
            Self::Entry(_, bytes) => bytes.into(),
        })
    }
}

/// The files of an archive that `wanted` accepts.
pub(super) fn of_archive(
    archive: &Path,
    wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<Blob>, DataError> {
    let mut blobs = Vec::new();
    files::each_in_tar(archive, wanted, |name, bytes| {
        blobs.push(Blob::Entry(archive.join(name), bytes));
        Ok(())
    })?;
    Ok(blobs)
}
