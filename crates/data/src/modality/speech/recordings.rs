//! Sound files as recordings of one sample rate, decoded when asked for.

use super::decode::{decode, decode_part};
use super::resample::Resampler;
use super::spectrograms::{Choose, Part, Recordings};
use crate::DataError;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The part of a file that is a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Whole,
    FirstHalf,
    SecondHalf,
}

impl Span {
    /// The samples of the recording, of so many in the file.
    fn of(self, samples: usize) -> Range<usize> {
        let half = samples / 2;
        match self {
            Self::Whole => 0..samples,
            Self::FirstHalf => 0..half.max(1).min(samples),
            Self::SecondHalf => half..samples,
        }
    }
}

/// A recording in a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub path: PathBuf,
    pub span: Span,
    pub label: Option<u32>,
}

/// The recordings in some files, brought to one sample rate.
pub(super) struct SoundFiles {
    entries: Vec<Entry>,
    rate: u32,
    /// The converter for every rate met so far.
    resamplers: Mutex<BTreeMap<u32, Arc<Resampler>>>,
}

impl SoundFiles {
    pub(super) fn new(entries: Vec<Entry>, rate: u32) -> Self {
        Self {
            entries,
            rate,
            resamplers: Mutex::default(),
        }
    }

    fn resampler(&self, from: u32) -> Arc<Resampler> {
        let mut known = self
            .resamplers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Resampler::new(from, self.rate));
        Arc::clone(known.entry(from).or_insert_with(make))
    }
}

