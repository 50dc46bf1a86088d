//! Measurements on standard output, a line each, as soon as they are there: whoever stops the program keeps
//! what it has found, and one that fails does not take the others along.

use super::super::output;
use crate::error::{Error, Result};
use serde::Serialize;
use std::fmt::Display;

/// Prints lines, as text or as JSON, and counts failures.
pub(super) struct Lines {
    json: bool,
    measured: usize,
    failed: usize,
}

/// A line of JSON: what was found, or else what was asked for and why there is nothing.
#[derive(Serialize)]
struct Line<'a, T> {
    event: &'static str,
    #[serde(flatten)]
    what: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a, T> Line<'a, T> {
    fn new(event: &'static str, what: &'a T) -> Self {
        Self {
            event,
            what,
            error: None,
            reason: None,
        }
    }
}

impl Lines {
    /// No lines yet.
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            measured: 0,
            failed: 0,
        }
    }

    /// Text that stands above a table; none in JSON.
    pub(super) fn header(&self, text: &str) -> Result<()> {
        match self.json {
            true => Ok(()),
            false => output::print(text),
        }
    }

    /// What became of `task`: a measurement with its `cells`, or why there is none.
    pub(super) fn measured<M: Serialize>(
        &mut self,
        task: &(impl Serialize + Display),
        outcome: Result<M>,
        cells: impl FnOnce(&M) -> String,
    ) -> Result<()> {
        self.measured += 1;
        let found = match outcome {
            Ok(found) => found,
            Err(error) => return self.failed(task, &error),
        };
        match self.json {
            true => output::print_json(&Line::new("result", &found)),
            false => output::print(&format!("{task} {}", cells(&found))),
        }
    }

    fn failed(&mut self, task: &(impl Serialize + Display), error: &Error) -> Result<()> {
        self.failed += 1;
        let error = error.to_string();
        if !self.json {
            return output::print(&format!("{task} failed: {error}"));
        }
        let error = Some(error);
        output::print_json(&Line {
            error,
            ..Line::new("result", task)
        })
    }

    /// A task that is left out, for a reason.
    pub(super) fn skipped(&self, task: &(impl Serialize + Display), reason: &str) -> Result<()> {
        if !self.json {
            return output::print(&format!("{task} skipped: {reason}"));
        }
        let reason = Some(reason);
        output::print_json(&Line {
            reason,
            ..Line::new("skipped", task)
        })
    }

    /// Whether all went well.
    ///
    /// # Errors
    /// When a measurement failed.
    pub(super) fn finish(self) -> Result<()> {
        let Self {
            measured, failed, ..
        } = self;
        match failed {
            0 => Ok(()),
            _ => Err(Error::failure(format!(
                "{failed} of {measured} measurements failed"
            ))),
        }
    }
}
