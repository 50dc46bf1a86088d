//! From the bytes of a PNG or JPEG file, or of a raw picture, to C × H × W bytes of one size.

use crate::DataError;
use image::imageops::FilterType;
use image::{ColorType, DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use std::io::Cursor;
use std::path::Path;

/// Names of picture files that can be read.
pub(super) const EXTENSIONS: &[&str] = &["png", "jpg", "jpeg"];
/// Pictures in formats that are not.
pub(super) const UNREAD: &[&str] = &[
    "gif", "webp", "bmp", "tif", "tiff", "heic", "heif", "avif", "jp2", "jxl", "ppm", "pgm",
];

/// The form that every picture is brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// 1 (grey) or 3 (RGB).
    pub(super) channels: usize,
    /// Pixels.
    pub(super) height: usize,
    /// Pixels.
    pub(super) width: usize,
}

impl Frame {
    pub(super) fn square(channels: usize, size: usize) -> Self {
        Self {
            channels,
            height: size,
            width: size,
        }
    }

    pub(super) fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// Bytes of a picture.
    pub(super) fn len(&self) -> usize {
        self.channels * self.height * self.width
    }
}

/// True if a PNG or JPEG file holds colours (whether any pixel uses them does not matter).
pub(super) fn is_coloured(path: &Path, bytes: &[u8]) -> Result<bool, DataError> {
    let decoder = reader(path, bytes)?.into_decoder();
    let colour = decoder.map_err(|e| damaged(path, &e))?.color_type();
    let grey = [
        ColorType::L8,
        ColorType::L16,
        ColorType::La8,
        ColorType::La16,
    ];
    Ok(!grey.contains(&colour))
}

/// Decodes a PNG or JPEG file and brings it to `frame`.
pub(super) fn picture(path: &Path, bytes: &[u8], frame: Frame) -> Result<Vec<u8>, DataError> {
    let image = reader(path, bytes)?.decode();
    Ok(fit(image.map_err(|e| damaged(path, &e))?, frame))
}

/// Brings a raw picture (C × H × W bytes as `from` says) to `frame`.
pub(super) fn raw(bytes: &[u8], from: Frame, frame: Frame) -> Vec<u8> {
    if from == frame {
        return bytes.to_vec();
    }
    let plane = from.height * from.width;
    let (width, height) = (from.width as u32, from.height as u32);
    let at = |x: u32, y: u32| (y * width + x) as usize;
    let image = if from.channels == 1 {
        let pixel = |x, y| image::Luma([bytes[at(x, y)]]);
        DynamicImage::ImageLuma8(GrayImage::from_fn(width, height, pixel))
    } else {
        let pixel = |x, y| image::Rgb([0, 1, 2].map(|c| bytes[c * plane + at(x, y)]));
        DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, pixel))
    };
    fit(image, frame)
}

/// Scales a picture until it covers the frame, cuts off what stands out on both sides alike, and
/// converts the channels (grey by the luma weights of Rec. 709; grey to RGB by repetition).
fn fit(image: DynamicImage, frame: Frame) -> Vec<u8> {
    let (width, height) = (frame.width as u32, frame.height as u32);
    let image = if (image.width(), image.height()) == (width, height) {
        image
    } else {
        // Lanczos is sharpest where pixels are merged; where they are stretched it would ring.
        let shrinks = image.width() >= width && image.height() >= height;
        let filter = if shrinks {
            FilterType::Lanczos3
        } else {
            FilterType::Triangle
        };
        image.resize_to_fill(width, height, filter)
    };
    if frame.channels == 1 {
        return image.into_luma8().into_raw();
    }
    let pixels = image.into_rgb8().into_raw();
    (0..3)
        .flat_map(|channel| pixels.iter().skip(channel).step_by(3).copied())
        .collect()
}

fn reader<'a>(path: &Path, bytes: &'a [u8]) -> Result<ImageReader<Cursor<&'a [u8]>>, DataError> {
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| DataError::io(path, "read", e))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        let start: Vec<_> = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect();
        let found = match start.as_slice() {
            [] => "an empty file".to_owned(),
            start => format!("bytes {}", start.join(" ")),
        };
        return Err(DataError::format(
            path,
            "byte 0",
            "a PNG or JPEG picture",
            found,
        ));
    }
    Ok(reader)
}

fn damaged(path: &Path, error: &image::ImageError) -> DataError {
    if let image::ImageError::Limits(_) = error {
        let why =
            "is too large to be decoded: pictures may take 512 MiB of memory; make it smaller";
        return DataError::unusable(path, why.to_owned());
    }
    DataError::format(
        path,
        "picture data",
        "a whole PNG or JPEG picture",
        error.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_pictures_keep_their_bytes_and_convert() {
        let rgb = Frame::square(3, 2);
        let bytes: Vec<u8> = (0..12).map(|i| i * 20).collect();
        assert_eq!(raw(&bytes, rgb, rgb), bytes);
        let grey = raw(&[10, 20, 30, 40], Frame::square(1, 2), rgb);
        assert_eq!(grey, [10, 20, 30, 40].repeat(3));
        // 0.2126 R + 0.7152 G + 0.0722 B
        let red = [vec![255; 4], vec![0; 8]].concat();
        assert_eq!(raw(&red, rgb, Frame::square(1, 2)), [54; 4]);
    }

    #[test]
    fn wide_pictures_are_cut_to_their_middle() {
        let wide = Frame {
            channels: 1,
            height: 4,
            width: 12,
        };
        let bytes: Vec<u8> = (0..4)
            .flat_map(|_| [[0; 4], [200; 4], [0; 4]].concat())
            .collect();
        assert_eq!(raw(&bytes, wide, Frame::square(1, 4)), [200; 16]);
        // Scaled down by two with a constant picture: the constant stays.
        assert_eq!(
            raw(&[77; 64], Frame::square(1, 8), Frame::square(1, 4)),
            [77; 16]
        );
        assert_eq!(
            raw(&[77; 64], Frame::square(1, 8), Frame::square(1, 11)),
            [77; 121]
        );
    }

    #[test]
    fn what_is_no_picture_is_reported_with_its_bytes() {
        let message = |bytes: &[u8]| {
            picture(Path::new("a.png"), bytes, Frame::square(3, 4))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message(b"hello"),
            "a.png: byte 0: expected a PNG or JPEG picture, found bytes 68 65 6c 6c"
        );
        assert!(message(b"").ends_with("found an empty file"));
        let damaged = message(b"\x89PNG\r\n\x1a\nnonsense");
        assert!(
            damaged.starts_with("a.png: picture data: expected a whole"),
            "{damaged}"
        );
    }
}
