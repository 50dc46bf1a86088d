//! Which checkpoints stay: the last K and the best.

use super::{Checkpoint, RunError, write_atomically};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The checkpoint with the best score so far: the content of `best.json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Best {
    pub(super) step: u64,
    pub(super) score: f64,
}

const FILE: &str = "best.json";

impl Best {
    /// The best checkpoint below `checkpoints`; `None` when nothing was scored, or its checkpoint
    /// is gone.
    pub(super) fn read(checkpoints: &Path) -> Result<Option<Self>, RunError> {
        let path = checkpoints.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RunError::io(&path, "read")(error)),
        };
        let best: Self = serde_json::from_slice(&text).map_err(|error| {
            RunError::damaged(&path, "content", "step and score", error.to_string())
        })?;
        let there = checkpoints
            .join(Checkpoint::folder_name(best.step))
            .is_dir();
        Ok(there.then_some(best))
    }

    fn write(&self, checkpoints: &Path) -> Result<(), RunError> {
        let path = checkpoints.join(FILE);
        let text =
            serde_json::to_vec(self).map_err(|error| RunError::io(&path, "write")(error.into()))?;
        write_atomically(&path, &text)
    }
}

/// Notes the score of a checkpoint that was just written. Ties go to the earlier one.
pub(super) fn note_score(checkpoints: &Path, step: u64, score: f64) -> Result<(), RunError> {
    let best = Best::read(checkpoints)?.filter(|best| best.step != step);
    if best.is_none_or(|best| score > best.score) {
        Best { step, score }.write(checkpoints)?;
    }
    Ok(())
}

/// Removes all but the last `keep` checkpoints and the best.
pub(super) fn prune(checkpoints: &Path, keep: usize) -> Result<(), RunError> {
    let best = Best::read(checkpoints)?.map(|best| best.step);
    let steps = Checkpoint::steps(checkpoints)?;
    let old = steps.len().saturating_sub(keep.max(1));
    for step in steps.into_iter().take(old).filter(|s| Some(*s) != best) {
        Checkpoint::remove(checkpoints, step)?;
    }
    Ok(())
}

/// Names of checkpoints that could not be read; never read or removed again.
const DAMAGED: &str = "damaged-";

/// Renames a checkpoint that cannot be read to the first free `damaged-…`; returns its new place.
pub(super) fn set_aside(checkpoints: &Path, step: u64) -> Result<PathBuf, RunError> {
    let name = Checkpoint::folder_name(step);
    let place = |number: u32| match number {
        1 => checkpoints.join(format!("{DAMAGED}{name}")),
        _ => checkpoints.join(format!("{DAMAGED}{name}-{number}")),
    };
    let mut free = (1..).map(place).filter(|place| !place.exists());
    let place = free.next().unwrap_or_else(|| checkpoints.join(DAMAGED));
    fs::rename(checkpoints.join(&name), &place).map_err(RunError::io(&place, "write"))?;
    Ok(place)
}

/// Removes the checkpoints after `step`, when a run goes on from there.
pub(super) fn forget_after(checkpoints: &Path, step: u64) -> Result<(), RunError> {
    let later = |at: &u64| *at > step;
    for at in Checkpoint::steps(checkpoints)?.into_iter().filter(later) {
        Checkpoint::remove(checkpoints, at)?;
    }
    Ok(())
}
