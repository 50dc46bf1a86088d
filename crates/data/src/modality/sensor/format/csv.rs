//! Tables with a header line: numeric channels and, optionally, label, subject and time.

use super::super::config::{
    DEFAULT_LABEL_COLUMN, DEFAULT_SUBJECT_COLUMN, DEFAULT_TIME_COLUMN, SensorConfig,
};
use super::super::corpus::{Activities, Corpus, Defaults, Stretch, fill_gaps};
use super::text::shown;
use crate::{DataError, files};
use csv::StringRecord;
use rayon::prelude::*;
use std::io::BufRead;
use std::path::{Path, PathBuf};

const DEFAULTS: Defaults = Defaults {
    window: 256,
    rate_hz: 50.0,
    train_examples: None,
    test_subjects: &[],
    validation_subjects: &[],
};
/// A step in time of more than this many usual ones is a gap in the recording.
const GAP: f64 = 5.0;

/// The tables of `path`, a file or a folder of them. Empty if there are none.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut found = if path.is_dir() {
        files::list(path)?
    } else {
        vec![path.to_path_buf()]
    };
    let is_list = |file: &Path| files::name_of(file) == crate::captions::PAIRS;
    found.retain(|file| file.is_file() && files::has_extension(file, &["csv"]) && !is_list(file));
    Ok(found)
}

/// Reads the tables, which must have the same channels.
pub(super) fn read(tables: &[PathBuf], config: &SensorConfig) -> Result<Corpus, DataError> {
    let read: Vec<Table> = tables
        .par_iter()
        .map(|path| read_table(path, config))
        .collect::<Result<_, _>>()?;
    let channels = read[0].channels.clone();
    let missing = Missing::of(&read);
    let rate_hz = rate(&read);
    for table in &read {
        if table.channels != channels {
            let expected = format!(
                "channels {} as in {}",
                channels.join(", "),
                read[0].path.display()
            );
            let found = table.channels.join(", ");
            return Err(DataError::format(&table.path, "line 1", expected, found));
        }
    }
    let remark = missing.remark(&channels, &read[0].path)?;
    let runs = || read.iter().flat_map(|table| &table.runs);
    let subjects = distinct(runs().map(|run| run.subject.as_str()));
    let labels = distinct(runs().filter_map(|run| run.label.as_deref()));
    let known = (0..).zip(labels.iter().cloned()).collect();
    let wanted = match labels.len() {
        0 => &[][..],
        _ => &config.activities,
    };
    let activities = Activities::select(known, wanted, |_| true)?;
    let mut stretches = Vec::new();
    for table in read {
        for run in table.runs {
            let label = match &run.label {
                None => None,
                Some(label) => {
                    let id = labels.iter().position(|known| known == label).unwrap_or(0);
                    let Some(class) = activities.class_of(id as u32) else {
                        continue;
                    };
                    Some(class)
                }
            };
            let (first, last) = run.lines;
            stretches.push(Stretch {
                subject: subjects.iter().position(|s| *s == run.subject).unwrap_or(0),
                label,
                origin: format!("{}: lines {first} to {last}", table.path.display()),
                file: Some(table.path.clone()),
                len: run.channels.first().map_or(0, Vec::len),
                samples: run.channels.concat(),
            });
        }
    }
    Ok(Corpus {
        format: "CSV",
        channels,
        classes: activities.classes,
        subjects,
        stretches,
        defaults: Defaults {
            rate_hz: rate_hz.unwrap_or(DEFAULTS.rate_hz),
            ..DEFAULTS
        },
        remark,
    })
}

/// Samples per second by the time columns, which count seconds; `None` where there are none, or they do not
/// agree with each other.
fn rate(tables: &[Table]) -> Option<f32> {
    let steps: Vec<f64> = tables.iter().filter_map(|table| table.step).collect();
    let first = *steps.first()?;
    let agrees = |step: &f64| (step / first - 1.0).abs() < 0.05;
    let rate = (1.0 / first) as f32;
    // Measured steps scatter by less than what is rounded away here.
    let rounded = if rate >= 10.0 { rate.round() } else { rate };
    (steps.iter().all(agrees) && rounded.is_finite()).then_some(rounded)
}

/// How many values the tables lack.
struct Missing {
    /// Of each channel.
    of_channel: Vec<usize>,
    rows: usize,
}

impl Missing {
    fn of(tables: &[Table]) -> Self {
        let channels = tables.iter().map(|table| table.missing.len()).max();
        let of_channel = |c: usize| tables.iter().filter_map(|table| table.missing.get(c)).sum();
        Self {
            of_channel: (0..channels.unwrap_or(0)).map(of_channel).collect(),
            rows: tables.iter().map(|table| table.rows).sum(),
        }
    }

