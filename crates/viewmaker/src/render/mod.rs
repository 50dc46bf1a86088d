//! Pictures of views: pure functions from tensors to pixels, and PNG files.
//!
//! [`image_grid`] shows pictures (original, views, magnified difference), [`spectrogram_sheet`]
//! shows spectrograms with axes in Hz and seconds and a scale for every colour; [`chart()`] shows
//! measurements as curves.

mod canvas;
mod chart;
mod colour;
mod contact_sheet;
mod image_grid;
mod spectrogram;
mod ticks;

pub use canvas::Canvas;
pub use chart::{Chart, Curve, Point, chart};
pub use colour::{Rgb, diverging, sequential};
pub use contact_sheet::{ContactRow, contact_sheet};
pub use image_grid::{GridColumn, image_grid};
pub use spectrogram::{SheetRow, spectrogram_sheet};

/// The value below which a part `q` of the finite `values` lies, `q` in `[0, 1]`; 0 without any.
fn quantile(values: impl Iterator<Item = f32>, q: f64) -> f32 {
    let mut sorted: Vec<f32> = values.filter(|x| x.is_finite()).collect();
    if sorted.is_empty() {
        return 0.0;
    }
    sorted.sort_unstable_by(f32::total_cmp);
    let index = (q * (sorted.len() - 1) as f64).round() as usize;
    sorted[index.min(sorted.len() - 1)]
}

/// The largest of 1, 2, 5, 10, 20, … that is not above `x`; at least 1.
fn round_down_nicely(x: f32) -> f32 {
    let mut nice = 1.0f32;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle().take(18) {
        // With some slack: 4.9999 is meant to be 5.
        if nice * factor > 1.001 * x {
            break;
        }
        nice *= factor;
    }
    nice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_ignore_what_is_not_finite() {
        let values = [3.0, f32::NAN, 1.0, 2.0, f32::INFINITY];
        assert_eq!(quantile(values.into_iter(), 0.5), 2.0);
        assert_eq!(quantile(values.into_iter(), 1.0), 3.0);
        assert_eq!(quantile(std::iter::empty(), 0.5), 0.0);
    }

    #[test]
    fn magnifications_are_round() {
        let cases = [
            (0.3, 1.0),
            (1.9, 1.0),
            (2.0, 2.0),
            (7.0, 5.0),
            (99.0, 50.0),
            (250.0, 200.0),
        ];
        for (x, nice) in cases {
            assert_eq!(round_down_nicely(x), nice, "{x}");
        }
        assert!(round_down_nicely(f32::INFINITY).is_finite());
    }
}
