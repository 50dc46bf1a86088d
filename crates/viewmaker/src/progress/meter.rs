//! Throughput and time left.

use super::TrainPlan;
use std::time::{Duration, Instant};

/// Measures steps per second, forgetting the past slowly.
#[derive(Clone, Debug)]
pub struct Meter {
    plan: TrainPlan,
    step: u64,
    last: Instant,
    seconds_per_step: Option<f64>,
}

impl Meter {
    /// Weight of the newest step in the running mean.
    const NEWEST: f64 = 0.1;

    /// A meter that starts now.
    pub fn new(plan: &TrainPlan) -> Self {
        Self {
            plan: plan.clone(),
            step: plan.first_step,
            last: Instant::now(),
            seconds_per_step: None,
        }
    }

    /// Notes that `step` steps are done by now.
    pub fn advance(&mut self, step: u64) {
        let now = Instant::now();
        self.note(step, now - self.last);
        self.last = now;
    }

    fn note(&mut self, step: u64, elapsed: Duration) {
        let count = step.saturating_sub(self.step);
        self.step = step;
        if count == 0 {
            return;
        }
        let newest = elapsed.as_secs_f64() / count as f64;
        let old = self.seconds_per_step.unwrap_or(newest);
        self.seconds_per_step = Some(old + Self::NEWEST * (newest - old));
    }

    /// Lets time pass that does not count as training (an evaluation between epochs).
    pub fn pause_until_now(&mut self) {
        self.last = Instant::now();
    }

    /// Examples per second, once known.
    pub fn examples_per_second(&self) -> Option<f64> {
        let seconds = self.seconds_per_step.filter(|s| *s > 0.0)?;
        Some(self.plan.batch_size as f64 / seconds)
    }

    /// Seconds until the last step at the present speed, once known.
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.plan.steps.saturating_sub(self.step) as f64;
        Some(left * self.seconds_per_step?)
    }

    /// `812 examples/s, 2:03 left`, or nothing before the first step.
    pub fn describe(&self) -> String {
        match (self.examples_per_second(), self.seconds_left()) {
            (Some(rate), Some(left)) => {
                let left = super::describe_seconds(left);
                format!("{rate:.0} examples/s, {left} left")
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::samples;

    #[test]
    fn measures_throughput_and_time_left() {
        let mut meter = Meter::new(&samples::plan());
        assert_eq!(meter.describe(), "");
        for step in 1..=10 {
            meter.note(step, Duration::from_millis(500));
        }
        assert_eq!(meter.examples_per_second(), Some(128.0));
        assert_eq!(meter.seconds_left(), Some(5.0));
        assert_eq!(meter.describe(), "128 examples/s, 5 s left");
    }

    #[test]
    fn repeated_steps_change_nothing() {
        let mut meter = Meter::new(&samples::plan());
        meter.note(2, Duration::from_secs(2));
        let before = meter.examples_per_second();
        meter.note(2, Duration::from_secs(100));
        assert_eq!(meter.examples_per_second(), before);
    }
}
