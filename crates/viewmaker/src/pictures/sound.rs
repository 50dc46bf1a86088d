//! Views of speech as sounds.

use super::{Gallery, Request, modality, moment};
use crate::error::{Error, Result};
use crate::run::write_atomically;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use viewmaker_data::views::Stage;
use viewmaker_data::{Draw, Recipe, Waveform};

/// Writes the original and the views of every recording as WAV; nothing for other data. A patch of
/// a spectrogram has no sound.
pub(super) fn write(
    request: &Request<'_>,
    gallery: &Gallery,
    recipe: Option<&Recipe>,
) -> Result<Vec<PathBuf>> {
    let silent = recipe.is_some_and(|recipe| recipe.stages().contains(&Stage::Patch));
    let mut files = Vec::new();
    for (number, index) in gallery.indices.iter().enumerate() {
        let Some(original) = request.dataset.waveform(*index, Draw::FIXED)? else {
            return Ok(files);
        };
        let path = request.out.join(format!("{number:03}-original.wav"));
        write_wav(&path, &original)?;
        files.push(path);
        for (view, data) in gallery.views.iter().enumerate().filter(|_| !silent) {
            let changed = match recipe {
                Some(recipe) => {
                    recipe.sound(request.dataset, *index, moment(request.config, view))?
                }
                None => None,
            };
            let (heard, seen) = match &changed {
                Some((sound, example)) => (sound, &example[..]),
                None => (&original, gallery.example(&gallery.originals, number)),
            };
            let sound = modality(request.config)?.sound_of_view(
                &request.config.data.options,
                request.before_view,
                heard,
                seen,
                gallery.example(data, number),
            )?;
            if let Some(sound) = sound {
                let path = request
                    .out
                    .join(format!("{number:03}-view-{}.wav", view + 1));
                write_wav(&path, &sound)?;
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Writes 16-bit mono, whole or not at all; what is louder than full scale is scaled down as a whole.
fn write_wav(path: &Path, sound: &Waveform) -> Result<()> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: sound.rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let peak = sound
        .samples
        .iter()
        .fold(1.0f32, |peak, x| peak.max(x.abs()));
    let scale = f32::from(i16::MAX) / peak;
    let mut wav = Cursor::new(Vec::new());
    let encode = |wav: &mut Cursor<Vec<u8>>| -> hound::Result<()> {
        let mut writer = hound::WavWriter::new(wav, spec)?;
        for sample in &sound.samples {
            writer.write_sample((sample * scale).round() as i16)?;
        }
        writer.finalize()
    };
    encode(&mut wav).map_err(|error| Error::io(path, "encode", std::io::Error::other(error)))?;
    Ok(write_atomically(path, wav.get_ref())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loud_sounds_are_scaled_not_clipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let sound = Waveform {
            samples: vec![0.0, 2.0, -1.0],
            rate: 8000,
        };
        write_wav(&path, &sound).unwrap();
        let mut reader = hound::WavReader::open(&path).unwrap();
        assert_eq!(reader.spec().sample_rate, 8000);
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples, [0, 32767, -16384]);
        // A sound that is made again is another file: who has the old one open reads on.
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let inode = || std::fs::metadata(&path).unwrap().ino();
            let open = std::fs::File::open(&path).unwrap();
            let before = inode();
            write_wav(&path, &sound).unwrap();
            assert_ne!(inode(), before);
            drop(open);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
