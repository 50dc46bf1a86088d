//! Spectrograms of windows of a stream, as a data set.

use super::config::Geometry;
use super::corpus::Stretch;
use super::spectrogram::{LogPowerSpectrogram, normalize};
use crate::dataset::evenly_spaced;
use crate::dataset::{Signal, Source};
use crate::random::{self, below};
use crate::views::Window;
use crate::{ChannelStats, DataError, Dataset, Draw};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use viewmaker_ops::random::Philox;

/// A window: where it starts, in which stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) stretch: usize,
    pub(super) start: usize,
}

/// The windows that lie every `stride` steps in all stretches.
pub(super) fn strided(stretches: &[Stretch], geometry: &Geometry) -> Vec<Slot> {
    let of = |(stretch, s): (usize, &Stretch)| {
        let starts = (s.len + 1).saturating_sub(geometry.window);
        (0..starts)
            .step_by(geometry.stride)
            .map(move |start| Slot { stretch, start })
    };
    stretches.iter().enumerate().flat_map(of).collect()
}

/// `count` windows: each of a uniformly chosen pair of subject and activity, and at a uniformly
/// chosen place in its stretches. So activities count alike however long they were recorded.
pub(super) fn sampled(
    stretches: &[Stretch],
    geometry: &Geometry,
    count: usize,
    seed: u64,
) -> Vec<Slot> {
    let starts = |i: usize| (stretches[i].len + 1).saturating_sub(geometry.window);
    let mut pairs = BTreeMap::<_, Vec<usize>>::new();
    for (i, stretch) in stretches.iter().enumerate() {
        if starts(i) > 0 {
            pairs
                .entry((stretch.subject, stretch.label))
                .or_default()
                .push(i);
        }
    }
    let pairs: Vec<Vec<usize>> = pairs.into_values().collect();
    if pairs.is_empty() {
        return Vec::new();
    }
    let mut random = Philox::new(seed, random::WINDOWS, 0).sequence();
    let mut pick = || {
        let pair = &pairs[below(&mut random, pairs.len())];
        let mut start = below(&mut random, pair.iter().map(|&i| starts(i)).sum());
        for &stretch in pair {
            if start < starts(stretch) {
                return Slot { stretch, start };
            }
            start -= starts(stretch);
        }
        Slot {
            stretch: pair[0],
            start: 0,
        }
    };
    (0..count).map(|_| pick()).collect()
}

/// Spectrograms of windows.
pub(super) struct WindowSet {
    stretches: Arc<[Stretch]>,
    slots: Vec<Slot>,
    channels: usize,
    geometry: Geometry,
    spectrogram: LogPowerSpectrogram,
    /// Whether every draw but [`Draw::FIXED`] takes the window from another place of the stretch.
    moving: bool,
    /// First channel of every three that are the axes of one sensor.
    triads: Arc<[usize]>,
    stats: Option<ChannelStats>,
}

impl WindowSet {
    /// The windows `slots` of `stretches`, not normalised, always at their places.
    pub(super) fn new(
        stretches: Arc<[Stretch]>,
        slots: Vec<Slot>,
        channels: usize,
        geometry: Geometry,
    ) -> Self {
        let spectrogram = LogPowerSpectrogram::new(geometry.n_fft, geometry.hop);
        Self {
            stretches,
            slots,
            channels,
            geometry,
            spectrogram,
            moving: false,
            triads: Arc::default(),
            stats: None,
        }
    }

    /// Keeps at most `limit` windows, evenly spaced.
    pub(super) fn limited(mut self, limit: usize) -> Self {
        let kept = evenly_spaced(self.slots.len(), limit);
        self.slots = kept.into_iter().map(|i| self.slots[i]).collect();
        self
    }

    /// Takes the window of an example from a random place of its stretch.
    pub(super) fn moving(mut self) -> Self {
        self.moving = true;
        self
    }

    /// Says which channels are the axes of one sensor.
    pub(super) fn with_triads(mut self, triads: Arc<[usize]>) -> Self {
        self.triads = triads;
        self
    }

    /// Normalises every example.
    pub(super) fn normalized(mut self, stats: ChannelStats) -> Self {
        self.stats = Some(stats);
        self
    }

    /// Where the window of an example starts at `draw`.
    fn start(&self, index: usize, draw: Draw) -> usize {
        let slot = self.slots[index];
        if !self.moving || draw == Draw::FIXED {
            return slot.start;
        }
        let starts = self.stretches[slot.stretch].len + 1 - self.geometry.window;
        below(&mut draw.sequence(index), starts)
    }
}

impl Dataset for WindowSet {
    fn len(&self) -> usize {
        self.slots.len()
    }

    fn shape(&self) -> [usize; 3] {
        let frames = self.spectrogram.frames(self.geometry.window);
        [self.channels, self.spectrogram.rows(), frames]
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.stretches[self.slots[index].stretch].label
    }

    fn group(&self, index: usize) -> Option<u32> {
        let subject = self.stretches[self.slots[index].stretch].subject;
        u32::try_from(subject).ok()
    }

    fn load(&self, index: usize, draw: Draw, out: &mut [f32]) -> Result<(), DataError> {
        self.levels(Source::Example { index, draw }, out)?;
        self.finish(out);
        Ok(())
    }

