//! Sound files to mono samples. The content decides the format, not the name.

mod flac;
mod wav;

#[cfg(test)]
pub(super) use flac::tests::{encode as flac_of, encode_in_blocks as flac_in_blocks};

use crate::{DataError, Waveform, files};
use std::fs::File;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::Path;

/// Endings of files that are looked for in folders.
pub(crate) const EXTENSIONS: &[&str] = &["wav", "wave", "flac"];
/// Recordings in formats that are not.
pub(crate) const UNREAD: &[&str] = &[
    "mp3", "ogg", "opus", "m4a", "aac", "wma", "aif", "aiff", "au", "mp4",
];

/// Sample rates that recordings may have, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Decodes a WAV or FLAC file; several channels are averaged.
///
/// # Errors
/// When the file cannot be read, is neither WAV nor FLAC, is damaged or cut off, has no samples, an
/// impossible rate, or a sample that is not finite.
pub(crate) fn decode(path: &Path) -> Result<Waveform, DataError> {
    let bytes = files::read(path)?;
    let sound = match bytes.as_slice() {
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'A',
            b'V',
            b'E',
            ..,
        ] => wav::decode(path, &bytes)?,
        [b'f', b'L', b'a', b'C', ..] => flac::decode(path, bytes)?,
        _ => {
            let expected = "a WAV header (RIFF … WAVE) or a FLAC header (fLaC)";
            return Err(DataError::format(path, "byte 0", expected, opening(&bytes)));
        }
    };
    check(path, &sound)?;
    Ok(sound)
}

/// The samples that `choose` picks when it is told how many there are, from a file at `rate` Hz.
/// `None` when the file is of another rate, not one of which a part can be had for less than the
/// whole, or broken: then [`decode`] has the samples, or the reason why there are none.
///
/// Files must be as long as their headers promise, but sound beyond the part is not looked at: a
/// defect that an example does not show does not make the example wrong, and training, which draws
/// both ends, meets it.
pub(crate) fn decode_part(
    path: &Path,
    rate: u32,
    choose: &dyn Fn(usize) -> Range<usize>,
) -> Option<Vec<f32>> {
    let mut file = File::open(path).ok()?;
    let mut opening = [0; 4];
    file.read_exact(&mut opening).ok()?;
    file.rewind().ok()?;
    match &opening {
        b"RIFF" => wav::decode_part(file, rate, choose),
        b"fLaC" => flac::decode_part(path, file, rate, choose),
        _ => None,
    }
}

fn check(path: &Path, sound: &Waveform) -> Result<(), DataError> {
    if !RATES.contains(&sound.rate) {
        let expected = format!("{} to {} Hz", RATES.start(), RATES.end());
        let found = format!("{} Hz", sound.rate);
        return Err(DataError::format(path, "sample rate", expected, found));
    }
    if sound.samples.is_empty() {
        return Err(DataError::format(path, "sound data", "samples", "none"));
    }
    if let Some(at) = sound.samples.iter().position(|x| !x.is_finite()) {
        let found = sound.samples[at].to_string();
        return Err(DataError::format(
            path,
            format!("sample {at}"),
            "a finite number",
            found,
        ));
    }
    Ok(())
}

/// The first bytes of something that is no sound file, for the message.
fn opening(bytes: &[u8]) -> String {
    const SHOWN: usize = 12;
    if bytes.is_empty() {
        return "an empty file".to_owned();
    }
    format!("\"{}\"", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}

/// Averages interleaved channels.
fn mix_down(interleaved: Vec<f32>, channels: usize) -> Vec<f32> {
    if channels <= 1 {
        return interleaved;
    }
    let scale = 1.0 / channels as f32;
    let frames = interleaved.chunks_exact(channels);
    frames
        .map(|frame| frame.iter().sum::<f32>() * scale)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_content_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        for (bytes, found) in [
            (&b""[..], "found an empty file"),
            (
                b"\x89PNG\r\n\x1a\nxxxxxxxx",
                "found \"\\x89PNG\\r\\n\\x1a\\nxxxx\"",
            ),
            (b"RIFF", "found \"RIFF\""),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let message = decode(&path).unwrap_err().to_string();
            assert!(
                message.contains("a.wav: byte 0: expected a WAV"),
                "{message}"
            );
            assert!(message.ends_with(found), "{message}");
            assert_eq!(decode_part(&path, 16_000, &|len| 0..len), None);
        }
        let message = decode(&folder.path().join("none.wav"))
            .unwrap_err()
            .to_string();
        assert!(message.contains("none.wav: cannot read"), "{message}");
    }
}
