//! Measures of the synthesiser's signals.

/// Root of the mean square; 0 for no samples.
pub(super) fn rms(samples: &[f32]) -> f32 {
    let sum: f32 = samples.iter().map(|x| x * x).sum();
    (sum / samples.len().max(1) as f32).sqrt()
}
