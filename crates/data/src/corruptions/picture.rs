//! A picture while it is being corrupted, and what several corruptions share.

use crate::random::Dice;
use crate::views::mirrored;

/// A picture of C × H × W values in C order.
pub(super) struct Picture<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// A place that a pixel is mixed from: distance down, distance to the right, weight.
pub(super) type Tap = (f32, f32, f32);

impl<'a> Picture<'a> {
    pub(super) fn new(values: &'a mut [f32], [channels, height, width]: [usize; 3]) -> Self {
        assert_eq!(values.len(), channels * height * width, "elements");
        Self {
            values,
            channels,
            height,
            width,
        }
    }

    /// Pixels that a length of 1 in a picture of 32×32 has here.
    pub(super) fn unit(&self) -> f32 {
        self.height.min(self.width) as f32 / 32.0
    }

    pub(super) fn area(&self) -> usize {
        self.height * self.width
    }

    pub(super) fn clamp(&mut self) {
        self.values.iter_mut().for_each(|x| *x = x.clamp(0.0, 1.0));
    }

    /// Replaces every pixel by the mean of the pixels at its taps, whose weights sum to 1.
    pub(super) fn mix(&mut self, taps: &[Tap]) {
        let (height, width) = (self.height, self.width);
        for plane in self.values.chunks_exact_mut(height * width) {
            mix(plane, [height, width], taps);
        }
    }

    /// Moves every pixel: the new one at (y, x) is what lay at `from(y, x)`.
    pub(super) fn warp(&mut self, from: impl Fn(usize, usize) -> (f32, f32)) {
        let size = [self.height, self.width];
        for plane in self.values.chunks_exact_mut(size[0] * size[1]) {
            let before = plane.to_vec();
            for (i, x) in plane.iter_mut().enumerate() {
                let (row, column) = from(i / size[1], i % size[1]);
                *x = sample(&before, size, row, column);
            }
        }
    }

    /// Adds a map of H × W values to every channel.
    pub(super) fn add(&mut self, map: &[f32]) {
        for plane in self.values.chunks_exact_mut(self.height * self.width) {
            for (x, m) in plane.iter_mut().zip(map) {
                *x += m;
            }
        }
    }
}

/// Replaces every pixel of a plane by the mean of the pixels at its taps.
pub(super) fn mix(plane: &mut [f32], size: [usize; 2], taps: &[Tap]) {
    let before = plane.to_vec();
    for (i, x) in plane.iter_mut().enumerate() {
        let (row, column) = ((i / size[1]) as f32, (i % size[1]) as f32);
        *x = taps
            .iter()
            .map(|(down, right, weight)| weight * sample(&before, size, row + down, column + right))
            .sum();
    }
}

/// The value at a place between pixels, by bilinear interpolation; mirrored beyond the edges.
pub(super) fn sample(plane: &[f32], [height, width]: [usize; 2], row: f32, column: f32) -> f32 {
    let (top, left) = (row.floor(), column.floor());
    let (down, right) = (row - top, column - left);
    let at = |dy: isize, dx: isize| {
        let y = mirrored(top as isize + dy, height);
        let x = mirrored(left as isize + dx, width);
        plane[y * width + x]
    };
    let between = |a: f32, b: f32, part: f32| match part > 0.0 {
        true => a + part * (b - a),
        false => a,
    };
    match down > 0.0 || right > 0.0 {
        true => {
            let upper = between(at(0, 0), at(0, 1), right);
            let lower = between(at(1, 0), at(1, 1), right);
            between(upper, lower, down)
        }
        false => at(0, 0),
    }
}

/// Smooths a plane with a Gaussian of standard deviation `sigma` > 0 pixels, cut off at three of them.
pub(super) fn smooth(plane: &mut [f32], size: [usize; 2], sigma: f32) {
    let radius = (3.0 * sigma).ceil().max(1.0) as i32;
    let weight = |d: i32| (-0.5 * (d as f32 / sigma).powi(2)).exp();
    let sum: f32 = (-radius..=radius).map(weight).sum();
    let along = |down: f32, right: f32| -> Vec<Tap> {
        (-radius..=radius)
            .map(|d| (down * d as f32, right * d as f32, weight(d) / sum))
            .collect()
    };
    mix(plane, size, &along(1.0, 0.0));
    mix(plane, size, &along(0.0, 1.0));
}

/// Taps on a straight line of `length` pixels through the middle, in the direction of `angle`.
pub(super) fn line(length: f32, angle: f32) -> Vec<Tap> {
    // Two taps a pixel leave no gaps.
    let count = (2.0 * length).ceil().max(1.0) as usize + 1;
    let (sin, cos) = angle.sin_cos();
    let tap = |i: usize| {
        let t = length * (i as f32 / (count - 1) as f32 - 0.5);
        (t * sin, t * cos, 1.0 / count as f32)
    };
    (0..count).map(tap).collect()
}

/// Clouds: value noise in `[0, 1]` of H × W values. Octaves start at a grid of `cells` cells along the
/// smaller side, and each finer one has `decay` times the weight of the one before.
///
/// Source: Ebert et al., *Texturing & Modeling: A Procedural Approach* (3rd edition, 2003), chapter 2.
pub(super) fn clouds(
    [height, width]: [usize; 2],
    cells: usize,
    decay: f32,
    dice: &mut Dice,
) -> Vec<f32> {
    let mut map = vec![0.0; height * width];
    let (mut grid, mut weight) = (cells, 1.0);
    let side = height.min(width).max(1);
    while grid <= side {
        let cell = side as f32 / grid as f32;
        let rows = (height as f32 / cell).ceil() as usize + 2;
        let columns = (width as f32 / cell).ceil() as usize + 2;
        let lattice: Vec<f32> = (0..rows * columns).map(|_| dice.unit()).collect();
        for (i, x) in map.iter_mut().enumerate() {
            let (row, column) = ((i / width) as f32 / cell, (i % width) as f32 / cell);
            // Smooth steps between the points of the lattice leave no creases.
            let ease = |v: f32| v.floor() + v.fract() * v.fract() * (3.0 - 2.0 * v.fract());
            *x += weight * sample(&lattice, [rows, columns], ease(row), ease(column));
        }
        grid *= 2;
        weight *= decay;
    }
    stretch(&mut map);
    map
}

/// Brings values to the whole of `[0, 1]`; equal ones to 0.
pub(super) fn stretch(map: &mut [f32]) {
    let low = map.iter().copied().fold(f32::INFINITY, f32::min);
    let high = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = if high > low { 1.0 / (high - low) } else { 0.0 };
    map.iter_mut().for_each(|x| *x = (*x - low) * scale);
}
