//! PAMAP2: `subject101.dat` …, 54 columns at 100 Hz.
//!
//! Source: Reiss & Stricker, *Introducing a new benchmarked dataset for activity monitoring*
//! (ISWC 2012), and the data set's own description of its columns.

use super::super::config::SensorConfig;
use super::super::corpus::{Activities, Corpus, Defaults, Stretch, fill_gaps};
use super::text::Table;
use crate::{DataError, files};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

const COLUMNS: usize = 54;
/// Timestamp and activity come before the first channel, the heart rate.
const FIRST_CHANNEL: usize = 2;
/// Rows between two activities.
const TRANSIENT: u32 = 0;
const PLACES: [&str; 3] = ["hand", "chest", "ankle"];
const IMU: [&str; 17] = [
    "temperature",
    "acc16_x",
    "acc16_y",
    "acc16_z",
    "acc6_x",
    "acc6_y",
    "acc6_z",
    "gyro_x",
    "gyro_y",
    "gyro_z",
    "mag_x",
    "mag_y",
    "mag_z",
    "orientation_1",
    "orientation_2",
    "orientation_3",
    "orientation_4",
];
/// Activity numbers, names, and whether the activity belongs to the protocol of all subjects.
/// (The reference experiments declare these twelve classes, but leave out ironing.)
const ACTIVITIES: [(u32, &str, bool); 18] = [
    (1, "lying", true),
    (2, "sitting", true),
    (3, "standing", true),
    (4, "walking", true),
    (5, "running", true),
    (6, "cycling", true),
    (7, "Nordic walking", true),
    (9, "watching TV", false),
    (10, "computer work", false),
    (11, "car driving", false),
    (12, "ascending stairs", true),
    (13, "descending stairs", true),
    (16, "vacuum cleaning", true),
    (17, "ironing", true),
    (18, "folding laundry", false),
    (19, "house cleaning", false),
    (20, "playing soccer", false),
    (24, "rope jumping", true),
];
/// Windows, rate and subjects as in the reference experiments.
const DEFAULTS: Defaults = Defaults {
    window: 1000,
    rate_hz: 100.0,
    train_examples: Some(10_000),
    test_subjects: &["6"],
    validation_subjects: &["5"],
};

/// The subject files of `path`: a file, a folder of them, or the unpacked archive with its folders
/// `Protocol` and `Optional`. Empty if there are none.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if path.is_file() {
        let is_one = subject_of(path).is_some();
        return Ok(is_one.then(|| path.to_path_buf()).into_iter().collect());
    }
    let mut files = Vec::new();
    for folder in [
        path.to_path_buf(),
        path.join("Protocol"),
        path.join("Optional"),
    ] {
        if folder.is_dir() {
            files.extend(
                files::list(&folder)?
                    .into_iter()
                    .filter(|f| subject_of(f).is_some()),
            );
        }
    }
    Ok(files)
}

/// `6` of `subject106.dat`.
fn subject_of(path: &Path) -> Option<String> {
    let name = files::name_of(path);
    let digits = name.strip_prefix("subject")?.strip_suffix(".dat")?;
    let number: u32 = digits.parse().ok()?;
    Some(number.checked_sub(100).unwrap_or(number).to_string())
}

/// Reads the subject files.
pub(super) fn read(files: &[PathBuf], config: &SensorConfig) -> Result<Corpus, DataError> {
    let known = ACTIVITIES
        .iter()
        .map(|&(id, name, _)| (id, name.to_owned()))
        .collect();
    let activities = Activities::select(known, &config.activities, in_protocol)?;
    let mut subjects: Vec<String> = files.iter().filter_map(|f| subject_of(f)).collect();
    subjects.sort_by_key(|s| s.parse::<u32>().ok());
    subjects.dedup();
    let wants_optional = ACTIVITIES
        .iter()
        .any(|&(id, _, protocol)| !protocol && activities.class_of(id).is_some());
    let stretches: Vec<Vec<Stretch>> = files
        .par_iter()
        .filter(|file| wants_optional || !is_optional(file))
        .map(|file| {
            let name = subject_of(file);
            let subject = subjects
                .iter()
                .position(|s| Some(s) == name.as_ref())
                .unwrap_or(0);
            read_subject(file, subject, &activities)
        })
        .collect::<Result<_, _>>()?;
    Ok(Corpus {
        format: "PAMAP2",
        channels: (FIRST_CHANNEL..COLUMNS).map(column_name).collect(),
        classes: activities.classes,
        subjects,
        stretches: stretches.into_iter().flatten().collect(),
        defaults: DEFAULTS,
        remark: String::new(),
    })
}

fn in_protocol(id: u32) -> bool {
    ACTIVITIES
        .iter()
        .any(|&(known, _, protocol)| known == id && protocol)
}

fn is_optional(file: &Path) -> bool {
    file.parent()
        .is_some_and(|folder| folder.ends_with("Optional"))
}

/// One stretch per activity: all rows with its number one after the other, as the reference does.
fn read_subject(
    path: &Path,
    subject: usize,
    activities: &Activities,
) -> Result<Vec<Stretch>, DataError> {
    let table = Table {
        path,
        columns: Some(COLUMNS),
        missing: true,
        name: &column_name,
    };
    let mut labels = Vec::new();
    let mut channels = vec![Vec::new(); COLUMNS - FIRST_CHANNEL];
    table.for_each_row(files::open(path)?, |line, row| {
        labels.push(activity(path, line, row[1], activities)?);
        for (channel, &value) in channels.iter_mut().zip(&row[FIRST_CHANNEL..]) {
            channel.push(value);
        }
        Ok(())
    })?;
    channels.iter_mut().for_each(|channel| fill_gaps(channel));
    let mut stretches = Vec::new();
    for (id, name, _) in ACTIVITIES {
        let Some(label) = activities.class_of(id) else {
            continue;
        };
        let rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] == id).collect();
        if rows.is_empty() {
            continue;
        }
        let of_rows = |channel: &Vec<f32>| rows.iter().map(|&row| channel[row]).collect::<Vec<_>>();
        stretches.push(Stretch {
            subject,
            label: Some(label),
            origin: format!("{}: {name}", path.display()),
            file: Some(path.to_path_buf()),
            len: rows.len(),
            samples: channels.iter().flat_map(of_rows).collect(),
        });
    }
    Ok(stretches)
}

/// The activity number in a cell.
fn activity(path: &Path, line: usize, cell: f32, known: &Activities) -> Result<u32, DataError> {
    let id = cell as u32;
    if id as f32 == cell && (id == TRANSIENT || known.knows(id)) {
        return Ok(id);
    }
    let place = format!("line {line}, column 2 ({})", column_name(1));
    let expected = "0 or an activity of PAMAP2 (1 to 7, 9 to 13, 16 to 20, 24)";
    Err(DataError::format(path, place, expected, cell.to_string()))
}

fn column_name(column: usize) -> String {
    match column {
        0 => "timestamp".into(),
        1 => "activityID".into(),
        2 => "heart_rate".into(),
        _ => {
            let (place, sensor) = ((column - 3) / IMU.len(), (column - 3) % IMU.len());
            let place = PLACES.get(place).copied().unwrap_or("extra");
            format!("{place}_{}", IMU[sensor])
        }
    }
}
