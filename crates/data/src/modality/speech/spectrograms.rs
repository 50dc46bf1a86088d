//! Recordings as a data set of normalised log-mel spectrograms, computed when first asked for and
//! kept while memory lasts.

use super::{LogMel, Settings, shape_of};
use crate::dataset::{Signal, Source};
use crate::spectrum::{DYNAMIC_RANGE_DB, limit_range};
use crate::views::Window;
use crate::{ChannelStats, DataError, Dataset, Draw, Waveform, random};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Numbered recordings at one sample rate.
pub(super) trait Recordings: Send + Sync {
    /// Number of recordings.
    fn len(&self) -> usize;
    /// Class of a recording.
    fn label(&self, index: usize) -> Option<u32>;
    /// Where a recording comes from.
    fn origin(&self, index: usize) -> String;
    /// The file that holds a recording, if there is one.
    fn file(&self, _index: usize) -> Option<PathBuf> {
        None
    }
    /// All samples of a recording.
    fn samples(&self, index: usize) -> Result<Vec<f32>, DataError>;
    /// The samples that `choose` picks when it is told how many there are.
    fn part(&self, index: usize, choose: &Choose<'_>) -> Result<Part, DataError> {
        Ok(Part::cut(self.samples(index)?, choose))
    }
}

/// Picks a part of a recording of so many samples.
pub(super) type Choose<'a> = dyn Fn(usize) -> Range<usize> + 'a;

/// Neighbouring samples of a recording.
pub(super) struct Part {
    pub samples: Vec<f32>,
    /// How many samples the recording has.
    pub of: usize,
}

impl Part {
    /// What `choose` picks of all `samples`.
    pub fn cut(mut samples: Vec<f32>, choose: &Choose<'_>) -> Self {
        let of = samples.len();
        let range = choose(of);
        samples.truncate(range.end);
        samples.drain(..range.start);
        Self { samples, of }
    }
}

/// Which end of a recording longer than the window an example shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    First,
    Last,
}

impl End {
    /// Evaluation sees the beginning; training sees either end, by a coin.
    fn of(draw: Draw, index: usize) -> Self {
        if draw == Draw::FIXED || random::below(&mut draw.sequence(index), 2) == 0 {
            Self::First
        } else {
            Self::Last
        }
    }

    /// The samples that an example shows, of so many.
    fn of_samples(self, samples: usize, window: usize) -> Range<usize> {
        let rest = samples.saturating_sub(window);
        match self {
            Self::First => 0..samples - rest,
            Self::Last => rest..samples,
        }
    }
}

/// The data set of 1 × bands × frames spectrograms of some recordings.
pub(super) struct Spectrograms {
    shared: Arc<Shared>,
    stats: ChannelStats,
}

struct Shared {
    recordings: Box<dyn Recordings>,
    logmel: LogMel,
    rate: u32,
    cache: Cache,
}

impl Spectrograms {
    /// Spectrograms in dB, not yet normalised; levels of up to `cache_bytes` of them are kept.
    pub(super) fn new(
        recordings: Box<dyn Recordings>,
        settings: &Settings,
        cache_bytes: usize,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                logmel: LogMel::new(settings),
                rate: settings.sample_rate,
                cache: Cache::new(recordings.len(), cache_bytes),
                recordings,
            }),
            stats: ChannelStats {
                mean: vec![0.0],
                std: vec![1.0],
            },
        }
    }

    /// The same spectrograms, and the same memory of them, normalised with `stats`.
    pub(super) fn normalized(&self, stats: ChannelStats) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            stats,
        }
    }

    fn compute(&self, index: usize, end: End) -> Result<Arc<[f32]>, DataError> {
        let Shared {
            recordings,
            logmel,
            cache,
            ..
        } = &*self.shared;
        let part = recordings.part(index, &|len| end.of_samples(len, logmel.window()))?;
        let db: Arc<[f32]> = logmel.single_levels(&part.samples).into();
        if part.samples.len() == part.of {
            // Both ends show the whole recording.
            cache.put(index, &[End::First, End::Last], &db);
        } else {
            cache.put(index, &[end], &db);
        }
        Ok(db)
    }
}

impl Dataset for Spectrograms {
    fn len(&self) -> usize {
        self.shared.recordings.len()
    }

    fn shape(&self) -> [usize; 3] {
        shape_of(&self.shared.logmel)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.shared.recordings.label(index)
    }

    fn origin(&self, index: usize) -> String {
        self.shared.recordings.origin(index)
    }