    /// What the log should say, often nothing; an error when no channel holds a value.
    fn remark(&self, channels: &[String], path: &Path) -> Result<String, DataError> {
        let silent = |(_, missing): &(&String, &usize)| **missing == self.rows;
        let of_channels = || channels.iter().zip(&self.of_channel);
        let without: Vec<&str> = of_channels()
            .filter(silent)
            .map(|(name, _)| name.as_str())
            .collect();
        if without.len() == channels.len() {
            let why = format!(
                "no column holds a number ({}): every value is missing",
                channels.join(", ")
            );
            return Err(DataError::unusable(path, why));
        }
        let mut remarks = Vec::new();
        if !without.is_empty() {
            remarks.push(format!(
                "without any value, and silent: {}",
                without.join(", ")
            ));
        }
        let gaps: usize = of_channels()
            .filter(|c| !silent(c))
            .map(|(_, missing)| missing)
            .sum();
        if gaps > 0 {
            let values = self.rows * (channels.len() - without.len());
            let percent = 100.0 * gaps as f64 / values as f64;
            let percent = match percent < 0.1 {
                true => "less than 0.1".to_owned(),
                false => format!("{percent:.1}"),
            };
            remarks.push(format!(
                "{percent} % of the values are missing and were interpolated"
            ));
        }
        Ok(remarks.join("; "))
    }
}

/// The distinct texts, in numeric order if all are numbers, else in alphabetic order.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut texts: Vec<String> = texts.map(str::to_owned).collect();
    texts.sort();
    texts.dedup();
    let numbers: Option<Vec<i64>> = texts.iter().map(|text| text.parse().ok()).collect();
    if numbers.is_some() {
        texts.sort_by_key(|text| text.parse::<i64>().ok());
    }
    texts
}

/// What one file holds.
struct Table {
    path: PathBuf,
    channels: Vec<String>,
    runs: Vec<Run>,
    /// Rows below the header.
    rows: usize,
    /// Values that each channel lacks.
    missing: Vec<usize>,
    /// The usual step in time.
    step: Option<f64>,
}

/// Rows one after the other with the same subject and label, and without a gap in time.
struct Run {
    subject: String,
    label: Option<String>,
    channels: Vec<Vec<f32>>,
    /// First and last line.
    lines: (u64, u64),
}

/// Which columns of a table mean what.
struct Columns {
    names: Vec<String>,
    channels: Vec<usize>,
    label: Option<usize>,
    subject: Option<usize>,
    time: Option<usize>,
}

impl Columns {
    fn find(path: &Path, header: &StringRecord, config: &SensorConfig) -> Result<Self, DataError> {
        let names: Vec<String> = header.iter().map(str::to_owned).collect();
        let place = |name: &str| names.iter().position(|n| n.eq_ignore_ascii_case(name));
        // A column that the user named must be there; the default names are only looked for.
        let special = |name: &str, default: &str| match place(name) {
            None if name != default => Err(missing_column(path, name, &names)),
            found => Ok(found),
        };
        let label = special(&config.label_column, DEFAULT_LABEL_COLUMN)?;
        let subject = special(&config.subject_column, DEFAULT_SUBJECT_COLUMN)?;
        let time = special(&config.time_column, DEFAULT_TIME_COLUMN)?;
        let channels = if config.columns.is_empty() {
            let other = |i: &usize| ![label, subject, time].contains(&Some(*i));
            (0..names.len()).filter(other).collect()
        } else {
            let known =
                |name: &String| place(name).ok_or_else(|| missing_column(path, name, &names));
            config
                .columns
                .iter()
                .map(known)
                .collect::<Result<Vec<_>, _>>()?
        };
        if channels.is_empty() {
            let found = names.join(", ");
            return Err(DataError::format(
                path,
                "line 1",
                "at least one channel column",
                found,
            ));
        }
        Ok(Self {
            names,
            channels,
            label,
            subject,
            time,
        })
    }
}

fn missing_column(path: &Path, name: &str, names: &[String]) -> DataError {
    DataError::format(
        path,
        "line 1",
        format!("a column {name:?}"),
        names.join(", "),
    )
}

/// The rows of a file, column by column.
#[derive(Default)]
struct Rows {
    channels: Vec<Vec<f32>>,
    labels: Vec<Option<String>>,
    subjects: Vec<String>,
    times: Vec<Option<f64>>,
    lines: Vec<u64>,
}

