//! Errors of run folders: each names the file, what was found and what was expected.

use std::io;
use std::path::{Path, PathBuf};

/// A run folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The reason given.
        source: io::Error,
    },
    /// The folder for a new run is taken.
    #[error("{}: {found}; {advice}", .path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        found: &'static str,
        /// What to do.
        advice: String,
    },
    /// The folder holds no run.
    #[error("{}: no run folder: {why}", .path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// Another process works in the folder.
    #[error("{}: another process is working in this run folder", .0.display())]
    Busy(PathBuf),
    /// A file is not what was written.
    #[error("{}: {place}: expected {expected}, found {found}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Tensor, line or field.
        place: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
}

impl RunError {
    /// An input/output error of `action` on `path`.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_path_buf(),
            action,
            source,
        }
    }

    /// A damaged or foreign file.
    pub fn damaged(
        path: &Path,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            place: place.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// True when another folder must be named: an error of usage rather than of the disk.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Taken { .. } | Self::NoRun { .. })
    }
}
