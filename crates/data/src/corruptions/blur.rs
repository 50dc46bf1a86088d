//! Blurs of lenses, glass and movement.

use super::picture::{Picture, Tap, line, sample, smooth};
use crate::random::Dice;
use std::f32::consts::PI;

/// Spreads every point over a disk of these radii (at 32×32).
pub(super) fn defocus(picture: &mut Picture<'_>, severity: usize, _dice: &mut Dice) {
    const RADIUS: [f32; 5] = [0.7, 1.0, 1.3, 1.7, 2.2];
    let taps = disk(RADIUS[severity] * picture.unit());
    picture.mix(&taps);
}

/// The parts of pixels that lie within a disk, by 8 × 8 points in each.
pub(super) fn disk(radius: f32) -> Vec<Tap> {
    const POINTS: i32 = 8;
    let reach = (radius - 0.5).ceil().max(0.0) as i32;
    let offset = |i: i32| (i as f32 + 0.5) / POINTS as f32 - 0.5;
    let covered = |dy: i32, dx: i32| {
        let points = (0..POINTS * POINTS).filter(|i| {
            let y = dy as f32 + offset(i / POINTS);
            let x = dx as f32 + offset(i % POINTS);
            y * y + x * x <= radius * radius
        });
        points.count() as f32
    };
    let square = -reach..=reach;
    let square = square
        .clone()
        .flat_map(|dy| square.clone().map(move |dx| (dy, dx)));
    let mut taps: Vec<Tap> = square
        .map(|(dy, dx)| (dy as f32, dx as f32, covered(dy, dx)))
        .filter(|tap| tap.2 > 0.0)
        .collect();
    let sum: f32 = taps.iter().map(|tap| tap.2).sum();
    taps.iter_mut().for_each(|tap| tap.2 /= sum);
    taps
}

/// Frosted glass: smooths, exchanges this part of the pixels with others at most `REACH` (at 32×32) away,
/// and smooths again.
pub(super) fn glass(picture: &mut Picture<'_>, severity: usize, dice: &mut Dice) {
    const SIGMA: f32 = 0.3;
    const PART: [f32; 5] = [0.3, 0.6, 1.0, 1.0, 1.0];
    const REACH: [f32; 5] = [1.0, 1.0, 1.0, 2.0, 3.0];
    let size = [picture.height, picture.width];
    let sigma = SIGMA * picture.unit().max(1.0);
    let reach = (REACH[severity] * picture.unit()).round().max(1.0) as usize;
    let smooth_all = |picture: &mut Picture<'_>| {
        for plane in picture.values.chunks_exact_mut(size[0] * size[1]) {
            smooth(plane, size, sigma);
        }
    };
    smooth_all(picture);
    for i in 0..picture.area() {
        let near = |at: usize, end: usize, dice: &mut Dice| {
            let from = at.saturating_sub(reach);
            dice.pick(from..(at + reach + 1).min(end))
        };
        let (row, column) = (i / size[1], i % size[1]);
        let other = near(row, size[0], dice) * size[1] + near(column, size[1], dice);
        if dice.chance(PART[severity]) {
            for plane in picture.values.chunks_exact_mut(size[0] * size[1]) {
                plane.swap(i, other);
            }
        }
    }
    smooth_all(picture);
}

/// Spreads every point over a line of these lengths (at 32×32) in a random direction.
pub(super) fn motion(picture: &mut Picture<'_>, severity: usize, dice: &mut Dice) {
    const LENGTH: [f32; 5] = [2.0, 3.0, 4.0, 5.5, 7.5];
    let length = LENGTH[severity] * picture.unit();
    picture.mix(&line(length, dice.between(0.0, PI)));
}

/// The mean of the picture and of itself zoomed in step by step, up to these factors.
pub(super) fn zoom(picture: &mut Picture<'_>, severity: usize, _dice: &mut Dice) {
    const FACTOR: [f32; 5] = [1.08, 1.14, 1.2, 1.28, 1.38];
    const STEPS: usize = 8;
    let size = [picture.height, picture.width];
    let middle = size.map(|side| 0.5 * (side as f32 - 1.0));
    for plane in picture.values.chunks_exact_mut(size[0] * size[1]) {
        let before = plane.to_vec();
        for (i, x) in plane.iter_mut().enumerate() {
            let zoomed = |step: usize| {
                let part = step as f32 / (STEPS - 1) as f32;
                let factor = 1.0 + part * (FACTOR[severity] - 1.0);
                let row = middle[0] + ((i / size[1]) as f32 - middle[0]) / factor;
                let column = middle[1] + ((i % size[1]) as f32 - middle[1]) / factor;
                sample(&before, size, row, column)
            };
            *x = (0..STEPS).map(zoomed).sum::<f32>() / STEPS as f32;
        }
    }
}
