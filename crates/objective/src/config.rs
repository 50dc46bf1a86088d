//! The settings of an objective.

use crate::ObjectiveError;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Largest number of noise rows per example.
const MOST_NEGATIVES: usize = 1 << 20;

/// Which objective, and its settings; the defaults are the viewmaker paper's.
///
/// Settings that an objective has no use for are ignored by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// A name of the [registry](mod@crate::registry).
    pub name: String,
    /// Temperature, 1e-4 to 1e4.
    pub temperature: f64,
    /// Noise rows per example of `instdisc`, 1 to 2²⁰.
    pub negatives: usize,
    /// What a memory bank keeps of an old row, 0 to 1.
    pub bank_momentum: f64,
    /// Use the streaming kernel where there is one: the same loss without the N×N matrix.
    pub fused: bool,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self {
            name: "viewmaker-simclr".to_owned(),
            temperature: 0.07,
            negatives: 4096,
            bank_momentum: 0.5,
            fused: true,
        }
    }
}

impl ObjectiveConfig {
    /// Checks every number against its range.
    pub fn validate(&self) -> Result<(), ObjectiveError> {
        in_range("temperature", self.temperature, 1e-4..=1e4)?;
        in_range("bank_momentum", self.bank_momentum, 0.0..=1.0)?;
        in_range("negatives", self.negatives, 1..=MOST_NEGATIVES)
    }
}

fn in_range<T: PartialOrd + std::fmt::Debug>(
    field: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ObjectiveError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ObjectiveError::Setting {
        field,
        expected: format!("{:?} to {:?}", range.start(), range.end()),
        found: format!("{value:?}"),
    })
}
