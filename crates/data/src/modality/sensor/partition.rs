//! Which stretches are trained on and which are held out: whole subjects where there are several.

use super::config::{HeldOut, SensorConfig, same_id};
use super::corpus::{Corpus, Stretch};
use crate::{DataConfig, DataError, split};
use std::path::Path;

/// Two disjoint sets of stretches.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) train: Vec<Stretch>,
    pub(super) held_out: Vec<Stretch>,
    /// How they were divided, for the log.
    pub(super) how: String,
}

impl Parts {
    /// Sorts stretches (with their index) into the held-out part, or else the training part, or
    /// else neither.
    fn sorted(
        stretches: Vec<Stretch>,
        how: String,
        is_held_out: impl Fn(usize, &Stretch) -> bool,
        is_trained: impl Fn(&Stretch) -> bool,
    ) -> Self {
        let mut parts = Self {
            train: Vec::new(),
            held_out: Vec::new(),
            how,
        };
        for (i, stretch) in stretches.into_iter().enumerate() {
            if is_held_out(i, &stretch) {
                parts.held_out.push(stretch);
            } else if is_trained(&stretch) {
                parts.train.push(stretch);
            }
        }
        parts
    }
}

/// Divides the corpus, in this order of preference: by the subjects that the configuration names,
/// by the official split of the source, by subjects chosen by `seed`, and, where there is but one
/// subject, by time.
///
/// # Errors
/// When the configuration names subjects that do not exist, or leaves one part empty.
pub(super) fn divide(
    source: &Path,
    corpus: &mut Corpus,
    config: &DataConfig,
    window: usize,
    seed: u64,
) -> Result<Parts, DataError> {
    let sensor = &config.sensor;
    let stretches = std::mem::take(&mut corpus.stretches);
    let stretches: Vec<_> = stretches.into_iter().filter(|s| s.len >= window).collect();
    if stretches.is_empty() {
        let why = "no stretch of one activity is that long; choose a shorter window";
        return Err(DataError::option("data.sensor.window", window, why));
    }
    let named = !(sensor.test_subjects.is_empty() && sensor.validation_subjects.is_empty());
    let present = present_subjects(&stretches, corpus.subjects.len());
    let roles = Roles::of(corpus, sensor, &present)?;
    if let Some((train, held_out)) = roles.subjects(sensor.held_out) {
        let how = describe(corpus, &train, &held_out);
        return Ok(Parts::sorted(
            stretches,
            how,
            |_, s| held_out.contains(&s.subject),
            |s| train.contains(&s.subject),
        ));
    }
    if sensor.held_out == HeldOut::Validation {
        let why = "none of data.sensor.validation_subjects is there, or nobody else is";
        return Err(DataError::option("data.sensor.held_out", "validation", why));
    }
    if named {
        let test = sensor.test_subjects.join(", ");
        let why = format!(
            "training and test part both need subjects with stretches of {window} steps; there are {}",
            list(corpus, &present)
        );
        return Err(DataError::option("data.sensor.test_subjects", test, why));
    }
    if present.len() > 1 {
        return by_subject(source, corpus, stretches, config, seed);
    }
    by_time(stretches, config.validation_fraction, window)
}

/// Indices of the subjects that stretches are left of, ascending.
fn present_subjects(stretches: &[Stretch], subjects: usize) -> Vec<usize> {
    (0..subjects)
        .filter(|&i| stretches.iter().any(|s| s.subject == i))
        .collect()
}

