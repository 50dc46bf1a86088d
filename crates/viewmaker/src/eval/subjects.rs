//! Transfer between people: a probe that is trained on few subjects and tested on others.

use super::features::Features;
use super::logistic::{Logistic, LogisticClassifier};
use super::spread::Spread;
use super::{Evaluation, Frozen, Layer};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::progress::Ui;
use rand::seq::SliceRandom;
use serde::Serialize;
use viewmaker_data::Dataset;
use viewmaker_ops::random::Philox;

/// Stream of the generator; the step is the repetition.
const STREAM: u32 = 0x24;

/// Accuracies with one number of training subjects.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SubjectsAt {
    /// Subjects that the probe is trained on.
    pub subjects: usize,
    /// Training examples, mean over the repetitions.
    pub examples: f64,
    /// On the features of the run.
    pub accuracy: Spread,
    /// On the features of the same encoder before training.
    pub untrained: Spread,
}

/// What a probe trained on few subjects can tell about others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SubjectsResult {
    /// Seed of the choice of subjects.
    pub seed: u64,
    /// Subjects among the training examples.
    pub train_subjects: usize,
    /// Subjects among the held-out examples, none of whom is trained on.
    pub test_subjects: usize,
    /// Test examples.
    pub test_examples: usize,
    /// Settings of the probe: logistic regression on pooled features.
    pub settings: Logistic,
    /// Accuracies by number of subjects.
    pub counts: Vec<SubjectsAt>,
}

/// The people behind the examples, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    /// Of every training example.
    of_train: Vec<u32>,
    /// All of these, ascending.
    known: Vec<u32>,
    /// Of the held-out examples, ascending.
    held_out: Vec<u32>,
}

impl Evaluation<'_> {
    /// Trains a logistic regression on the windows of `eval.subjects.counts` subjects, drawn
    /// `eval.subjects.repeats` times, and tests it on the held-out subjects; at last on all training
    /// subjects. Numbers that the data do not have are left out. `None` without labels.
    ///
    /// # Errors
    /// When the examples carry no subjects, a subject is in both sets, or an example cannot be loaded.
    pub fn subjects(&self, ui: &mut dyn Ui) -> Result<Option<SubjectsResult>> {
        if self.splits.class_names.is_empty() {
            return Ok(None);
        }
        let Subjects {
            of_train,
            known,
            held_out,
        } = self.check_subjects()?;
        let frozen = self.frozen(Layer::Pooled, ui)?;
        let untrained = self.untrained()?;
        let untrained = self.of(&untrained).frozen(Layer::Pooled, ui)?;
        let section = &self.config.eval.subjects;
        let mut counts = section.counts.clone();
        counts.sort_unstable();
        counts.dedup();
        counts.retain(|count| *count < known.len());
        counts.push(known.len());
        let draw = |count: usize, repetition: usize| {
            let mut order = known.clone();
            let random = Philox::new(self.config.seed, STREAM, repetition as u32);
            order.shuffle(&mut random.sequence());
            order.truncate(count);
            order
        };
        let settings = self.config.eval.logistic.settings();
        let at = |count: usize| -> Result<SubjectsAt> {
            let repeats = if count == known.len() {
                1
            } else {
                section.repeats
            };
            let draws: Vec<_> = (0..repeats).map(|r| draw(count, r)).collect();
            let accuracies =
                |frozen: &Frozen| measure(frozen, &of_train, &draws, settings, self.interrupt);
            let (accuracy, examples) = accuracies(&frozen)?;
            Ok(SubjectsAt {
                subjects: count,
                examples,
                accuracy,
                untrained: accuracies(&untrained)?.0,
            })
        };
        Ok(Some(SubjectsResult {
            seed: self.config.seed,
            train_subjects: known.len(),
            test_subjects: held_out.len(),
            test_examples: frozen.test.len(),
            settings,
            counts: counts.into_iter().map(at).collect::<Result<_>>()?,
        }))
    }

    /// Whose examples there are, where [`Evaluation::subjects`] can tell something; reads no example.
    ///
    /// # Errors
    /// When the examples carry no subjects, or a subject is in both sets.
    pub fn check_subjects(&self) -> Result<Subjects> {
        let of_train = self.groups(&*self.splits.train)?;
        let held_out = distinct(&self.groups(&*self.splits.test)?);
        let known = distinct(&of_train);
        match known.iter().find(|subject| held_out.contains(subject)) {
            Some(both) => Err(Error::usage(format!(
                "--probe subjects: subject number {both} is in the training and in the held-out set, \
                 so there is nobody to transfer to; use data of several subjects, or name some of them \
                 in data.sensor.test_subjects when training"
            ))),
            None => Ok(Subjects {
                of_train,
                known,
                held_out,
            }),
        }
    }

    /// The subject of every example.
    fn groups(&self, dataset: &dyn Dataset) -> Result<Vec<u32>> {
        let groups = (0..dataset.len()).map(|index| dataset.group(index));
        groups.collect::<Option<Vec<u32>>>().ok_or_else(|| {
            Error::usage(format!(
                "--probe subjects: examples of the modality {} do not say whom they were recorded from, \
                 so they cannot be divided by subject; this probe is defined for sensor data",
                self.config.modality
            ))
        })
    }
}

