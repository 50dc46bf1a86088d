//! What a pass of the contrastive game is made of, and what comes of it; [`super::ResidentPass`] runs it.

use crate::{Tower, Wanted};
use viewmaker_ops::contrastive::Contrast;
use viewmaker_ops::random::Philox;

/// What a pass is made of. All networks are on one device.
#[derive(Debug)]
pub struct Game {
    /// Embeds the online views.
    pub encoder: Tower,
    /// Embeds the target views.
    pub momentum_encoder: Option<Tower>,
    /// Makes a view of an example and of noise, its further inputs. `None`: the examples are the views.
    pub views: Option<Tower>,
    /// How many views are made, the first ones; the others are the examples.
    pub perturbed: usize,
    /// Numbers of the views that the encoder embeds, which its gradient comes from.
    pub online: Vec<usize>,
    /// Numbers of the views that the momentum encoder embeds, without gradient.
    pub target: Vec<usize>,
    /// The loss, where the device computes it: of the rows `[online view][example]`, which are trained, then
    /// `[target view][example]`, then constants.
    pub contrast: Option<Contrast>,
    /// Examples in a batch.
    pub batch: usize,
    /// Arrays of examples: 1, which all views share, or one for each view.
    pub sources: usize,
}

impl Game {
    /// Number of views of an example.
    pub fn view_count(&self) -> usize {
        let last = self.online.iter().chain(&self.target).max();
        last.map_or(0, |view| view + 1)
    }

    /// How many of the views are made by a network.
    pub fn made(&self) -> usize {
        match self.views {
            Some(_) => self.perturbed.min(self.view_count()),
            None => 0,
        }
    }

    /// Whether the memory and the graphs of a pass for this game serve `other` as well: the same towers, whose
    /// parameters a graph knows by their place, and the same shapes.
    pub fn is_same(&self, other: &Self) -> bool {
        self.encoder.is_same(&other.encoder)
            && same(&self.momentum_encoder, &other.momentum_encoder)
            && same(&self.views, &other.views)
            && self.made() == other.made()
            && (&self.online, &self.target) == (&other.online, &other.target)
            && self.contrast == other.contrast
            && (self.batch, self.sources) == (other.batch, other.sources)
    }
}

/// Whether both are handles to one tower, or nothing.
fn same(one: &Option<Tower>, other: &Option<Tower>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same(other),
        (None, None) => true,
        _ => false,
    }
}

/// Who learns from a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Play {
    /// What the encoder's backward pass produces.
    pub encoder: Wanted,
    /// Whether the parameters of what makes the views get gradients; then `encoder` includes those of the
    /// inputs.
    pub views: bool,
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The loss where the device computes it, without any factor; else 0.
    pub loss: f32,
    /// Mean |view − example| over all views that were made; 0 where none are.
    pub mean_distortion: f32,
    /// Embeddings of the online views, `[batch, D]` each.
    pub embeddings: Vec<Vec<f32>>,
    /// Embeddings of the target views, `[batch, D]` each.
    pub targets: Vec<Vec<f32>>,
}
