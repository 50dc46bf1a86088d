//! Standard output, without the panic that `println!` has for a closed one.

use crate::error::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Prints text and a line break.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::failure(format!("cannot write the result as JSON: {error}")))?;
    print(&text)
}

/// A part of 1 as per cent.
pub(super) fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

/// A path as a shell takes it: in quotes where it has characters that mean something there.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        let quoted = |text: &str| quoted(Path::new(text));
        assert_eq!(quoted("runs/image-001"), "runs/image-001");
        assert_eq!(quoted("o/with space/日本"), "'o/with space/日本'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
