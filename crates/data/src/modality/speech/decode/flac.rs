//! FLAC, checked against the length in its header, or the checksum where there is no length.

use super::mix_down;
use crate::{DataError, Waveform};
use std::fs::File;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use symphonia_bundle_flac::{FlacDecoder, FlacReader};
use symphonia_core::codecs::CodecParameters;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::errors::Error;
use symphonia_core::formats::{FormatReader, SeekMode, SeekTo};
use symphonia_core::io::{MediaSource, MediaSourceStream};
use symphonia_core::packet::Packet;

pub(super) fn decode(path: &Path, bytes: Vec<u8>) -> Result<Waveform, DataError> {
    let mut stream = Stream::open(path, Box::new(Cursor::new(bytes)))?;
    Ok(Waveform {
        samples: stream.all()?,
        rate: stream.rate(),
    })
}

/// Samples of a file, decoded up to the last of them. `None` for another rate, where the header does
/// not say how many samples there are, and when something is wrong: [`decode`] says what it is.
pub(super) fn decode_part(
    path: &Path,
    file: File,
    rate: u32,
    choose: &dyn Fn(usize) -> Range<usize>,
) -> Option<Vec<f32>> {
    let mut stream = Stream::open(path, Box::new(file)).ok()?;
    let promised = usize::try_from(stream.promised?).ok()?;
    if stream.rate() != rate {
        return None;
    }
    let range = choose(promised);
    let mut samples = if range.end < promised {
        stream.start(range.end)?
    } else {
        stream.all().ok()?
    };
    samples.truncate(range.end);
    samples.drain(..range.start);
    Some(samples)
}

/// A file whose header was read.
struct Stream<'a> {
    path: &'a Path,
    reader: FlacReader<'static>,
    decoder: FlacDecoder,
    parameters: AudioCodecParameters,
    /// Samples of a channel, where the header has their number.
    promised: Option<u64>,
}

impl<'a> Stream<'a> {
    fn open(path: &'a Path, source: Box<dyn MediaSource>) -> Result<Self, DataError> {
        let header =
            |e: Error| DataError::format(path, "header", "FLAC stream information", e.to_string());
        let stream = MediaSourceStream::new(source, Default::default());
        let reader = FlacReader::try_new(stream, Default::default()).map_err(header)?;
        let track = reader.tracks().first();
        let promised = track.and_then(|track| track.num_frames);
        let promised = promised.filter(|&samples| samples != 0);
        let Some(CodecParameters::Audio(parameters)) = track.and_then(|t| t.codec_params.clone())
        else {
            return Err(DataError::format(path, "header", "an audio track", "none"));
        };
        let mut options = AudioDecoderOptions::default();
        // Every frame has a checksum of its own, and one that is lost shows in the number of samples.
        // Only without that number is the checksum of the whole worth a sixth of the time.
        options.verify = promised.is_none();
        let decoder = FlacDecoder::try_new(&parameters, &options).map_err(header)?;
        Ok(Self {
            path,
            reader,
            decoder,
            parameters,
            promised,
        })
    }

    fn rate(&self) -> u32 {
        self.parameters.sample_rate.unwrap_or(0)
    }

    /// All samples.
    fn all(&mut self) -> Result<Vec<f32>, DataError> {
        let samples = self.decode_frames(None)?;
        if let Some(promised) = self.promised.filter(|&n| n != samples.len() as u64) {
            let place = format!("sample {} of {promised}", samples.len());
            return Err(DataError::format(
                self.path,
                place,
                "a sample",
                "the end of the stream",
            ));
        }
        if self.decoder.finalize().verify_ok == Some(false) {
            let expected = "the MD5 checksum of the header";
            return Err(DataError::format(
                self.path,
                "sound data",
                expected,
                "another checksum",
            ));
        }
        Ok(samples)
    }

    /// The first `len` samples, and what else the frame of the last one has. `None` when a frame up to
    /// there is damaged or missing, and when the stream does not end where its header says.
    fn start(&mut self, len: usize) -> Option<Vec<f32>> {
        let samples = self.decode_frames(Some(len)).ok()?;
        (samples.len() >= len && self.is_complete()).then_some(samples)
    }

