//! Sensor spectrograms and expert views against the numbers of the original implementation.

use viewmaker_data::ChannelStats;
use viewmaker_data::modality::sensor::{LogPowerSpectrogram, normalize};
use viewmaker_data::views::SpectralMask;
use viewmaker_data::views::noise::{SPECTRAL_NOISE, add_spectral_noise};
use viewmaker_golden::{Case, GoldenError, Group, Report};

#[test]
fn sensor_cases_agree_with_the_original() -> Result<(), GoldenError> {
    let group = Group::open(viewmaker_golden::directory(), "signal")?;
    let cases = group
        .cases()
        .iter()
        .filter(|case| case.name().starts_with("pamap2"));
    let mut count = 0;
    for case in cases {
        if case.has("in.stream") {
            check_spectrogram(case)?;
        } else {
            check_expert_view(case)?;
        }
        count += 1;
    }
    assert!(
        count > 0,
        "no sensor case in {}",
        viewmaker_golden::directory().display()
    );
    Ok(())
}

/// Rows of one activity → window → power → normalised log power.
fn check_spectrogram(case: &Case) -> Result<(), GoldenError> {
    let stream = case.f32("in.stream")?;
    let activity = case.i64("in.activity")?;
    let start = case.indices("in.start")?.data[0];
    let length = case.number("measurements_per_example")? as usize;
    let label = case.number("activity_label")? as i64;
    let channels = stream.shape[1];
    let rows: Vec<&[f32]> = stream
        .data
        .chunks_exact(channels)
        .zip(&activity.data)
        .filter(|&(_, &id)| id == label)
        .map(|(row, _)| row)
        .collect();
    let window = &rows[start..start + length];

    let (n_fft, hop) = (case.number("n_fft")?, case.number("hop_length")?);
    let ours = LogPowerSpectrogram::new(n_fft as usize, hop as usize);
    let (power, spec) = transform(&ours, window, &stats(case)?);
    let mut report = Report::new(case).require_float64();
    report.check("out.power", &power);
    report.check("out.spec", &spec);
    // With the same bits in the window, nothing is left but the rounding of the result.
    let theirs = LogPowerSpectrogram::with_window(window_of_the_original(), hop as usize);
    report.check_float64("out.spec", &transform(&theirs, window, &stats(case)?).1);
    report.finish()
}

/// Power and normalised log power of rows of channels.
fn transform(
    spectrogram: &LogPowerSpectrogram,
    window: &[&[f32]],
    stats: &ChannelStats,
) -> (Vec<f64>, Vec<f32>) {
    let channels = stats.mean.len();
    let plane = spectrogram.rows() * spectrogram.frames(window.len());
    let mut power = Vec::new();
    let mut spec = vec![0.0; channels * plane];
    for (channel, out) in spec.chunks_exact_mut(plane).enumerate() {
        let signal: Vec<f32> = window.iter().map(|row| row[channel]).collect();
        power.extend(spectrogram.power(&signal));
        spectrogram.log_power(&signal, out);
    }
    normalize(&mut spec, stats);
    (power, spec)
}

/// The window of 63 points as the original had it: its cosine in single precision rounds three
/// values, which lie next to the middle between two numbers, the other way than a correctly
/// rounded one. In the heart rate, a constant with little else, the logarithm shows it.
fn window_of_the_original() -> Vec<f64> {
    let step = (std::f64::consts::TAU / 63.0) as f32;
    let value = |i: usize| {
        let cos = f64::from(i as f32 * step).cos() as f32;
        let cos = match i {
            3 | 4 => cos.next_up(),
            20 => cos.next_down(),
            _ => cos,
        };
        f64::from(0.5 - 0.5 * cos)
    };
    (0..63).map(value).collect()
}

/// Masks, and noise where the case has some.
fn check_expert_view(case: &Case) -> Result<(), GoldenError> {
    let spec = case.f32("in.spec")?;
    let mask = case.indices("noise.mask1")?.data;
    let mask = SpectralMask {
        rows: mask[0],
        first_row: mask[1],
        frames: mask[2],
        first_frame: mask[3],
    };
    let mut view = spec.data;
    mask.apply(&mut view, spec.shape[1], spec.shape[2], 0.0);
    if case.has("noise.normal1") {
        add_spectral_noise(
            &mut view,
            SPECTRAL_NOISE,
            &stats(case)?.std,
            &case.f32("noise.normal1")?.data,
        );
    }
    let mut report = Report::new(case);
    report.check("out.view1", &view);
    report.finish()
}

fn stats(case: &Case) -> Result<ChannelStats, GoldenError> {
    Ok(ChannelStats {
        mean: case.f32("in.feature_means")?.data,
        std: case.f32("in.feature_stds")?.data,
    })
}
