//! Patterns in [-1, 1] over the picture plane.

use super::outline::Point;
use super::scene::{between, direction};
use rand::Rng;
use std::f32::consts::TAU;

/// A pattern with its parameters.
pub(super) enum Texture {
    /// Waves across `direction`; `sharp` makes bands of them.
    Stripes { wave: Point, phase: f32, sharp: f32 },
    /// The product of two crossing waves: a chessboard or dots.
    Checks {
        waves: [Point; 2],
        phases: Point,
        sharp: f32,
    },
    /// Random values on a grid with smooth transitions: clouds.
    Blobs {
        values: Vec<f32>,
        scale: f32,
        shift: Point,
    },
}

/// Points of the grid of [`Texture::Blobs`] along a side; the pattern repeats after it.
const GRID: usize = 12;

impl Texture {
    /// A random pattern with details of `period` (the picture is 2 wide).
    pub(super) fn draw(random: &mut impl Rng, periods: [f32; 2]) -> Self {
        let period = between(random, periods[0], periods[1]);
        let wave = |random: &mut _| direction(random).map(|d| d * TAU / period);
        match (random.next_u32() >> 8) % 3 {
            0 => Self::Stripes {
                wave: wave(random),
                phase: between(random, 0.0, TAU),
                sharp: between(random, 0.5, 4.0),
            },
            1 => {
                let first = wave(random);
                Self::Checks {
                    waves: [first, [-first[1], first[0]]],
                    phases: [between(random, 0.0, TAU), between(random, 0.0, TAU)],
                    sharp: between(random, 0.5, 4.0),
                }
            }
            _ => Self::Blobs {
                values: (0..GRID * GRID)
                    .map(|_| between(random, -1.6, 1.6))
                    .collect(),
                scale: 2.0 / period,
                shift: [between(random, 0.0, 8.0), between(random, 0.0, 8.0)],
            },
        }
    }

    /// The value at `p`.
    pub(super) fn at(&self, p: Point) -> f32 {
        match self {
            Self::Stripes { wave, phase, sharp } => bands(dot(*wave, p) + phase, *sharp),
            Self::Checks {
                waves,
                phases,
                sharp,
            } => {
                let [a, b] = [0, 1].map(|i| bands(dot(waves[i], p) + phases[i], *sharp));
                a * b
            }
            Self::Blobs {
                values,
                scale,
                shift,
            } => {
                let [x, y] = [0, 1].map(|i| p[i] * scale + shift[i] + GRID as f32);
                clouds(values, x, y).clamp(-1.0, 1.0)
            }
        }
    }
}

fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

/// A sine that is cut off at ±1 after magnification by `sharp`.
fn bands(phase: f32, sharp: f32) -> f32 {
    (phase.sin() * sharp).clamp(-1.0, 1.0)
}

/// Smooth interpolation of a grid that repeats in both directions.
fn clouds(values: &[f32], x: f32, y: f32) -> f32 {
    let at = |column: usize, row: usize| values[row % GRID * GRID + column % GRID];
    let (column, row) = (x.floor().max(0.0) as usize, y.floor().max(0.0) as usize);
    let [u, v] = [x - x.floor(), y - y.floor()].map(|t| t * t * (3.0 - 2.0 * t));
    let across = |row| at(column, row) * (1.0 - u) + at(column + 1, row) * u;
    across(row) * (1.0 - v) + across(row + 1) * v
}
