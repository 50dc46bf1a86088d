//! FLAC, checked against the length in its header, or the checksum where there is no length.

use super::mix_down;
use crate::{DataError, Waveform};
use std::io::Cursor;
use std::path::Path;
use symphonia_bundle_flac::{FlacDecoder, FlacReader};
use symphonia_core::codecs::CodecParameters;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::errors::Error;
use symphonia_core::formats::FormatReader;
use symphonia_core::io::MediaSourceStream;

pub(super) fn decode(path: &Path, bytes: Vec<u8>) -> Result<Waveform, DataError> {
    let header =
        |e: Error| DataError::format(path, "header", "FLAC stream information", e.to_string());
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut reader = FlacReader::try_new(stream, Default::default()).map_err(header)?;
    let track = reader.tracks().first();
    let promised = track.and_then(|track| track.num_frames);
    let Some(CodecParameters::Audio(parameters)) = track.and_then(|t| t.codec_params.clone())
    else {
        return Err(DataError::format(path, "header", "an audio track", "none"));
    };
    let mut options = AudioDecoderOptions::default();
    // Every frame has a checksum of its own, and one that is lost shows in the number of samples. Only
    // without that number is the checksum of the whole worth a sixth of the time.
    options.verify = promised.is_none_or(|samples| samples == 0);
    let mut decoder = FlacDecoder::try_new(&parameters, &options).map_err(header)?;
    let samples = decode_frames(path, &mut reader, &mut decoder, channels_of(&parameters))?;
    if let Some(promised) = promised.filter(|&n| n != 0 && n != samples.len() as u64) {
        let place = format!("sample {} of {promised}", samples.len());
        return Err(DataError::format(
            path,
            place,
            "a sample",
            "the end of the stream",
        ));
    }
    if decoder.finalize().verify_ok == Some(false) {
        let expected = "the MD5 checksum of the header";
        return Err(DataError::format(
            path,
            "sound data",
            expected,
            "another checksum",
        ));
    }
    Ok(Waveform {
        samples,
        rate: parameters.sample_rate.unwrap_or(0),
    })
}

fn channels_of(parameters: &AudioCodecParameters) -> usize {
    parameters.channels.as_ref().map_or(1, |c| c.count().max(1))
}

fn decode_frames(
    path: &Path,
    reader: &mut FlacReader<'_>,
    decoder: &mut FlacDecoder,
    channels: usize,
) -> Result<Vec<f32>, DataError> {
    let mut samples = Vec::new();
    let mut frames = Vec::<f32>::new();
    loop {
        let place = || format!("frame at sample {}", samples.len() / channels);
        let damaged = |e: Error| DataError::format(path, place(), "a FLAC frame", e.to_string());
        let Some(packet) = reader.next_packet().map_err(damaged)? else {
            return Ok(mix_down(samples, channels));
        };
        let frame = decoder.decode(&packet).map_err(damaged)?;
        // The library replaces what a vector holds.
        frame.copy_to_vec_interleaved(&mut frames);
        samples.extend_from_slice(&frames);
    }
}

#[cfg(test)]
pub(in crate::modality::speech) mod tests {
    use super::super::decode;

    /// An uncompressed FLAC file of 16-bit samples, one frame of at most 65,535 samples a channel.
    pub(in crate::modality::speech) fn encode(channels: &[&[i16]], rate: u32) -> Vec<u8> {
        let len = channels[0].len();
        let mut bytes = b"fLaC".to_vec();
        bytes.extend([0x80, 0, 0, 34]);
        let block = (len as u16).max(16).to_be_bytes();
        bytes.extend([block, block].concat());
        bytes.extend([0; 6]);
        let described =
            u64::from(rate) << 44 | (channels.len() as u64 - 1) << 41 | 15 << 36 | len as u64;
        bytes.extend(described.to_be_bytes());
        bytes.extend([0; 16]);
        let mut frame = vec![0xFF, 0xF8, 0x70, (channels.len() as u8 - 1) << 4 | 8, 0];
        frame.extend((len as u16 - 1).to_be_bytes());
        frame.push(crc(&frame, 8, 0x07) as u8);
        for samples in channels {
            frame.push(0b10);
            frame.extend(samples.iter().flat_map(|x| x.to_be_bytes()));
        }
        let check = crc(&frame, 16, 0x8005);
        frame.extend(check.to_be_bytes());
        bytes.extend(frame);
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
