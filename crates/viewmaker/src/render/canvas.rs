//! A rectangle of pixels with text.

use super::Rgb;
use crate::error::{Error, Result};
use crate::run::write_atomically;
use font8x8::UnicodeFonts;
use image::ImageEncoder;
use image::codecs::png::PngEncoder;
use std::path::Path;

/// Pixels of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    /// Height and width of a character in pixels.
    pub const GLYPH: usize = 8;
    /// The colour of paper.
    pub const WHITE: Rgb = [255, 255, 255];
    /// The colour of text.
    pub const BLACK: Rgb = [20, 20, 20];

    /// A white canvas.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: vec![Self::WHITE; width * height],
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The colour at a place inside the canvas; white outside.
    pub fn get(&self, x: usize, y: usize) -> Rgb {
        match x < self.width && y < self.height {
            true => self.pixels[y * self.width + x],
            false => Self::WHITE,
        }
    }

    /// Colours a pixel; what lies outside is dropped.
    pub fn set(&mut self, x: usize, y: usize, colour: Rgb) {
        if x < self.width && y < self.height {
            self.pixels[y * self.width + x] = colour;
        }
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Rgb) {
        for row in y..y + height {
            for column in x..x + width {
                self.set(column, row, colour);
            }
        }
    }

    /// Draws a straight line of squares of `width` pixels from one place to another.
    pub fn line(
        &mut self,
        (x0, y0): (usize, usize),
        (x1, y1): (usize, usize),
        width: usize,
        colour: Rgb,
    ) {
        let steps = x0.abs_diff(x1).max(y0.abs_diff(y1));
        let between = |from: usize, to: usize, step: usize| {
            let part = step as f64 / steps.max(1) as f64;
            (from as f64 + part * (to as f64 - from as f64)).round() as usize
        };
        for step in 0..=steps {
            let (x, y) = (between(x0, x1, step), between(y0, y1, step));
            let back = (width.max(1) - 1) / 2;
            self.fill(
                x.saturating_sub(back),
                y.saturating_sub(back),
                width,
                width,
                colour,
            );
        }
    }

    /// Draws a map of `rows × columns` pixels, each as a square of `scale` pixels.
    pub fn map(
        &mut self,
        (x, y): (usize, usize),
        (rows, columns): (usize, usize),
        scale: usize,
        colour: impl Fn(usize, usize) -> Rgb,
    ) {
        for row in 0..rows {
            for column in 0..columns {
                let colour = colour(row, column);
                self.fill(x + column * scale, y + row * scale, scale, scale, colour);
            }
        }
    }

    /// Writes text with its upper left corner at a place; characters are `8 · scale` pixels wide
    /// and high. Unknown characters are left out as blanks.
    pub fn text(&mut self, (x, y): (usize, usize), scale: usize, text: &str) {
        for (index, character) in text.chars().enumerate() {
            let left = x + index * Self::GLYPH * scale;
            for (row, bits) in glyph(character).into_iter().enumerate() {
                for column in (0..Self::GLYPH).filter(|column| bits >> column & 1 == 1) {
                    let (px, py) = (left + column * scale, y + row * scale);
                    self.fill(px, py, scale, scale, Self::BLACK);
                }
            }
        }
    }

    /// Writes text that ends (on the right) at `x`.
    pub fn text_right(&mut self, (x, y): (usize, usize), scale: usize, text: &str) {
        let left = x.saturating_sub(Self::text_width(text, scale));
        self.text((left, y), scale, text);
    }

    /// Writes text centred on `x`.
    pub fn text_centred(&mut self, (x, y): (usize, usize), scale: usize, text: &str) {
        let left = x.saturating_sub(Self::text_width(text, scale) / 2);
        self.text((left, y), scale, text);
    }

    /// Width of text in pixels.
    pub fn text_width(text: &str, scale: usize) -> usize {
        text.chars().count() * Self::GLYPH * scale
    }

    /// Writes the picture as PNG, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let bytes: Vec<u8> = self.pixels.iter().flatten().copied().collect();
        let (width, height) = (self.width as u32, self.height as u32);
        let colour = image::ExtendedColorType::Rgb8;
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(&bytes, width, height, colour)
            .map_err(|error| Error::io(path, "encode", std::io::Error::other(error)))?;
        Ok(write_atomically(path, &png)?)
    }
}

fn glyph(character: char) -> [u8; 8] {
    font8x8::BASIC_FONTS
        .get(character)
        .or_else(|| font8x8::LATIN_FONTS.get(character))
        .or_else(|| font8x8::GREEK_FONTS.get(character))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_inside_only() {
        let mut canvas = Canvas::new(4, 3);
        canvas.fill(3, 2, 5, 5, [1, 2, 3]);
        assert_eq!(canvas.get(3, 2), [1, 2, 3]);
        assert_eq!(canvas.get(2, 2), Canvas::WHITE);
        assert_eq!(canvas.get(9, 9), Canvas::WHITE);
    }

    #[test]
    fn lines_join_their_ends() {
        let colour = [9, 8, 7];
        let mut canvas = Canvas::new(12, 9);
        canvas.line((10, 1), (2, 7), 1, colour);
        let inked = canvas.pixels.iter().filter(|p| **p == colour).count();
        assert_eq!(inked, 9, "one pixel a column");
        assert_eq!((canvas.get(10, 1), canvas.get(2, 7)), (colour, colour));
        canvas.line((5, 5), (5, 5), 3, colour);
        assert_eq!(canvas.get(4, 6), colour);
    }

    #[test]
    fn text_leaves_ink_of_its_width() {
        let ink = |text: &str| {
            let mut canvas = Canvas::new(64, 8);
            canvas.text((0, 0), 1, text);
            canvas
                .pixels
                .iter()
                .filter(|p| **p != Canvas::WHITE)
                .count()
        };
        for known in ["a", "Z", "7", "|", "±", "δ", "×"] {
            assert!(ink(known) > 0, "{known} is not in the font");
        }
        assert_eq!(ink(" "), 0);
        assert_eq!(Canvas::text_width("abc", 2), 48);
    }

    #[test]
    fn pictures_survive_png() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let mut canvas = Canvas::new(5, 2);
        canvas.map((0, 0), (2, 5), 1, |row, column| {
            [row as u8, column as u8, 9]
        });
        canvas.write_png(&path).unwrap();
        let back = image::open(&path).unwrap().to_rgb8();
        assert_eq!(back.dimensions(), (5, 2));
        assert_eq!(back.get_pixel(3, 1).0, [1, 3, 9]);
        // A picture that is drawn again is another file: who has the old one open reads on.
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let inode = || std::fs::metadata(&path).unwrap().ino();
            let open = std::fs::File::open(&path).unwrap();
            let before = inode();
            canvas.write_png(&path).unwrap();
            assert_ne!(inode(), before);
            drop(open);
        }
        let nowhere = folder.path().join("x").join("a.png");
        let message = canvas.write_png(&nowhere).unwrap_err().to_string();
        assert!(message.contains("a.png: cannot write"), "{message}");
    }
}