/// The names of subjects; only their number if there are many.
fn list(corpus: &Corpus, subjects: &[usize]) -> String {
    const NAMED: usize = 15;
    if subjects.len() > NAMED {
        return format!("{} of {}", subjects.len(), corpus.subjects.len());
    }
    let names = subjects.iter().map(|&i| corpus.subjects[i].as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// The subjects kept out of training.
struct Roles {
    present: Vec<usize>,
    test: Vec<usize>,
    validation: Vec<usize>,
}

impl Roles {
    fn of(corpus: &Corpus, config: &SensorConfig, present: &[usize]) -> Result<Self, DataError> {
        let find = |key, ids: &[String]| -> Result<Vec<usize>, DataError> {
            ids.iter()
                .map(|id| {
                    corpus
                        .subjects
                        .iter()
                        .position(|s| same_id(s, id))
                        .ok_or_else(|| {
                            let why = format!("there are subjects {}", corpus.subjects.join(", "));
                            DataError::option(key, id, why)
                        })
                })
                .collect()
        };
        let official = |ids: &[&str], taken: &[usize]| -> Vec<usize> {
            let is_one = |&i: &usize| ids.iter().any(|id| same_id(&corpus.subjects[i], id));
            present
                .iter()
                .copied()
                .filter(is_one)
                .filter(|i| !taken.contains(i))
                .collect()
        };
        let mut test = find("data.sensor.test_subjects", &config.test_subjects)?;
        let mut validation = find(
            "data.sensor.validation_subjects",
            &config.validation_subjects,
        )?;
        if test.is_empty() {
            test = official(corpus.defaults.test_subjects, &validation);
        }
        if validation.is_empty() {
            validation = official(corpus.defaults.validation_subjects, &test);
        }
        Ok(Self {
            present: present.to_vec(),
            test,
            validation,
        })
    }

    /// The subjects to train on and those held out; `None` when there are none of either.
    fn subjects(&self, which: HeldOut) -> Option<(Vec<usize>, Vec<usize>)> {
        let chosen = match which {
            HeldOut::Test => &self.test,
            HeldOut::Validation => &self.validation,
        };
        let of = |is_one: &dyn Fn(&usize) -> bool| -> Vec<usize> {
            self.present.iter().copied().filter(|i| is_one(i)).collect()
        };
        let train = of(&|i| !self.test.contains(i) && !self.validation.contains(i));
        let held_out = of(&|i| chosen.contains(i));
        (!train.is_empty() && !held_out.is_empty()).then_some((train, held_out))
    }
}

fn describe(corpus: &Corpus, train: &[usize], held_out: &[usize]) -> String {
    format!(
        "trained on subjects {}, held out {}",
        list(corpus, train),
        list(corpus, held_out)
    )
}

fn by_subject(
    source: &Path,
    corpus: &Corpus,
    stretches: Vec<Stretch>,
    config: &DataConfig,
    seed: u64,
) -> Result<Parts, DataError> {
    let groups: Vec<u32> = stretches.iter().map(|s| s.subject as u32).collect();
    let division = split::by_group(source, &groups, config.validation_fraction, seed)?;
    let mut is_held_out = vec![false; stretches.len()];
    division
        .held_out
        .iter()
        .for_each(|&i| is_held_out[i] = true);
    let subjects = |part: &[usize]| {
        let is_in = |i: &usize| part.iter().any(|&s| stretches[s].subject == *i);
        (0..corpus.subjects.len()).filter(is_in).collect::<Vec<_>>()
    };
    let how = describe(
        corpus,
        &subjects(&division.train),
        &subjects(&division.held_out),
    );
    Ok(Parts::sorted(
        stretches,
        how,
        |i, _| is_held_out[i],
        |_| true,
    ))
}

/// Holds out the end of every stretch that is long enough for a window on either side.
fn by_time(stretches: Vec<Stretch>, fraction: f32, window: usize) -> Result<Parts, DataError> {
    let mut parts = Parts {
        train: Vec::new(),
        held_out: Vec::new(),
        how: String::new(),
    };
    for stretch in stretches {
        if stretch.len < 2 * window {
            parts.train.push(stretch);
            continue;
        }
        let wanted = (stretch.len as f64 * f64::from(fraction)).round() as usize;
        let cut = stretch.len - wanted.clamp(window, stretch.len - window);
        parts.train.push(stretch.part(0, cut));
        parts.held_out.push(stretch.part(cut, stretch.len));
    }
    if parts.held_out.is_empty() {
        let why = "there is one subject, and no stretch of one activity is twice that long, so \
                   nothing can be held out; choose a shorter window";
        return Err(DataError::option("data.sensor.window", window, why));
    }
    let percent = fraction * 100.0;
    parts.how = format!("one subject: the last {percent:.0} % of every stretch held out");
    Ok(parts)
}
