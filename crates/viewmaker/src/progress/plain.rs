//! Progress as plain lines, for files and pipes.

use super::{EpochReport, Meter, StepReport, TaskReport, TrainPlan, Ui, describe_epoch};
use std::io::Write;
use std::time::{Duration, Instant};

/// Writes a line now and then.
pub struct PlainUi<W> {
    out: W,
    every: Duration,
    last: Instant,
    steps: u64,
    meter: Option<Meter>,
}

impl<W: Write> PlainUi<W> {
    /// A line for the first step, then one every ten seconds, and one each epoch.
    pub fn new(out: W) -> Self {
        Self::every(out, Duration::from_secs(10))
    }

    /// As [`PlainUi::new`] with another interval between lines.
    pub fn every(out: W, every: Duration) -> Self {
        Self {
            out,
            every,
            last: Instant::now(),
            steps: 0,
            meter: None,
        }
    }

    fn line(&mut self, text: &str) {
        self.last = Instant::now();
        // Nobody may be reading any more; that is no reason to stop the work.
        let _ = writeln!(self.out, "{text}");
    }

    fn is_due(&self) -> bool {
        self.last.elapsed() >= self.every
    }
}

impl<W: Write> Ui for PlainUi<W> {
    fn on_start(&mut self, plan: &TrainPlan) {
        self.steps = plan.steps;
        self.meter = Some(Meter::new(plan));
        let size = plan.batch_size;
        self.line(&format!(
            "training: steps {} to {} of {} examples each",
            plan.first_step, plan.steps, size
        ));
    }

    fn on_step(&mut self, report: &StepReport) {
        let Some(meter) = &mut self.meter else {
            return;
        };
        meter.advance(report.step);
        let speed = meter.describe();
        if report.step > 1 && !self.is_due() {
            return;
        }
        let losses = super::describe_losses(
            report.encoder_loss,
            report.viewmaker_loss,
            report.mean_abs_delta,
        );
        let (step, steps, epoch) = (report.step, self.steps, report.epoch + 1);
        self.line(&format!(
            "step {step}/{steps} (epoch {epoch}): {losses}, {speed}"
        ));
    }

    fn on_epoch(&mut self, report: &EpochReport) {
        self.line(&describe_epoch(report));
        if let Some(meter) = &mut self.meter {
            meter.pause_until_now();
        }
    }

    fn on_task(&mut self, report: &TaskReport<'_>) {
        if report.done < report.total && !self.is_due() {
            return;
        }
        let (task, done, total) = (report.task, report.done, report.total);
        let detail = match report.detail {
            "" => String::new(),
            detail => format!(", {detail}"),
        };
        self.line(&format!("{task}: {done}/{total}{detail}"));
    }

    fn on_message(&mut self, text: &str) {
        self.line(text);
    }

    fn on_finish(&mut self) {
        let _ = self.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::samples;

    fn lines_with(every: Duration) -> String {
        let mut out = Vec::new();
        let mut ui = PlainUi::every(&mut out, every);
        ui.on_start(&samples::plan());
        for step in 1..=3 {
            ui.on_step(&samples::step(step));
        }
        ui.on_epoch(&samples::epoch());
        ui.on_task(&TaskReport {
            task: "linear probe",
            done: 5,
            total: 5,
            detail: "loss 1.0",
        });
        ui.on_message("bye");
        ui.on_finish();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_the_first_step_and_every_epoch() {
        let text = lines_with(Duration::from_secs(3600));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[0], "training: steps 0 to 20 of 64 examples each");
        let step = "step 1/20 (epoch 1): encoder 3.250 · viewmaker -3.250 · |δ| 0.0500, ";
        assert!(lines[1].starts_with(step), "{text}");
        assert!(lines[2].starts_with("epoch 1 done"));
        assert_eq!(lines[3], "linear probe: 5/5, loss 1.0");
        assert_eq!(lines[4], "bye");
    }

    #[test]
    fn writes_every_step_without_an_interval() {
        assert_eq!(lines_with(Duration::ZERO).lines().count(), 7);
    }
}
