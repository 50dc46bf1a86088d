//! The embedded data: body-worn accelerometer and gyroscope of simulated people.
//!
//! What the classes differ in (rhythm, impacts, sway, breathing) is overlaid with what they do not:
//! the sensor is mounted at a random angle in every session, so axes and gravity say nothing; gain,
//! offsets, noise floor and a hum of the surroundings vary more than the signal of quiet postures.

mod activity;
mod mount;
mod person;

use super::corpus::{Corpus, Defaults, Stretch};
use crate::random;
use activity::ACTIVITIES;
use mount::Mount;
use person::Person;
use rayon::prelude::*;

/// People in the training part, and after them those of the held-out part.
const TRAIN_SUBJECTS: usize = 18;
const SUBJECTS: usize = 24;
const TEST_SUBJECTS: &[&str] = &["19", "20", "21", "22", "23", "24"];
const CHANNELS: [&str; 6] = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"];
/// Samples per second.
const RATE_HZ: f64 = 50.0;
/// Steps of a session: room for two evaluation windows, or a window at 129 places.
const STEPS: usize = 384;
const WINDOWS_PER_SESSION: usize = 2;

pub(super) const DEFAULTS: Defaults = Defaults {
    window: 256,
    rate_hz: RATE_HZ as f32,
    train_examples: None,
    test_subjects: TEST_SUBJECTS,
    validation_subjects: &[],
};

/// Enough sessions for `train` and `test` windows of the default size.
pub(super) fn corpus(train: usize, test: usize) -> Corpus {
    let rounds = |windows: usize, subjects: usize| {
        windows.div_ceil(subjects * ACTIVITIES.len() * WINDOWS_PER_SESSION)
    };
    let train = rounds(train, TRAIN_SUBJECTS);
    let test = rounds(test, SUBJECTS - TRAIN_SUBJECTS);
    let sessions: Vec<Session> = (0..SUBJECTS)
        .flat_map(|subject| {
            let rounds = if subject < TRAIN_SUBJECTS {
                train
            } else {
                test
            };
            (0..rounds).flat_map(move |round| {
                (0..ACTIVITIES.len()).map(move |activity| Session {
                    subject,
                    activity,
                    round,
                })
            })
        })
        .collect();
    Corpus {
        format: "embedded, simulated movements",
        channels: CHANNELS.map(str::to_owned).to_vec(),
        classes: ACTIVITIES.iter().map(|a| a.name.to_owned()).collect(),
        subjects: (1..=SUBJECTS).map(|s| s.to_string()).collect(),
        stretches: sessions.par_iter().map(Session::record).collect(),
        defaults: DEFAULTS,
        remark: String::new(),
    }
}

/// One recording of one person.
struct Session {
    subject: usize,
    activity: usize,
    round: usize,
}

impl Session {
    /// The recording depends on the session alone, not on how many others there are.
    fn record(&self) -> Stretch {
        let number = (self.round * SUBJECTS + self.subject) * ACTIVITIES.len() + self.activity;
        let mut random = random::sequence_of(0, random::MOTION, 1, number);
        let person = Person::new(self.subject);
        let movement = ACTIVITIES[self.activity].movement(&person, STEPS, &mut random);
        let samples = Mount::random(&mut random).record(&movement, &mut random);
        Stretch {
            subject: self.subject,
            label: Some(self.activity as u32),
            origin: format!("simulated session {number}"),
            file: None,
            len: STEPS,
            samples,
        }
    }
}

/// Acceleration (in g, gravity included) and angular velocity (in rad/s) of the body at one step,
/// in its own axes: forward, left, up.
#[derive(Clone, Copy, Debug, Default)]
struct Motion {
    acceleration: [f64; 3],
    rotation: [f64; 3],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::sensor::Sensor;
    use crate::{DataConfig, Dataset, Draw, Modality};

    /// Examples of a set as they are, and what of them does not depend on how the sensor is
    /// mounted: per sensor, the power summed over its axes, as mean and spread over time.
    struct Examples {
        raw: Vec<Vec<f32>>,
        invariant: Vec<Vec<f32>>,
        labels: Vec<Option<u32>>,
    }

