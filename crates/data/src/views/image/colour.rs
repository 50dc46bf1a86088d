//! Changes of colour, on C × H × W pictures with values in `[0, 1]`.
//!
//! Each is an interpolation between the picture and a degenerate one (black, mean grey, greyscale),
//! after Haeberli & Voorhies, *Image processing by linear interpolation and extrapolation* (1994), as
//! torchvision's `ColorJitter` does it, which SimCLR's published results used.

/// Weights of red, green and blue in the luma of ITU-R BT.601.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Multiplies by `factor` ≥ 0.
pub(super) fn brighten(picture: &mut [f32], factor: f32) {
    for x in picture {
        *x = (factor * *x).clamp(0.0, 1.0);
    }
}

/// Multiplies distances from the mean grey by `factor` ≥ 0.
pub(super) fn contrast(picture: &mut [f32], channels: usize, factor: f32) {
    let mean = mean_grey(picture, channels);
    for x in picture {
        *x = (mean + factor * (*x - mean)).clamp(0.0, 1.0);
    }
}

/// The mean of the luma; without three channels, of all values.
fn mean_grey(picture: &[f32], channels: usize) -> f32 {
    let plane = picture.len() / channels.max(1);
    let mean = |values: &[f32]| {
        let sum: f64 = values.iter().map(|&x| f64::from(x)).sum();
        sum / values.len().max(1) as f64
    };
    if channels != 3 {
        return mean(picture) as f32;
    }
    let planes = picture.chunks_exact(plane.max(1));
    let weighted = planes.zip(LUMA).map(|(p, w)| f64::from(w) * mean(p));
    weighted.sum::<f64>() as f32
}

/// Multiplies distances from grey by `factor` ≥ 0; three channels.
pub(super) fn saturate(picture: &mut [f32], factor: f32) {
    each_pixel(picture, |rgb| {
        let grey = luma(rgb);
        rgb.map(|x| (grey + factor * (x - grey)).clamp(0.0, 1.0))
    });
}

/// Turns every hue by the part `turn` of the circle; three channels.
pub(super) fn turn_hue(picture: &mut [f32], turn: f32) {
    each_pixel(picture, |rgb| {
        let [hue, saturation, value] = hsv(rgb);
        of_hsv([(hue + turn).rem_euclid(1.0), saturation, value])
    });
}

fn luma(rgb: [f32; 3]) -> f32 {
    rgb.iter().zip(LUMA).map(|(x, w)| x * w).sum()
}

fn each_pixel(picture: &mut [f32], change: impl Fn([f32; 3]) -> [f32; 3]) {
    let plane = picture.len() / 3;
    let (red, rest) = picture.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        [*r, *g, *b] = change([*r, *g, *b]);
    }
}

/// Hue (as part of the circle, red at 0), saturation and value (Smith 1978, *Color gamut transform
/// pairs*).
fn hsv([r, g, b]: [f32; 3]) -> [f32; 3] {
    let value = r.max(g).max(b);
    let chroma = value - r.min(g).min(b);
    if chroma <= 0.0 {
        return [0.0, 0.0, value];
    }
    let sixths = if value == r {
        ((g - b) / chroma).rem_euclid(6.0)
    } else if value == g {
        (b - r) / chroma + 2.0
    } else {
        (r - g) / chroma + 4.0
    };
    [sixths / 6.0, chroma / value, value]
}

/// The colour of a hue, a saturation and a value.
fn of_hsv([hue, saturation, value]: [f32; 3]) -> [f32; 3] {
    let part = |offset: f32| {
        let k = (offset + 6.0 * hue).rem_euclid(6.0);
        let x = value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0);
        x.clamp(0.0, 1.0)
    };
    [part(5.0), part(3.0), part(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::dice_of;

    fn pictures() -> impl Iterator<Item = Vec<f32>> {
        (0..20).map(|index| {
            let mut dice = dice_of(3, 1, 0, index);
            (0..3 * 40).map(|_| dice.unit()).collect()
        })
    }

    fn distance(a: &[f32], b: &[f32]) -> f32 {
        let pairs = a.iter().zip(b);
        pairs.fold(0.0, |worst, (a, b)| worst.max((a - b).abs()))
    }

    #[test]
    fn factors_of_one_and_turns_of_nothing_are_the_identity() {
        for x in pictures() {
            let changes: [fn(&mut [f32]); 5] = [
                |y| brighten(y, 1.0),
                |y| contrast(y, 3, 1.0),
                |y| saturate(y, 1.0),
                |y| turn_hue(y, 0.0),
                |y| turn_hue(y, 1.0),
            ];
            for change in changes {
                let mut y = x.clone();
                change(&mut y);
                assert!(distance(&x, &y) < 2e-6, "{}", distance(&x, &y));
            }
        }
    }

    #[test]
    fn known_colours_turn_as_they_should() {
        let third = |rgb: [f32; 3]| {
            let mut x = rgb;
            turn_hue(&mut x, 1.0 / 3.0);
            x
        };
        for (from, to) in [
            ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
            ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0]),
            ([0.0, 0.0, 1.0], [1.0, 0.0, 0.0]),
            ([0.8, 0.8, 0.2], [0.2, 0.8, 0.8]),
            ([0.4, 0.4, 0.4], [0.4, 0.4, 0.4]),
        ] {
            assert!(distance(&third(from), &to) < 1e-6, "{:?}", third(from));
        }
    }

    #[test]
    fn turning_there_and_back_keeps_the_colour_and_always_the_value() {
        for x in pictures() {
            let mut y = x.clone();
            turn_hue(&mut y, 0.3);
            for i in 0..40 {
                let value = |p: &[f32]| p[i].max(p[40 + i]).max(p[80 + i]);
                assert!((value(&x) - value(&y)).abs() < 1e-6);
            }
            turn_hue(&mut y, -0.3);
            assert!(distance(&x, &y) < 5e-6, "{}", distance(&x, &y));
        }
    }

    #[test]
    fn degenerate_pictures_are_black_mean_grey_and_greyscale() {
        let mut x = [0.2, 0.6, 0.4, 0.8, 0.6, 1.0];
        brighten(&mut x, 0.0);
        assert_eq!(x, [0.0; 6]);
        let mut x = [0.2, 0.6, 0.4, 0.8, 0.6, 1.0];
        contrast(&mut x, 3, 0.0);
        let mean = 0.299 * 0.4 + 0.587 * 0.6 + 0.114 * 0.8;
        assert!(distance(&x, &[mean; 6]) < 1e-6);
        let mut x = [0.2, 0.6, 0.4, 0.8, 0.6, 1.0];
        saturate(&mut x, 0.0);
        let [a, b] = [luma([0.2, 0.4, 0.6]), luma([0.6, 0.8, 1.0])];
        assert!(distance(&x, &[a, b, a, b, a, b]) < 1e-6);
        let mut one = [0.1, 0.5];
        contrast(&mut one, 1, 0.5);
        assert!(distance(&one, &[0.2, 0.4]) < 1e-6);
    }
}
