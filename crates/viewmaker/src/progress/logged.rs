//! A user interface that also keeps the run's log.

use super::{EpochReport, StepReport, TaskReport, TrainPlan, Ui, describe_epoch};
use std::io::Write;
use std::time::SystemTime;

/// Passes everything on and writes starts, epochs and messages to a log, each with the time (UTC).
pub struct LoggedUi<'a, W> {
    inner: &'a mut dyn Ui,
    log: W,
}

impl<'a, W: Write> LoggedUi<'a, W> {
    /// Listens for `inner` and for `log`.
    pub fn new(inner: &'a mut dyn Ui, log: W) -> Self {
        Self { inner, log }
    }

    fn write(&mut self, text: &str) {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        // A full disk shows when the next checkpoint is written; the log alone stops nothing.
        let _ = writeln!(self.log, "{now} {text}");
        let _ = self.log.flush();
    }
}

impl<W: Write> Ui for LoggedUi<'_, W> {
    fn on_start(&mut self, plan: &TrainPlan) {
        self.write(&format!(
            "training from step {} to {}, batch size {}",
            plan.first_step, plan.steps, plan.batch_size
        ));
        self.inner.on_start(plan);
    }

    fn on_step(&mut self, report: &StepReport) {
        self.inner.on_step(report);
    }

    fn on_epoch(&mut self, report: &EpochReport) {
        self.write(&describe_epoch(report));
        self.inner.on_epoch(report);
    }

    fn on_task(&mut self, report: &TaskReport<'_>) {
        self.inner.on_task(report);
    }

    fn on_message(&mut self, text: &str) {
        self.write(text);
        self.inner.on_message(text);
    }

    fn on_finish(&mut self) {
        self.inner.on_finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{PlainUi, samples};

    #[test]
    fn logs_and_passes_on() {
        let (mut shown, mut log) = (Vec::new(), Vec::new());
        {
            let mut plain = PlainUi::new(&mut shown);
            let mut ui = LoggedUi::new(&mut plain, &mut log);
            ui.on_start(&samples::plan());
            ui.on_step(&samples::step(1));
            ui.on_epoch(&samples::epoch());
            ui.on_message("saved");
            ui.on_finish();
        }
        let log = String::from_utf8(log).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 3, "steps stay out of the log: {log}");
        assert!(lines[2].ends_with("Z saved"), "{log}");
        assert_eq!(String::from_utf8(shown).unwrap().lines().count(), 4);
    }
}
