//! Frames: three moments of one recording or video in the order of time.

use super::Moment;

/// Frames that are taken of a sequence.
pub const FRAMES: usize = 3;

/// One of [`FRAMES`] different places of a sequence, in the order of time.
///
/// Source: the frames i < j < k of Nair et al., *R3M: A Universal Visual Representation for Robot
/// Manipulation* (CoRL 2022), section 3.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ordered {
    /// Part of the window that is used, where recordings are cut or padded.
    pub fill: f32,
    /// In `[0, 1)`: choose the places.
    pub draws: [f32; FRAMES],
    /// Which of the places, in the order of time.
    pub rank: usize,
}

impl Ordered {
    pub(super) fn new(fill: f32, moment: Moment, index: usize) -> Self {
        let mut dice = moment.shared_dice(index);
        Self {
            fill,
            draws: std::array::from_fn(|_| dice.unit()),
            rank: moment.view as usize % FRAMES,
        }
    }

    /// The place, of `count` (at least 1) in the order of time. Every set of three places is equally
    /// likely; with fewer than three some are taken twice.
    pub fn of(&self, count: usize) -> usize {
        if count < FRAMES {
            return self.rank * count / FRAMES;
        }
        let mut chosen = Vec::with_capacity(FRAMES);
        for draw in self.draws {
            let free = count - chosen.len();
            let mut place = ((f64::from(draw) * free as f64) as usize).min(free - 1);
            // The place among those not chosen yet; `chosen` ascends.
            for earlier in &chosen {
                place += usize::from(place >= *earlier);
            }
            chosen.push(place);
            chosen.sort_unstable();
        }
        chosen[self.rank]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draw;
    use std::collections::BTreeMap;

    #[test]
    fn all_triples_of_distinct_places_are_equally_likely() {
        let mut counts = BTreeMap::<[usize; FRAMES], usize>::new();
        for index in 0..20_000 {
            let place = |view| {
                let moment = Moment {
                    example: Draw::FIXED,
                    draw: Draw { seed: 3, epoch: 1 },
                    view,
                };
                Ordered::new(1.0, moment, index).of(5)
            };
            *counts.entry([0, 1, 2].map(place)).or_default() += 1;
        }
        assert!(counts.keys().all(|[i, j, k]| i < j && j < k && *k < 5));
        assert_eq!(counts.len(), 10);
        let fair = |count: &usize| (1800..2200).contains(count);
        assert!(counts.values().all(fair), "{counts:?}");
    }

    #[test]
    fn few_places_stay_in_order() {
        let of = |rank, count| {
            let draws = [0.9, 0.1, 0.5];
            Ordered {
                fill: 1.0,
                draws,
                rank,
            }
            .of(count)
        };
        assert_eq!([0, 1, 2].map(|rank| of(rank, 1)), [0, 0, 0]);
        assert_eq!([0, 1, 2].map(|rank| of(rank, 2)), [0, 0, 1]);
        assert_eq!([0, 1, 2].map(|rank| of(rank, 3)), [0, 1, 2]);
    }
}
