//! Checkpoints: a folder of safetensors files and a JSON file that says what belongs in them.

use super::atomic::{remove_folder, sync_folder, write_synced};
use super::tensors::{decode, encode};
use super::{RunError, TensorMap};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The state of a run after a step: enough to go on as if nothing had happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Tensors by file (`encoder`, `viewmaker`, `optim`, …) and name.
    pub tensors: BTreeMap<String, TensorMap>,
    /// Everything that is no tensor: counters, generator state, running means.
    pub meta: serde_json::Value,
}

/// The content of `checkpoint.json`.
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    step: u64,
    epoch: u64,
    meta: serde_json::Value,
    files: BTreeMap<String, FileEntry>,
}

#[derive(Serialize, Deserialize)]
struct FileEntry {
    bytes: u64,
    fnv1a: String,
}

/// Version of the layout.
const FORMAT: u32 = 1;
const PREFIX: &str = "step-";
/// Names of folders that are being written or removed; never read.
const UNFINISHED: &str = ".tmp-";
/// Names of checkpoints that make room for a newer one of the same step.
const REPLACED: &str = ".old-";

impl Checkpoint {
    /// The file of the folder that says what belongs in the others.
    pub(crate) const MANIFEST: &str = "checkpoint.json";

    /// The tensors of a file.
    ///
    /// # Errors
    /// When the checkpoint has no such file; `at` is where it was loaded from.
    pub fn file(&self, name: &str, at: &Path) -> Result<&TensorMap, RunError> {
        self.tensors.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
            let path = at.join(format!("{name}.safetensors"));
            RunError::damaged(
                &path,
                "file",
                "to exist",
                format!("only {}", known.join(", ")),
            )
        })
    }

    /// Checks that a file holds exactly the tensors that a model expects.
    ///
    /// # Errors
    /// Names the first tensor that is missing, of another shape or unknown to the model.
    pub fn check_shapes<'a>(
        &self,
        file: &str,
        expected: impl IntoIterator<Item = (&'a str, &'a [usize])>,
        at: &Path,
    ) -> Result<(), RunError> {
        let tensors = self.file(file, at)?;
        let path = at.join(format!("{file}.safetensors"));
        let expected: BTreeMap<&str, &[usize]> = expected.into_iter().collect();
        for (name, shape) in &expected {
            let place = format!("tensor `{name}`");
            let wanted = format!("shape {shape:?}");
            match tensors.get(*name) {
                Some(tensor) if tensor.shape == *shape => {}
                Some(tensor) => {
                    let found = format!("shape {:?}: a checkpoint of another model", tensor.shape);
                    return Err(RunError::damaged(&path, place, wanted, found));
                }
                None => return Err(RunError::damaged(&path, place, wanted, "no such tensor")),
            }
        }
        match tensors
            .keys()
            .find(|name| !expected.contains_key(name.as_str()))
        {
            Some(extra) => Err(RunError::damaged(
                &path,
                format!("tensor `{extra}`"),
                "only tensors of the model",
                "one more: a checkpoint of another model",
            )),
            None => Ok(()),
        }
    }

    /// Name of the folder of a step.
    pub(super) fn folder_name(step: u64) -> String {
        format!("{PREFIX}{step:08}")
    }

    /// Writes the checkpoint below `checkpoints`; it appears there whole or not at all.
    pub(super) fn write(&self, checkpoints: &Path) -> Result<PathBuf, RunError> {
        let name = Self::folder_name(self.step);
        let place = checkpoints.join(&name);
        let unfinished = checkpoints.join(format!("{UNFINISHED}{name}"));
        remove_folder(&unfinished)?;
        fs::create_dir(&unfinished).map_err(RunError::io(&unfinished, "create"))?;
        let mut files = BTreeMap::new();
        for (file, tensors) in &self.tensors {
            let file = format!("{file}.safetensors");
            let path = unfinished.join(&file);
            let bytes = encode(&path, tensors)?;
            write_synced(&path, &bytes)?;
            let entry = FileEntry {
                bytes: bytes.len() as u64,
                fnv1a: fnv1a(&bytes),
            };
            files.insert(file, entry);
        }
        let manifest = Manifest {
            format: FORMAT,
            step: self.step,
            epoch: self.epoch,
            meta: self.meta.clone(),
            files,
        };
        let path = unfinished.join(Checkpoint::MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| RunError::io(&path, "write")(error.into()))?;
        write_synced(&path, &text)?;
        sync_folder(&unfinished)?;
        put_in_place(&unfinished, &place)?;
        sync_folder(checkpoints)?;
        Ok(place)
    }

    /// Reads a checkpoint and checks that it is whole.
    ///
    /// # Errors
    /// When a file is missing, truncated or damaged; the message names it.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let manifest = read_manifest(folder)?;
        let mut files = BTreeMap::new();
        for (file, entry) in &manifest.files {
            let path = folder.join(file);
            let bytes = fs::read(&path).map_err(RunError::io(&path, "read"))?;
            if bytes.len() as u64 != entry.bytes {
                let (expected, found) = (entry.bytes, bytes.len());
                return Err(RunError::damaged(
                    &path,
                    "length",
                    format!("{expected} bytes"),
                    format!("{found} bytes"),
                ));
            }
            if fnv1a(&bytes) != entry.fnv1a {
                let expected = format!("checksum {}", entry.fnv1a);
                return Err(RunError::damaged(&path, "content", expected, fnv1a(&bytes)));
            }
            let name = file.trim_end_matches(".safetensors").to_owned();
            files.insert(name, decode(&path, &bytes)?);
        }
        Ok(Self {
            step: manifest.step,
            epoch: manifest.epoch,
            tensors: files,
            meta: manifest.meta,
        })
    }

    /// The steps that have a checkpoint below `checkpoints`, ascending.
    pub(super) fn steps(checkpoints: &Path) -> Result<Vec<u64>, RunError> {
        let entries = fs::read_dir(checkpoints).map_err(RunError::io(checkpoints, "list"))?;
        let mut steps = Vec::new();
        for entry in entries {
            let entry = entry.map_err(RunError::io(checkpoints, "list"))?;
            let name = entry.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            steps.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Removes a checkpoint; a kill on the way leaves nothing that looks whole.
    pub(super) fn remove(checkpoints: &Path, step: u64) -> Result<(), RunError> {
        let name = Self::folder_name(step);
        let doomed = checkpoints.join(format!("{UNFINISHED}old-{name}"));
        remove_folder(&doomed)?;
        let path = checkpoints.join(name);
        fs::rename(&path, &doomed).map_err(RunError::io(&path, "remove"))?;
        remove_folder(&doomed)
    }

    /// Tidies up after a killed process: removes what it left half written or half removed, and
    /// puts back a checkpoint whose replacement never came.
    pub(super) fn clean(checkpoints: &Path) -> Result<(), RunError> {
        let entries = fs::read_dir(checkpoints).map_err(RunError::io(checkpoints, "list"))?;
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            if name.starts_with(UNFINISHED) {
                remove_folder(&path)?;
            } else if let Some(original) = name.strip_prefix(REPLACED) {
                let place = checkpoints.join(original);
                match place.exists() {
                    true => remove_folder(&path)?,
                    false => fs::rename(&path, &place).map_err(RunError::io(&place, "restore"))?,
                }
            }
        }
        Ok(())
    }
}