    /// Whether the last frame is there. The reader moves to it.
    fn is_complete(&mut self) -> bool {
        let last = |promised: u64| {
            let ts = i64::try_from(promised - 1).ok()?.into();
            let to = SeekTo::Timestamp { ts, track_id: 0 };
            self.reader.seek(SeekMode::Accurate, to).ok()?;
            let packet = self.reader.next_packet().ok()??;
            Some(first_sample(&packet)? + packet.dur.get() == promised)
        };
        self.promised.and_then(last) == Some(true)
    }

    /// Decodes all frames, or those until there are `enough` samples or one is missing.
    fn decode_frames(&mut self, enough: Option<usize>) -> Result<Vec<f32>, DataError> {
        let path = self.path;
        let channels = self.parameters.channels.as_ref();
        let channels = channels.map_or(1, |c| c.count().max(1));
        /// Samples that are expected without having seen any of them.
        const TRUSTED: usize = 4 << 20;
        // The frame of the last sample may have more of them.
        const FRAME: usize = 1 << 13;
        let expected = enough.map_or(0, |enough| channels * (enough + FRAME));
        let mut samples: Vec<f32> = Vec::with_capacity(expected.min(TRUSTED));
        while enough.is_none_or(|enough| samples.len() / channels < enough) {
            let decoded = samples.len() / channels;
            let place = || format!("frame at sample {decoded}");
            let damaged =
                |e: Error| DataError::format(path, place(), "a FLAC frame", e.to_string());
            let Some(packet) = self.reader.next_packet().map_err(damaged)? else {
                break;
            };
            // The reader passes over frames that it cannot read. In a part, whose length does not tell,
            // the samples behind them would be taken for earlier ones.
            if enough.is_some() && first_sample(&packet) != Some(decoded as u64) {
                break;
            }
            let frame = self.decoder.decode(&packet).map_err(damaged)?;
            let held = samples.len();
            samples.resize(held + frame.samples_interleaved(), 0.0);
            frame.copy_to_slice_interleaved(&mut samples[held..]);
        }
        Ok(mix_down(samples, channels))
    }
}

/// The number of a frame's first sample, by its header.
fn first_sample(frame: &Packet) -> Option<u64> {
    u64::try_from(frame.pts.get()).ok()
}

#[cfg(test)]
pub(in crate::modality::speech) mod tests {
    use super::super::{decode, decode_part};

    /// An uncompressed FLAC file of 16-bit samples, one frame of at most 65,535 samples a channel.
    pub(in crate::modality::speech) fn encode(channels: &[&[i16]], rate: u32) -> Vec<u8> {
        encode_in_blocks(channels, rate, channels[0].len().max(16))
    }

    /// The same in at most 128 frames of `block` samples a channel, and one of what is left.
    pub(in crate::modality::speech) fn encode_in_blocks(
        channels: &[&[i16]],
        rate: u32,
        block: usize,
    ) -> Vec<u8> {
        let len = channels[0].len();
        let mut bytes = b"fLaC".to_vec();
        bytes.extend([0x80, 0, 0, 34]);
        let size = (block as u16).to_be_bytes();
        bytes.extend([size, size].concat());
        bytes.extend([0; 6]);
        let described =
            u64::from(rate) << 44 | (channels.len() as u64 - 1) << 41 | 15 << 36 | len as u64;
        bytes.extend(described.to_be_bytes());
        bytes.extend([0; 16]);
        for (number, first) in (0..len).step_by(block).enumerate() {
            let inside = first..(first + block).min(len);
            let assignment = (channels.len() as u8 - 1) << 4 | 8;
            let mut frame = vec![0xFF, 0xF8, 0x70, assignment, number as u8];
            frame.extend((inside.len() as u16 - 1).to_be_bytes());
            frame.push(crc(&frame, 8, 0x07) as u8);
            for samples in channels {
                frame.push(0b10);
                let samples = &samples[inside.clone()];
                frame.extend(samples.iter().flat_map(|x| x.to_be_bytes()));
            }
            let check = crc(&frame, 16, 0x8005);
            frame.extend(check.to_be_bytes());
            bytes.extend(frame);
        }
        bytes
    }