    fn levels(&self, source: Source<'_>, out: &mut [f32]) -> Result<(), DataError> {
        let [_, rows, frames] = self.shape();
        let planes = out.chunks_exact_mut(rows * frames).enumerate();
        match source {
            Source::Frame { index, .. } => {
                let why = "has windows instead of frames".to_owned();
                return Err(DataError::example(self.origin(index), why));
            }
            Source::Example { index, draw } => {
                let stretch = &self.stretches[self.slots[index].stretch];
                let start = self.start(index, draw);
                for (channel, plane) in planes {
                    let signal = &stretch.channel(channel)[start..start + self.geometry.window];
                    self.spectrogram.log_power(signal, plane);
                }
            }
            Source::Signal(signal) => {
                let channels = signal.samples.chunks_exact(signal.steps().max(1));
                for ((_, plane), channel) in planes.zip(channels) {
                    self.spectrogram.log_power(channel, plane);
                }
            }
        }
        Ok(())
    }

    fn finish(&self, levels: &mut [f32]) {
        if let Some(stats) = &self.stats {
            normalize(levels, stats);
        }
    }

    fn signal(
        &self,
        index: usize,
        draw: Draw,
        place: Option<Window>,
    ) -> Result<Option<Signal>, DataError> {
        let stretch = &self.stretches[self.slots[index].stretch];
        let Geometry {
            window, rate_hz, ..
        } = self.geometry;
        let start = self.start(index, draw);
        let start = match place {
            Some(place) => place.start(Some(start), stretch.len - window, rate_hz),
            None => start,
        };
        let channels = 0..self.channels;
        let channels = channels.flat_map(|c| &stretch.channel(c)[start..start + window]);
        Ok(Some(Signal {
            samples: channels.copied().collect(),
            channels: self.channels,
            rate: rate_hz,
            triads: Arc::clone(&self.triads),
        }))
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        self.stretches[self.slots[index].stretch].file.clone()
    }

    fn sequence(&self, index: usize) -> Option<usize> {
        Some(self.slots[index].stretch)
    }

    fn origin(&self, index: usize) -> String {
        let slot = self.slots[index];
        format!(
            "{}, window at step {}",
            self.stretches[slot.stretch].origin, slot.start
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry {
        window: 64,
        stride: 32,
        n_fft: 15,
        hop: 8,
        rate_hz: 50.0,
    };

    fn stretch(subject: usize, label: u32, len: usize) -> Stretch {
        let samples = (0..2 * len).map(|i| ((i * i) % 17) as f32).collect();
        Stretch {
            subject,
            label: Some(label),
            origin: format!("s{subject}"),
            file: None,
            len,
            samples,
        }
    }

    #[test]
    fn strided_windows_stay_inside() {
        let stretches = [stretch(0, 0, 64), stretch(0, 1, 63), stretch(1, 0, 130)];
        let slots = strided(&stretches, &GEOMETRY);
        let want = [(0, 0), (2, 0), (2, 32), (2, 64)];
        assert_eq!(slots, want.map(|(stretch, start)| Slot { stretch, start }));
    }

    #[test]
    fn sampling_balances_pairs_and_covers_places() {
        let stretches = [
            stretch(0, 0, 64),
            stretch(1, 1, 5000),
            stretch(1, 1, 100),
            stretch(2, 0, 9),
        ];
        let slots = sampled(&stretches, &GEOMETRY, 1000, 1);
        let first = slots.iter().filter(|slot| slot.stretch == 0).count();
        assert!((440..560).contains(&first), "{first}");
        assert!(slots.iter().any(|slot| slot.stretch == 2));
        assert!(
            slots
                .iter()
                .all(|s| s.start + 64 <= stretches[s.stretch].len)
        );
        assert_eq!(slots, sampled(&stretches, &GEOMETRY, 1000, 1));
        assert!(sampled(&stretches[3..], &GEOMETRY, 10, 1).is_empty());
    }

    #[test]
    fn training_windows_move_with_the_draw_and_evaluation_windows_do_not() {
        let stretches: Arc<[Stretch]> = vec![stretch(0, 0, 400)].into();
        let slots = strided(&stretches, &GEOMETRY);
        let set = || WindowSet::new(stretches.clone(), slots.clone(), 2, GEOMETRY);
        let load = |set: &WindowSet, epoch| {
            let mut out = vec![0.0; 2 * 8 * 8];
            set.load(3, Draw { seed: 1, epoch }, &mut out).unwrap();
            out
        };
        assert_eq!(set().shape(), [2, 8, 8]);
        assert_eq!(load(&set(), 0), load(&set(), 1));
        let moving = set().moving();
        assert_ne!(load(&moving, 0), load(&moving, 1));
        assert_eq!(load(&moving, 1), load(&moving, 1));
        let fixed = |set: &WindowSet| {
            let mut out = vec![0.0; 2 * 8 * 8];
            set.load(3, Draw::FIXED, &mut out).unwrap();
            out
        };
        assert_eq!(fixed(&moving), load(&set(), 0));
        assert_eq!(set().limited(2).len(), 2);
        let still = crate::Fixed::new(Arc::new(set().moving()));
        let mut out = vec![0.0; 2 * 8 * 8];
        still.load(3, Draw { seed: 1, epoch: 1 }, &mut out).unwrap();
        assert_eq!(out, load(&set(), 0));
        assert_eq!((still.group(3), still.label(3)), (Some(0), Some(0)));
    }
}
