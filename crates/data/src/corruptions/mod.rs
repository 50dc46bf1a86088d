//! Common corruptions of pictures at five severities: what a classifier should see through.
//!
//! The list is that of CIFAR-10-C (Hendrycks & Dietterich, *Benchmarking Neural Network Robustness to
//! Common Corruptions and Perturbations*, ICLR 2019, section 3.1); methods and parameters are our own,
//! chosen for pictures of 32×32, and written at each corruption. Lengths grow with the smaller side of
//! the picture. Numbers made here are comparable with each other, not with published ones.
//!
//! Values are in `[0, 1]` before and after. What a corruption does is a pure function of the picture and
//! of (seed, index, corruption, severity).

mod blur;
mod digital;
mod noise;
mod picture;
mod weather;

use crate::random::{self, Dice, dice_of};
use crate::{DataError, Dataset, Draw};
use picture::Picture;
use std::fmt;
use std::sync::Arc;

/// Number of severities; they count from 1.
pub const SEVERITIES: usize = 5;

/// Corrupts a picture; the severity counts from 0 here, as an index of the parameters.
type Apply = fn(&mut Picture<'_>, usize, &mut Dice);

/// One kind of corruption.
#[derive(Clone, Copy)]
pub struct Corruption {
    /// Its name, as in CIFAR-10-C.
    pub name: &'static str,
    /// `noise`, `blur`, `weather` or `digital`.
    pub family: &'static str,
    apply: Apply,
}

impl fmt::Debug for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All corruptions, in the order of the paper.
pub fn corruptions() -> &'static [Corruption] {
    const fn of(name: &'static str, family: &'static str, apply: Apply) -> Corruption {
        Corruption {
            name,
            family,
            apply,
        }
    }
    const ALL: &[Corruption] = &[
        of("gaussian_noise", "noise", noise::gaussian),
        of("shot_noise", "noise", noise::shot),
        of("impulse_noise", "noise", noise::impulse),
        of("defocus_blur", "blur", blur::defocus),
        of("glass_blur", "blur", blur::glass),
        of("motion_blur", "blur", blur::motion),
        of("zoom_blur", "blur", blur::zoom),
        of("snow", "weather", weather::snow),
        of("frost", "weather", weather::frost),
        of("fog", "weather", weather::fog),
        of("brightness", "weather", weather::brightness),
        of("contrast", "digital", digital::contrast),
        of("elastic_transform", "digital", digital::elastic),
        of("pixelate", "digital", digital::pixelate),
        of("jpeg_compression", "digital", digital::jpeg),
    ];
    ALL
}

impl Corruption {
    /// Corrupts `picture`, C × H × W in C order with values in `[0, 1]`, at a `severity` from 1 to 5
    /// (others are taken as the nearest). `seed` and `index` choose the random numbers.
    ///
    /// # Panics
    /// When the picture does not have the elements of `shape`: an error of the program.
    pub fn apply(
        &self,
        picture: &mut [f32],
        shape: [usize; 3],
        severity: usize,
        seed: u64,
        index: usize,
    ) {
        let severity = severity.clamp(1, SEVERITIES);
        let number = corruptions().iter().position(|c| c.name == self.name);
        let stream = random::CORRUPTIONS + number.unwrap_or(0) as u32;
        let mut dice = dice_of(seed, stream, severity as u32, index);
        let mut picture = Picture::new(picture, shape);
        (self.apply)(&mut picture, severity - 1, &mut dice);
        picture.clamp();
    }
}

/// The corrupted examples of a data set of pictures.
pub struct Corrupted {
    inner: Arc<dyn Dataset>,
    corruption: Corruption,
    severity: usize,
    seed: u64,
}

impl Corrupted {
    /// `inner` with every picture corrupted at a `severity` from 1 to 5. Examples of `inner` must be
    /// pictures with values in `[0, 1]`.
    pub fn new(
        inner: Arc<dyn Dataset>,
        corruption: Corruption,
        severity: usize,
        seed: u64,
    ) -> Self {
        Self {
            inner,
            corruption,
            severity,
            seed,
        }
    }
}

impl Dataset for Corrupted {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.inner.shape()
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.inner.label(index)
    }

    fn group(&self, index: usize) -> Option<u32> {
        self.inner.group(index)
    }

    fn load(&self, index: usize, draw: Draw, out: &mut [f32]) -> Result<(), DataError> {
        self.inner.load(index, draw, out)?;
        self.corruption
            .apply(out, self.shape(), self.severity, self.seed, index);
        Ok(())
    }

    fn origin(&self, index: usize) -> String {
        self.inner.origin(index)
    }
}

#[cfg(test)]
mod tests;
