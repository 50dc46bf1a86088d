//! Changes of a multichannel stream over time.

use crate::dataset::Signal;
use crate::random::{Dice, shuffle};

/// The slowest pace of time.
const SLOWEST: f32 = 0.1;

/// Turns the axes of every sensor with three of them, all by the same rotation, as if the device
/// was worn otherwise: about a direction uniform on the sphere, by an angle uniform within ±
/// `degrees`.
pub(super) fn rotate_axes(signal: &mut Signal, degrees: f32, dice: &mut Dice) {
    let axis = loop {
        let v = [dice.normal(), dice.normal(), dice.normal()];
        let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
        if length > 1e-3 {
            break v.map(|x| x / length);
        }
    };
    let matrix = rotation(axis, dice.between(-degrees, degrees).to_radians());
    let steps = signal.steps();
    for &first in signal.triads.clone().iter() {
        let triad = &mut signal.samples[first * steps..(first + 3) * steps];
        for t in 0..steps {
            let v = [triad[t], triad[steps + t], triad[2 * steps + t]];
            for (axis, row) in matrix.iter().enumerate() {
                triad[axis * steps + t] = row.iter().zip(v).map(|(m, x)| m * x).sum();
            }
        }
    }
}

/// The rotation about a unit vector by an angle in radians (Rodrigues' formula).
fn rotation([x, y, z]: [f32; 3], angle: f32) -> [[f32; 3]; 3] {
    let (s, c) = angle.sin_cos();
    let d = 1.0 - c;
    [
        [c + d * x * x, d * x * y - s * z, d * x * z + s * y],
        [d * x * y + s * z, c + d * y * y, d * y * z - s * x],
        [d * x * z - s * y, d * y * z + s * x, c + d * z * z],
    ]
}

/// Multiplies every channel by a factor, normal around 1 with deviation `sigma`.
pub(super) fn scale(signal: &mut Signal, sigma: f32, dice: &mut Dice) {
    let steps = signal.steps();
    for channel in signal.samples.chunks_exact_mut(steps.max(1)) {
        let factor = 1.0 + sigma * dice.normal();
        channel.iter_mut().for_each(|x| *x *= factor);
    }
}

/// Cuts the stream at random places into at most `segments` pieces (at least one), and puts them
/// into a random order, the same for all channels.
pub(super) fn permute(signal: &mut Signal, segments: usize, dice: &mut Dice) {
    let steps = signal.steps();
    let count = dice.pick(1..segments + 1);
    let mut cuts: Vec<usize> = (1..count).map(|_| dice.pick(0..steps + 1)).collect();
    cuts.extend([0, steps]);
    cuts.sort_unstable();
    let mut pieces: Vec<(usize, usize)> = cuts.windows(2).map(|c| (c[0], c[1])).collect();
    shuffle(&mut pieces, dice);
    let mut line = Vec::with_capacity(steps);
    for channel in signal.samples.chunks_exact_mut(steps.max(1)) {
        line.clear();
        for &(from, to) in &pieces {
            line.extend_from_slice(&channel[from..to]);
        }
        channel.copy_from_slice(&line);
    }
}

/// Lets time pass at a smoothly changing pace: normal around 1 with deviation `sigma` at `knots`
/// places inside and at both ends, scaled so that the whole takes as long as before.
pub(super) fn warp_time(signal: &mut Signal, sigma: f32, knots: usize, dice: &mut Dice) {
    let steps = signal.steps();
    let paces: Vec<f32> = (0..knots + 2)
        .map(|_| (1.0 + sigma * dice.normal()).max(SLOWEST))
        .collect();
    let path = path(&paces, steps);
    for channel in signal.samples.chunks_exact_mut(steps.max(1)) {
        let line = channel.to_vec();
        for (x, &place) in channel.iter_mut().zip(&path) {
            let first = (place as usize).min(steps - 1);
            let second = (first + 1).min(steps - 1);
            *x = line[first] + (place - first as f32) * (line[second] - line[first]);
        }
    }
}

/// For every step the moment of the original that it shows: ascending from 0 to `steps` − 1.
fn path(paces: &[f32], steps: usize) -> Vec<f32> {
    let last = steps.saturating_sub(1);
    let pace = |i: usize| {
        let place = (i as f32 + 0.5) / last as f32 * (paces.len() - 1) as f32;
        smooth(paces, place).max(SLOWEST)
    };
    let mut sums = vec![0.0f64];
    for i in 0..last {
        sums.push(sums[i] + f64::from(pace(i)));
    }
    let scale = last as f64 / sums[last].max(f64::MIN_POSITIVE);
    sums.iter().map(|s| (s * scale) as f32).collect()
}

/// The curve through `values` at 0, 1, 2, … (Catmull & Rom 1974), at `place`.
fn smooth(values: &[f32], place: f32) -> f32 {
    let last = values.len() - 1;
    let i = (place as usize).min(last.saturating_sub(1));
    let t = place - i as f32;
    let [a, b, c, d] = [i.saturating_sub(1), i, i + 1, i + 2].map(|i| values[i.min(last)]);
    let (u, v) = (2.0 * a - 5.0 * b + 4.0 * c - d, 3.0 * (b - c) + d - a);
    b + 0.5 * t * (c - a + t * (u + t * v))
}