/// Accuracies of a probe on the held-out features after training on each set of subjects, and the
/// mean number of training examples.
fn measure(
    frozen: &Frozen,
    groups: &[u32],
    draws: &[Vec<u32>],
    settings: Logistic,
    interrupt: &Interrupt,
) -> Result<(Spread, f64)> {
    let of = |subjects: &Vec<u32>| {
        let train = of_subjects(&frozen.train, groups, subjects);
        let (classifier, _) = LogisticClassifier::fit(&train, settings, interrupt)?;
        let accuracy = classifier.accuracy(&frozen.test).unwrap_or(f64::NAN);
        Ok((accuracy, train.len() as f64))
    };
    let measured = draws.iter().map(of).collect::<Result<Vec<_>>>()?;
    let (accuracies, counts): (Vec<f64>, Vec<f64>) = measured.into_iter().unzip();
    Ok((Spread::of(accuracies), Spread::of(counts).mean))
}

/// The features of the examples of some subjects; `groups` names the subject of every example of the
/// data set.
fn of_subjects(features: &Features, groups: &[u32], subjects: &[u32]) -> Features {
    let of_one = |row: &usize| subjects.contains(&groups[features.indices[*row]]);
    let rows: Vec<usize> = (0..features.len()).filter(of_one).collect();
    features.select(&rows)
}

fn distinct(groups: &[u32]) -> Vec<u32> {
    let mut distinct = groups.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_windows_of_the_subjects_are_trained_on() {
        let features = Features {
            dim: 1,
            rows: vec![0.0, 1.0, 2.0],
            labels: vec![0, 1, 0],
            indices: vec![0, 2, 3],
        };
        let groups = [7, 8, 9, 7];
        assert_eq!(distinct(&groups), [7, 8, 9]);
        assert_eq!(of_subjects(&features, &groups, &[7]).rows, [0.0, 2.0]);
        assert_eq!(of_subjects(&features, &groups, &[9, 8]).rows, [1.0]);
        let frozen = Frozen {
            train: features.clone().into(),
            test: features.into(),
        };
        let settings = Logistic {
            l2: 1e-3,
            max_iterations: 100,
            tolerance: 1e-6,
        };
        // Knowing class 0 alone gets two of three right, all subjects get what is separable.
        let (spread, examples) = measure(
            &frozen,
            &groups,
            &[vec![7], vec![9]],
            settings,
            &Interrupt::never(),
        )
        .unwrap();
        assert_eq!(spread.values, [2.0 / 3.0, 1.0 / 3.0]);
        assert_eq!(examples, 1.5);
    }
}
