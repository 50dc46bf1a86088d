//! The objectives that can be configured: help text, validation and construction come from here.

use crate::objective::{Objective, Setup};
use crate::{ObjectiveConfig, ObjectiveError, instdisc, ntxent, viewmaker_simclr};

/// Everything to be said about an objective, and how to make one.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name in configurations.
    pub name: &'static str,
    /// In a few words.
    pub title: &'static str,
    /// The loss in one line.
    pub equation: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// How many views of each example it compares.
    pub views: usize,
    pub(crate) build: Build,
}

type Build = fn(&ObjectiveConfig, &Setup) -> Result<Box<dyn Objective>, ObjectiveError>;

/// All objectives, in the order in which help lists them.
pub fn registry() -> &'static [Entry] {
    &[viewmaker_simclr::ENTRY, ntxent::ENTRY, instdisc::ENTRY]
}

/// The entry with this name.
pub fn find(name: &str) -> Result<&'static Entry, ObjectiveError> {
    let found = registry().iter().find(|entry| entry.name == name);
    found.ok_or_else(|| {
        let known: Vec<&str> = registry().iter().map(|entry| entry.name).collect();
        ObjectiveError::Unknown {
            name: name.to_owned(),
            known: known.join(", "),
        }
    })
}

/// The configured objective for embeddings of `embedding_dim` numbers and `dataset_len` training
/// examples; all of its random numbers come from `seed`.
///
/// Fails on an unknown name, a setting out of range, and an empty data set or embedding.
pub fn build(
    config: &ObjectiveConfig,
    embedding_dim: usize,
    dataset_len: usize,
    seed: u64,
) -> Result<Box<dyn Objective>, ObjectiveError> {
    let entry = find(&config.name)?;
    config.validate()?;
    if embedding_dim == 0 || dataset_len == 0 {
        let found = format!("{dataset_len} examples of {embedding_dim} numbers");
        let expected = "at least one example and one number";
        return Err(ObjectiveError::input(entry.name, expected, found));
    }
    let setup = Setup {
        embedding_dim,
        dataset_len,
        seed,
    };
    (entry.build)(config, &setup)
}
