//! Views by time: two windows of one recording that lie close to each other.

use super::{Moment, Ordered, at_most, unit};
use crate::DataError;
use serde::{Deserialize, Serialize};

/// Views by time: the section `views.temporal`.
///
/// Source: Hyvärinen & Morioka, *Unsupervised feature extraction by time-contrastive learning*
/// (NIPS 2016); as positives of a contrastive loss, Sermanet et al., *Time-contrastive networks*
/// (ICRA 2018).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TemporalConfig {
    /// The second window starts at most this many seconds before or after the first.
    pub max_gap: f32,
    /// Speech: part of the window that is filled with sound, in (0, 1]; below 1, recordings no
    /// longer than the window have two different windows, too.
    pub fill: f32,
}

impl Default for TemporalConfig {
    fn default() -> Self {
        Self {
            max_gap: 1.0,
            fill: 0.7,
        }
    }
}

impl TemporalConfig {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        at_most("views.temporal.max_gap", self.max_gap, 1e6)?;
        unit("views.temporal.fill", self.fill)?;
        if self.fill == 0.0 {
            let why = "must be greater than 0";
            return Err(DataError::option("views.temporal.fill", self.fill, why));
        }
        Ok(())
    }

    /// Where the window of view `moment.view` of example `index` lies.
    pub(super) fn near(&self, moment: Moment, index: usize) -> Near {
        let [anchor, offset] = {
            let mut dice = moment.shared_dice(index);
            [dice.unit(), dice.unit()]
        };
        Near {
            max_gap: self.max_gap,
            fill: self.fill,
            anchor,
            offset: (moment.view > 0).then_some(offset),
        }
    }
}

/// The place of one of two windows that lie close to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Largest distance of their beginnings, in seconds.
    pub max_gap: f32,
    /// Part of the window that is used, where recordings are cut or padded.
    pub fill: f32,
    /// In `[0, 1)`: chooses the first window where the data set has no place for it.
    pub anchor: f32,
    /// In `[0, 1)`: chooses the second window; `None` for the first.
    pub offset: Option<f32>,
}

impl Near {
    /// Where the window starts in a recording at `rate` samples a second in which windows can
    /// start at `0 ..= free`, and the first starts at `first`.
    pub fn start(&self, first: usize, free: usize, rate: f32) -> usize {
        let first = first.min(free);
        let Some(offset) = self.offset else {
            return first;
        };
        let gap = (self.max_gap * rate) as usize;
        let low = first.saturating_sub(gap);
        let high = first.saturating_add(gap).min(free);
        (low + (offset * (high - low + 1) as f32) as usize).min(high)
    }

    /// The first of `0 ..= free` that the anchor chooses.
    pub fn first(&self, free: usize) -> usize {
        ((self.anchor * (free + 1) as f32) as usize).min(free)
    }
}

/// Which window of its recording a view shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Window {
    /// One of two that lie close to each other.
    Near(Near),
    /// One of three in the order of time.
    Ordered(Ordered),
}

impl Window {
    /// Part of the window that is used, where recordings are cut or padded.
    pub fn fill(&self) -> f32 {
        match self {
            Self::Near(near) => near.fill,
            Self::Ordered(ordered) => ordered.fill,
        }
    }

    /// Where the window starts in a recording at `rate` samples a second in which windows can
    /// start at `0 ..= free`, and the example's own starts at `own`, if it has one.
    pub fn start(&self, own: Option<usize>, free: usize, rate: f32) -> usize {
        match self {
            Self::Near(near) => near.start(own.unwrap_or_else(|| near.first(free)), free, rate),
            Self::Ordered(ordered) => ordered.of(free + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(offset: Option<f32>) -> Near {
        Near {
            max_gap: 0.5,
            fill: 1.0,
            anchor: 0.3,
            offset,
        }
    }

    #[test]
    fn windows_lie_within_the_gap_and_the_recording() {
        for first in [0, 10, 95, 100] {
            assert_eq!(near(None).start(first, 100, 50.0), first);
            let mut seen = Vec::new();
            for i in 0..1000 {
                let start = near(Some(i as f32 / 1000.0)).start(first, 100, 50.0);
                assert!(start.abs_diff(first) <= 25 && start <= 100);
                seen.push(start);
            }
            seen.dedup();
            let reach = first.min(25) + (100 - first).min(25) + 1;
            assert_eq!(seen.len(), reach, "every place occurs");
        }
        assert_eq!(near(Some(0.9)).start(3, 0, 50.0), 0);
        assert_eq!((near(None).first(0), near(None).first(9)), (0, 3));
    }

    #[test]
    fn bad_values_name_their_key() {
        let message = |max_gap, fill| {
            let config = TemporalConfig { max_gap, fill };
            config.validate().unwrap_err().to_string()
        };
        assert!(message(-1.0, 1.0).starts_with("views.temporal.max_gap = -1"));
        assert!(message(1.0, 0.0).starts_with("views.temporal.fill = 0"));
    }
}
