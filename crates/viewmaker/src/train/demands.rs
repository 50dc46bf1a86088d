//! Whether data and settings have what an objective needs.

use crate::config::Config;
use crate::error::{Error, Result};
use viewmaker_data::Splits;
use viewmaker_objective::{Branches, Objective};

/// The configured objective, if the data have what it needs.
///
/// # Errors
/// When they do not, or an option is out of range; says what would work.
pub(super) fn objective(
    config: &Config,
    splits: &Splits,
    dim: usize,
) -> Result<Box<dyn Objective>> {
    let (examples, seed) = (splits.train.len(), config.seed);
    let objective = viewmaker_objective::build(&config.objective, dim, examples, seed)
        .map_err(|error| Error::usage(error.to_string()))?;
    let branches = objective.branches();
    if let Some(why) = missing(&branches, splits) {
        return Err(Error::usage(format!(
            "objective.name = \"{}\": {why}",
            config.objective.name
        )));
    }
    let (least, batch) = (branches.least_batch, config.train.batch_size);
    if batch < least {
        return Err(Error::usage(format!(
            "train.batch_size = {batch}: objective.name = \"{}\" needs at least {least} examples as it \
             is set; use a larger batch, or see its options in `viewmaker objectives`",
            config.objective.name
        )));
    }
    Ok(objective)
}

/// What an objective needs and the data have not, and what would work.
fn missing(branches: &Branches, splits: &Splits) -> Option<String> {
    let about = &splits.description;
    if branches.labels && splits.class_names.is_empty() {
        return Some(format!(
            "this objective learns from classes, and the training data have none ({about}); use \
             labelled data, or an objective that needs no labels"
        ));
    }
    if branches.text && splits.train.caption(0).is_none() {
        return Some(format!(
            "this objective compares examples with texts, and these have none ({about})"
        ));
    }
    if branches.ordered && splits.train.sequence(0).is_none() {
        return Some(format!(
            "this objective compares moments in the order of time, and these examples have no time \
             ({about}); it is defined on speech and sensor recordings, and on folders of frames \
             (--modality image --data FOLDER --set data.image.frames=true)"
        ));
    }
    None
}
