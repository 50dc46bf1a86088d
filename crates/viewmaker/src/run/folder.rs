//! The run folder as a whole.

use super::metrics::Metrics;
use super::retention::{Best, forget_after, note_score, prune, set_aside};
use super::{Checkpoint, RunError, RunSummary, write_atomically};
use crate::config::Config;
use crate::error::Result;
use crate::progress::{EpochReport, StepReport};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const LOG: &str = "log.txt";
const LOCK: &str = ".lock";
const CHECKPOINTS: &str = "checkpoints";
const VIEWS: &str = "views";
/// The event of an epoch's record.
const EPOCH: &str = "epoch";

/// The checkpoint that a run goes on from.
#[derive(Debug)]
pub struct Latest {
    /// The latest that is whole.
    pub checkpoint: Checkpoint,
    /// Where it lies.
    pub folder: PathBuf,
    /// Later ones, the latest first.
    pub damaged: Vec<Unreadable>,
}

/// A checkpoint that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its step.
    pub step: u64,
    /// The reason, with the name of the file.
    pub error: RunError,
}

/// A run folder, held by this process alone.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    keep_checkpoints: usize,
    metrics: Metrics,
    /// Released by the operating system when the process ends, however it ends.
    _lock: File,
}

impl RunDir {
    /// Makes the folder of a new run: `out`, or the next free `runs/<modality>-<number>`.
    ///
    /// # Errors
    /// When `out` holds anything but an untouched run, or cannot be written.
    pub fn create(out: Option<&Path>, config: &Config) -> Result<Self, RunError> {
        let path = match out {
            Some(out) => {
                refuse_taken(out)?;
                fs::create_dir_all(out).map_err(RunError::io(out, "create"))?;
                out.to_path_buf()
            }
            None => next_free(Path::new("runs"), &config.modality)?,
        };
        let lock = lock(&path)?;
        for folder in [CHECKPOINTS, VIEWS] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(RunError::io(&folder, "create"))?;
        }
        write_atomically(&path.join(CONFIG), config.to_toml().as_bytes())?;
        Self::assemble(path, config, lock)
    }

    /// Opens the folder of an earlier run to go on with it, and tidies up after a kill.
    ///
    /// # Errors
    /// When there is no run, its configuration is damaged, or another process works in it.
    pub fn open(path: &Path) -> Result<(Self, Config)> {
        let config = Self::read_config(path)?;
        let lock = lock(path)?;
        for folder in [CHECKPOINTS, VIEWS] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(RunError::io(&folder, "create"))?;
        }
        Checkpoint::clean(&path.join(CHECKPOINTS))?;
        let run = Self::assemble(path.to_path_buf(), &config, lock)?;
        Ok((run, config))
    }

    fn assemble(path: PathBuf, config: &Config, lock: File) -> Result<Self, RunError> {
        let metrics = Metrics::open(path.join(METRICS))?;
        Ok(Self {
            path,
            keep_checkpoints: config.train.keep_checkpoints,
            metrics,
            _lock: lock,
        })
    }

    /// The configuration file of the run in `path`.
    pub fn config_path(path: &Path) -> PathBuf {
        path.join(CONFIG)
    }

    /// The configuration of the run in `path`, without opening the run.
    ///
    /// # Errors
    /// When there is no run, or its configuration is damaged.
    pub fn read_config(path: &Path) -> Result<Config> {
        let config = path.join(CONFIG);
        if !config.is_file() {
            let why = match path.is_dir() {
                true => format!("it has no {CONFIG}"),
                false => "there is no such folder".to_owned(),
            };
            let path = path.to_path_buf();
            return Err(RunError::NoRun { path, why }.into());
        }
        Ok(Config::read(&config)?)
    }

    /// The latest checkpoint of the run in `path` that is whole; `None` when there is none at all.
    ///
    /// # Errors
    /// When there are checkpoints, and all are damaged: the error of the latest.
    pub fn latest_checkpoint(path: &Path) -> Result<Option<Latest>, RunError> {
        let checkpoints = path.join(CHECKPOINTS);
        if !checkpoints.is_dir() {
            return Ok(None);
        }
        let mut damaged = Vec::new();
        for step in Checkpoint::steps(&checkpoints)?.into_iter().rev() {
            let folder = checkpoints.join(Checkpoint::folder_name(step));
            match Checkpoint::read(&folder) {
                Ok(checkpoint) => {
                    return Ok(Some(Latest {
                        checkpoint,
                        folder,
                        damaged,
                    }));
                }
                Err(error) => damaged.push(Unreadable { step, error }),
            }
        }
        match damaged.into_iter().next() {
            Some(latest) => Err(latest.error),
            None => Ok(None),
        }
    }

    /// Renames the checkpoint of `step`, which cannot be read, so that the run goes on without it and
    /// nothing of it is lost; returns its new place.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn set_aside(&mut self, step: u64) -> Result<PathBuf, RunError> {
        set_aside(&self.path.join(CHECKPOINTS), step)
    }

    /// The checkpoint with the best score of the run in `path`, with its folder; `None` when
    /// nothing was scored.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn best_checkpoint(path: &Path) -> Result<Option<(Checkpoint, PathBuf)>, RunError> {
        let checkpoints = path.join(CHECKPOINTS);
        let Some(best) = Best::read(&checkpoints)? else {
            return Ok(None);
        };
        let folder = checkpoints.join(Checkpoint::folder_name(best.step));
        Ok(Some((Checkpoint::read(&folder)?, folder)))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder for pictures.
    pub fn views(&self) -> PathBuf {
        self.path.join(VIEWS)
    }

    /// Replaces the configuration, when a run goes on with more epochs or other evaluation.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn rewrite_config(&mut self, config: &Config) -> Result<(), RunError> {
        self.keep_checkpoints = config.train.keep_checkpoints;
        write_atomically(&self.path.join(CONFIG), config.to_toml().as_bytes())
    }

    /// Drops everything after `step`, from where the run goes on: metrics, checkpoints, summary.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn rewind_to(&mut self, step: u64) -> Result<(), RunError> {
        let summary = self.path.join(RunSummary::FILE);
        match fs::remove_file(&summary) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(RunError::io(&summary, "remove")(error));
            }
            _ => {}
        }
        forget_after(&self.path.join(CHECKPOINTS), step)?;
        self.metrics.truncate_after(step)
    }

    /// Appends a step to `metrics.jsonl`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record_step(&mut self, report: &StepReport) -> Result<(), RunError> {
        self.metrics.append("step", report)
    }

    /// Appends an epoch to `metrics.jsonl`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record_epoch(&mut self, report: &EpochReport) -> Result<(), RunError> {
        self.metrics.append(EPOCH, report)
    }

    /// Drops the record of the epoch that ended at `step`, where it is about to be measured again.
    ///
    /// # Errors
    /// When `metrics.jsonl` cannot be read or written.
    pub fn forget_epoch_at(&mut self, step: u64) -> Result<(), RunError> {
        self.metrics.drop_at(EPOCH, step)
    }

    /// Saves a checkpoint and removes those that are neither among the last nor the best.
    /// `score` is what "best" means, the kNN accuracy; `None` when it was not measured.
    ///
    /// # Errors
    /// When the folder cannot be written; earlier checkpoints are still there then.
    pub fn save_checkpoint(
        &mut self,
        checkpoint: &Checkpoint,
        score: Option<f64>,
    ) -> Result<PathBuf, RunError> {
        self.metrics.sync()?;
        let checkpoints = self.path.join(CHECKPOINTS);
        let place = checkpoint.write(&checkpoints)?;
        if let Some(score) = score {
            note_score(&checkpoints, checkpoint.step, score)?;
        }
        prune(&checkpoints, self.keep_checkpoints)?;
        Ok(place)
    }

    /// Writes `summary.json`: the run has finished.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&mut self, summary: &RunSummary) -> Result<(), RunError> {
        self.metrics.sync()?;
        summary.write(&self.path)
    }

    /// Opens the log for appending.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn log(&self) -> Result<File, RunError> {
        let path = self.path.join(LOG);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(RunError::io(&path, "open"))
    }
}

