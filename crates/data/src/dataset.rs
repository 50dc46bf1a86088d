//! What a data set is to the rest of the program: numbered examples of one shape.

use crate::views::{Ordered, Window};
use crate::{DataError, random};
use std::path::PathBuf;
use std::sync::Arc;
use viewmaker_ops::random::Sequence;

/// The coordinates of the random choices made while an example is loaded (which window of a
/// recording, which crop).
///
/// The same `(seed, epoch, index)` always gives the same example, whatever thread loads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Epoch, from 0. Evaluation uses [`Draw::FIXED`].
    pub epoch: u32,
}

impl Draw {
    /// The draw of every evaluation: deterministic, the same for all runs.
    pub const FIXED: Self = Self { seed: 0, epoch: 0 };

    /// The draw of view number `view` of what is drawn here: as independent of the others as of other seeds.
    pub fn of_view(self, view: u32) -> Self {
        // Multiples of an odd number differ for all views; this one changes half of the bits.
        let step = 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(u64::from(view) + 1);
        Self {
            seed: self.seed ^ step,
            ..self
        }
    }

    /// The random numbers for the choices made while example `index` is loaded.
    pub fn sequence(&self, index: usize) -> Sequence {
        random::sequence_of(self.seed, random::EXAMPLE, self.epoch, index)
    }
}

/// A waveform behind a spectrogram, for listening to views.
#[derive(Clone, Debug, PartialEq)]
pub struct Waveform {
    /// Samples, full scale = 1.
    pub samples: Vec<f32>,
    /// Samples per second.
    pub rate: u32,
}

/// The recording behind a spectrogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Samples, channels × steps in C order.
    pub samples: Vec<f32>,
    /// Channels, at least 1.
    pub channels: usize,
    /// Samples of a channel per second.
    pub rate: f32,
    /// First channel of every three that are the axes x, y and z of one sensor.
    pub triads: Arc<[usize]>,
}

impl Signal {
    /// Samples of a channel.
    pub fn steps(&self) -> usize {
        self.samples.len() / self.channels.max(1)
    }
}

/// What an example is made from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Its own place in the data set.
    Example {
        /// Number of the example.
        index: usize,
        /// Its random choices.
        draw: Draw,
    },
    /// Another frame of the sequence that an example belongs to.
    Frame {
        /// Number of the example.
        index: usize,
        /// Which frame of its sequence.
        place: Ordered,
    },
    /// A recording of the kind that [`Dataset::signal`] gives, perhaps changed.
    Signal(&'a Signal),
}

/// Numbered examples of one shape, with labels where they are known.
pub trait Dataset: Send + Sync {
    /// Number of examples.
    fn len(&self) -> usize;

    /// True when there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shape of every example: channels, height, width.
    fn shape(&self) -> [usize; 3];

    /// Class of an example, an index into [`Splits::class_names`]; `None` for unlabelled data.
    fn label(&self, index: usize) -> Option<u32>;

    /// Writes example `index` into `out`, C × H × W in C order.
    ///
    /// # Errors
    /// When the file behind the example cannot be read or decoded.
    fn load(&self, index: usize, draw: Draw, out: &mut [f32]) -> Result<(), DataError>;

    /// Whom example `index` was recorded from (a subject), as a number that means the same in both
    /// sets of [`Splits`]; `None` where that is unknown.
    fn group(&self, _index: usize) -> Option<u32> {
        None
    }

    /// Where example `index` comes from, for messages: file, and record or place in it.
    fn origin(&self, index: usize) -> String {
        format!("example {index}")
    }

    /// The waveform that [`Dataset::load`] turned into a spectrogram at the same `draw`; `None`
    /// where examples are not speech.
    ///
    /// # Errors
    /// When the file behind the example cannot be read or decoded.
    fn waveform(&self, _index: usize, _draw: Draw) -> Result<Option<Waveform>, DataError> {
        Ok(None)
    }

    /// The recording that [`Dataset::load`] turns into a spectrogram at the same `draw`, or with
    /// `window` the window that lies there; `None` where examples are pictures.
    ///
    /// # Errors
    /// When the file behind the example cannot be read or decoded.
    fn signal(
        &self,
        _index: usize,
        _draw: Draw,
        _window: Option<Window>,
    ) -> Result<Option<Signal>, DataError> {
        Ok(None)
    }

    /// Writes an example as it is before [`Dataset::finish`].
    ///
    /// # Errors
    /// As [`Dataset::load`]; and for a signal, where [`Dataset::signal`] gives none.
    fn levels(&self, source: Source<'_>, out: &mut [f32]) -> Result<(), DataError> {
        match source {
            Source::Example { index, draw } => self.load(index, draw, out),
            Source::Frame { index, .. } => {
                let why = "has no place in time: it is no frame of a video".to_owned();
                Err(DataError::example(self.origin(index), why))
            }
            Source::Signal(_) => {
                let why = "is no example of pictures".to_owned();
                Err(DataError::example("a signal", why))
            }
        }
    }

    /// The file that holds the example and perhaps others of the same recording; `None` where it is
    /// not one on the disk.
    fn file(&self, _index: usize) -> Option<PathBuf> {
        None
    }

    /// The text that belongs to an example, where the data have texts.
    fn caption(&self, _index: usize) -> Option<String> {
        None
    }

    /// Number of the recording or video that an example is a moment of; `None` where examples have
    /// no place in time.
    fn sequence(&self, _index: usize) -> Option<usize> {
        None
    }

    /// Makes an example of what [`Dataset::levels`] wrote: limits and normalises it. The two
    /// together are [`Dataset::load`].
    fn finish(&self, _levels: &mut [f32]) {}
}

/// Mean and standard deviation of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStats {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, positive.
    pub std: Vec<f32>,
}

