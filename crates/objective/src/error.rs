//! Why an objective refused its inputs.

/// Wrong shapes, numbers out of range, or a name nobody knows.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ObjectiveError {
    /// Inputs that do not fit together.
    #[error("{objective}: expected {expected}, found {found}")]
    Input {
        /// The objective.
        objective: &'static str,
        /// What it needs.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// A setting out of range.
    #[error("objective.{field}: expected {expected}, found {found}")]
    Setting {
        /// The field of the configuration.
        field: &'static str,
        /// The accepted values.
        expected: String,
        /// The value.
        found: String,
    },
    /// No objective has this name.
    #[error("objective.name: unknown objective `{name}`; known are {known}")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// A saved state that is not this objective's.
    #[error("{objective}: saved state does not fit: expected {expected}, found {found}")]
    State {
        /// The objective.
        objective: &'static str,
        /// What it needs.
        expected: String,
        /// What it was given.
        found: String,
    },
}

impl ObjectiveError {
    /// An input error.
    pub(crate) fn input(
        objective: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Input {
            objective,
            expected: expected.into(),
            found: found.into(),
        }
    }
}
