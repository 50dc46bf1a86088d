//! Noise of sensors and transmission.

use super::picture::Picture;
use crate::random::Dice;

/// Adds normally distributed noise with these standard deviations.
pub(super) fn gaussian(picture: &mut Picture<'_>, severity: usize, dice: &mut Dice) {
    const SIGMA: [f32; 5] = [0.04, 0.06, 0.08, 0.10, 0.13];
    for x in picture.values.iter_mut() {
        *x += SIGMA[severity] * dice.normal();
    }
}

/// Counts photons: every value becomes a Poisson number with mean x·λ, divided by λ.
pub(super) fn shot(picture: &mut Picture<'_>, severity: usize, dice: &mut Dice) {
    const PHOTONS: [f32; 5] = [400.0, 200.0, 100.0, 60.0, 35.0];
    for x in picture.values.iter_mut() {
        *x = poisson(*x * PHOTONS[severity], dice) / PHOTONS[severity];
    }
}

/// Makes this part of the values black or white.
pub(super) fn impulse(picture: &mut Picture<'_>, severity: usize, dice: &mut Dice) {
    const PART: [f32; 5] = [0.01, 0.02, 0.04, 0.06, 0.09];
    for x in picture.values.iter_mut() {
        let drawn = dice.unit();
        if drawn < PART[severity] {
            *x = if drawn < 0.5 * PART[severity] {
                0.0
            } else {
                1.0
            };
        }
    }
}

/// A Poisson number: by inversion for small means, for large ones the nearest whole number to a normal
/// variable of the same mean and variance.
pub(super) fn poisson(mean: f32, dice: &mut Dice) -> f32 {
    const LARGE: f32 = 30.0;
    if mean > LARGE {
        return (mean + mean.sqrt() * dice.normal()).round().max(0.0);
    }
    let drawn = f64::from(dice.unit());
    let mean = f64::from(mean);
    let mut probability = (-mean).exp();
    let (mut sum, mut count) = (probability, 0u32);
    // Beyond 150 there is nothing left to sum up for means of 30 at most.
    while drawn >= sum && count < 150 {
        count += 1;
        probability *= mean / f64::from(count);
        sum += probability;
    }
    count as f32
}
