//! What a pass of the contrastive game is made of, and what comes of it; [`super::ResidentPass`] runs it.

use crate::{Tower, Wanted};
use viewmaker_ops::contrastive::Contrast;
use viewmaker_ops::random::Philox;

/// What a pass is made of.
#[derive(Debug)]
pub struct Game {
    /// Embeds the views; on a device.
    pub encoder: Tower,
    /// Makes a view of an example and of noise, its further inputs; on the same device. `None`: the
    /// examples are the views.
    pub viewmaker: Option<Tower>,
    /// The loss of all embeddings `[view][example]`; every row is trained.
    pub contrast: Contrast,
    /// Examples in a batch.
    pub batch: usize,
    /// Arrays of examples: 1, which all views share, or one for each view.
    pub sources: usize,
}

impl Game {
    /// Whether the memory and the graphs of a pass for this game serve `other` as well: the same towers, whose
    /// parameters a graph knows by their place, and the same shapes.
    pub fn is_same(&self, other: &Self) -> bool {
        let viewmakers = match (&self.viewmaker, &other.viewmaker) {
            (Some(one), Some(another)) => one.is_same(another),
            (None, None) => true,
            _ => false,
        };
        viewmakers
            && self.encoder.is_same(&other.encoder)
            && self.contrast == other.contrast
            && (self.batch, self.sources) == (other.batch, other.sources)
    }
}

/// Who learns from a pass, and how much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Play {
    /// What the encoder's backward pass produces.
    pub encoder: Wanted,
    /// Whether the viewmaker's parameters get gradients; then `encoder` includes those of the inputs.
    pub viewmaker: bool,
    /// Factor on all gradients.
    pub loss_grad: f32,
}

/// Noise of one channel for all examples.
#[derive(Clone, Copy, Debug)]
pub enum Noise<'a> {
    /// Uniform numbers that the device makes.
    Uniform(Philox),
    /// These numbers, NCHW.
    Given(&'a [f32]),
}

/// What the host learns of a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The loss, without the factor.
    pub loss: f32,
    /// Mean |view − example| over all views; 0 without a viewmaker.
    pub mean_distortion: f32,
}
