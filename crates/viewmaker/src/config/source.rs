//! The text of a TOML file, and the line on which each of its keys stands.

use super::error::{ConfigError, Origin};
use std::path::{Path, PathBuf};
use toml::Table;
use toml::de::DeTable;

/// Finds the lines of keys.
pub(crate) struct Source<'t> {
    text: &'t str,
    path: PathBuf,
    keys: DeTable<'t>,
}

impl<'t> Source<'t> {
    /// Parses the text of the file `path`.
    pub(crate) fn parse(text: &'t str, path: &Path) -> Result<(Table, Self), ConfigError> {
        let syntax = |error: toml::de::Error| ConfigError::Syntax {
            origin: origin(text, path, error.span().map_or(0, |span| span.start)),
            message: match (
                error.message(),
                error.span().and_then(|span| text.get(span)),
            ) {
                ("duplicate key", Some(key)) => format!("the key `{key}` stands there twice"),
                (message, _) => message.to_owned(),
            },
        };
        let values: Table = toml::from_str(text).map_err(syntax)?;
        let keys = DeTable::parse(text).map_err(syntax)?.into_inner();
        let path = path.to_path_buf();
        Ok((values, Self { text, path, keys }))
    }

    /// Where the key at `path` (one element a level) stands.
    pub(crate) fn origin(&self, path: &[&str]) -> Origin {
        origin(self.text, &self.path, offset_of(&self.keys, path))
    }
}

fn origin(text: &str, path: &Path, offset: usize) -> Origin {
    let before = &text.as_bytes()[..offset.min(text.len())];
    Origin::File {
        path: path.to_path_buf(),
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
    }
}

/// Byte offset of the key at `path`.
fn offset_of(table: &DeTable<'_>, path: &[&str]) -> usize {
    let Some((first, rest)) = path.split_first() else {
        return 0;
    };
    let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == first) else {
        return 0;
    };
    match value.get_ref().as_table() {
        Some(inner) if !rest.is_empty() => offset_of(inner, rest),
        _ => key.span().start,
    }
}
