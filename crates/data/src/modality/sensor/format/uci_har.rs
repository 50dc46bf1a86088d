//! UCI HAR: ready-made windows of 128 steps at 50 Hz, nine channels.
//!
//! Source: Anguita et al., *A public domain dataset for human activity recognition using
//! smartphones* (ESANN 2013).

use super::super::config::SensorConfig;
use super::super::corpus::{Activities, Corpus, Defaults, Stretch};
use super::text::{Table, for_each_line, whole};
use super::{OFFICIAL_TEST_USERS, activity_names};
use crate::{DataError, files};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SIGNALS: [&str; 9] = [
    "body_acc_x",
    "body_acc_y",
    "body_acc_z",
    "body_gyro_x",
    "body_gyro_y",
    "body_gyro_z",
    "total_acc_x",
    "total_acc_y",
    "total_acc_z",
];
const PARTS: [&str; 2] = ["train", "test"];
const SIGNAL_FOLDER: &str = "Inertial Signals";

/// The folder with `train` and `test`: `path` itself or the one that the archive unpacks to.
pub(super) fn folder(path: &Path) -> Option<PathBuf> {
    [path.to_path_buf(), path.join("UCI HAR Dataset")]
        .into_iter()
        .find(|folder| {
            PARTS
                .iter()
                .any(|part| folder.join(part).join(SIGNAL_FOLDER).is_dir())
        })
}

/// Reads the parts that are there.
pub(super) fn read(folder: &Path, config: &SensorConfig) -> Result<Corpus, DataError> {
    let known = activity_names(&folder.join("activity_labels.txt"))?;
    let activities = Activities::select(known, &config.activities, |_| true)?;
    let mut windows = Vec::new();
    for part in PARTS {
        if folder.join(part).join(SIGNAL_FOLDER).is_dir() {
            windows.extend(read_part(folder, part, &activities)?);
        }
    }
    let ids: BTreeSet<u32> = windows.iter().map(|(user, _)| *user).collect();
    let ids: Vec<u32> = ids.into_iter().collect();
    let window = windows
        .iter()
        .map(|(_, window)| window.len)
        .min()
        .unwrap_or(128);
    let stretches = windows.into_iter().map(|(user, window)| Stretch {
        subject: ids.partition_point(|&id| id < user),
        ..window
    });
    Ok(Corpus {
        format: "UCI HAR",
        channels: SIGNALS.map(str::to_owned).to_vec(),
        classes: activities.classes,
        stretches: stretches.collect(),
        subjects: ids.iter().map(u32::to_string).collect(),
        defaults: Defaults {
            window,
            rate_hz: 50.0,
            train_examples: None,
            test_subjects: OFFICIAL_TEST_USERS,
            validation_subjects: &[],
        },
        remark: String::new(),
    })
}

/// The windows of `train` or `test`, with the user who wore the phone.
fn read_part(
    folder: &Path,
    part: &str,
    activities: &Activities,
) -> Result<Vec<(u32, Stretch)>, DataError> {
    let folder = folder.join(part);
    let labels_path = folder.join(format!("y_{part}.txt"));
    let labels = read_numbers(&labels_path, "activity")?;
    let users_path = folder.join(format!("subject_{part}.txt"));
    let users = read_numbers(&users_path, "subject")?;
    same_count(&users_path, users.len(), &labels_path, labels.len())?;
    let paths = SIGNALS.map(|s| folder.join(SIGNAL_FOLDER).join(format!("{s}_{part}.txt")));
    let signals: Vec<Vec<Vec<f32>>> = paths
        .par_iter()
        .map(|path| read_windows(path))
        .collect::<Result<_, _>>()?;
    for (path, signal) in paths.iter().zip(&signals) {
        same_count(path, signal.len(), &labels_path, labels.len())?;
        let (steps, other) = (signal.first().map_or(0, Vec::len), signals[0].first());
        let expected = other.map_or(0, Vec::len);
        if steps != expected {
            let expected = format!("{expected} numbers as in {}", paths[0].display());
            return Err(DataError::format(
                path,
                "line 1",
                expected,
                steps.to_string(),
            ));
        }
    }
    let mut windows = Vec::with_capacity(labels.len());
    for (i, (&activity, &user)) in labels.iter().zip(&users).enumerate() {
        if !activities.knows(activity) {
            let place = format!("line {}", i + 1);
            let expected = "a number of activity_labels.txt";
            return Err(DataError::format(
                &labels_path,
                place,
                expected,
                activity.to_string(),
            ));
        }
        let Some(label) = activities.class_of(activity) else {
            continue;
        };
        let stretch = Stretch {
            subject: 0,
            label: Some(label),
            origin: format!("{}: window {}", folder.display(), i + 1),
            file: None,
            len: signals[0][i].len(),
            samples: signals
                .iter()
                .flat_map(|signal| &signal[i])
                .copied()
                .collect(),
        };
        windows.push((user, stretch));
    }
    Ok(windows)
}

/// One window per line.
fn read_windows(path: &Path) -> Result<Vec<Vec<f32>>, DataError> {
    let name = |column: usize| format!("step {}", column + 1);
    let table = Table {
        path,
        columns: None,
        missing: false,
        name: &name,
    };
    let mut windows = Vec::new();
    table.for_each_row(files::open(path)?, |_, row| {
        windows.push(row.to_vec());
        Ok(())
    })?;
    Ok(windows)
}

/// One whole number per line.
fn read_numbers(path: &Path, name: &str) -> Result<Vec<u32>, DataError> {
    let mut numbers = Vec::new();
    for_each_line(path, files::open(path)?, |line, text| {
        numbers.push(whole(path, line, 0, name, text)?);
        Ok(())
    })?;
    Ok(numbers)
}

fn same_count(path: &Path, found: usize, other: &Path, expected: usize) -> Result<(), DataError> {
    if found == expected {
        return Ok(());
    }
    let expected = format!("{expected} lines as in {}", other.display());
    Err(DataError::format(
        path,
        "end of file",
        expected,
        format!("{found} lines"),
    ))
}
