//! Changes of a waveform.

use crate::modality::speech::Resampler;
use crate::random::Dice;
use crate::views::noise::{add_noise_of_spectrum, crop_to_silence};

/// Speeds are whole per cents, so that the resampler has few phases.
const SPEED_STEPS: f32 = 100.0;

/// Silences all but a random piece, whose part of the whole is uniform in `keep`.
pub(super) fn keep_part(samples: &mut [f32], keep: [f32; 2], dice: &mut Dice) {
    let part = dice.between(keep[0], keep[1]);
    let length = ((part * samples.len() as f32).round() as usize).min(samples.len());
    let first = dice.pick(0..samples.len() - length + 1);
    crop_to_silence(samples, first, length);
}

/// Adds noise of a white real spectrum, the signal louder by a level uniform in `snr_db`. Silence
/// stays silent.
pub(super) fn add_noise(samples: &mut [f32], snr_db: [f32; 2], dice: &mut Dice) {
    let snr = f64::from(dice.between(snr_db[0], snr_db[1]));
    let power = power(samples);
    if power <= 0.0 {
        return;
    }
    let half = samples.len().div_ceil(2);
    let mut spectrum: Vec<f64> = (0..=half).map(|_| f64::from(dice.normal())).collect();
    let wanted = power * 10f64.powf(-snr / 10.0);
    let scale = (wanted / power_of_spectrum(&spectrum).max(f64::MIN_POSITIVE)).sqrt();
    spectrum.iter_mut().for_each(|x| *x *= scale);
    let mut noise = vec![0.0; samples.len()];
    add_noise_of_spectrum(&mut noise, &spectrum);
    for (x, e) in samples.iter_mut().zip(noise) {
        *x += e as f32;
    }
}

/// Mean square of a signal.
fn power(samples: &[f32]) -> f64 {
    let squares: f64 = samples.iter().map(|&x| f64::from(x).powi(2)).sum();
    squares / samples.len().max(1) as f64
}

/// Mean square of the signal with this real spectrum, by Parseval's theorem.
fn power_of_spectrum(spectrum: &[f64]) -> f64 {
    let (Some(first), Some(last)) = (spectrum.first(), spectrum.last()) else {
        return 0.0;
    };
    let n = 2.0 * (spectrum.len() - 1) as f64;
    let both: f64 = spectrum.iter().map(|x| 2.0 * x * x).sum();
    (both - first * first - last * last) / (n * n)
}

/// Makes the signal louder by `db`.
pub(super) fn gain(samples: &mut [f32], db: f32) {
    let factor = 10f32.powf(db / 20.0);
    samples.iter_mut().for_each(|x| *x *= factor);
}

/// Moves the signal later by a number of samples, what leaves at the end entering at the beginning.
pub(super) fn rotate(samples: &mut [f32], shift: f32) {
    if !samples.is_empty() {
        let shift = (shift.round() as isize).rem_euclid(samples.len() as isize);
        samples.rotate_right(shift as usize);
    }
}

/// Plays the signal faster by `factor` > 0, rounded to whole per cents: it gets shorter and higher.
pub(super) fn speed(samples: &mut Vec<f32>, factor: f32) {
    let steps = (factor * SPEED_STEPS).round().max(1.0);
    if steps != SPEED_STEPS {
        *samples = Resampler::new(steps as u32, SPEED_STEPS as u32).convert(samples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::dice_of;

    fn tone(hz: f32) -> Vec<f32> {
        let step = std::f32::consts::TAU * hz / 8000.0;
        (0..8000).map(|i| 0.2 * (step * i as f32).sin()).collect()
    }

    #[test]
    fn noise_has_the_level_asked_for() {
        for (length, snr) in [(8000, 10.0), (7999, -5.0), (64, 20.0)] {
            let clean = &tone(440.0)[..length];
            let mut noisy = clean.to_vec();
            add_noise(&mut noisy, [snr, snr], &mut dice_of(1, 2, 3, 4));
            let noise: Vec<f32> = noisy.iter().zip(clean).map(|(y, x)| y - x).collect();
            let got = 10.0 * (power(clean) / power(&noise)).log10();
            assert!((got - f64::from(snr)).abs() < 0.1, "{length}: {got}");
        }
    }

    #[test]
    fn gain_is_in_decibels_of_amplitude() {
        let mut x = [0.1, -0.2];
        gain(&mut x, 20.0);
        assert!((x[0] - 1.0).abs() < 1e-6 && (x[1] + 2.0).abs() < 1e-6);
    }

    #[test]
    fn moving_there_and_back_is_the_identity() {
        let x = tone(440.0);
        let mut y = x.clone();
        rotate(&mut y, 100.4);
        assert_eq!((y[100], y[0]), (x[0], x[7900]));
        rotate(&mut y, -100.0);
        assert_eq!(x, y);
        rotate(&mut [], 3.0);
    }

    #[test]
    fn speed_raises_the_pitch_and_shortens() {
        let mut x = tone(440.0);
        speed(&mut x, 1.1);
        assert!(x.len().abs_diff(7273) <= 1, "{}", x.len());
        let want = tone(484.0);
        let inside = 800..6500;
        let error = inside.fold(0.0f32, |e, i| e.max((x[i] - want[i]).abs()));
        assert!(error < 1e-3, "{error}");
        let mut same = tone(440.0);
        speed(&mut same, 1.004);
        assert_eq!(same, tone(440.0));
    }

    #[test]
    fn a_part_is_kept_where_it_was() {
        let x: Vec<f32> = (1..=100).map(|i| i as f32).collect();
        for index in 0..50 {
            let mut y = x.clone();
            keep_part(&mut y, [0.3, 0.6], &mut dice_of(1, 2, 3, index));
            let kept = y.iter().filter(|&&v| v != 0.0).count();
            assert!((30..=60).contains(&kept), "{kept}");
            assert!(y.iter().zip(&x).all(|(y, x)| *y == 0.0 || y == x));
            let first = y.iter().position(|&v| v != 0.0).unwrap();
            assert!(y[first..first + kept].iter().all(|&v| v != 0.0));
        }
    }
}
