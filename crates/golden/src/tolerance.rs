//! How far a result may lie from its reference.

use serde::Deserialize;

/// A result passes if `max|got − want| ≤ abs + rel · max|want|`, both maxima over the whole tensor,
/// and, where given, `mean|got − want| ≤ mean_abs`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Tolerance {
    /// Absolute part.
    pub abs: f64,
    /// Part relative to the largest magnitude of the reference.
    pub rel: f64,
    /// Bound on the mean absolute difference.
    #[serde(default)]
    pub mean_abs: Option<f64>,
}

/// The outcome of one comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Largest absolute difference.
    pub error: f64,
    /// What it was allowed to be.
    pub allowed: f64,
    /// Largest of error ÷ allowed over all criteria; the comparison passes up to 1.
    pub ratio: f64,
}

impl Verdict {
    /// Whether the result is close enough. A NaN never is.
    pub fn passes(&self) -> bool {
        self.ratio <= 1.0
    }
}

impl Tolerance {
    /// Compares two tensors of the same length. A NaN where the reference has none counts as an
    /// infinite error.
    pub fn check(&self, got: &[f64], want: &[f64]) -> Verdict {
        assert_eq!(got.len(), want.len(), "tensors of different length");
        let differences = || got.iter().zip(want).map(|(g, w)| difference(*g, *w));
        let error = differences().fold(0.0, f64::max);
        let largest = want.iter().map(|w| w.abs()).fold(0.0, f64::max);
        let allowed = self.abs + self.rel * largest;
        let mut ratio = quotient(error, allowed);
        if let Some(mean_allowed) = self.mean_abs {
            let mean = differences().sum::<f64>() / want.len().max(1) as f64;
            ratio = ratio.max(quotient(mean, mean_allowed));
        }
        Verdict {
            error,
            allowed,
            ratio,
        }
    }
}

fn difference(got: f64, want: f64) -> f64 {
    if got == want || (got.is_nan() && want.is_nan()) {
        return 0.0;
    }
    let difference = (got - want).abs();
    if difference.is_nan() {
        f64::INFINITY
    } else {
        difference
    }
}

/// 0 ÷ 0 is 0: an exact result meets a tolerance of zero.
fn quotient(error: f64, allowed: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance {
        abs: 0.1,
        rel: 0.01,
        mean_abs: None,
    };

    #[test]
    fn maxima_are_over_the_whole_tensor() {
        // 0.1 + 0.01·100 = 1.1 is allowed everywhere, beside the small element too.
        let verdict = TOLERANCE.check(&[1.0, 100.0], &[0.0, 100.0]);
        assert!(verdict.passes());
        assert!((verdict.ratio - 1.0 / 1.1).abs() < 1e-12);
        assert!(!TOLERANCE.check(&[1.2, 100.0], &[0.0, 100.0]).passes());
    }

    #[test]
    fn exact_is_required_where_nothing_is_allowed() {
        let exact = Tolerance {
            abs: 0.0,
            rel: 0.0,
            mean_abs: None,
        };
        assert!(exact.check(&[3.0], &[3.0]).passes());
        assert!(!exact.check(&[3.0], &[4.0]).passes());
    }

    #[test]
    fn nan_never_passes() {
        assert!(!TOLERANCE.check(&[f64::NAN], &[0.0]).passes());
        assert!(!TOLERANCE.check(&[f64::INFINITY], &[0.0]).passes());
    }

    #[test]
    fn the_mean_has_its_own_bound() {
        let tolerance = Tolerance {
            mean_abs: Some(0.01),
            ..TOLERANCE
        };
        assert!(
            tolerance
                .check(&[0.05, 0.0, 0.0, 0.0, 0.0], &[0.0; 5])
                .passes()
        );
        assert!(!tolerance.check(&[0.05, 0.05], &[0.0; 2]).passes());
    }
}
