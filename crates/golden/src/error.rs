//! Everything that can go wrong between a folder of references and a verdict.

use std::path::PathBuf;

/// A group could not be read, or results do not agree with it.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The manifest is not what this crate understands.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// A case file is damaged.
    #[error("{}: {why}", path.display())]
    Damaged {
        /// The case file.
        path: PathBuf,
        /// What was expected and what was found.
        why: String,
    },
    /// A tensor or parameter that the case does not have, or not in this type.
    #[error("{case}: {what}")]
    Missing {
        /// Name of the case.
        case: String,
        /// What was asked for.
        what: String,
    },
    /// Results that disagree, and references that nothing was compared with.
    #[error("{case}: {} problem(s)\n  {}", problems.len(), problems.join("\n  "))]
    Disagreement {
        /// Name of the case.
        case: String,
        /// One line per problem.
        problems: Vec<String>,
    },
}