/// Adds normal noise to every channel, `level` times the deviation of the channel.
pub(super) fn jitter(signal: &mut Signal, level: f32, dice: &mut Dice) {
    let steps = signal.steps();
    for channel in signal.samples.chunks_exact_mut(steps.max(1)) {
        let size = level * deviation(channel);
        channel.iter_mut().for_each(|x| *x += size * dice.normal());
    }
}

fn deviation(values: &[f32]) -> f32 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let squares = values.iter().map(|&x| (f64::from(x) - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::dice_of;

    const STEPS: usize = 50;

    /// A scalar channel, a triad, and a second triad.
    fn signal(index: usize) -> Signal {
        let mut dice = dice_of(8, 1, 0, index);
        Signal {
            samples: (0..7 * STEPS).map(|_| dice.normal()).collect(),
            channels: 7,
            rate: 50.0,
            triads: vec![1, 4].into(),
        }
    }

    fn changed(index: usize, change: impl Fn(&mut Signal, &mut Dice)) -> (Signal, Signal) {
        let (before, mut after) = (signal(index), signal(index));
        change(&mut after, &mut dice_of(2, 3, 4, index));
        (before, after)
    }

    #[test]
    fn rotations_keep_lengths_and_angles_and_leave_scalars_alone() {
        for index in 0..20 {
            let (x, y) = changed(index, |s, dice| rotate_axes(s, 180.0, dice));
            assert_eq!(x.samples[..STEPS], y.samples[..STEPS]);
            assert_ne!(x.samples, y.samples);
            let dot = |s: &Signal, a: usize, b: usize, t: usize| -> f32 {
                (0..3)
                    .map(|i| s.samples[(a + i) * STEPS + t] * s.samples[(b + i) * STEPS + t])
                    .sum()
            };
            for t in 0..STEPS {
                for (a, b) in [(1, 1), (4, 4), (1, 4)] {
                    let (want, got) = (dot(&x, a, b, t), dot(&y, a, b, t));
                    assert!((want - got).abs() < 1e-4, "{want} against {got}");
                }
            }
        }
    }

    #[test]
    fn a_quarter_turn_about_the_third_axis() {
        let m = rotation([0.0, 0.0, 1.0], std::f32::consts::FRAC_PI_2);
        let turned = m.map(|row| row[0]);
        for (got, want) in turned.iter().zip([0.0, 1.0, 0.0]) {
            assert!((got - want).abs() < 1e-6);
        }
    }

    #[test]
    fn permutations_move_all_channels_alike_and_lose_nothing() {
        let mut moved = 0;
        for index in 0..20 {
            let (x, y) = changed(index, |s, dice| permute(s, 5, dice));
            let column = |s: &Signal, t: usize| -> Vec<u32> {
                (0..7).map(|c| s.samples[c * STEPS + t].to_bits()).collect()
            };
            let columns = |s: &Signal| -> Vec<_> { (0..STEPS).map(|t| column(s, t)).collect() };
            let (mut a, mut b) = (columns(&x), columns(&y));
            moved += usize::from(a != b);
            a.sort();
            b.sort();
            assert_eq!(a, b);
        }
        assert!(moved > 8, "{moved}");
    }

    #[test]
    fn warped_time_ascends_from_the_first_to_the_last_step() {
        for index in 0..50 {
            let mut dice = dice_of(5, 6, 7, index);
            let paces: Vec<f32> = (0..6)
                .map(|_| (1.0 + 0.8 * dice.normal()).max(SLOWEST))
                .collect();
            let path = path(&paces, STEPS);
            assert_eq!((path[0], path.len()), (0.0, STEPS));
            assert!((path[STEPS - 1] - (STEPS - 1) as f32).abs() < 1e-4);
            assert!(path.windows(2).all(|p| p[1] > p[0]));
        }
        let straight = path(&[1.0; 5], STEPS);
        for (t, place) in straight.iter().enumerate() {
            assert!((place - t as f32).abs() < 1e-4);
        }
        let (x, y) = changed(0, |s, dice| warp_time(s, 0.2, 4, dice));
        let range = |s: &Signal| s.samples.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        assert!(range(&y) <= range(&x) && x.samples != y.samples);
    }

    #[test]
    fn smooth_curves_pass_through_their_points() {
        let values = [1.0, 3.0, -2.0, 0.5];
        for (i, &value) in values.iter().enumerate() {
            assert!((smooth(&values, i as f32) - value).abs() < 1e-5);
        }
        // Straight lines stay straight inside.
        assert!((smooth(&[0.0, 1.0, 2.0, 3.0], 1.25) - 1.25).abs() < 1e-6);
    }

    #[test]
    fn scale_and_jitter_have_the_size_asked_for() {
        let (mut factors, mut noise) = (Vec::new(), Vec::new());
        for index in 0..200 {
            let (x, y) = changed(index, |s, dice| scale(s, 0.1, dice));
            factors.push(y.samples[7] / x.samples[7]);
            let (x, y) = changed(index, |s, dice| jitter(s, 0.05, dice));
            let channel = &x.samples[..STEPS];
            let change = y.samples[..STEPS].iter().zip(channel);
            noise.extend(change.map(|(y, x)| (y - x) / deviation(channel)));
        }
        assert!((deviation(&factors) - 0.1).abs() < 0.02);
        assert!((deviation(&noise) - 0.05).abs() < 0.002);
    }
}
