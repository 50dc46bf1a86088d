//! The objectives that can be configured: help text, validation and construction come from here.

use crate::objective::{Objective, Setup, TwoViews};
use crate::{ObjectiveConfig, ObjectiveError, fused, instdisc, ntxent, viewmaker_simclr};

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
    build: Build,
}

type Build = fn(&ObjectiveConfig, &Setup) -> Result<Box<dyn Objective>, ObjectiveError>;

/// All objectives, in the order in which help lists them.
pub fn registry() -> &'static [Entry] {
    &[VIEWMAKER_SIMCLR, NTXENT, INSTDISC]
}

const VIEWMAKER_SIMCLR: Entry = Entry {
    name: "viewmaker-simclr",
    title: "SimCLR as the viewmaker's authors train it (one-sided, may be negative)",
    equation: "mean_i[ log Σ_j (exp(u_i·u_j/t) + exp(u_i·v_j/t)) − log 2N − u_i·v_i/t ]",
    paper: "Tamkin, Wu & Goodman, Viewmaker Networks, ICLR 2021",
    views: 2,
    build: |config, _| {
        let (fused, plain) = (fused::viewmaker_simclr, viewmaker_simclr::viewmaker_simclr);
        Ok(TwoViews::boxed("viewmaker-simclr", config, fused, plain))
    },
};

const NTXENT: Entry = Entry {
    name: "ntxent",
    title: "NT-Xent, the usual SimCLR loss (all 2N rows, self-similarity left out)",
    equation: "mean_i[ log Σ_{k≠i} exp(z_i·z_k/t) − z_i·z_p(i)/t ], z = [u; v]",
    paper: "Chen, Kornblith, Norouzi & Hinton, SimCLR, ICML 2020",
    views: 2,
    build: |config, _| {
        let (fused, plain) = (fused::ntxent, ntxent::ntxent);
        Ok(TwoViews::boxed("ntxent", config, fused, plain))
    },
};

const INSTDISC: Entry = Entry {
    name: "instdisc",
    title: "Instance discrimination against a memory bank (one view)",
    equation: "−mean_i[ u_i·bank_i/t − log mean_k exp(u_i·bank_noise(i,k)/t) ]",
    paper: "Wu, Xiong, Yu & Lin, Non-Parametric Instance Discrimination, CVPR 2018",
    views: 1,
    build: |config, setup| {
        let objective = instdisc::InstanceDiscrimination::new(config, setup)?;
        Ok(Box::new(objective))
    },
};

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
