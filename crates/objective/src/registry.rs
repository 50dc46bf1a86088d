//! The objectives that can be configured: help text, validation and construction come from here.

use crate::objective::{Branches, Objective, Setup};
use crate::*;
use serde::Serialize;

/// Everything to be said about an objective, and how to make one.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Entry {
    /// The name in configurations.
    pub name: &'static str,
    /// In a few words.
    pub title: &'static str,
    /// The loss in one line.
    pub equation: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// What it needs beside an encoder.
    pub branches: Branches,
    /// How the viewmaker plays against it.
    pub game: &'static str,
    /// Keys of the section `objective` that it reads.
    pub options: &'static [&'static str],
    /// Settings that differ from the built-in defaults where the objective is chosen, as
    /// `key=value`; weaker than anything a user writes.
    pub defaults: &'static [&'static str],
    #[serde(skip)]
    pub(crate) build: Build,
}

type Build =
    fn(&'static Entry, &ObjectiveConfig, &Setup) -> Result<Box<dyn Objective>, ObjectiveError>;

/// All objectives, in the order in which help lists them.
pub fn registry() -> &'static [Entry] {
    &[
        viewmaker_simclr::ENTRY,
        ntxent::ENTRY,
        ntxent::DCL,
        dclw::ENTRY,
        infonce::ENTRY,
        instdisc::ENTRY,
        moco::ENTRY,
        moco_v3::ENTRY,
        byol::ENTRY,
        simsiam::ENTRY,
        supcon::ENTRY,
        triplet::ENTRY,
        protonet::ENTRY,
        tcn::ENTRY,
        clip::ENTRY,
        pull::ENTRY,
    ]
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
    (entry.build)(entry, config, &setup)
}