/// A folder may be used when it is empty, or holds a run that has not got to anything worth
/// keeping (the data could not be opened, say).
fn refuse_taken(path: &Path) -> Result<(), RunError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(RunError::io(path, "use as a run folder")(error)),
    };
    let is_run = path.join(CONFIG).is_file();
    if !is_run && entries.count() > 0 {
        return Err(RunError::Taken {
            path: path.to_path_buf(),
            found: "the folder is not empty and holds no run",
            advice: "choose another --out".to_owned(),
        });
    }
    if is_run && !is_untouched(path) {
        return Err(RunError::Taken {
            path: path.to_path_buf(),
            found: "the folder holds a run",
            advice: format!(
                "continue it with --resume {}, or choose another --out",
                path.display()
            ),
        });
    }
    Ok(())
}

fn is_untouched(path: &Path) -> bool {
    let is_empty = |file: &str| fs::metadata(path.join(file)).map_or(true, |meta| meta.len() == 0);
    let is_bare = |folder: &str| {
        fs::read_dir(path.join(folder)).map_or(true, |mut entries| entries.next().is_none())
    };
    is_empty(METRICS) && is_bare(CHECKPOINTS) && is_bare(VIEWS)
}

/// Makes the first folder `<runs>/<modality>-<number>` that does not exist.
fn next_free(runs: &Path, modality: &str) -> Result<PathBuf, RunError> {
    fs::create_dir_all(runs).map_err(RunError::io(runs, "create"))?;
    let mut number = 1;
    loop {
        let path = runs.join(format!("{modality}-{number:03}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(RunError::io(&path, "create")(error)),
        }
    }
}

fn lock(run: &Path) -> Result<File, RunError> {
    let path = run.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(RunError::io(&path, "create"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunError::Busy(run.to_path_buf())),
        // File systems without locks (some network ones) must do without.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
