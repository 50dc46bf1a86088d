//! What processing and storing does to pictures.

use super::picture::{Picture, sample, smooth};
use crate::random::Dice;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

/// Multiplies the distance of every value from the mean of its channel by this factor.
pub(super) fn contrast(picture: &mut Picture<'_>, severity: usize, _dice: &mut Dice) {
    const FACTOR: [f32; 5] = [0.75, 0.5, 0.4, 0.3, 0.15];
    let area = picture.area();
    for plane in picture.values.chunks_exact_mut(area) {
        let mean = plane.iter().sum::<f32>() / area as f32;
        for x in plane {
            *x = mean + FACTOR[severity] * (*x - mean);
        }
    }
}

/// Moves pixels by a smooth random field with these root mean squares (at 32×32), smooth over these
/// standard deviations.
pub(super) fn elastic(picture: &mut Picture<'_>, severity: usize, dice: &mut Dice) {
    const SHIFT: [f32; 5] = [0.6, 0.9, 1.2, 1.6, 2.1];
    const SIGMA: [f32; 5] = [3.0, 2.8, 2.6, 2.4, 2.2];
    let unit = picture.unit();
    let size = [picture.height, picture.width];
    let [down, right] = [0, 1].map(|_| {
        let mut field: Vec<f32> = (0..picture.area()).map(|_| dice.normal()).collect();
        smooth(&mut field, size, SIGMA[severity] * unit);
        let square = field.iter().map(|x| x * x).sum::<f32>() / field.len().max(1) as f32;
        let scale = SHIFT[severity] * unit / square.sqrt().max(f32::MIN_POSITIVE);
        field.iter_mut().for_each(|x| *x *= scale);
        field
    });
    picture.warp(|row, column| {
        let i = row * size[1] + column;
        (row as f32 + down[i], column as f32 + right[i])
    });
}

/// Makes the picture smaller by these factors, by means over areas, and large again without smoothing.
pub(super) fn pixelate(picture: &mut Picture<'_>, severity: usize, _dice: &mut Dice) {
    const FACTOR: [f32; 5] = [0.75, 0.5, 0.4, 0.3, 0.22];
    let size = [picture.height, picture.width];
    let small = size.map(|side| ((side as f32 * FACTOR[severity]).round() as usize).max(1));
    for plane in picture.values.chunks_exact_mut(size[0] * size[1]) {
        let means: Vec<f32> = (0..small[0] * small[1])
            .map(|i| mean_over(plane, size, small, [i / small[1], i % small[1]]))
            .collect();
        for (i, x) in plane.iter_mut().enumerate() {
            // The large pixel in which the middle of the small one lies.
            let row = (2 * (i / size[1]) + 1) * small[0] / (2 * size[0]);
            let column = (2 * (i % size[1]) + 1) * small[1] / (2 * size[1]);
            *x = means[row * small[1] + column];
        }
    }
}

/// Mean over the area of one large pixel, by 4 × 4 points in it.
fn mean_over(plane: &[f32], size: [usize; 2], small: [usize; 2], at: [usize; 2]) -> f32 {
    const POINTS: usize = 4;
    let place = |axis: usize, point: usize| {
        let step = size[axis] as f32 / small[axis] as f32;
        (at[axis] as f32 + (point as f32 + 0.5) / POINTS as f32) * step - 0.5
    };
    let points = (0..POINTS * POINTS)
        .map(|i| sample(plane, size, place(0, i / POINTS), place(1, i % POINTS)));
    points.sum::<f32>() / (POINTS * POINTS) as f32
}

/// Compresses by JPEG with these qualities; channels that are not three are compressed one by one.
pub(super) fn jpeg(picture: &mut Picture<'_>, severity: usize, _dice: &mut Dice) {
    const QUALITY: [u8; 5] = [60, 40, 25, 15, 8];
    let (area, size) = (picture.area(), [picture.height, picture.width]);
    let together = if picture.channels == 3 { 3 } else { 1 };
    for planes in picture.values.chunks_exact_mut(together * area) {
        let byte = |x: f32| (255.0 * x.clamp(0.0, 1.0)).round() as u8;
        let bytes: Vec<u8> = (0..area)
            .flat_map(|i| (0..together).map(move |c| c * area + i))
            .map(|at| byte(planes[at]))
            .collect();
        // Sizes beyond what JPEG can hold leave the picture as it is.
        let Some(bytes) = through_jpeg(&bytes, size, together, QUALITY[severity]) else {
            continue;
        };
        for (i, pixel) in bytes.chunks_exact(together).enumerate() {
            for (c, byte) in pixel.iter().enumerate() {
                planes[c * area + i] = f32::from(*byte) / 255.0;
            }
        }
    }
}

fn through_jpeg(
    bytes: &[u8],
    [height, width]: [usize; 2],
    channels: usize,
    quality: u8,
) -> Option<Vec<u8>> {
    let colour = match channels {
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::L8,
    };
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, quality)
        .encode(bytes, width as u32, height as u32, colour)
        .ok()?;
    let format = image::ImageFormat::Jpeg;
    let decoded = image::load_from_memory_with_format(&file, format).ok()?;
    Some(match channels {
        3 => decoded.to_rgb8().into_raw(),
        _ => decoded.to_luma8().into_raw(),
    })
}
