//! The one error type of the program, and the exit code that goes with it.

use crate::config::ConfigError;
use crate::run::RunError;
use std::io;
use std::path::{Path, PathBuf};
use viewmaker_data::DataError;
use viewmaker_device::DeviceError;

/// `Result` with the program's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was typed cannot work; the message says what would.
    #[error("{0}")]
    Usage(String),
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The run folder cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried: `write`, `create` …
        action: &'static str,
        /// The reason given.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// The user pressed Ctrl-C; everything worth keeping has been saved.
    #[error("interrupted: {0}")]
    Interrupted(String),
    /// A device cannot be had, or did not do what it was asked to.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Anything else that went wrong after a good start.
    #[error("{0}")]
    Failure(String),
}

impl Error {
    /// A usage error.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// A failure.
    pub fn failure(message: impl Into<String>) -> Self {
        Self::Failure(message.into())
    }

    /// An input/output error of `action` on `path`.
    pub fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            action,
            source,
        }
    }

    /// Exit code of the process: 2 when the command must be typed differently, 130 after Ctrl-C
    /// (as shells report it), 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Data(DataError::Option { .. }) => 2,
            Self::Run(error) if error.is_usage() => 2,
            Self::Interrupted(_) => 130,
            _ => 1,
        }
    }

    /// A word for programs that read the error: `usage`, `config`, `data`, `run`, `io`,
    /// `interrupted`, `device` or `failure`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::Config(_) => "config",
            Self::Data(_) => "data",
            Self::Run(_) => "run",
            Self::Io { .. } | Self::Output(_) => "io",
            Self::Interrupted(_) => "interrupted",
            Self::Device(_) => "device",
            Self::Failure(_) => "failure",
        }
    }

    /// True when nobody reads standard output any more (`viewmaker … | head`): not worth a word.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The error as the JSON object that `--json` prints.
    pub fn to_json(&self) -> serde_json::Value {
        error_json(self.kind(), &self.to_string(), self.exit_code())
    }
}

/// The JSON object of an error.
pub fn error_json(kind: &str, message: &str, exit_code: u8) -> serde_json::Value {
    serde_json::json!({
        "event": "error",
        "kind": kind,
        "message": message,
        "exit_code": exit_code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_usage_from_failure() {
        assert_eq!(Error::usage("x").exit_code(), 2);
        assert_eq!(Error::failure("x").exit_code(), 1);
        assert_eq!(Error::Interrupted(String::new()).exit_code(), 130);
        let data = DataError::unusable(Path::new("a"), "empty");
        assert_eq!(Error::from(data).exit_code(), 1);
        let option = DataError::Option {
            key: "data.path",
            value: "x".into(),
            why: "y".into(),
        };
        assert_eq!(Error::from(option).exit_code(), 2);
    }

    #[test]
    fn only_a_closed_output_is_silent() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(Error::Output(closed).is_broken_pipe());
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(!Error::Output(full).is_broken_pipe());
    }
}
