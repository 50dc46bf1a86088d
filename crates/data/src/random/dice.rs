//! Random choices one after the other.

use rand::Rng;
use std::f64::consts::TAU;
use viewmaker_ops::random::{Philox, unit_f32};

/// Random numbers one after the other, four from each block of the generator.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    philox: Philox,
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Dice {
    pub(crate) fn new(philox: &Philox) -> Self {
        Self {
            philox: *philox,
            block: 0,
            words: [0; 4],
            used: 4,
        }
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        unit_f32(self.next_u32())
    }

    /// Uniform between two numbers.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with this probability; always drawn, so that what follows does not depend on it.
    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of `choices`, all equally likely.
    pub(crate) fn pick(&mut self, choices: std::ops::Range<usize>) -> usize {
        let count = choices.len();
        choices.start + ((self.unit() * count as f32) as usize).min(count - 1)
    }

    /// White noise of variance 1 (uniformly distributed).
    pub(crate) fn white(&mut self) -> f32 {
        const SQRT_12: f32 = 3.464_101_6;
        (self.unit() - 0.5) * SQRT_12
    }

    /// Normally distributed with mean 0 and variance 1 (Box & Muller 1958, one of the pair).
    pub(crate) fn normal(&mut self) -> f32 {
        let (radius, angle) = (f64::from(self.unit()), f64::from(self.unit()));
        ((-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()) as f32
    }
}

impl rand::TryRng for Dice {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        if self.used == 4 {
            self.words = self.philox.block(self.block);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        Ok(self.words[self.used - 1])
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let low = u64::from(self.try_next_u32()?);
        let high = u64::from(self.try_next_u32()?);
        Ok(high << 32 | low)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        for four in dst.chunks_mut(4) {
            let bytes = self.try_next_u32()?.to_le_bytes();
            four.copy_from_slice(&bytes[..four.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f32]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let squares = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        (mean, squares / count)
    }

    #[test]
    fn noise_has_variance_one_and_picks_cover_all() {
        let mut dice = Dice::new(&Philox::new(1, 2, 3));
        let white: Vec<f32> = (0..20_000).map(|_| dice.white()).collect();
        let normal: Vec<f32> = (0..20_000).map(|_| dice.normal()).collect();
        for values in [&white, &normal] {
            let (mean, variance) = moments(values);
            assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04);
        }
        let beyond = normal.iter().filter(|x| x.abs() > 1.96).count();
        assert!((850..1150).contains(&beyond), "{beyond} of 20000");
        let mut seen = [0; 4];
        for _ in 0..1000 {
            seen[dice.pick(3..7) - 3] += 1;
        }
        assert!(seen.iter().all(|&n| n > 200), "{seen:?}");
    }

    #[test]
    fn reads_the_words_of_the_generator_in_order() {
        let philox = Philox::new(5, 6, 7);
        let (mut dice, mut sequence) = (Dice::new(&philox), philox.sequence());
        for _ in 0..9 {
            assert_eq!(dice.next_u32(), sequence.next_u32());
        }
    }
}
