//! One picture: a shape, the ground behind it, the light on both.

use super::Frame;
use super::outline::{Outline, Point};
use super::texture::Texture;
use crate::random::SHAPES;
use rand::Rng;
use std::f32::consts::TAU;
use viewmaker_ops::random::{Philox, unit_f32};

/// Red, green, blue in [0, 1].
type Colour = [f32; 3];

/// Least and largest difference in brightness between shape and ground: enough for a person to
/// always tell the shape.
const CONTRAST: [f32; 2] = [0.28, 0.45];

/// Everything that a picture is drawn from. The picture plane is [-1, 1]².
pub(super) struct Scene {
    outline: Outline,
    centre: Point,
    radius: f32,
    /// Cosine and sine of the rotation.
    turn: Point,
    shape: Surface,
    ground: Surface,
    light: Light,
    noise: Noise,
}

/// A colour that changes over the plane.
struct Surface {
    colour: Colour,
    /// Change of colour per unit of length, along x and y.
    gradient: [Colour; 2],
    texture: Texture,
    /// Colour at the maximum of the texture, relative to the rest.
    ink: Colour,
}

/// Light that falls unevenly: a factor that grows along a direction, and a tint.
struct Light {
    slope: Point,
    tint: Colour,
}

impl Scene {
    /// A random scene with `outline` in it.
    pub(super) fn draw(outline: Outline, random: &mut impl Rng) -> Self {
        let radius = between(random, 0.42, 0.68);
        let room = 0.97 - radius;
        let angle = between(random, -0.35, 0.35);
        let (ground, shape) = contrasting_colours(random);
        Self {
            outline,
            centre: [between(random, -room, room), between(random, -room, room)],
            radius,
            turn: [angle.cos(), angle.sin()],
            shape: Surface::draw(random, shape, [0.25, 0.6], 0.06),
            ground: Surface::draw(random, ground, [0.25, 1.2], 0.08),
            light: Light::draw(random),
            noise: Noise::draw(random),
        }
    }

    /// What there is to see, in words: the shape called `name`, its size, whether it is brighter or
    /// darker than the ground, and its place. `form` chooses among a few ways to say it.
    pub(super) fn caption(&self, name: &str, form: usize) -> String {
        let size = if self.radius < 0.55 { "small" } else { "large" };
        let [shape, ground] = [&self.shape, &self.ground].map(|s| brightness(s.colour));
        let tone = if shape > ground { "bright" } else { "dark" };
        let place = self.place();
        match form % 4 {
            0 => format!("a {size} {tone} {name} {place}"),
            1 => format!("{name}, {tone} and {size}, {place}"),
            2 => format!("a picture of a {name}"),
            _ => format!("the {name} is {tone} and lies {place}"),
        }
    }

    /// Where the shape lies, by the larger of its distances from the middle.
    fn place(&self) -> &'static str {
        const MIDDLE: f32 = 0.1;
        let [x, y] = self.centre;
        if x.abs().max(y.abs()) < MIDDLE {
            return "in the middle";
        }
        match (x.abs() > y.abs(), x > 0.0, y > 0.0) {
            (true, true, _) => "on the right",
            (true, false, _) => "on the left",
            (false, _, true) => "at the bottom",
            (false, _, false) => "at the top",
        }
    }

    /// Draws the scene into `out`, C × H × W bytes.
    pub(super) fn paint(&self, frame: Frame, out: &mut [u8]) {
        let plane = frame.height * frame.width;
        let pixel = 2.0 / frame.width.max(frame.height) as f32;
        let middle = |i: usize, count: usize| (i as f32 + 0.5 - count as f32 / 2.0) * pixel;
        for at in 0..plane {
            let (row, column) = (at / frame.width, at % frame.width);
            let p = [middle(column, frame.width), middle(row, frame.height)];
            let colour = self.noise.on(self.colour_at(p, pixel), at);
            if frame.channels == 1 {
                out[at] = to_byte(brightness(colour));
            } else {
                for (channel, value) in colour.into_iter().enumerate() {
                    out[channel * plane + at] = to_byte(value);
                }
            }
        }
    }

    /// The colour at `p`, the edge of the shape blended over one `pixel`.
    fn colour_at(&self, p: Point, pixel: f32) -> Colour {
        let q = [0, 1].map(|i| (p[i] - self.centre[i]) / self.radius);
        let [cos, sin] = self.turn;
        let turned = [cos * q[0] + sin * q[1], cos * q[1] - sin * q[0]];
        let distance = self.outline.distance(turned) * self.radius;
        let cover = (0.5 - distance / pixel).clamp(0.0, 1.0);
        let (shape, ground) = (self.shape.at(p), self.ground.at(p));
        let mixed = [0, 1, 2].map(|c| cover * shape[c] + (1.0 - cover) * ground[c]);
        self.light.on(mixed, p)
    }
}