fn read_table(path: &Path, config: &SensorConfig) -> Result<Table, DataError> {
    let mut file = files::open(path)?;
    let delimiter = delimiter(path, &mut file)?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .delimiter(delimiter)
        .from_reader(file);
    let header = reader.headers().map_err(|e| csv_error(path, &e))?;
    let columns = Columns::find(path, header, config)?;
    let mut rows = Rows {
        channels: vec![Vec::new(); columns.channels.len()],
        ..Rows::default()
    };
    let wearer = path
        .file_stem()
        .map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let mut record = StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|e| csv_error(path, &e))?
    {
        let line = record.position().map_or(0, csv::Position::line);
        for (channel, &column) in rows.channels.iter_mut().zip(&columns.channels) {
            channel.push(cell(path, line, &columns.names[column], &record[column])?);
        }
        let text = |column: usize| Some(record[column].to_owned()).filter(|t| !t.is_empty());
        rows.labels.push(columns.label.and_then(text));
        rows.subjects.push(
            columns
                .subject
                .map_or_else(|| wearer.clone(), |i| record[i].to_owned()),
        );
        rows.times
            .push(columns.time.and_then(|i| record[i].parse().ok()));
        rows.lines.push(line);
    }
    if rows.lines.is_empty() {
        return Err(DataError::format(
            path,
            "end of file",
            "rows below the header",
            "none",
        ));
    }
    let channels = columns
        .channels
        .iter()
        .map(|&i| columns.names[i].clone())
        .collect();
    let lacking = |channel: &Vec<f32>| channel.iter().filter(|x| x.is_nan()).count();
    Ok(Table {
        path: path.to_path_buf(),
        channels,
        rows: rows.lines.len(),
        missing: rows.channels.iter().map(lacking).collect(),
        step: rows.step(),
        runs: rows.into_runs(columns.label.is_some()),
    })
}

/// What separates the cells: a comma, unless the first line has none but semicolons or tabs.
fn delimiter(path: &Path, file: &mut impl BufRead) -> Result<u8, DataError> {
    let start = file
        .fill_buf()
        .map_err(|e| DataError::io(path, "read", e))?;
    let line = start
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let has = |delimiter: &u8| line.contains(delimiter);
    Ok([b',', b';', b'\t']
        .into_iter()
        .find(|d| has(d))
        .unwrap_or(b','))
}

/// The number in a cell; NaN for an empty one.
fn cell(path: &Path, line: u64, column: &str, text: &str) -> Result<f32, DataError> {
    if text.is_empty() {
        return Ok(f32::NAN);
    }
    match text.parse::<f32>() {
        Ok(value) if !value.is_infinite() => Ok(value),
        _ => Err(DataError::format(
            path,
            format!("line {line}, column {column:?}"),
            "a number, or nothing where it is missing (data.sensor.columns chooses the channels)",
            shown(text),
        )),
    }
}

fn csv_error(path: &Path, error: &csv::Error) -> DataError {
    let line = error.position().map_or(1, csv::Position::line);
    let place = format!("line {line}");
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            let expected = format!("{expected_len} cells as in the header");
            DataError::format(path, place, expected, len.to_string())
        }
        csv::ErrorKind::Utf8 { .. } => {
            DataError::format(path, place, "text in UTF-8", "other bytes")
        }
        _ => DataError::format(path, place, "comma-separated values", error.to_string()),
    }
}

impl Rows {
    /// Fills what is missing within each wearer's rows, then cuts at every change. Where there is
    /// a label column, rows without a label are left out.
    fn into_runs(mut self, labelled: bool) -> Vec<Run> {
        for wearer in pieces(self.lines.len(), |i| {
            self.subjects[i] != self.subjects[i - 1]
        }) {
            for channel in &mut self.channels {
                fill_gaps(&mut channel[wearer.clone()]);
            }
        }
        let gap = self.longest_step();
        let is_cut = |i: usize| {
            let step = self.times[i]
                .zip(self.times[i - 1])
                .map(|(now, before)| now - before);
            let jumps = step.is_some_and(|step| step < 0.0 || step > gap);
            jumps
                || self.subjects[i] != self.subjects[i - 1]
                || self.labels[i] != self.labels[i - 1]
        };
        pieces(self.lines.len(), is_cut)
            .into_iter()
            .filter(|piece| !labelled || self.labels[piece.start].is_some())
            .map(|piece| Run {
                subject: self.subjects[piece.start].clone(),
                label: self.labels[piece.start].clone(),
                lines: (self.lines[piece.start], self.lines[piece.end - 1]),
                channels: self
                    .channels
                    .iter()
                    .map(|c| c[piece.clone()].to_vec())
                    .collect(),
            })
            .collect()
    }

    /// Steps in time longer than this are gaps: some multiple of the usual one.
    fn longest_step(&self) -> f64 {
        self.step().map_or(f64::INFINITY, |step| GAP * step)
    }

    /// The median of the steps in time.
    fn step(&self) -> Option<f64> {
        let mut steps: Vec<f64> = self
            .times
            .windows(2)
            .filter_map(|pair| Some(pair[1]? - pair[0]?))
            .filter(|step| *step > 0.0)
            .collect();
        steps.sort_by(f64::total_cmp);
        steps.get(steps.len() / 2).copied()
    }
}

/// `0..len`, cut before every index that `is_cut` names.
fn pieces(len: usize, is_cut: impl Fn(usize) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut cuts: Vec<usize> = vec![0];
    cuts.extend((1..len).filter(|&i| is_cut(i)));
    cuts.push(len);
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}
