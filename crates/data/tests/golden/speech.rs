//! Speech spectrograms, mel filters and expert augmentations against the reference numbers.

use viewmaker_data::modality::speech::{LogMel, Settings, mel_power_to_db};
use viewmaker_data::spectrum::{MelFilters, Padding};
use viewmaker_data::views::SpectralMask;
use viewmaker_data::views::noise::{
    SPECTRAL_NOISE, add_noise_of_spectrum, add_spectral_noise, crop_to_silence,
};
use viewmaker_golden::{Case, GoldenError, Group, Report, directory};

#[test]
fn speech_agrees_with_the_reference() -> Result<(), GoldenError> {
    let group = Group::open(directory(), "signal")?;
    let mut cases = 0;
    for case in group.cases() {
        let speech = ["libri_", "google_"]
            .iter()
            .any(|p| case.name().starts_with(p));
        if speech {
            check_spectrogram(case)?;
        } else if case.name().starts_with("mel_basis") {
            check_filters(case)?;
        } else {
            continue;
        }
        cases += 1;
    }
    assert!(
        cases >= 2,
        "only {cases} speech cases in {}",
        directory().display()
    );
    Ok(())
}

fn settings_of(case: &Case) -> Result<Settings, GoldenError> {
    let number = |name| case.number(name).map(|x| x as usize);
    Ok(Settings {
        sample_rate: number("sample_rate")? as u32,
        n_fft: number("n_fft")?,
        hop_length: number("hop_length")?,
        n_mels: number("n_mels")?,
        max_samples: number("pad_to")?,
        fmax: 8000.0,
    })
}

fn check_spectrogram(case: &Case) -> Result<(), GoldenError> {
    let mut report = Report::new(case).require_float64();
    let settings = settings_of(case)?;
    let (mean, std) = (
        case.number("normalize_mean")?,
        case.number("normalize_std")?,
    );
    let mut wave = waveform(case)?;
    if case.has("noise.crop_scale") {
        wave = augmented(case, wave)?;
        report.check("out.wave_augmented", &wave);
    }

    let logmel = LogMel::new(&settings);
    let mut db = logmel.mel_power(&wave);
    report.check("out.mel_power", &db);
    if case.has("noise.mask") {
        mask(case)?.apply(&mut db, logmel.n_mels(), logmel.frames(), 0.0);
    }
    mel_power_to_db(&mut db);
    if case.has("noise.spec") {
        let normal = case.f32("noise.spec")?.data;
        add_spectral_noise(&mut db, f64::from(SPECTRAL_NOISE), &[std], &normal);
    }
    report.check("out.db", &db);
    let spec: Vec<f64> = db.iter().map(|x| (x - mean) / std).collect();
    report.check_float64("out.spec", &spec);
    // As the data set does it.
    let (mean, scale) = (mean as f32, 1.0 / std as f32);
    let single: Vec<f32> = db.iter().map(|&x| (x as f32 - mean) * scale).collect();
    report.check("out.spec", &single);

    if case.has("variant.constant_pad.spec") {
        let zeros = LogMel::with_padding(&settings, Padding::Zero).decibels(&wave);
        let spec: Vec<f32> = zeros.iter().map(|&x| (x as f32 - mean) * scale).collect();
        report.check("variant.constant_pad.spec", &spec);
    }
    report.finish()
}

/// The stored samples, repeated as often as the case says.
fn waveform(case: &Case) -> Result<Vec<f64>, GoldenError> {
    let stored = case.f32("in.wave")?.data;
    let samples = case.number("samples")? as usize;
    Ok(stored
        .iter()
        .cycle()
        .take(samples)
        .map(|&x| f64::from(x))
        .collect())
}

fn augmented(case: &Case, mut wave: Vec<f64>) -> Result<Vec<f64>, GoldenError> {
    let scale = case.f64("noise.crop_scale")?.data[0];
    let first = case.indices("noise.crop_start")?.data[0];
    let length = (scale * wave.len() as f64) as usize;
    crop_to_silence(&mut wave, first, length);
    add_noise_of_spectrum(&mut wave, &case.f64("noise.spectrum")?.data);
    Ok(wave)
}

fn mask(case: &Case) -> Result<SpectralMask, GoldenError> {
    let m = case.indices("noise.mask")?.data;
    Ok(SpectralMask {
        rows: m[0],
        first_row: m[1],
        frames: m[2],
        first_frame: m[3],
    })
}

fn check_filters(case: &Case) -> Result<(), GoldenError> {
    let mut report = Report::new(case);
    let (rate, n_fft) = (case.number("sr")?, case.number("n_fft")? as usize);
    for n_mels in [32, 64, 112, 224] {
        let filters = MelFilters::new(rate, n_fft, n_mels, 8000.0);
        let rows: Vec<Vec<f64>> = (0..n_mels).map(|m| row(&filters, m)).collect();
        let each = |of: fn(&[f64]) -> f64| -> Vec<f64> { rows.iter().map(|r| of(r)).collect() };
        report.check(&format!("mels{n_mels}.row_sum"), &each(|r| r.iter().sum()));
        report.check(&format!("mels{n_mels}.row_peak"), &each(peak));
        report.check(&format!("mels{n_mels}.first_nonzero"), &each(first_nonzero));
        report.check(&format!("mels{n_mels}.count_nonzero"), &each(count_nonzero));
        let basis = format!("mels{n_mels}.basis");
        if case.has(&basis) {
            report.check(&basis, &rows.concat());
        }
    }
    report.finish()
}

/// All weights of a filter, zeros included.
fn row(filters: &MelFilters, mel: usize) -> Vec<f64> {
    let mut row = vec![0.0; filters.bins()];
    let (first, weights) = filters.weights(mel);
    row[first..first + weights.len()].copy_from_slice(weights);
    row
}

fn peak(row: &[f64]) -> f64 {
    let larger = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (0..row.len()).fold(0, larger) as f64
}

fn first_nonzero(row: &[f64]) -> f64 {
    row.iter().position(|&w| w > 0.0).map_or(-1.0, |i| i as f64)
}

fn count_nonzero(row: &[f64]) -> f64 {
    row.iter().filter(|&&w| w > 0.0).count() as f64
}
