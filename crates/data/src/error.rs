//! Errors of reading data: each names the file, the place, what was expected and what was found.

use std::path::{Path, PathBuf};

/// A data source could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried: `open`, `read`, `list` …
        action: &'static str,
        /// The reason given.
        source: std::io::Error,
    },
    /// The content is not what the format promises.
    #[error("{}: {place}: expected {expected}, found {found}", .path.display())]
    Format {
        /// File.
        path: PathBuf,
        /// Byte, line, record or header field.
        place: String,
        /// What the format asks for.
        expected: String,
        /// What was there.
        found: String,
    },
    /// The path holds nothing that can be read, or too little of it.
    #[error("{}: {why}", .path.display())]
    Unusable {
        /// File or folder.
        path: PathBuf,
        /// What is wrong, and what would work.
        why: String,
    },
    /// An option has a value that cannot work.
    #[error("{key} = {value}: {why}")]
    Option {
        /// Configuration key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong, and what would work.
        why: String,
    },
    /// An example cannot be used.
    #[error("{origin}: {why}")]
    Example {
        /// Where the example comes from ([`crate::Dataset::origin`]).
        origin: String,
        /// What is wrong with it.
        why: String,
    },
}

impl DataError {
    /// An input/output error of `action` on `path`.
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            action,
            source,
        }
    }

    /// A format error in `path` at `place`.
    pub fn format(
        path: &Path,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Format {
            path: path.to_path_buf(),
            place: place.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// `path` cannot serve as a data source because of `why`.
    pub fn unusable(path: &Path, why: impl Into<String>) -> Self {
        Self::Unusable {
            path: path.to_path_buf(),
            why: why.into(),
        }
    }

    /// The configuration key `key` has a `value` that cannot work because of `why`.
    pub fn option(key: &'static str, value: impl ToString, why: impl Into<String>) -> Self {
        Self::Option {
            key,
            value: value.to_string(),
            why: why.into(),
        }
    }

    /// The example from `origin` cannot be used because of `why`.
    pub fn example(origin: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Example {
            origin: origin.into(),
            why: why.into(),
        }
    }
}