fn read_manifest(folder: &Path) -> Result<Manifest, RunError> {
    let path = folder.join(Checkpoint::MANIFEST);
    let text = fs::read(&path).map_err(RunError::io(&path, "read"))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| {
        RunError::damaged(
            &path,
            "content",
            "the description of a checkpoint",
            error.to_string(),
        )
    })?;
    if manifest.format != FORMAT {
        let found = manifest.format.to_string();
        return Err(RunError::damaged(
            &path,
            "format",
            FORMAT.to_string(),
            found,
        ));
    }
    Ok(manifest)
}

/// Renames a finished folder to its place; one that is already there (the same step saved twice)
/// makes room.
fn put_in_place(unfinished: &Path, place: &Path) -> Result<(), RunError> {
    if place.exists() {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let old = place.with_file_name(format!("{REPLACED}{name}"));
        remove_folder(&old)?;
        fs::rename(place, &old).map_err(RunError::io(place, "replace"))?;
        fs::rename(unfinished, place).map_err(RunError::io(place, "write"))?;
        return remove_folder(&old);
    }
    fs::rename(unfinished, place).map_err(RunError::io(place, "write"))
}

/// FNV-1a over 64 bits, in hexadecimal: finds accidents, not attackers.
pub(crate) fn fnv1a(bytes: &[u8]) -> String {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