impl Surface {
    fn draw(random: &mut impl Rng, colour: Colour, periods: [f32; 2], strength: f32) -> Self {
        let strength = between(random, 0.2, 1.0) * strength;
        Self {
            colour,
            gradient: [0, 1].map(|_| triple(random, -0.06, 0.06)),
            texture: Texture::draw(random, periods),
            ink: triple(random, -1.0, 1.0).map(|c| c * strength),
        }
    }

    fn at(&self, p: Point) -> Colour {
        let ink = self.texture.at(p);
        [0, 1, 2].map(|c| {
            self.colour[c]
                + self.gradient[0][c] * p[0]
                + self.gradient[1][c] * p[1]
                + self.ink[c] * ink
        })
    }
}

impl Light {
    fn draw(random: &mut impl Rng) -> Self {
        let strength = between(random, 0.0, 0.25);
        let level = between(random, 0.75, 1.2);
        Self {
            slope: direction(random).map(|d| d * strength),
            tint: triple(random, 0.85, 1.15).map(|c| c * level),
        }
    }

    fn on(&self, colour: Colour, p: Point) -> Colour {
        let factor = 1.0 + self.slope[0] * p[0] + self.slope[1] * p[1];
        [0, 1, 2].map(|c| colour[c] * self.tint[c] * factor)
    }
}

/// Independent noise of every channel of every pixel.
struct Noise {
    words: Philox,
    /// Standard deviation.
    strength: f32,
}

impl Noise {
    fn draw(random: &mut impl Rng) -> Self {
        Self {
            words: Philox::new(random.next_u64(), SHAPES, 0),
            strength: between(random, 0.02, 0.08),
        }
    }

    /// Adds a bell-shaped number to each channel: the sum of four bytes (Irwin–Hall).
    fn on(&self, colour: Colour, pixel: usize) -> Colour {
        const MEAN: f32 = 4.0 * 127.5;
        const STD: f32 = 147.8; // √(4 (256² − 1) / 12)
        let words = self.words.block(pixel as u64);
        [0, 1, 2].map(|c| {
            let sum: u16 = words[c].to_le_bytes().into_iter().map(u16::from).sum();
            colour[c] + self.strength * (f32::from(sum) - MEAN) / STD
        })
    }
}

/// Colours of ground and shape: greys with a tint, the shape clearly brighter or darker.
fn contrasting_colours(random: &mut impl Rng) -> (Colour, Colour) {
    let level = between(random, 0.32, 0.68);
    let contrast = between(random, CONTRAST[0], CONTRAST[1]);
    let sign = if random.next_u32() & 1 == 0 {
        -1.0
    } else {
        1.0
    };
    let ground = triple(random, -0.05, 0.05).map(|tint| level + tint);
    let shape = triple(random, -0.12, 0.12).map(|tint| level + sign * contrast + tint);
    (ground, shape)
}

/// Luma by the weights of Rec. 709.
fn brightness(colour: Colour) -> f32 {
    0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
}

fn to_byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Uniform in `[low, high)`.
pub(super) fn between(random: &mut impl Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * unit_f32(random.next_u32())
}

/// A random unit vector.
pub(super) fn direction(random: &mut impl Rng) -> Point {
    let (sin, cos) = between(random, 0.0, TAU).sin_cos();
    [cos, sin]
}

fn triple(random: &mut impl Rng, low: f32, high: f32) -> Colour {
    [0; 3].map(|_| between(random, low, high))
}
