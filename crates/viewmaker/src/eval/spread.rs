//! Means over repetitions, and how far single repetitions lie from them.

use serde::Serialize;

/// Mean and sample standard deviation (from two values on); `None` without values.
pub fn mean_and_deviation(values: &[f64]) -> Option<(f64, Option<f64>)> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
    Some((mean, deviation))
}

/// A number that was measured several times.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean of the values.
    pub mean: f64,
    /// Sample standard deviation; `None` for a single value.
    pub std: Option<f64>,
    /// The values, in the order of the repetitions.
    pub values: Vec<f64>,
}

impl Spread {
    /// Of one value or more; the mean of none is not a number.
    pub fn of(values: Vec<f64>) -> Self {
        let (mean, std) = mean_and_deviation(&values).unwrap_or((f64::NAN, None));
        Self { mean, std, values }
    }

    /// The mean as per cent with its deviation: `61.2 ± 0.8 %`.
    pub fn percent(&self) -> String {
        let deviation = self.std.map(|std| format!(" ± {:.1}", 100.0 * std));
        let deviation = deviation.unwrap_or_default();
        format!("{:.1}{deviation} %", 100.0 * self.mean)
    }

    /// Half the width of the 95 % interval of the mean of independent values:
    /// `1.96 · std / √count`; 0 for a single value.
    pub fn interval95(&self) -> f64 {
        self.std
            .map_or(0.0, |std| 1.96 * std / (self.values.len() as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_sample_deviations() {
        assert_eq!(mean_and_deviation(&[]), None);
        assert_eq!(mean_and_deviation(&[2.0]), Some((2.0, None)));
        let two = Some((2.0, Some(2f64.sqrt())));
        assert_eq!(mean_and_deviation(&[1.0, 3.0]), two);
    }

    #[test]
    fn spreads_are_shown_in_per_cent() {
        let spread = Spread::of(vec![0.5, 0.7]);
        assert_eq!(spread.percent(), "60.0 ± 14.1 %");
        let half = 1.96 * 0.02f64.sqrt() / 2f64.sqrt();
        assert!((spread.interval95() - half).abs() < 1e-12);
        let one = Spread::of(vec![0.25]);
        assert_eq!((one.percent().as_str(), one.interval95()), ("25.0 %", 0.0));
    }
}
