//! Random choices and random signals of the synthesiser.

use viewmaker_ops::random::{Philox, unit_f32};

/// Random numbers one after the other, four from each block of the generator.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    philox: Philox,
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Dice {
    pub(super) fn new(philox: &Philox) -> Self {
        Self {
            philox: *philox,
            block: 0,
            words: [0; 4],
            used: 4,
        }
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f32 {
        if self.used == 4 {
            self.words = self.philox.block(self.block);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        unit_f32(self.words[self.used - 1])
    }

    /// Uniform between two numbers.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// One of `choices`, all equally likely.
    pub(super) fn pick(&mut self, choices: std::ops::Range<usize>) -> usize {
        let count = choices.len();
        choices.start + ((self.unit() * count as f32) as usize).min(count - 1)
    }

    /// White noise of variance 1 (uniformly distributed).
    pub(super) fn white(&mut self) -> f32 {
        const SQRT_12: f32 = 3.464_101_6;
        (self.unit() - 0.5) * SQRT_12
    }
}

/// Root of the mean square; 0 for no samples.
pub(super) fn rms(samples: &[f32]) -> f32 {
    let sum: f32 = samples.iter().map(|x| x * x).sum();
    (sum / samples.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_noise_has_variance_one_and_picks_cover_all() {
        let mut dice = Dice::new(&Philox::new(1, 2, 3));
        let noise: Vec<f32> = (0..20_000).map(|_| dice.white()).collect();
        assert!((rms(&noise) - 1.0).abs() < 0.02);
        let mut seen = [0; 4];
        for _ in 0..1000 {
            seen[dice.pick(3..7) - 3] += 1;
        }
        assert!(seen.iter().all(|&n| n > 200), "{seen:?}");
    }
}
