//! Errors of the configuration: each names the place, the key, what was found and expected.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// In the program: a built-in default.
    #[default]
    Default,
    /// In a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// In `--set key=value`.
    Set,
    /// In a flag of its own, such as `--epochs`.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    /// The place with a colon and a space, or nothing for a default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => Ok(()),
            Self::File { path, line } => write!(f, "{}:{line}: ", path.display()),
            Self::Set => f.write_str("--set: "),
            Self::Flag(flag) => write!(f, "{flag}: "),
        }
    }
}

/// A configuration cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason given.
        source: std::io::Error,
    },
    /// The text is not TOML.
    #[error("{origin}{message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser said.
        message: String,
    },
    /// There is no such key.
    #[error("{origin}unknown key `{key}`{}", suggestion(.nearest))]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The key as written.
        key: String,
        /// The key that was probably meant; several where the last word fits them all.
        nearest: Vec<String>,
    },
    /// A key has a value that cannot work.
    #[error(transparent)]
    Value(Box<WrongValue>),
    /// A section is used as a key, or the other way round.
    #[error("{origin}`{key}` is {found}; write {instead}")]
    Structure {
        /// Where.
        origin: Origin,
        /// The key.
        key: String,
        /// `a section` or `a single value`.
        found: &'static str,
        /// An example of what would work.
        instead: String,
    },
    /// Nothing says which modality is meant.
    #[error("the modality is missing: add --modality {0}")]
    MissingModality(String),
    /// A run would be continued with other settings.
    #[error(
        "{key} = {now} differs from the run's {before}: a run is continued with the settings it \
         was started with"
    )]
    Changed {
        /// The key.
        key: String,
        /// Its value in the run.
        before: String,
        /// Its value now.
        now: String,
    },
}

/// A key with a value that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("{origin}{key} = {value}: {wanted}{}", suggestion(.nearest))]
pub struct WrongValue {
    /// Where.
    pub origin: Origin,
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What would work: `expected …`, `must …`.
    pub wanted: String,
    /// The word that was probably meant, where it is one of a few.
    pub nearest: Option<String>,
}

fn suggestion<'a>(nearest: impl IntoIterator<Item = &'a String>) -> String {
    let words: Vec<String> = nearest
        .into_iter()
        .map(|word| format!("`{word}`"))
        .collect();
    match words.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", words.join(" or ")),
    }
}

impl ConfigError {
    /// An error about the value of `key`, wherever it was written.
    pub fn value(
        key: impl Into<String>,
        value: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Self {
        Self::refused(key, value, format!("expected {expected}"))
    }

    /// As [`ConfigError::value`], with a whole sentence of what is wrong.
    pub fn refused(
        key: impl Into<String>,
        value: impl fmt::Display,
        wanted: impl Into<String>,
    ) -> Self {
        Self::Value(Box::new(WrongValue {
            origin: Origin::Default,
            key: key.into(),
            value: value.to_string(),
            wanted: wanted.into(),
            nearest: None,
        }))
    }

    /// The same error, its value written at `origin`.
    #[must_use]
    pub fn at(mut self, origin: Origin) -> Self {
        if let Self::Value(wrong) = &mut self {
            wrong.origin = origin;
        }
        self
    }

    /// The same error, suggesting the most similar of the words that would have worked; in a list,
    /// for the first word that would not have.
    #[must_use]
    pub fn suggesting<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        if let Self::Value(wrong) = &mut self {
            let words: Vec<&str> = words.into_iter().collect();
            let written = wrong.value.split(['[', ']', ',']);
            let mut written = written.map(|word| word.trim().trim_matches('"'));
            let unknown = written.find(|word| !word.is_empty() && !words.contains(word));
            wrong.nearest = unknown.and_then(|word| nearest(word, words));
        }
        self
    }
}

/// The `keys` that `written` may stand for: those whose last word it is, the shortest first, else the one most
/// like it.
pub(crate) fn meant<'a>(written: &str, keys: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let last = |key: &&str| key.rsplit('.').next() == Some(written);
    let mut named: Vec<&str> = keys.clone().filter(last).collect();
    named.sort_by_key(|key| key.split('.').count());
    match named.is_empty() {
        true => nearest(written, keys).into_iter().collect(),
        false => named.into_iter().map(str::to_owned).collect(),
    }
}

/// The candidate most like `word`, if any is like it at all.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const ALIKE: f64 = 0.75;
    candidates
        .into_iter()
        .map(|candidate| (likeness(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

/// How alike two dotted keys are, in `[0, 1]`: whole, or in their last component (a key written
/// without its section or with a wrong one is worth a suggestion, too).
fn likeness(word: &str, candidate: &str) -> f64 {
    const WRONG_SECTION: f64 = 0.9;
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let whole = strsim::jaro_winkler(word, candidate);
    let distance = strsim::normalized_damerau_levenshtein(word, candidate);
    let ends = strsim::normalized_damerau_levenshtein(&last(word), &last(candidate));
    (0.5 * (whole + distance)).max(WRONG_SECTION * ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_key_that_was_meant() {
        let keys = [
            "optim.encoder.lr",
            "optim.viewmaker.lr",
            "train.batch_size",
            "encoder.name",
            "viewmaker.distortion_budget",
        ];
        let near = |word| nearest(word, keys);
        assert_eq!(near("encoder.nam").as_deref(), Some("encoder.name"));
        assert_eq!(near("batch_size").as_deref(), Some("train.batch_size"));
        assert_eq!(near("train.batchsize").as_deref(), Some("train.batch_size"));
        assert_eq!(near("optim.encodr.lr").as_deref(), Some("optim.encoder.lr"));
        let budget = near("viewmaker.distorsion_budget");
        assert_eq!(budget.as_deref(), Some("viewmaker.distortion_budget"));
        assert_eq!(near("colour"), None);
        let meant = |word| meant(word, keys.into_iter());
        assert_eq!(meant("lr"), ["optim.encoder.lr", "optim.viewmaker.lr"]);
        assert_eq!(meant("batchsize"), ["train.batch_size"]);
        assert!(meant("colour").is_empty());
    }

    #[test]
    fn messages_name_the_place() {
        let origin = Origin::File {
            path: "a.toml".into(),
            line: 3,
        };
        let error = ConfigError::UnknownKey {
            origin,
            key: "x".into(),
            nearest: vec!["y".into()],
        };
        assert_eq!(
            error.to_string(),
            "a.toml:3: unknown key `x`; did you mean `y`?"
        );
        let error = ConfigError::value("train.epochs", 0, "1 or more");
        assert_eq!(error.to_string(), "train.epochs = 0: expected 1 or more");
    }
}
