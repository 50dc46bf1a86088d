//! HAPT raw signals: `acc_exp01_user01.txt`, `gyro_exp01_user01.txt` …, at 50 Hz, and `labels.txt`.
//!
//! Source: Reyes-Ortiz et al., *Transition-aware human activity recognition using smartphones*
//! (Neurocomputing, 2016).

use super::super::config::SensorConfig;
use super::super::corpus::{Activities, Corpus, Defaults, Stretch};
use super::text::{Table, for_each_line, whole};
use super::{OFFICIAL_TEST_USERS, activity_names};
use crate::{DataError, files};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// Walking to lying; the numbers above are transitions between postures.
const LAST_BASIC_ACTIVITY: u32 = 6;
const AXES: [&str; 3] = ["x", "y", "z"];
const SENSORS: [&str; 2] = ["acc", "gyro"];
const LABEL_COLUMNS: [&str; 5] = ["experiment", "user", "activity", "start", "end"];

/// Experiment and user number.
type Session = (u32, u32);

/// The folder with `labels.txt`: `path` itself or its `RawData`.
pub(super) fn folder(path: &Path) -> Option<PathBuf> {
    [path.to_path_buf(), path.join("RawData")]
        .into_iter()
        .find(|folder| folder.join("labels.txt").is_file())
}

/// Reads the labelled intervals of all sessions whose signals are there.
pub(super) fn read(folder: &Path, config: &SensorConfig) -> Result<Corpus, DataError> {
    let names = [
        folder.join("activity_labels.txt"),
        above(folder).join("activity_labels.txt"),
    ];
    let names = names
        .iter()
        .find(|path| path.is_file())
        .unwrap_or(&names[0]);
    let activities = Activities::select(activity_names(names)?, &config.activities, |id| {
        id <= LAST_BASIC_ACTIVITY
    })?;
    let labels_path = folder.join("labels.txt");
    let intervals = read_labels(&labels_path, &activities)?;
    let wanted: BTreeSet<Session> = intervals.iter().map(|i| i.session).collect();
    let recordings = read_recordings(folder, &wanted)?;
    if recordings.is_empty() {
        let why = "holds no signals of the experiments in labels.txt (acc_expXX_userYY.txt and \
                   gyro_expXX_userYY.txt, or an archive RawData*.tar.gz with them)";
        return Err(DataError::unusable(folder, why));
    }
    let users: BTreeSet<u32> = recordings.keys().map(|&(_, user)| user).collect();
    let users: Vec<u32> = users.into_iter().collect();
    let mut stretches = Vec::new();
    for interval in &intervals {
        let Some(recording) = recordings.get(&interval.session) else {
            continue;
        };
        let subject = users.partition_point(|&user| user < interval.session.1);
        stretches.extend(cut(
            recording,
            interval,
            subject,
            &labels_path,
            &activities,
        )?);
    }
    let absent = wanted.len() - recordings.len();
    let absent = (absent > 0).then(|| format!("{absent} labelled experiments have no signals"));
    Ok(Corpus {
        format: "HAPT",
        channels: channel_names(),
        classes: activities.classes,
        subjects: users.iter().map(u32::to_string).collect(),
        stretches,
        defaults: Defaults {
            window: 256,
            rate_hz: 50.0,
            train_examples: None,
            test_subjects: OFFICIAL_TEST_USERS,
            validation_subjects: &[],
        },
        remark: absent.unwrap_or_default(),
    })
}

fn channel_names() -> Vec<String> {
    let of_sensor = |sensor| AXES.iter().map(move |axis| format!("{sensor}_{axis}"));
    SENSORS.iter().flat_map(of_sensor).collect()
}

/// A line of `labels.txt`.
struct Interval {
    line: usize,
    session: Session,
    activity: u32,
    /// First sample, counted from 1.
    start: usize,
    /// Last sample, counted from 1.
    end: usize,
}

fn read_labels(path: &Path, activities: &Activities) -> Result<Vec<Interval>, DataError> {
    let mut intervals = Vec::new();
    for_each_line(path, files::open(path)?, |line, text| {
        let cells: Vec<&str> = text.split_ascii_whitespace().collect();
        let Ok(cells) = <[&str; 5]>::try_from(cells) else {
            let expected = format!("5 numbers ({})", LABEL_COLUMNS.join(", "));
            let found = text.split_ascii_whitespace().count().to_string();
            return Err(DataError::format(
                path,
                format!("line {line}"),
                expected,
                found,
            ));
        };
        let mut numbers = [0; 5];
        for (column, cell) in cells.into_iter().enumerate() {
            numbers[column] = whole(path, line, column, LABEL_COLUMNS[column], cell)?;
        }
        let [experiment, user, activity, start, end] = numbers;
        if !activities.knows(activity) {
            let place = format!("line {line}, column 3 (activity)");
            let expected = "a number of activity_labels.txt";
            return Err(DataError::format(
                path,
                place,
                expected,
                activity.to_string(),
            ));
        }
        if start < 1 || end < start {
            let expected = "1 <= start <= end";
            let found = format!("start {start}, end {end}");
            return Err(DataError::format(
                path,
                format!("line {line}"),
                expected,
                found,
            ));
        }
        let (start, end) = (start as usize, end as usize);
        intervals.push(Interval {
            line,
            session: (experiment, user),
            activity,
            start,
            end,
        });
        Ok(())
    })?;
    Ok(intervals)
}

/// Both sensors of one session.
struct Recording {
    /// Six channels of equal length.
    channels: Vec<Vec<f32>>,
    /// The accelerometer's file.
    path: PathBuf,
}

