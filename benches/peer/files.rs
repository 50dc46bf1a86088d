//! Files that items read: made when an item asks for them, deleted at the end.

use super::args::Args;
use super::items::{LoadingWork, SpectrogramWork, Work};
use super::process::Programs;
use rand::RngExt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use viewmaker::error::{Error, Result};
use viewmaker_ops::random::{Philox, Sequence};

/// Recordings of a speech item.
pub const RECORDINGS: usize = 24;
/// Records of the loading item: the size of CIFAR-10.
pub const RECORDS: usize = 50_000;

const SAMPLE_RATE: u32 = 16_000;
const RECORD_FILES: usize = 5;
const RECORD_BYTES: usize = 1 + 3 * 32 * 32;
const CLASSES: u8 = 10;

/// Streams of the random numbers in the files.
const SOUND_STREAM: u32 = 1;
const RECORD_STREAM: u32 = 2;

/// Work with its files in place, or why it has to be left out.
pub enum Provided {
    /// Ready for the workers.
    Ready(Work),
    /// Left out.
    Skipped(String),
}

/// The folder of the files that were made.
#[derive(Default)]
pub struct Files {
    folder: Option<TempDir>,
}

impl Files {
    /// Makes or finds what the work reads.
    ///
    /// # Errors
    /// When a file cannot be written or a folder cannot be read.
    pub fn provide(&mut self, work: &Work, args: &Args, programs: &Programs) -> Result<Provided> {
        match work {
            Work::Spectrogram(work) => self.recordings(work, args, programs),
            Work::Loading(work) => {
                let folder = self.subfolder("cifar")?;
                if !folder.join(record_file(1)).exists() {
                    write_records(&folder)?;
                }
                let work = LoadingWork {
                    folder,
                    ..work.clone()
                };
                Ok(Provided::Ready(Work::Loading(work)))
            }
            other => Ok(Provided::Ready(other.clone())),
        }
    }

    fn recordings(
        &mut self,
        work: &SpectrogramWork,
        args: &Args,
        programs: &Programs,
    ) -> Result<Provided> {
        let extension = work.format.as_str();
        let folder = match args.speech_dir() {
            Some(folder) => folder,
            None => match self.synthesised(extension, programs)? {
                Ok(folder) => folder,
                Err(why) => return Ok(Provided::Skipped(why)),
            },
        };
        let mut files = viewmaker_data::files::walk(&folder)?;
        files.retain(|file| viewmaker_data::files::has_extension(file, &[extension]));
        files.truncate(RECORDINGS);
        if files.is_empty() {
            let why = format!("{} holds no {extension} files", folder.display());
            return Ok(Provided::Skipped(why));
        }
        let work = SpectrogramWork {
            files,
            ..work.clone()
        };
        Ok(Provided::Ready(Work::Spectrogram(work)))
    }

    /// The folder of synthesised recordings; the inner error says why there are none.
    fn synthesised(
        &mut self,
        extension: &str,
        programs: &Programs,
    ) -> Result<Result<PathBuf, String>> {
        let folder = self.subfolder("speech")?;
        if !folder.join(sound_file(0)).exists() {
            (0..RECORDINGS).try_for_each(|number| write_sound(&folder, number))?;
        }
        let is_there = folder
            .join(sound_file(0))
            .with_extension(extension)
            .exists();
        if !is_there {
            // Nothing of ours writes FLAC.
            let path = folder.to_string_lossy();
            if let Err(error) = programs.ask_python(&["flac", &path]) {
                return Ok(Err(format!(
                    "no FLAC files: {error} (or give --speech-dir a folder that has some)"
                )));
            }
        }
        Ok(Ok(folder))
    }

    fn subfolder(&mut self, name: &str) -> Result<PathBuf> {
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => tempfile::tempdir()
                .map_err(|error| Error::failure(format!("no temporary folder: {error}")))?,
        };
        let path = self.folder.insert(folder).path().join(name);
        fs::create_dir_all(&path).map_err(|error| Error::io(&path, "create", error))?;
        Ok(path)
    }
}

fn sound_file(number: usize) -> String {
    format!("{number:03}.wav")
}

/// A voice-like sound of 6 to 16 seconds: gliding harmonics that come and go, in noise.
fn write_sound(folder: &Path, number: usize) -> Result<()> {
    let path = folder.join(sound_file(number));
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let failed = |error| Error::failure(format!("{}: {error}", path.display()));
    let mut writer = hound::WavWriter::create(&path, spec).map_err(failed)?;
    let mut random = Philox::new(0, SOUND_STREAM, number as u32).sequence();
    for sample in sound(&mut random) {
        writer.write_sample(sample).map_err(failed)?;
    }
    writer.finalize().map_err(failed)
}

fn sound(random: &mut Sequence) -> Vec<i16> {
    use std::f32::consts::TAU;
    const HARMONICS: usize = 8;
    let seconds = random.random_range(6.0f32..16.0);
    let pitch = random.random_range(90.0f32..260.0);
    let rate = SAMPLE_RATE as f32;
    let mut phase = 0.0f32;
    (0..(seconds * rate) as usize)
        .map(|i| {
            let time = i as f32 / rate;
            let glide = 1.0 + 0.2 * (TAU * 0.7 * time).sin();
            phase = (phase + pitch * glide / rate).fract();
            let loudness = (TAU * 2.3 * time).sin().max(0.0);
            let harmonic = |k: usize| (TAU * phase * k as f32).sin() / k as f32;
            let voice: f32 = (1..=HARMONICS).map(harmonic).sum();
            let noise = random.random_range(-0.02f32..0.02);
            ((0.2 * loudness * voice + noise) * f32::from(i16::MAX)) as i16
        })
        .collect()
}

fn record_file(number: usize) -> String {
    format!("data_batch_{number}.bin")
}

/// Records of random bytes in the five training files of CIFAR-10, and a small test file, so that
/// nothing is held out of the training files.
fn write_records(folder: &Path) -> Result<()> {
    let mut random = Philox::new(0, RECORD_STREAM, 0).sequence();
    let training = (1..=RECORD_FILES).map(|i| (record_file(i), RECORDS / RECORD_FILES));
    for (name, count) in training.chain([("test_batch.bin".to_string(), usize::from(CLASSES))]) {
        let mut bytes = vec![0; count * RECORD_BYTES];
        random.fill(&mut bytes[..]);
        for record in bytes.chunks_exact_mut(RECORD_BYTES) {
            record[0] %= CLASSES;
        }
        let path = folder.join(name);
        fs::File::create(&path)
            .and_then(|mut file| file.write_all(&bytes))
            .map_err(|error| Error::io(&path, "write", error))?;
    }
    Ok(())
}
