//! WAV: integers of 8, 16, 24 or 32 bits, or 32-bit floating point.

use super::mix_down;
use crate::{DataError, Waveform};
use hound::{SampleFormat, WavReader};
use std::fs::File;
use std::io::{BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

const EXPECTED: &str = "WAV with 8, 16, 24 or 32-bit integers or 32-bit floating point";

pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Waveform, DataError> {
    let reader = WavReader::new(Cursor::new(bytes))
        .map_err(|e| DataError::format(path, "header", EXPECTED, describe(&e)))?;
    let spec = reader.spec();
    let interleaved = match (spec.sample_format, spec.bits_per_sample) {
        (SampleFormat::Int, 16) if is_packed::<i16>(bytes) => all_at_once(path, reader, of_16_bits),
        (SampleFormat::Float, 32) if is_packed::<f32>(bytes) => {
            all_at_once(path, reader, f32::from_le_bytes)
        }
        _ => one_by_one(path, reader),
    }?;
    Ok(Waveform {
        samples: mix_down(interleaved, usize::from(spec.channels)),
        rate: spec.sample_rate,
    })
}

/// Whether samples take no more bytes than their bits need. Headers may say otherwise; the reader keeps
/// that to itself, and refuses such samples.
fn is_packed<S: hound::Sample>(bytes: &[u8]) -> bool {
    let reader = WavReader::new(Cursor::new(bytes)).ok();
    let first = reader.and_then(|mut reader| reader.samples::<S>().next());
    !matches!(
        first,
        Some(Err(hound::Error::TooWide | hound::Error::Unsupported))
    )
}

fn of_16_bits(bytes: [u8; 2]) -> f32 {
    f32::from(i16::from_le_bytes(bytes)) * (1.0 / 32_768.0)
}

/// Samples of `N` bytes, which lie behind the header one after the other: many times as fast as
/// reading them through the reader.
fn all_at_once<const N: usize>(
    path: &Path,
    reader: WavReader<Cursor<&[u8]>>,
    convert: impl Fn([u8; N]) -> f32,
) -> Result<Vec<f32>, DataError> {
    let promised = reader.len() as usize;
    let rest = reader.into_inner();
    let start = (rest.position() as usize).min(rest.get_ref().len());
    let (samples, _) = rest.get_ref()[start..].as_chunks::<N>();
    match samples.get(..promised) {
        Some(samples) => Ok(samples.iter().copied().map(convert).collect()),
        None => Err(DataError::format(
            path,
            format!("sample {} of {promised}", samples.len()),
            "a sample",
            "the end of the file",
        )),
    }
}

/// Samples of any other width.
fn one_by_one(path: &Path, mut reader: WavReader<Cursor<&[u8]>>) -> Result<Vec<f32>, DataError> {
    let promised = reader.len() as usize;
    let scale = 0.5f64.powi(i32::from(reader.spec().bits_per_sample) - 1);
    let mut interleaved = Vec::new();
    for sample in reader.samples::<i32>() {
        match sample {
            Ok(x) => interleaved.push((f64::from(x) * scale) as f32),
            Err(error) => {
                let found = match error {
                    hound::Error::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => {
                        "the end of the file".to_owned()
                    }
                    hound::Error::IoError(e) if interleaved.len() < promised => {
                        format!("the end of the file ({e})")
                    }
                    other => describe(&other),
                };
                let place = format!("sample {} of {promised}", interleaved.len());
                return Err(DataError::format(path, place, "a sample", found));
            }
        }
    }
    Ok(interleaved)
}

/// Samples of a file of 16-bit integers, from no more of it than they take. `None` for anything out
/// of the ordinary: [`decode`] knows it or says what is wrong.
pub(super) fn decode_part(
    file: File,
    rate: u32,
    choose: &dyn Fn(usize) -> Range<usize>,
) -> Option<Vec<f32>> {
    const BYTES: u64 = 2;
    let len = file.metadata().ok()?.len();
    let mut reader = WavReader::new(BufReader::with_capacity(256, file)).ok()?;
    let spec = reader.spec();
    let usual = (spec.sample_rate, spec.bits_per_sample, spec.sample_format)
        == (rate, 16, SampleFormat::Int);
    let (frames, channels) = (reader.duration(), usize::from(spec.channels));
    // Reading a sample tells whether it takes two bytes.
    if !usual || reader.samples::<i16>().next()?.is_err() {
        return None;
    }
    let mut file = reader.into_inner();
    let first = file.stream_position().ok()? - BYTES;
    let frame = BYTES * u64::from(spec.channels);
    if first + u64::from(frames) * frame > len {
        return None;
    }
    let range = choose(frames as usize);
    let start = SeekFrom::Start(first + range.start as u64 * frame);
    file.seek(start).ok()?;
    Some(mix_down(
        read_16_bits(file, range.len() * channels)?,
        channels,
    ))
}

/// The next `count` samples.
fn read_16_bits(mut file: impl Read, count: usize) -> Option<Vec<f32>> {
    /// Bytes at a time: what stays in the first-level cache until it is converted.
    const PIECE: usize = 16 << 10;
    let mut samples = Vec::with_capacity(count);
    let mut bytes = [0; PIECE];
    while samples.len() < count {
        let piece = &mut bytes[..PIECE.min(2 * (count - samples.len()))];
        file.read_exact(piece).ok()?;
        let (read, _) = piece.as_chunks();
        samples.extend(read.iter().copied().map(of_16_bits));
    }
    Some(samples)
}

/// What hound found, in the words of our messages.
fn describe(error: &hound::Error) -> String {
    match error {
        hound::Error::FormatError(what) => (*what).to_owned(),
        hound::Error::IoError(e) => format!("the end of the file ({e})"),
        hound::Error::Unsupported => "another encoding (compressed or 64-bit)".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode, decode_part};
    use hound::{SampleFormat, WavSpec, WavWriter};
    use std::path::{Path, PathBuf};

    fn spec(channels: u16, bits: u16, sample_format: SampleFormat) -> WavSpec {
        WavSpec {
            channels,
            sample_rate: 8000,
            bits_per_sample: bits,
            sample_format,
        }
    }

    fn write<S: hound::Sample + Copy>(folder: &Path, spec: WavSpec, samples: &[S]) -> PathBuf {
        let path = folder.join("x.wav");
        let mut writer = WavWriter::create(&path, spec).unwrap();
        for &sample in samples {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        path
    }

    #[test]
    fn every_width_has_full_scale_one() {
        let folder = tempfile::tempdir().unwrap();
        for bits in [8, 16, 24, 32] {
            let full = 1i64 << (bits - 1);
            let samples = [0, (full / 2) as i32, (-full) as i32];
            let path = write(folder.path(), spec(1, bits, SampleFormat::Int), &samples);
            let sound = decode(&path).unwrap();
            assert_eq!(sound.samples, [0.0, 0.5, -1.0], "{bits} bits");
            assert_eq!(sound.rate, 8000);
        }
        let path = write(
            folder.path(),
            spec(1, 32, SampleFormat::Float),
            &[0.25f32, -2.0],
        );
        assert_eq!(decode(&path).unwrap().samples, [0.25, -2.0]);
    }

    #[test]
    fn channels_are_averaged() {
        let folder = tempfile::tempdir().unwrap();
        let stereo = [16384i32, 0, -16384, 16384];
        let path = write(folder.path(), spec(2, 16, SampleFormat::Int), &stereo);
        assert_eq!(decode(&path).unwrap().samples, [0.25, 0.0]);
    }

    #[test]
    fn damage_is_reported_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let good = write(folder.path(), spec(1, 16, SampleFormat::Int), &[1i32; 100]);
        let bytes = std::fs::read(&good).unwrap();
        let message = |bytes: &[u8]| {
            std::fs::write(&good, bytes).unwrap();
            decode(&good).unwrap_err().to_string()
        };
        let cut = message(&bytes[..bytes.len() - 50]);
        assert!(
            cut.contains("x.wav: sample 75 of 100: expected a sample, found the end"),
            "{cut}"
        );
        let header = message(&bytes[..20]);
        assert!(
            header.contains("x.wav: header: expected WAV with"),
            "{header}"
        );
        let mut compressed = bytes.clone();
        compressed[20] = 6;
        let found = message(&compressed);
        assert!(found.contains("another encoding"), "{found}");
        // 16 bits in containers of four bytes.
        let mut wide = bytes.clone();
        wide[28..32].copy_from_slice(&32_000u32.to_le_bytes());
        wide[32] = 4;
        let found = message(&wide);
        assert!(found.contains("sample 0 of 50: "), "{found}");
        assert_eq!(decode_part(&good, 8000, &|len| 0..len), None);
    }

    #[test]
    fn parts_are_what_the_whole_has_there() {
        let folder = tempfile::tempdir().unwrap();
        for channels in [1, 2] {
            let samples: Vec<i32> = (0..200).map(|i| i * 317 % 4001 - 2000).collect();
            let path = write(
                folder.path(),
                spec(channels, 16, SampleFormat::Int),
                &samples,
            );
            let whole = decode(&path).unwrap().samples;
            for range in [0..30, 70..whole.len(), 13..13, 0..whole.len()] {
                let choose = |len| {
                    assert_eq!(len, whole.len());
                    range.clone()
                };
                let part = decode_part(&path, 8000, &choose);
                assert_eq!(part.as_deref(), Some(&whole[range.clone()]));
            }
            assert_eq!(decode_part(&path, 16_000, &|len| 0..len), None);
            // A cut file is left to the decoder of whole files, which complains.
            let bytes = std::fs::read(&path).unwrap();
            for len in [3, 30, 44, 45, bytes.len() - 1] {
                std::fs::write(&path, &bytes[..len]).unwrap();
                assert_eq!(decode_part(&path, 8000, &|_| 0..1), None);
                decode(&path).unwrap_err();
            }
        }
    }

    #[test]
    fn no_samples_and_nan_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let empty = write::<i16>(folder.path(), spec(1, 16, SampleFormat::Int), &[]);
        let message = decode(&empty).unwrap_err().to_string();
        assert!(
            message.ends_with("sound data: expected samples, found none"),
            "{message}"
        );
        let samples = [0.0f32, f32::NAN, 0.0];
        let nan = write(folder.path(), spec(1, 32, SampleFormat::Float), &samples);
        let message = decode(&nan).unwrap_err().to_string();
        assert!(
            message.ends_with("sample 1: expected a finite number, found NaN"),
            "{message}"
        );
    }
}
