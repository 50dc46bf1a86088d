//! Colour maps, computed in Oklab so that equal steps of a value look equally large.
//!
//! Source of the colour space: B. Ottosson, *A perceptual color space for image processing*
//! (2020).

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Colour of a magnitude `t` in `[0, 1]` (clamped): dark violet by green to light yellow, with
/// lightness linear in `t`, so that it reads the same in grey. What is not a number is grey.
pub fn sequential(t: f32) -> Rgb {
    if t.is_nan() {
        return NOT_A_NUMBER;
    }
    let t = t.clamp(0.0, 1.0);
    let lightness = 0.20 + 0.74 * t;
    // Chroma is limited by what a screen shows at either end.
    let chroma = 0.09 + 0.20 * t * (1.0 - t) + 0.06 * t;
    // From violet (300°) down by blue and green to yellow (105°).
    let hue = (300.0 - 195.0 * t).to_radians();
    oklab_to_rgb(lightness, chroma * hue.cos(), chroma * hue.sin())
}

/// Colour of a deviation `t` in `[-1, 1]` (clamped): blue for less, white for none, red for more.
/// What is not a number is grey.
pub fn diverging(t: f32) -> Rgb {
    if t.is_nan() {
        return NOT_A_NUMBER;
    }
    let t = t.clamp(-1.0, 1.0);
    let strength = t.abs();
    let hue: f32 = if t < 0.0 { 255.0 } else { 27.0 };
    let (sin, cos) = hue.to_radians().sin_cos();
    let chroma = 0.19 * strength;
    oklab_to_rgb(1.0 - 0.52 * strength, chroma * cos, chroma * sin)
}

const NOT_A_NUMBER: Rgb = [128, 128, 128];

/// Oklab to 8-bit sRGB; colours that no screen shows are clipped.
fn oklab_to_rgb(lightness: f32, a: f32, b: f32) -> Rgb {
    let cube = |x: f32| x * x * x;
    let l = cube(lightness + 0.396_337_78 * a + 0.215_803_76 * b);
    let m = cube(lightness - 0.105_561_346 * a - 0.063_854_17 * b);
    let s = cube(lightness - 0.089_484_18 * a - 1.291_485_5 * b);
    [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ]
    .map(encode)
}

/// Linear light to an 8-bit sRGB value.
fn encode(linear: f32) -> u8 {
    let linear = linear.clamp(0.0, 1.0);
    let encoded = match linear <= 0.003_130_8 {
        true => 12.92 * linear,
        false => 1.055 * linear.powf(1.0 / 2.4) - 0.055,
    };
    (255.0 * encoded).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Luminance as sRGB defines it, in `[0, 1]`.
    fn luminance(colour: Rgb) -> f64 {
        let linear = colour.map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn white_and_black_are_where_they_belong() {
        assert_eq!(oklab_to_rgb(1.0, 0.0, 0.0), [255, 255, 255]);
        assert_eq!(oklab_to_rgb(0.0, 0.0, 0.0), [0, 0, 0]);
    }

    #[test]
    fn magnitudes_get_lighter_all_the_way() {
        let steps: Vec<f64> = (0..=64)
            .map(|i| luminance(sequential(i as f32 / 64.0)))
            .collect();
        assert!(steps.windows(2).all(|pair| pair[1] > pair[0]), "{steps:?}");
        assert!(steps[0] < 0.03 && steps[64] > 0.75, "{steps:?}");
    }

    #[test]
    fn deviations_are_symmetric_and_white_at_zero() {
        assert_eq!(diverging(0.0), [255, 255, 255]);
        let (less, more) = (diverging(-1.0), diverging(1.0));
        assert!(less[2] > less[0] && more[0] > more[2], "{less:?} {more:?}");
        for i in 0..=32 {
            let t = i as f32 / 32.0;
            let difference = luminance(diverging(t)) - luminance(diverging(-t));
            assert!(difference.abs() < 0.1, "{t}: {difference}");
        }
    }

    #[test]
    fn values_out_of_range_are_clamped() {
        assert_eq!(sequential(7.0), sequential(1.0));
        assert_eq!(diverging(f32::NEG_INFINITY), diverging(-1.0));
        assert_eq!(sequential(f32::NAN), [128, 128, 128]);
    }
}
