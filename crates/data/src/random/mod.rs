//! The random streams of this crate: every use of randomness has its own number, so that no two
//! uses see the same words.

mod dice;

pub(crate) use dice::Dice;

use rand::Rng;
use viewmaker_ops::random::{Philox, Sequence};

/// Order of the training examples in an epoch.
pub(crate) const SHUFFLE: u32 = 0x6461_0001;
/// Assignment of examples to training and held-out set.
pub(crate) const SPLIT: u32 = 0x6461_0002;
/// Choices made while one example is loaded.
pub(crate) const EXAMPLE: u32 = 0x6461_0003;
/// The embedded pictures.
pub(crate) const SHAPES: u32 = 0x6461_0004;
/// The embedded recordings.
pub(crate) const SPOKEN_DIGITS: u32 = 0x6461_0008;
/// The windows of recordings that make an epoch.
pub(crate) const WINDOWS: u32 = 0x6461_0010;
/// The embedded movements.
pub(crate) const MOTION: u32 = 0x6461_0011;
/// Corruptions of pictures; kinds count up from here.
pub(crate) const CORRUPTIONS: u32 = 0x6461_0080;

/// The views of an example that are made while it is loaded; purposes count up from here.
pub(crate) const VIEWS: u32 = 0x6461_0100;

/// The sequence that belongs to `index` alone, at one (seed, stream, step).
///
/// Its seed is the `index`-th block of the stream, so sequences of different examples do not
/// overlap however long they are read.
pub(crate) fn sequence_of(seed: u64, stream: u32, step: u32, index: usize) -> Sequence {
    philox_of(seed, stream, step, index).sequence()
}

/// The choices that belong to `index` alone: the numbers of [`sequence_of`].
pub(crate) fn dice_of(seed: u64, stream: u32, step: u32, index: usize) -> Dice {
    Dice::new(&philox_of(seed, stream, step, index))
}

fn philox_of(seed: u64, stream: u32, step: u32, index: usize) -> Philox {
    let [low, high, ..] = Philox::new(seed, stream, step).block(index as u64);
    Philox::new(u64::from(high) << 32 | u64::from(low), stream, step)
}

/// A uniformly chosen number below `bound` (which must be positive), by the upper half of a
/// 64 × 64 bit product; the bias is below `bound / 2^64`.
pub(crate) fn below(random: &mut impl Rng, bound: usize) -> usize {
    ((u128::from(random.next_u64()) * bound as u128) >> 64) as usize
}

/// Puts `items` into a random order (Fisher–Yates). Written here because a training run must keep
/// its order when a dependency changes its algorithm.
pub(crate) fn shuffle<T>(items: &mut [T], random: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(random, last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_permutes_uniformly() {
        let mut counts = [[0usize; 4]; 4];
        for index in 0..4000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, &mut sequence_of(1, SHUFFLE, 0, index));
            for (place, &item) in items.iter().enumerate() {
                counts[item][place] += 1;
            }
        }
        for count in counts.iter().flatten() {
            assert!((880..1120).contains(count), "{counts:?}");
        }
    }

    #[test]
    fn sequences_of_examples_differ() {
        let first = |index| sequence_of(3, EXAMPLE, 9, index).next_u64();
        assert_ne!(first(0), first(1));
        assert_eq!(first(7), first(7));
    }
}
