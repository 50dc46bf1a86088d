//! Weather and light.

use super::picture::{Picture, clouds, line, mix, stretch};
use crate::random::Dice;
use std::f32::consts::PI;

/// Bleaches the picture by the first parameter and lets flakes fall: points of the second density,
/// drawn out to streaks of the third length (at 32×32), steeply.
pub(super) fn snow(picture: &mut Picture<'_>, severity: usize, dice: &mut Dice) {
    const BLEACH: [f32; 5] = [0.10, 0.15, 0.20, 0.25, 0.30];
    const DENSITY: [f32; 5] = [0.02, 0.035, 0.05, 0.065, 0.08];
    const LENGTH: [f32; 5] = [1.5, 2.0, 2.0, 2.5, 3.0];
    let size = [picture.height, picture.width];
    let mut flakes: Vec<f32> = (0..picture.area())
        .map(|_| match dice.chance(DENSITY[severity]) {
            true => dice.between(0.6, 1.0),
            false => 0.0,
        })
        .collect();
    let length = LENGTH[severity] * picture.unit();
    let taps = line(length, dice.between(0.3 * PI, 0.7 * PI));
    mix(&mut flakes, size, &taps);
    // A streak is thinner than the point it came from, not fainter by its whole length.
    flakes
        .iter_mut()
        .for_each(|x| *x = (*x * length.max(1.0)).min(1.0));
    for x in picture.values.iter_mut() {
        *x += BLEACH[severity] * (0.8 - *x).max(0.0);
    }
    picture.add(&flakes);
}

/// Lays crystals of ice over the picture: ridges of clouds, this opaque.
pub(super) fn frost(picture: &mut Picture<'_>, severity: usize, dice: &mut Dice) {
    const OPACITY: [f32; 5] = [0.25, 0.35, 0.45, 0.55, 0.65];
    /// Ice is white with a little blue.
    const ICE: [f32; 3] = [0.86, 0.92, 1.0];
    let size = [picture.height, picture.width];
    let mut ridges = clouds(size, 4, 0.7, dice);
    // Where clouds cross their middle level there is a ridge.
    ridges
        .iter_mut()
        .for_each(|x| *x = 1.0 - (2.0 * *x - 1.0).abs());
    stretch(&mut ridges);
    let planes = picture.values.chunks_exact_mut(size[0] * size[1]);
    let whites = ICE.iter().copied().cycle();
    let grey = picture.channels != 3;
    for (plane, white) in planes.zip(whites) {
        let white = if grey { ICE[1] } else { white };
        for (x, ridge) in plane.iter_mut().zip(&ridges) {
            *x += OPACITY[severity] * ridge.powi(2) * (white - *x) + 0.1 * OPACITY[severity];
        }
    }
}

/// Adds clouds of this strength, and takes back contrast so that the brightest value stays.
pub(super) fn fog(picture: &mut Picture<'_>, severity: usize, dice: &mut Dice) {
    const STRENGTH: [f32; 5] = [0.3, 0.5, 0.8, 1.2, 1.8];
    let strength = STRENGTH[severity];
    let most = picture.values.iter().copied().fold(0.0, f32::max);
    let mut fog = clouds([picture.height, picture.width], 2, 0.5, dice);
    fog.iter_mut().for_each(|x| *x *= strength);
    picture.add(&fog);
    let scale = most / (most + strength);
    picture.values.iter_mut().for_each(|x| *x *= scale);
}

/// Raises the value (the largest of red, green and blue) of every pixel by this much; hue and
/// saturation stay.
pub(super) fn brightness(picture: &mut Picture<'_>, severity: usize, _dice: &mut Dice) {
    const MORE: [f32; 5] = [0.08, 0.15, 0.22, 0.30, 0.40];
    let area = picture.area();
    for i in 0..area {
        let places = (0..picture.channels).map(|c| c * area + i);
        let value = places
            .clone()
            .fold(0.0f32, |most, at| most.max(picture.values[at]));
        let raised = (value + MORE[severity]).min(1.0);
        for at in places {
            let x = &mut picture.values[at];
            *x = match value > 0.0 {
                true => *x * (raised / value),
                // Black has neither hue nor saturation: it becomes grey.
                false => raised,
            };
        }
    }
}