    fn load(&self, index: usize, draw: Draw, out: &mut [f32]) -> Result<(), DataError> {
        self.levels(Source::Example { index, draw }, out)?;
        self.finish(out);
        Ok(())
    }

    fn levels(&self, source: Source<'_>, out: &mut [f32]) -> Result<(), DataError> {
        match source {
            Source::Example { index, draw } => {
                let end = End::of(draw, index);
                let db = match self.shared.cache.get(index, end) {
                    Some(db) => db,
                    None => self.compute(index, end)?,
                };
                out.copy_from_slice(&db);
            }
            Source::Frame { index, .. } => {
                let why = "has windows instead of frames".to_owned();
                return Err(DataError::example(self.origin(index), why));
            }
            Source::Signal(signal) => {
                out.copy_from_slice(&self.shared.logmel.single_levels(&signal.samples));
            }
        }
        Ok(())
    }

    fn finish(&self, levels: &mut [f32]) {
        limit_range(levels, DYNAMIC_RANGE_DB as f32);
        let (mean, scale) = (self.stats.mean[0], 1.0 / self.stats.std[0]);
        for x in levels {
            *x = (*x - mean) * scale;
        }
    }

    fn signal(
        &self,
        index: usize,
        draw: Draw,
        place: Option<Window>,
    ) -> Result<Option<Signal>, DataError> {
        let Shared {
            recordings,
            logmel,
            rate,
            ..
        } = &*self.shared;
        let samples = match place {
            None => {
                let end = End::of(draw, index);
                let choose = |len| end.of_samples(len, logmel.window());
                recordings.part(index, &choose)?.samples
            }
            Some(place) => {
                let samples = recordings.samples(index)?;
                window_at(&samples, logmel.window(), *rate, place).to_vec()
            }
        };
        Ok(Some(Signal {
            samples,
            channels: 1,
            rate: *rate as f32,
            triads: Arc::default(),
        }))
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        self.shared.recordings.file(index)
    }

    fn sequence(&self, index: usize) -> Option<usize> {
        Some(index)
    }

    fn waveform(&self, index: usize, draw: Draw) -> Result<Option<Waveform>, DataError> {
        let Shared {
            recordings,
            logmel,
            rate,
            ..
        } = &*self.shared;
        let end = End::of(draw, index);
        let part = recordings.part(index, &|len| end.of_samples(len, logmel.window()))?;
        Ok(Some(Waveform {
            samples: part.samples,
            rate: *rate,
        }))
    }
}

/// The part of a recording at `place` that fills a part of the window.
fn window_at(samples: &[f32], window: usize, rate: u32, place: Window) -> &[f32] {
    let length = ((place.fill() * window as f32) as usize).clamp(1, samples.len().max(1));
    let free = samples.len().saturating_sub(length);
    let start = place.start(None, free, rate as f32);
    &samples[start..(start + length).min(samples.len())]
}

/// Spectrograms that were computed, up to a number of bytes. What is kept does not change what is
/// loaded, only how fast.
struct Cache {
    kept: Vec<[OnceLock<Arc<[f32]>>; 2]>,
    free: AtomicUsize,
}

impl Cache {
    fn new(recordings: usize, bytes: usize) -> Self {
        Self {
            kept: (0..recordings).map(|_| Default::default()).collect(),
            free: AtomicUsize::new(bytes),
        }
    }

    fn get(&self, index: usize, end: End) -> Option<Arc<[f32]>> {
        self.kept[index][end as usize].get().cloned()
    }