impl Recordings for SoundFiles {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.entries[index].label
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        Some(self.entries[index].path.clone())
    }

    fn origin(&self, index: usize) -> String {
        let entry = &self.entries[index];
        let part = match entry.span {
            Span::Whole => "",
            Span::FirstHalf => " (first half)",
            Span::SecondHalf => " (second half)",
        };
        format!("{}{part}", entry.path.display())
    }

    fn samples(&self, index: usize) -> Result<Vec<f32>, DataError> {
        let entry = &self.entries[index];
        let mut sound = decode(&entry.path)?;
        let span = entry.span.of(sound.samples.len());
        sound.samples.truncate(span.end);
        sound.samples.drain(..span.start);
        if sound.rate == self.rate {
            return Ok(sound.samples);
        }
        Ok(self.resampler(sound.rate).convert(&sound.samples))
    }

    /// Reads no more of the file than the part needs, unless the rate must be changed.
    fn part(&self, index: usize, choose: &Choose<'_>) -> Result<Part, DataError> {
        let entry = &self.entries[index];
        let of = Cell::new(0);
        let within = |samples: usize| {
            let span = entry.span.of(samples);
            of.set(span.len());
            let part = choose(span.len());
            span.start + part.start..span.start + part.end
        };
        match decode_part(&entry.path, self.rate, &within) {
            Some(samples) => Ok(Part {
                samples,
                of: of.get(),
            }),
            None => Ok(Part::cut(self.samples(index)?, choose)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::decode::flac_in_blocks;
    use super::super::spectrograms::Spectrograms;
    use super::*;
    use crate::{Dataset, Draw};
    use rayon::prelude::*;
    use std::path::Path;

    const RATE: u32 = 8000;
    const WINDOW: usize = 8000;

    /// Files without an own way to read a part.
    struct Whole(SoundFiles);

    impl Recordings for Whole {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn label(&self, index: usize) -> Option<u32> {
            self.0.label(index)
        }
        fn origin(&self, index: usize) -> String {
            self.0.origin(index)
        }
        fn samples(&self, index: usize) -> Result<Vec<f32>, DataError> {
            self.0.samples(index)
        }
    }

    fn wav(path: &Path, rate: u32, channels: u16, frames: &[i16]) {
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for (i, &x) in frames.iter().enumerate() {
            (0..channels).for_each(|c| {
                writer
                    .write_sample(x / (1 + (c * i as u16) % 3) as i16)
                    .unwrap()
            });
        }
        writer.finalize().unwrap();
    }

    /// WAV and FLAC of one and two channels at the rate of the data set and at another, shorter than
    /// the window, of its length, a sample longer, and long; whole and in halves.
    fn files(folder: &Path) -> SoundFiles {
        let mut entries = Vec::new();
        for length in [1, 3000, WINDOW, WINDOW + 1, 20_001] {
            for rate in [RATE, 11_025] {
                for channels in [1, 2] {
                    let samples: Vec<i16> = (0..length)
                        .map(|i| (i as f32 * 0.21).sin() * (i % 7919) as f32)
                        .map(|x| x as i16)
                        .collect();
                    let name = format!("{length}-{rate}-{channels}");
                    let paths = ["wav", "flac"].map(|end| folder.join(format!("{name}.{end}")));
                    wav(&paths[0], rate, channels, &samples);
                    let flac = flac_in_blocks(&vec![&samples[..]; channels.into()], rate, 1024);
                    std::fs::write(&paths[1], flac).unwrap();
                    for path in paths {
                        let spans = [Span::Whole, Span::FirstHalf, Span::SecondHalf];
                        entries.extend(spans.map(|span| Entry {
                            path: path.clone(),
                            span,
                            label: None,
                        }));
                    }
                }
            }
        }
        SoundFiles::new(entries, RATE)
    }

    fn first(samples: usize) -> Range<usize> {
        0..samples.min(WINDOW)
    }

    fn last(samples: usize) -> Range<usize> {
        samples.saturating_sub(WINDOW)..samples
    }

    fn middle(samples: usize) -> Range<usize> {
        samples / 3..samples / 2
    }

    #[test]
    fn parts_are_cut_from_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        for index in 0..files.len() {
            for choose in [first, last, middle] {
                let part = files.part(index, &choose);
                let cut = files.samples(index).map(|all| Part::cut(all, &choose));
                let (part, cut) = (part.unwrap(), cut.unwrap());
                assert_eq!(part.of, cut.of, "{}", files.origin(index));
                assert_eq!(part.samples, cut.samples, "{}", files.origin(index));
            }
        }
    }

    #[test]
    fn broken_files_have_the_message_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let samples: Vec<i16> = (0..20_000).map(|i| (i * 7919 % 3001) as i16).collect();
        let path = folder.path().join("x");
        wav(&path, RATE, 1, &samples);
        let sound = std::fs::read(&path).unwrap();
        let flac = flac_in_blocks(&[&samples], RATE, 1024);
        let mut damaged = flac.clone();
        damaged[5000] ^= 0x55;
        let mut compressed = sound.clone();
        compressed[20] = 6;
        let mut broken = vec![damaged, compressed];
        for bytes in [&sound, &flac] {
            let cut = [0, 3, 30, 44, 10_000, 30_000, bytes.len() - 2];
            broken.extend(cut.map(|len| bytes[..len].to_vec()));
        }
        let entry = Entry {
            path: path.clone(),
            span: Span::Whole,
            label: None,
        };
        let files = SoundFiles::new(vec![entry], RATE);
        for (case, bytes) in broken.iter().enumerate() {
            std::fs::write(&path, bytes).unwrap();
            let whole = files.samples(0).map(|samples| samples.len());
            let want = whole.expect_err(&format!("case {case}")).to_string();
            for choose in [first, last] {
                let message = files.part(0, &choose).err().unwrap().to_string();
                assert_eq!(message, want);
            }
        }
        std::fs::remove_file(&path).unwrap();
        let message = files.part(0, &first).err().unwrap().to_string();
        assert!(message.contains("x: cannot read"), "{message}");
    }

    #[test]
    fn examples_depend_neither_on_how_files_are_read_nor_on_threads() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            sample_rate: RATE,
            n_fft: 256,
            hop_length: 258,
            n_mels: 32,
            max_samples: WINDOW,
            fmax: 4000.0,
        };
        let examples = |data: Spectrograms, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let load = |index: usize| {
                // Both ends of the recording, in some order.
                let epochs = (0..8).map(|epoch| Draw { seed: 1, epoch });
                let draws = epochs.chain([Draw::FIXED]);
                let values = draws.map(|draw| {
                    let mut out = vec![0.0f32; 32 * 32];
                    data.load(index, draw, &mut out).unwrap();
                    out.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
                });
                values.collect::<Vec<_>>()
            };
            pool.unwrap().install(|| {
                (0..data.len())
                    .into_par_iter()
                    .map(load)
                    .collect::<Vec<_>>()
            })
        };
        let whole = Box::new(Whole(files(folder.path())));
        let want = examples(Spectrograms::new(whole, &settings, 0), 1);
        for (threads, cache_bytes) in [(1, 0), (1, 1 << 20), (3, 1 << 16), (5, 0)] {
            let parts = Box::new(files(folder.path()));
            let got = examples(Spectrograms::new(parts, &settings, cache_bytes), threads);
            assert!(got == want, "{threads} threads, {cache_bytes} bytes");
        }
    }
}