    fn examples(set: &dyn Dataset, stats: &crate::ChannelStats) -> Examples {
        let indices: Vec<usize> = (0..set.len()).collect();
        let raw: Vec<Vec<f32>> = indices
            .par_iter()
            .map(|&i| {
                let mut out = vec![0.0; set.shape().iter().product()];
                set.load(i, Draw::FIXED, &mut out).unwrap();
                out
            })
            .collect();
        Examples {
            invariant: raw.iter().map(|x| invariant(x, stats)).collect(),
            labels: indices.iter().map(|&i| set.label(i)).collect(),
            raw,
        }
    }

    fn invariant(x: &[f32], stats: &crate::ChannelStats) -> Vec<f32> {
        const SIDE: usize = 32;
        let level = |sensor: usize, row: usize, frame: usize| {
            let of_axis = |axis: usize| {
                let c = 3 * sensor + axis;
                (x[(c * SIDE + row) * SIDE + frame] * stats.std[c] + stats.mean[c]).exp()
            };
            (0..3).map(of_axis).sum::<f32>().ln()
        };
        let mut features = Vec::new();
        for sensor in 0..2 {
            let first = features.len();
            for row in 1..SIDE {
                let levels: Vec<f32> = (0..SIDE).map(|frame| level(sensor, row, frame)).collect();
                let mean = levels.iter().sum::<f32>() / SIDE as f32;
                let spread = levels.iter().map(|l| (l - mean).powi(2)).sum::<f32>() / SIDE as f32;
                features.extend([mean, 2.0 * spread.sqrt()]);
            }
            // Without most of the gain.
            let of_sensor = &mut features[first..];
            let mean = of_sensor.iter().step_by(2).sum::<f32>() / (SIDE - 1) as f32;
            of_sensor
                .iter_mut()
                .step_by(2)
                .for_each(|level| *level -= 0.7 * mean);
        }
        features
    }

    /// Share of test examples whose nearest training example has their class.
    fn nearest_neighbour(
        train: (&[Vec<f32>], &[Option<u32>]),
        test: (&[Vec<f32>], &[Option<u32>]),
    ) -> f64 {
        let distance =
            |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum() };
        let predicted: Vec<_> = test
            .0
            .par_iter()
            .map(|x| {
                let near = |&a: &usize, &b: &usize| {
                    distance(&train.0[a], x).total_cmp(&distance(&train.0[b], x))
                };
                (0..train.0.len()).min_by(near).and_then(|i| train.1[i])
            })
            .collect();
        let hits = predicted.iter().zip(test.1).filter(|(p, label)| p == label);
        hits.count() as f64 / test.0.len() as f64
    }

    #[test]
    fn nuisance_dominates_distances_but_activities_can_be_told_apart() {
        let config = DataConfig {
            embedded_train: 864,
            embedded_test: 288,
            ..Default::default()
        };
        let splits = Sensor.open(None, &config, 5).unwrap();
        assert_eq!((splits.train.len(), splits.test.len()), (864, 288));
        assert_eq!(splits.train.shape(), [6, 32, 32]);
        let stats = splits.before_view.clone().unwrap();
        let [train, test] = [&splits.train, &splits.test].map(|set| examples(&**set, &stats));
        let raw = nearest_neighbour((&train.raw, &train.labels), (&test.raw, &test.labels));
        let known = nearest_neighbour(
            (&train.invariant, &train.labels),
            (&test.invariant, &test.labels),
        );
        println!("nearest neighbour: {raw:.3} as they are, {known:.3} without the mounting");
        assert!((0.2..0.5).contains(&raw), "{raw}");
        assert!(known > 0.55 && known > raw + 0.1, "{known} against {raw}");
    }

    #[test]
    fn recordings_do_not_depend_on_how_many_there_are() {
        let (few, many) = (corpus(10, 10), corpus(700, 300));
        for stretch in &few.stretches {
            assert!(many.stretches.contains(stretch));
        }
        let classes = |c: &Corpus, test: bool| {
            let mut counts = vec![0; ACTIVITIES.len()];
            for s in c
                .stretches
                .iter()
                .filter(|s| (s.subject >= TRAIN_SUBJECTS) == test)
            {
                counts[s.label.unwrap_or(0) as usize] += 1;
            }
            counts
        };
        assert_eq!(classes(&many, false), [54; 8]);
        assert_eq!(classes(&many, true), [24; 8]);
    }
}