    /// Keeps one spectrogram for all `ends` that it shows, if there is memory left.
    fn put(&self, index: usize, ends: &[End], db: &Arc<[f32]>) {
        let bytes = size_of_val::<[f32]>(db);
        let take = |free: usize| free.checked_sub(bytes);
        let relaxed = Ordering::Relaxed;
        let kept = ends.iter().all(|&end| self.get(index, end).is_some());
        if kept || self.free.fetch_update(relaxed, relaxed, take).is_err() {
            return;
        }
        for &end in ends {
            // Another thread may have stored the same values meanwhile.
            let _ = self.kept[index][end as usize].set(Arc::clone(db));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::{Moment, Recipe, Stage, ViewsConfig};

    /// Recording `i` has `lengths[i]` samples, counting up.
    struct Ramps(Vec<usize>);

    impl Recordings for Ramps {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn label(&self, _: usize) -> Option<u32> {
            None
        }
        fn origin(&self, index: usize) -> String {
            format!("ramp {index}")
        }
        fn samples(&self, index: usize) -> Result<Vec<f32>, DataError> {
            Ok((0..self.0[index]).map(|i| i as f32 / 1e4).collect())
        }
    }

    fn ramps(cache_bytes: usize) -> Spectrograms {
        let settings = Settings {
            sample_rate: 8000,
            n_fft: 256,
            hop_length: 258,
            n_mels: 32,
            max_samples: 8000,
            fmax: 4000.0,
        };
        Spectrograms::new(Box::new(Ramps(vec![9000, 4000])), &settings, cache_bytes)
    }

    #[test]
    fn training_shows_both_ends_and_evaluation_the_first() {
        let data = ramps(1 << 20);
        let first = |draw, index| data.waveform(index, draw).unwrap().unwrap().samples[0];
        assert_eq!(first(Draw::FIXED, 0), 0.0);
        let ends: Vec<_> = (0..64)
            .map(|epoch| first(Draw { seed: 1, epoch }, 0))
            .collect();
        let last = ends.iter().filter(|&&x| x == 0.1).count();
        assert!((16..48).contains(&last), "{last} of 64");
        assert!(ends.iter().all(|&x| x == 0.0 || x == 0.1));
        let short = data
            .waveform(1, Draw { seed: 1, epoch: 5 })
            .unwrap()
            .unwrap();
        assert_eq!((short.samples.len(), short.rate), (4000, 8000));
    }

    #[test]
    fn views_show_ends_of_their_own_where_they_are_asked_for() {
        let data = ramps(1 << 20);
        let config = ViewsConfig::default();
        let recipe = |stages: &[Stage]| Recipe::new("speech", stages, &config).unwrap().unwrap();
        let starts = |recipe: &Recipe, epoch: u32| {
            [0, 1].map(|view| {
                let moment = Moment {
                    example: Draw { seed: 1, epoch },
                    draw: Draw { seed: 1, epoch },
                    view,
                };
                let (sound, example) = recipe.sound(&data, 0, moment).unwrap().unwrap();
                let mut out = vec![0.0; 1024];
                recipe.load(&data, 0, moment, &mut out).unwrap();
                if recipe.stages() == [Stage::Ends] {
                    assert_eq!(out, example, "what is heard is what the network sees");
                }
                sound.samples[0] != 0.0
            })
        };
        for (stages, apart) in [
            (&[Stage::Ends][..], 32..96),
            (&[Stage::Ends, Stage::Expert], 32..96),
            (&[Stage::Expert], 0..1),
        ] {
            let recipe = recipe(stages);
            let pairs: Vec<_> = (0..128).map(|epoch| starts(&recipe, epoch)).collect();
            let different = pairs.iter().filter(|[a, b]| a != b).count();
            assert!(apart.contains(&different), "{stages:?}: {different} of 128");
            let last = pairs.iter().filter(|[first, _]| *first).count();
            assert!((32..96).contains(&last), "{stages:?}: {last} of 128");
        }
    }

    #[test]
    fn memory_does_not_change_values() {
        let (with, without) = (ramps(1 << 20), ramps(0));
        assert_eq!(with.shape(), [1, 32, 32]);
        let stats = ChannelStats {
            mean: vec![-40.0],
            std: vec![10.0],
        };
        let (with, without) = (with.normalized(stats.clone()), without.normalized(stats));
        for epoch in 0..8 {
            for index in 0..2 {
                let draw = Draw { seed: 3, epoch };
                let load = |data: &Spectrograms| {
                    let mut out = vec![0.0; 1024];
                    data.load(index, draw, &mut out).unwrap();
                    out
                };
                let fresh = load(&without);
                assert_eq!(load(&with), fresh);
                assert!(fresh.iter().all(|x| x.is_finite()));
            }
        }
        assert!(with.shared.cache.get(1, End::Last).is_some());
        assert!(without.shared.cache.get(1, End::Last).is_none());
    }

    #[test]
    fn the_cache_stops_at_its_budget() {
        let cache = Cache::new(3, 10);
        let db: Arc<[f32]> = Arc::from([1.0, 2.0]);
        cache.put(0, &[End::First, End::Last], &db);
        cache.put(0, &[End::First], &db);
        cache.put(1, &[End::First], &db);
        assert!(cache.get(0, End::Last).is_some() && cache.get(1, End::First).is_none());
        assert_eq!(cache.free.load(Ordering::Relaxed), 2);
    }
}
