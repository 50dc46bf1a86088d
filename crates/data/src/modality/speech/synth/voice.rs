//! Who speaks: what stays the same for all words of a voice.

use super::SEED;
use crate::random;
use crate::random::Dice;
use viewmaker_ops::random::Philox;

/// Stands apart from the steps that number recordings.
const VOICES: u32 = 2;

/// A speaker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    /// Mean pitch in Hz.
    pub pitch: f32,
    /// Fall of the pitch over a word, as a part of it.
    pub fall: f32,
    /// Factor of all formant frequencies: a short vocal tract has high ones.
    pub tract: f32,
    /// Factors of the single formants: how this voice pronounces.
    pub accent: [f32; 3],
    /// Durations relative to normal pace.
    pub pace: f32,
    /// Part of a period during which the glottis is open.
    pub open: f32,
    /// Breath noise while voiced.
    pub breathiness: f32,
    /// Factor of hiss and bursts.
    pub sibilance: f32,
}

impl Voice {
    /// Voice number `number`, the same in every run. Men, women and children take turns.
    pub(super) fn new(number: usize) -> Self {
        let [low, high, ..] = Philox::new(SEED, random::SPOKEN_DIGITS, VOICES).block(number as u64);
        let seed = u64::from(high) << 32 | u64::from(low);
        let mut dice = Dice::new(&Philox::new(seed, random::SPOKEN_DIGITS, VOICES));
        let (pitch, tract) = match number % 3 {
            0 => (dice.between(85.0, 150.0), dice.between(0.9, 1.04)),
            1 => (dice.between(160.0, 240.0), dice.between(1.06, 1.2)),
            _ => (dice.between(220.0, 320.0), dice.between(1.15, 1.32)),
        };
        Self {
            pitch,
            fall: dice.between(-0.1, 0.35),
            tract,
            accent: [(); 3].map(|()| dice.between(0.93, 1.07)),
            pace: dice.between(0.75, 1.3),
            open: dice.between(0.4, 0.75),
            breathiness: dice.between(0.0, 0.08),
            sibilance: dice.between(0.6, 1.6),
        }
    }

    /// The voice on one occasion: nobody says a word twice alike.
    pub(super) fn on_occasion(mut self, dice: &mut Dice) -> Self {
        self.pitch *= dice.between(0.88, 1.14);
        self.fall += dice.between(-0.15, 0.15);
        self.tract *= dice.between(0.98, 1.02);
        for accent in &mut self.accent {
            *accent *= dice.between(0.96, 1.04);
        }
        self.pace *= dice.between(0.85, 1.18);
        self.sibilance *= dice.between(0.8, 1.25);
        self
    }
}