    fn crc(bytes: &[u8], width: u32, polynomial: u16) -> u16 {
        let top = 1u32 << (width - 1);
        let mask = (top << 1).wrapping_sub(1);
        let value = bytes.iter().fold(0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte) << (width - 8), |crc, _| {
                let shifted = crc << 1;
                (if crc & top != 0 {
                    shifted ^ u32::from(polynomial)
                } else {
                    shifted
                }) & mask
            })
        });
        value as u16
    }

    #[test]
    fn decodes_mono_and_averages_stereo() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.flac");
        let left: Vec<i16> = (0..300).map(|i| (i * 37 - 4000) as i16).collect();
        let right: Vec<i16> = left.iter().map(|x| -x).collect();
        std::fs::write(&path, encode(&[&left], 16_000)).unwrap();
        let sound = decode(&path).unwrap();
        assert_eq!(sound.rate, 16_000);
        let want: Vec<f32> = left.iter().map(|&x| f32::from(x) / 32_768.0).collect();
        assert_eq!(sound.samples, want);
        std::fs::write(&path, encode(&[&left, &right], 44_100)).unwrap();
        let sound = decode(&path).unwrap();
        assert_eq!(sound.samples, vec![0.0; 300]);
    }

    #[test]
    fn parts_are_what_the_whole_has_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.flac");
        let left: Vec<i16> = (0..9000).map(|i| (i * 37 % 8001 - 4000) as i16).collect();
        let right: Vec<i16> = left.iter().map(|x| x / 3).collect();
        for channels in [&[&left[..]][..], &[&left, &right]] {
            std::fs::write(&path, encode_in_blocks(channels, 16_000, 1024)).unwrap();
            let whole = decode(&path).unwrap().samples;
            for range in [
                0..30,
                0..1024,
                0..1025,
                70..8300,
                13..13,
                0..9000,
                8999..9000,
            ] {
                let choose = |len| {
                    assert_eq!(len, whole.len());
                    range.clone()
                };
                let part = decode_part(&path, 16_000, &choose);
                assert_eq!(part.as_deref(), Some(&whole[range.clone()]), "{range:?}");
            }
            assert_eq!(decode_part(&path, 8000, &|len| 0..len), None);
        }
    }

    /// The decoder of whole files knows what is wrong with such files.
    #[test]
    fn parts_of_cut_files_and_damaged_parts_are_left_to_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.flac");
        let samples: Vec<i16> = (0..9000).map(|i| (i * 7919 % 3001) as i16).collect();
        let bytes = encode_in_blocks(&[&samples], 16_000, 1024);
        let part = |bytes: &[u8], end: usize| {
            std::fs::write(&path, bytes).unwrap();
            decode(&path).unwrap_err();
            decode_part(&path, 16_000, &|_| 0..end)
        };
        let frame = frame_bytes(1024);
        for len in [
            4,
            20,
            42,
            50,
            frame,
            2 * frame,
            bytes.len() - frame,
            bytes.len() - 1,
        ] {
            for end in [10, 1024, 2000, 9000] {
                assert_eq!(part(&bytes[..len], end), None, "{len} bytes, {end} samples");
            }
        }
        for at in [43, 49, 600, frame + 900] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            for end in [2000, 4000, 9000] {
                assert_eq!(part(&damaged, end), None, "byte {at}, {end} samples");
            }
        }
        // A frame is missing: those behind it are not taken for it.
        let second = 42 + frame_bytes(1024);
        let rest = second + frame_bytes(1024);
        let missing = [&bytes[..second], &bytes[rest..]].concat();
        assert_eq!(part(&missing, 2000), None);
    }

    /// Bytes of a frame of one channel.
    fn frame_bytes(samples: usize) -> usize {
        8 + 1 + 2 * samples + 2
    }

    #[test]
    fn cut_and_damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.flac");
        let samples: Vec<i16> = (0..1000).map(|i| (i * 7919 % 3001) as i16).collect();
        let bytes = encode(&[&samples], 16_000);
        let message = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            decode(&path).unwrap_err().to_string()
        };
        for len in [4, 20, 50, bytes.len() / 2, bytes.len() - 1] {
            let text = message(&bytes[..len]);
            assert!(text.contains("x.flac: "), "{text}");
        }
        let mut damaged = bytes.clone();
        damaged[600] ^= 0x55;
        let text = message(&damaged);
        assert!(text.contains("x.flac: "), "{text}");
    }
}