/// A file of one sensor.
struct Signal {
    path: PathBuf,
    axes: Vec<Vec<f32>>,
}

/// The signals of the `wanted` sessions, from plain files and archives.
fn read_recordings(
    folder: &Path,
    wanted: &BTreeSet<Session>,
) -> Result<BTreeMap<Session, Recording>, DataError> {
    let mut signals = BTreeMap::new();
    let plain: Vec<_> = files::list(folder)?
        .into_iter()
        .filter_map(|path| Some((name_parts(&path)?, path)))
        .filter(|((_, session), _)| wanted.contains(session))
        .collect();
    let read: Vec<_> = plain
        .into_par_iter()
        .map(|(key, path)| Ok((key, read_signal(&path, files::open(&path)?)?)))
        .collect::<Result<_, DataError>>()?;
    signals.extend(read);
    for archive in archives(folder)? {
        read_archive(&archive, wanted, &mut signals)?;
    }
    let sessions: BTreeSet<Session> = signals.keys().map(|&(_, session)| session).collect();
    sessions
        .into_iter()
        .map(|session| Ok((session, join(folder, session, &mut signals)?)))
        .collect()
}

/// Archives of raw signals: `RawData*.tar.gz` in the folder or beside it.
fn archives(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut found = files::list(folder)?;
    if folder.ends_with("RawData") {
        found.extend(files::list(&above(folder))?);
    }
    found.retain(|path| files::name_of(path).starts_with("RawData") && files::is_tar(path));
    Ok(found)
}

/// The folder that holds `folder`.
fn above(folder: &Path) -> PathBuf {
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_path_buf(),
        None => folder.to_path_buf(),
    }
}

/// Adds the signals of an archive that are wanted and not there as plain files.
fn read_archive(
    path: &Path,
    wanted: &BTreeSet<Session>,
    signals: &mut BTreeMap<(usize, Session), Signal>,
) -> Result<(), DataError> {
    let is_wanted = |entry: &Path| name_parts(entry).is_some_and(|(_, s)| wanted.contains(&s));
    files::each_in_tar(path, is_wanted, |entry, bytes| {
        if let Some(key) = name_parts(entry)
            && !signals.contains_key(&key)
        {
            signals.insert(key, read_signal(&path.join(entry), &bytes[..])?);
        }
        Ok(())
    })
}

/// Sensor (0 accelerometer, 1 gyroscope), experiment and user of `acc_exp01_user01.txt`.
fn name_parts(path: &Path) -> Option<(usize, Session)> {
    let name = files::name_of(path);
    let stem = name.strip_suffix(".txt")?;
    let (sensor, rest) = stem.split_once("_exp")?;
    let sensor = SENSORS.iter().position(|&known| known == sensor)?;
    let (experiment, user) = rest.split_once("_user")?;
    Some((sensor, (experiment.parse().ok()?, user.parse().ok()?)))
}

fn read_signal(path: &Path, reader: impl BufRead) -> Result<Signal, DataError> {
    let name = |axis: usize| AXES.get(axis).copied().unwrap_or("extra").to_owned();
    let table = Table {
        path,
        columns: Some(AXES.len()),
        missing: false,
        name: &name,
    };
    Ok(Signal {
        axes: table.read(reader)?,
        path: path.to_path_buf(),
    })
}

/// Puts the two sensors of a session together.
fn join(
    folder: &Path,
    session: Session,
    signals: &mut BTreeMap<(usize, Session), Signal>,
) -> Result<Recording, DataError> {
    let mut take = |sensor: usize| {
        signals.remove(&(sensor, session)).ok_or_else(|| {
            let (experiment, user) = session;
            let name = |sensor| format!("{sensor}_exp{experiment:02}_user{user:02}.txt");
            let why = format!(
                "{} is missing, though {} is there",
                name(SENSORS[sensor]),
                name(SENSORS[1 - sensor])
            );
            DataError::unusable(folder, why)
        })
    };
    let (acc, gyro) = (take(0)?, take(1)?);
    let (expected, found) = (acc.axes[0].len(), gyro.axes[0].len());
    if expected != found {
        let expected = format!("{expected} lines as in {}", acc.path.display());
        let found = format!("{found} lines");
        return Err(DataError::format(
            &gyro.path,
            "end of file",
            expected,
            found,
        ));
    }
    let channels = acc.axes.into_iter().chain(gyro.axes).collect();
    Ok(Recording {
        channels,
        path: acc.path,
    })
}

/// The signal of an interval, if its activity is used.
fn cut(
    recording: &Recording,
    interval: &Interval,
    subject: usize,
    labels_path: &Path,
    activities: &Activities,
) -> Result<Option<Stretch>, DataError> {
    let rows = recording.channels[0].len();
    if interval.end > rows {
        return Err(DataError::format(
            labels_path,
            format!("line {}, column 5 (end)", interval.line),
            format!("at most {rows}, the lines of {}", recording.path.display()),
            interval.end.to_string(),
        ));
    }
    let range = interval.start - 1..interval.end;
    Ok(activities.class_of(interval.activity).map(|label| Stretch {
        subject,
        label: Some(label),
        file: None,
        origin: format!(
            "{}: lines {} to {}",
            recording.path.display(),
            interval.start,
            interval.end
        ),
        len: range.len(),
        samples: recording
            .channels
            .iter()
            .flat_map(|c| &c[range.clone()])
            .copied()
            .collect(),
    }))
}
