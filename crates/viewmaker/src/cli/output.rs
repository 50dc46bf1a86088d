//! Standard output, without the panic that `println!` has for a closed one.

use crate::error::{Error, Result};
use std::io::Write;

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