/// A data source opened for training: two disjoint sets and what is known about them.
#[derive(Clone)]
pub struct Splits {
    /// Examples to train on.
    pub train: Arc<dyn Dataset>,
    /// Held-out examples.
    pub test: Arc<dyn Dataset>,
    /// Names of the classes; empty for unlabelled data.
    pub class_names: Vec<String>,
    /// Normalisation that [`Dataset::load`] has already applied; `None` where there is none.
    pub before_view: Option<ChannelStats>,
    /// Normalisation between the viewmaker and the encoder. Images are perturbed in `[0, 1]` and
    /// normalised afterwards; spectrograms arrive normalised and have `None` here.
    pub after_view: Option<ChannelStats>,
    /// One line for the log: format, counts, shape.
    pub description: String,
}

/// Some examples of another data set, renumbered from 0.
pub struct Subset {
    inner: Arc<dyn Dataset>,
    indices: Vec<usize>,
    captions: Option<Vec<String>>,
}

impl Subset {
    /// The examples `indices` of `inner`, in that order. Every index must be below `inner.len()`.
    ///
    /// # Panics
    /// When an index is out of range: an error of the program, not of its input.
    pub fn new(inner: Arc<dyn Dataset>, indices: Vec<usize>) -> Self {
        let len = inner.len();
        assert!(
            indices.iter().all(|&i| i < len),
            "subset index out of range"
        );
        Self {
            inner,
            indices,
            captions: None,
        }
    }

    /// Gives every example a text.
    ///
    /// # Panics
    /// When their numbers differ: an error of the program, not of its input.
    pub fn with_captions(mut self, captions: Vec<String>) -> Self {
        assert_eq!(captions.len(), self.indices.len(), "one text an example");
        self.captions = Some(captions);
        self
    }

    /// At most `limit` examples of `inner`, evenly spaced over it; `inner` itself if it has no more.
    pub fn limited(inner: Arc<dyn Dataset>, limit: Option<usize>) -> Arc<dyn Dataset> {
        match limit {
            Some(limit) if limit < inner.len() => {
                let indices = evenly_spaced(inner.len(), limit);
                Arc::new(Self::new(inner, indices))
            }
            _ => inner,
        }
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.inner.shape()
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.inner.label(self.indices[index])
    }

    fn load(&self, index: usize, draw: Draw, out: &mut [f32]) -> Result<(), DataError> {
        self.inner.load(self.indices[index], draw, out)
    }

    fn group(&self, index: usize) -> Option<u32> {
        self.inner.group(self.indices[index])
    }

    fn origin(&self, index: usize) -> String {
        self.inner.origin(self.indices[index])
    }

    fn waveform(&self, index: usize, draw: Draw) -> Result<Option<Waveform>, DataError> {
        self.inner.waveform(self.indices[index], draw)
    }

    fn signal(
        &self,
        index: usize,
        draw: Draw,
        window: Option<Window>,
    ) -> Result<Option<Signal>, DataError> {
        self.inner.signal(self.indices[index], draw, window)
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        self.inner.file(self.indices[index])
    }

    fn caption(&self, index: usize) -> Option<String> {
        match &self.captions {
            Some(captions) => captions.get(index).cloned(),
            None => self.inner.caption(self.indices[index]),
        }
    }

    fn sequence(&self, index: usize) -> Option<usize> {
        self.inner.sequence(self.indices[index])
    }

    fn levels(&self, source: Source<'_>, out: &mut [f32]) -> Result<(), DataError> {
        let source = match source {
            Source::Example { index, draw } => Source::Example {
                index: self.indices[index],
                draw,
            },
            Source::Frame { index, place } => Source::Frame {
                index: self.indices[index],
                place,
            },
            Source::Signal(signal) => Source::Signal(signal),
        };
        self.inner.levels(source, out)
    }

    fn finish(&self, levels: &mut [f32]) {
        self.inner.finish(levels);
    }
}

/// The examples of another data set as evaluations see them, whatever the draw.
pub struct Fixed {
    inner: Arc<dyn Dataset>,
}

impl Fixed {
    /// All examples of `inner`, at [`Draw::FIXED`].
    pub fn new(inner: Arc<dyn Dataset>) -> Self {
        Self { inner }
    }
}

impl Dataset for Fixed {
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

    fn load(&self, index: usize, _draw: Draw, out: &mut [f32]) -> Result<(), DataError> {
        self.inner.load(index, Draw::FIXED, out)
    }

    fn origin(&self, index: usize) -> String {
        self.inner.origin(index)
    }

    fn waveform(&self, index: usize, _draw: Draw) -> Result<Option<Waveform>, DataError> {
        self.inner.waveform(index, Draw::FIXED)
    }

    fn signal(
        &self,
        index: usize,
        _draw: Draw,
        window: Option<Window>,
    ) -> Result<Option<Signal>, DataError> {
        self.inner.signal(index, Draw::FIXED, window)
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        self.inner.file(index)
    }

    fn caption(&self, index: usize) -> Option<String> {
        self.inner.caption(index)
    }

    fn sequence(&self, index: usize) -> Option<usize> {
        self.inner.sequence(index)
    }

    fn levels(&self, source: Source<'_>, out: &mut [f32]) -> Result<(), DataError> {
        let source = match source {
            Source::Example { index, .. } => Source::Example {
                index,
                draw: Draw::FIXED,
            },
            signal => signal,
        };
        self.inner.levels(source, out)
    }

    fn finish(&self, levels: &mut [f32]) {
        self.inner.finish(levels);
    }
}

/// `count` indices below `len`, evenly spaced and ascending; all of them if there are no more.
pub(crate) fn evenly_spaced(len: usize, count: usize) -> Vec<usize> {
    let count = count.min(len);
    (0..count).map(|i| i * len / count).collect()
}
