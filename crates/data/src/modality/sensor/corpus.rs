//! What every format is read into: labelled stretches of multichannel signal.

use super::config::same_id;
use crate::DataError;
use std::collections::HashMap;
use std::path::PathBuf;

/// Recordings of one source.
#[derive(Debug)]
pub(super) struct Corpus {
    /// Name of the format, for the log.
    pub(super) format: &'static str,
    /// Name of every channel.
    pub(super) channels: Vec<String>,
    /// Name of every class; empty for unlabelled data.
    pub(super) classes: Vec<String>,
    /// Identifier of every subject.
    pub(super) subjects: Vec<String>,
    /// All the signal there is.
    pub(super) stretches: Vec<Stretch>,
    /// Options that suit this source.
    pub(super) defaults: Defaults,
    /// What the log should say about how the source was read; often nothing.
    pub(super) remark: String,
}

/// Options that suit a source, used where the configuration leaves them open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    /// Steps of a window.
    pub(super) window: usize,
    /// Samples per second.
    pub(super) rate_hz: f32,
    /// Random windows an epoch; `None`: as many as there are evaluation windows.
    pub(super) train_examples: Option<usize>,
    /// Test subjects of the official split; empty where there is none.
    pub(super) test_subjects: &'static [&'static str],
    /// Validation subjects of the official split.
    pub(super) validation_subjects: &'static [&'static str],
}

/// An unbroken piece of signal of one subject doing one thing. Windows never cross its ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stretch {
    /// Index into [`Corpus::subjects`].
    pub(super) subject: usize,
    /// Index into [`Corpus::classes`].
    pub(super) label: Option<u32>,
    /// Where it comes from, for messages.
    pub(super) origin: String,
    /// The file that holds it and nothing of other recordings, if there is one.
    pub(super) file: Option<PathBuf>,
    /// Steps.
    pub(super) len: usize,
    /// Channels × steps in C order, all finite.
    pub(super) samples: Vec<f32>,
}

impl Stretch {
    /// The signal of one channel.
    pub(super) fn channel(&self, channel: usize) -> &[f32] {
        &self.samples[channel * self.len..(channel + 1) * self.len]
    }

    /// The steps `from..to` alone.
    pub(super) fn part(&self, from: usize, to: usize) -> Self {
        let channels = self.samples.len() / self.len.max(1);
        let samples = (0..channels)
            .flat_map(|c| &self.channel(c)[from..to])
            .copied()
            .collect();
        Self {
            origin: format!("{}, steps {from} to {}", self.origin, to.saturating_sub(1)),
            file: self.file.clone(),
            len: to - from,
            samples,
            ..*self
        }
    }
}

/// Replaces NaN by linear interpolation between the nearest numbers; before the first and after
/// the last one by that number. A channel without any number becomes 0.
pub(super) fn fill_gaps(channel: &mut [f32]) {
    let mut last: Option<usize> = None;
    for i in 0..channel.len() {
        if channel[i].is_nan() {
            continue;
        }
        match last {
            None => {
                let first = channel[i];
                channel[..i].fill(first);
            }
            Some(before) if before + 1 < i => interpolate(&mut channel[before..=i]),
            Some(_) => {}
        }
        last = Some(i);
    }
    match last {
        None => channel.fill(0.0),
        Some(last) => {
            let value = channel[last];
            channel[last..].fill(value);
        }
    }
}

/// Fills the inside of `piece` with the straight line between its ends.
fn interpolate(piece: &mut [f32]) {
    let steps = piece.len() - 1;
    let (from, to) = (f64::from(piece[0]), f64::from(piece[steps]));
    for (i, x) in piece.iter_mut().enumerate().take(steps).skip(1) {
        *x = (from + (to - from) * i as f64 / steps as f64) as f32;
    }
}

/// Activities of a source by number, and which of them are used.
#[derive(Debug)]
pub(super) struct Activities {
    known: Vec<(u32, String)>,
    class_of: HashMap<u32, u32>,
    /// Names of the classes.
    pub(super) classes: Vec<String>,
}

impl Activities {
    /// Of the activities `known` those that `wanted` (of `data.sensor.activities`) names by number
    /// or name; if it is empty, those that `by_default` accepts.
    pub(super) fn select(
        known: Vec<(u32, String)>,
        wanted: &[String],
        by_default: impl Fn(u32) -> bool,
    ) -> Result<Self, DataError> {
        let names = |want: &str, (id, name): &(u32, String)| {
            same_id(want, &id.to_string()) || same_id(&spelled(want), &spelled(name))
        };
        for want in wanted {
            if !known.iter().any(|activity| names(want, activity)) {
                let list: Vec<_> = known.iter().map(|(id, n)| format!("{id} {n}")).collect();
                let why = format!("unknown activity; there are {}", list.join(", "));
                return Err(DataError::option("data.sensor.activities", want, why));
            }
        }
        let used = |activity: &&(u32, String)| match wanted {
            [] => by_default(activity.0),
            _ => wanted.iter().any(|want| names(want, activity)),
        };
        let chosen: Vec<_> = known.iter().filter(used).cloned().collect();
        let class_of = chosen.iter().map(|(id, _)| *id).zip(0..).collect();
        let classes = chosen.into_iter().map(|(_, name)| name).collect();
        Ok(Self {
            known,
            class_of,
            classes,
        })
    }

    /// Whether the source knows an activity with this number.
    pub(super) fn knows(&self, id: u32) -> bool {
        self.known.iter().any(|(known, _)| *known == id)
    }

    /// Class of an activity, if it is used.
    pub(super) fn class_of(&self, id: u32) -> Option<u32> {
        self.class_of.get(&id).copied()
    }
}

fn spelled(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    #[test]
    fn gaps_are_filled_linearly_and_ends_with_the_nearest() {
        let mut x = [NAN, NAN, 1.0, NAN, NAN, 4.0, 5.0, NAN];
        fill_gaps(&mut x);
        assert_eq!(x, [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0]);
        let mut nothing = [NAN; 3];
        fill_gaps(&mut nothing);
        assert_eq!(nothing, [0.0; 3]);
        fill_gaps(&mut []);
    }

    #[test]
    fn a_part_keeps_channels_apart() {
        let stretch = Stretch {
            subject: 3,
            label: Some(1),
            origin: "a.txt".into(),
            file: None,
            len: 4,
            samples: vec![0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0],
        };
        let part = stretch.part(1, 3);
        assert_eq!(part.samples, [1.0, 2.0, 11.0, 12.0]);
        assert_eq!((part.len, part.subject, part.label), (2, 3, Some(1)));
        assert_eq!(part.channel(1), [11.0, 12.0]);
    }

    #[test]
    fn activities_are_chosen_by_number_or_name() {
        let known = || {
            vec![
                (1, "lying".into()),
                (7, "Nordic walking".into()),
                (24, "rope".into()),
            ]
        };
        let chosen = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|w| (*w).to_owned()).collect();
            Activities::select(known(), &wanted, |id| id != 7)
        };
        let default = chosen(&[]).unwrap();
        assert_eq!(default.classes, ["lying", "rope"]);
        assert_eq!((default.class_of(24), default.class_of(7)), (Some(1), None));
        assert!(default.knows(7) && !default.knows(8));
        assert_eq!(
            chosen(&["24", "nordic_walking"]).unwrap().classes,
            ["Nordic walking", "rope"]
        );
        let message = chosen(&["flying"]).unwrap_err().to_string();
        assert!(
            message.starts_with("data.sensor.activities = flying: unknown"),
            "{message}"
        );
    }
}
