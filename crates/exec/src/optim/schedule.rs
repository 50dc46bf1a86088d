//! Learning-rate schedules.

use std::f64::consts::PI;

/// How the learning rate changes over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Always the configured rate.
    Constant,
    /// Linear warm-up from 0 over `warmup_steps`, then half a cosine down to 0 at the last step
    /// (Loshchilov & Hutter, *SGDR*, ICLR 2017, equation 5, without restarts).
    Cosine {
        /// Steps until the full rate is reached.
        warmup_steps: u64,
        /// Steps of the whole run.
        total_steps: u64,
    },
}

impl Schedule {
    /// The factor on the learning rate at `step`, counted from 0; in `[0, 1]`.
    pub fn factor(self, step: u64) -> f32 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine { warmup_steps, .. } if step < warmup_steps => {
                ((step + 1) as f64 / warmup_steps as f64) as f32
            }
            Self::Cosine {
                warmup_steps,
                total_steps,
            } => {
                let length = total_steps.saturating_sub(warmup_steps).max(1) as f64;
                let progress = ((step - warmup_steps) as f64 / length).min(1.0);
                (0.5 * (1.0 + (PI * progress).cos())) as f32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_warms_up_and_ends_at_zero() {
        let schedule = Schedule::Cosine {
            warmup_steps: 10,
            total_steps: 110,
        };
        assert_eq!(schedule.factor(0), 0.1);
        assert_eq!(schedule.factor(9), 1.0);
        assert_eq!(schedule.factor(10), 1.0);
        assert!((schedule.factor(60) - 0.5).abs() < 1e-6);
        assert!(schedule.factor(110) < 1e-6);
        assert!(schedule.factor(1_000) < 1e-6);
    }

    #[test]
    fn cosine_is_finite_for_degenerate_lengths() {
        for (warmup_steps, total_steps) in [(0, 0), (5, 0), (5, 5)] {
            let schedule = Schedule::Cosine {
                warmup_steps,
                total_steps,
            };
            for step in 0..8 {
                assert!((0.0..=1.0).contains(&schedule.factor(step)));
            }
        }
    }
}
