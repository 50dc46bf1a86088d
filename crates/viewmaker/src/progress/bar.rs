//! Progress as a bar, for terminals.

use super::{EpochReport, Meter, StepReport, TaskReport, TrainPlan, Ui, describe_epoch};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::time::Duration;

/// Draws a progress bar on standard error.
pub struct BarUi {
    /// Keeps the bars of training and of a task inside it from overwriting each other.
    screen: MultiProgress,
    train: Option<ProgressBar>,
    task: Option<(String, ProgressBar)>,
    meter: Option<Meter>,
    knn: Option<f64>,
}

impl Default for BarUi {
    fn default() -> Self {
        Self::new()
    }
}

impl BarUi {
    /// Nothing is drawn before something happens.
    pub fn new() -> Self {
        Self {
            screen: MultiProgress::new(),
            train: None,
            task: None,
            meter: None,
            knn: None,
        }
    }

    fn bar(screen: &MultiProgress, length: u64, template: &str) -> ProgressBar {
        let bar = screen.add(ProgressBar::new(length));
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━╸─"));
        bar
    }

    fn end_task(&mut self) {
        if let Some((_, bar)) = self.task.take() {
            bar.finish_and_clear();
        }
    }
}

impl Ui for BarUi {
    fn on_start(&mut self, plan: &TrainPlan) {
        self.end_task();
        self.meter = Some(Meter::new(plan));
        let bar = Self::bar(
            &self.screen,
            plan.steps,
            "{bar:12.cyan/dim} {pos}/{len} {wide_msg}",
        );
        bar.set_position(plan.first_step);
        bar.enable_steady_tick(Duration::from_millis(500));
        self.train = Some(bar);
    }

    fn on_step(&mut self, report: &StepReport) {
        let (Some(bar), Some(meter)) = (&self.train, &mut self.meter) else {
            return;
        };
        meter.advance(report.step);
        bar.set_position(report.step);
        bar.set_message(brief(report, self.knn, meter));
    }

    fn on_epoch(&mut self, report: &EpochReport) {
        self.end_task();
        self.knn = report.knn_accuracy.or(self.knn);
        self.on_message(&describe_epoch(report));
        if let Some(meter) = &mut self.meter {
            meter.pause_until_now();
        }
    }

    fn on_task(&mut self, report: &TaskReport<'_>) {
        if self
            .task
            .as_ref()
            .is_some_and(|(name, _)| name != report.task)
        {
            self.end_task();
        }
        let (_, bar) = self.task.get_or_insert_with(|| {
            let template = "{prefix} {bar:12.green/dim} {pos}/{len} {wide_msg}";
            let bar = Self::bar(&self.screen, report.total, template);
            bar.set_prefix(report.task.to_owned());
            (report.task.to_owned(), bar)
        });
        bar.set_position(report.done);
        bar.set_message(report.detail.to_owned());
        if report.done >= report.total {
            self.end_task();
        }
    }

    fn on_message(&mut self, text: &str) {
        self.screen.suspend(|| eprintln_quietly(text));
    }

    fn on_finish(&mut self) {
        self.end_task();
        if let Some(bar) = self.train.take() {
            bar.finish_and_clear();
        }
    }
}

/// What fits beside a bar on 80 columns: losses of encoder and viewmaker, mean |δ|, kNN accuracy,
/// examples per second, time left.
fn brief(report: &StepReport, knn: Option<f64>, meter: &Meter) -> String {
    let mut loss = format!("loss {:.2}", report.encoder_loss);
    if let Some(viewmaker) = report.viewmaker_loss {
        loss = format!("{loss} / {viewmaker:.2}");
    }
    let delta = report.mean_abs_delta.map(|delta| format!("|δ| {delta:.3}"));
    let knn = knn.map(|accuracy| format!("kNN {:.1} %", 100.0 * accuracy));
    let rate = meter
        .examples_per_second()
        .map(|rate| format!("{rate:.0}/s"));
    let left = meter.seconds_left().map(super::describe_seconds);
    let left = left.map(|left| format!("{left} left"));
    let parts = [Some(loss), delta, knn, rate, left];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `eprintln!` panics when standard error is closed; this does not.
fn eprintln_quietly(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::samples;

    #[test]
    fn follows_the_steps() {
        let mut ui = BarUi::new();
        ui.on_start(&samples::plan());
        ui.on_step(&samples::step(4));
        let bar = ui.train.clone().unwrap();
        assert_eq!((bar.position(), bar.length()), (4, Some(20)));
        assert!(bar.message().starts_with("loss 3.25 / -3.25, |δ| 0.050, "));
        ui.on_task(&TaskReport {
            task: "kNN",
            done: 1,
            total: 2,
            detail: "",
        });
        assert!(ui.task.is_some());
        ui.on_epoch(&samples::epoch());
        assert!(ui.task.is_none(), "an epoch ends what ran inside it");
        ui.on_step(&samples::step(11));
        assert!(bar.message().contains("kNN 50.0 %"));
        ui.on_finish();
        assert!(bar.is_finished());
    }
}
