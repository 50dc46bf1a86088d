//! How one person differs from another.

use crate::random;
use rand::RngExt;

/// The habits of a person.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    /// Factor of every cadence.
    pub(super) tempo: f64,
    /// Factor of the extent of movements.
    pub(super) vigour: f64,
    /// How much stronger one leg is than the other.
    pub(super) limp: f64,
    /// Phase of every harmonic of the gait: the shape of a step.
    pub(super) shape: [f64; 4],
    /// Breaths per second at rest.
    pub(super) breathing_hz: f64,
    /// Frequency of the physiological tremor.
    pub(super) tremor_hz: f64,
}

impl Person {
    /// The person with this number.
    pub(super) fn new(number: usize) -> Self {
        let mut random = random::sequence_of(0, random::MOTION, 0, number);
        Self {
            tempo: random.random_range(0.88..1.15),
            vigour: random.random_range(0.75..1.35),
            limp: random.random_range(0.05..0.4),
            shape: std::array::from_fn(|_| random.random_range(-0.7..0.7)),
            breathing_hz: random.random_range(0.2..0.33),
            tremor_hz: random.random_range(7.5..11.0),
        }
    }
}
