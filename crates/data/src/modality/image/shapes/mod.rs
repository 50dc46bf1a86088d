//! The embedded pictures: one textured shape on a textured ground, in ten classes.
//!
//! A class is an outline. Everything else is nuisance, drawn anew for every picture: position,
//! scale, rotation, whether the shape is brighter or darker, tints, textures, light and noise.
//! Position and polarity dominate the distance between pixels. Tints and textures are kept weak
//! on purpose: views that differ by a few hundredths cannot hide a loud colour, and an encoder
//! that tells pictures apart by colour has no reason to learn shapes.

mod outline;
mod scene;
mod texture;

use super::decode::Frame;
use super::pictures::{MAX_MEMORY, to_unit};
use crate::random::{SHAPES, sequence_of, shuffle};
use crate::{DataError, Dataset, Draw};
use outline::Outline;
use rayon::prelude::*;
use scene::Scene;
use viewmaker_ops::random::Philox;

/// The constant that the pictures are drawn from: they are the same for every run.
const SEED: u64 = 0x7368_6170_6573;

/// Names of the classes, in the order of their labels.
pub(super) const CLASS_NAMES: [&str; Outline::ALL.len()] = Outline::NAMES;

/// The embedded pictures.
pub(super) struct Shapes {
    frame: Frame,
    len: usize,
    /// Separates the training pictures from the held-out ones.
    step: u32,
    /// C × H × W bytes of every picture; empty where they are too many to keep and are drawn
    /// whenever they are asked for.
    drawn: Vec<u8>,
}

impl Shapes {
    /// The first `len` training pictures.
    pub(super) fn training(frame: Frame, len: usize) -> Self {
        Self::new(frame, len, 0)
    }

    /// The first `len` held-out pictures.
    pub(super) fn held_out(frame: Frame, len: usize) -> Self {
        Self::new(frame, len, 1)
    }

    fn new(frame: Frame, len: usize, step: u32) -> Self {
        let mut shapes = Self {
            frame,
            len,
            step,
            drawn: Vec::new(),
        };
        if len.saturating_mul(frame.len()) <= MAX_MEMORY {
            let mut drawn = vec![0; len * frame.len()];
            drawn
                .par_chunks_exact_mut(frame.len())
                .enumerate()
                .for_each(|(index, out)| shapes.paint(index, out));
            shapes.drawn = drawn;
        }
        shapes
    }

    fn scene(&self, index: usize) -> Scene {
        let outline = Outline::ALL[self.class(index)];
        let mut random = sequence_of(SEED, SHAPES, self.step, index);
        Scene::draw(outline, &mut random)
    }

    fn paint(&self, index: usize, out: &mut [u8]) {
        self.scene(index).paint(self.frame, out);
    }

    /// Every ten pictures in a row hold every class once, in random order.
    fn class(&self, index: usize) -> usize {
        const COUNT: usize = Outline::ALL.len();
        let mut order: [usize; COUNT] = std::array::from_fn(|class| class);
        let block = (index / COUNT) as u32;
        shuffle(
            &mut order,
            &mut Philox::new(SEED + u64::from(self.step), SHAPES, block).sequence(),
        );
        order[index % COUNT]
    }
}

impl Dataset for Shapes {
    fn len(&self) -> usize {
        self.len
    }

    fn shape(&self) -> [usize; 3] {
        self.frame.shape()
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(self.class(index) as u32)
    }

    fn load(&self, index: usize, _draw: Draw, out: &mut [f32]) -> Result<(), DataError> {
        let size = self.frame.len();
        match self.drawn.get(index * size..(index + 1) * size) {
            Some(picture) => to_unit(picture, out),
            None => {
                let mut picture = vec![0; size];
                self.paint(index, &mut picture);
                to_unit(&picture, out);
            }
        }
        Ok(())
    }

    fn caption(&self, index: usize) -> Option<String> {
        Some(
            self.scene(index)
                .caption(CLASS_NAMES[self.class(index)], index),
        )
    }

    fn origin(&self, index: usize) -> String {
        let part = if self.step == 0 {
            "training"
        } else {
            "held-out"
        };
        format!("embedded shapes: {part} picture {index}")
    }
}

#[cfg(test)]
mod tests;
