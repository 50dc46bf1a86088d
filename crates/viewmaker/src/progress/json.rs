//! Progress as JSON: one object a line, told apart by its `event`.

use super::{EpochReport, Event, Meter, StepReport, TaskReport, TrainPlan, Ui};
use serde::Serialize;
use std::io::Write;

/// Writes every event as a line of JSON.
pub struct JsonUi<W> {
    out: W,
    meter: Option<Meter>,
}

#[derive(Serialize)]
struct TimedStep<'a> {
    #[serde(flatten)]
    report: &'a StepReport,
    examples_per_second: Option<f64>,
    seconds_left: Option<f64>,
}

#[derive(Serialize)]
struct Message<'a> {
    text: &'a str,
}

impl<W: Write> JsonUi<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, meter: None }
    }

    fn event(&mut self, event: &str, body: &impl Serialize) {
        if let Ok(line) = serde_json::to_string(&Event { event, body }) {
            // Nobody may be reading any more; that is no reason to stop the work.
            let _ = writeln!(self.out, "{line}");
        }
    }
}

impl<W: Write> Ui for JsonUi<W> {
    fn on_start(&mut self, plan: &TrainPlan) {
        self.meter = Some(Meter::new(plan));
        self.event("start", plan);
    }

    fn on_step(&mut self, report: &StepReport) {
        if let Some(meter) = &mut self.meter {
            meter.advance(report.step);
        }
        let meter = self.meter.as_ref();
        let timed = TimedStep {
            report,
            examples_per_second: meter.and_then(Meter::examples_per_second),
            seconds_left: meter.and_then(Meter::seconds_left),
        };
        self.event("step", &timed);
    }

    fn on_epoch(&mut self, report: &EpochReport) {
        self.event("epoch", report);
        if let Some(meter) = &mut self.meter {
            meter.pause_until_now();
        }
    }

    fn on_task(&mut self, report: &TaskReport<'_>) {
        self.event("task", report);
    }

    fn on_message(&mut self, text: &str) {
        self.event("message", &Message { text });
    }

    fn on_finish(&mut self) {
        let _ = self.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::samples;
    use serde_json::Value;

    #[test]
    fn every_line_is_an_object_with_an_event() {
        let mut out = Vec::new();
        let mut ui = JsonUi::new(&mut out);
        ui.on_start(&samples::plan());
        ui.on_step(&samples::step(1));
        let mut diverged = samples::step(2);
        diverged.encoder_loss = f64::NAN;
        ui.on_step(&diverged);
        ui.on_epoch(&samples::epoch());
        ui.on_message("a \"quoted\"\nline");
        let text = String::from_utf8(out).unwrap();
        let events: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let names: Vec<&str> = events
            .iter()
            .map(|e| e["event"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["start", "step", "step", "epoch", "message"]);
        assert_eq!(events[1]["viewmaker_loss"], -3.25);
        assert!(events[1]["examples_per_second"].is_number());
        assert!(events[2]["encoder_loss"].is_null());
        assert_eq!(events[3]["knn_accuracy"], 0.5);
        assert_eq!(events[4]["text"], "a \"quoted\"\nline");
    }
}
