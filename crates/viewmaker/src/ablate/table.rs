//! The table of an ablation: mean ± standard deviation over seeds.

use super::names::shown;
use super::outcome::Outcome;
use super::plan::Plan;
use crate::eval::Probe;
use crate::eval::spread::mean_and_deviation;
use crate::run::RunSummary;
use Read::{Probed, Summary};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// A column of results.
struct Metric {
    name: &'static str,
    title: &'static str,
    /// Shown in per cent.
    is_part: bool,
    read: Read,
}

/// Where the value of a column stands.
enum Read {
    /// In the summary of the training.
    Summary(fn(&RunSummary) -> Option<f64>),
    /// In the first result of a probe.
    Probed(Probe, fn(&Value) -> Option<f64>),
}

impl Metric {
    /// The value of a run; `None` where it was not measured.
    fn of(&self, run: &Outcome) -> Option<f64> {
        match &self.read {
            Read::Summary(read) => read(&run.summary),
            Read::Probed(probe, read) => read(run.probe(*probe).first()?),
        }
    }
}

const METRICS: &[Metric] = &[
    Metric {
        name: "knn_accuracy",
        title: "kNN accuracy",
        is_part: true,
        read: Summary(|run| run.knn_accuracy),
    },
    Metric {
        name: "knn_accuracy_untrained",
        title: "before training",
        is_part: true,
        read: Summary(|run| run.knn_accuracy_untrained),
    },
    Metric {
        name: "knn_accuracy_best",
        title: "best epoch",
        is_part: true,
        read: Summary(|run| run.knn_accuracy_best),
    },
    Metric {
        name: "linear_accuracy",
        title: "linear probe",
        is_part: true,
        read: Probed(Probe::Linear, |result| number(result, &["accuracy"])),
    },
    Metric {
        name: "logistic_accuracy",
        title: "logistic regression",
        is_part: true,
        read: Probed(Probe::Logistic, |result| number(result, &["accuracy"])),
    },
    Metric {
        name: "finetuned_accuracy_1_percent",
        title: "fine-tuned, 1 %",
        is_part: true,
        read: Probed(Probe::Finetune, |result| {
            finetune(result, 0.01, "finetuned")
        }),
    },
    Metric {
        name: "finetuned_accuracy_10_percent",
        title: "fine-tuned, 10 %",
        is_part: true,
        read: Probed(Probe::Finetune, |result| finetune(result, 0.1, "finetuned")),
    },
    Metric {
        name: "scratch_accuracy_10_percent",
        title: "from scratch, 10 %",
        is_part: true,
        read: Probed(Probe::Finetune, |result| finetune(result, 0.1, "scratch")),
    },
    Metric {
        name: "fewshot_accuracy_1_shot",
        title: "1-shot",
        is_part: true,
        read: Probed(Probe::Fewshot, |result| fewshot(result, 1)),
    },
    Metric {
        name: "fewshot_accuracy_5_shot",
        title: "5-shot",
        is_part: true,
        read: Probed(Probe::Fewshot, |result| fewshot(result, 5)),
    },
    Metric {
        name: "zero_shot_accuracy",
        title: "zero-shot accuracy",
        is_part: true,
        read: Summary(|run| run.zero_shot_accuracy),
    },
    Metric {
        name: "embedding_std",
        title: "embedding std",
        is_part: false,
        read: Summary(|run| run.collapse.map(|c| c.embedding_std)),
    },
    Metric {
        name: "effective_rank",
        title: "effective rank",
        is_part: false,
        read: Summary(|run| run.collapse.map(|c| c.effective_rank)),
    },
    Metric {
        name: "alignment",
        title: "alignment",
        is_part: false,
        read: Summary(|run| run.collapse.map(|c| c.alignment)),
    },
    Metric {
        name: "uniformity",
        title: "uniformity",
        is_part: false,
        read: Summary(|run| run.collapse.map(|c| c.uniformity)),
    },
    Metric {
        name: "mean_abs_delta",
        title: "mean |δ|",
        is_part: false,
        read: Summary(|run| run.mean_abs_delta),
    },
    Metric {
        name: "encoder_loss",
        title: "encoder loss",
        is_part: false,
        read: Summary(|run| run.encoder_loss),
    },
];

/// Probes whose results have columns, in the order of these.
pub(super) fn probes() -> Vec<Probe> {
    let mut probes: Vec<Probe> = METRICS
        .iter()
        .filter_map(|metric| match metric.read {
            Read::Probed(probe, _) => Some(probe),
            Read::Summary(_) => None,
        })
        .collect();
    probes.dedup();
    probes
}

/// A number inside of a result.
fn number(result: &Value, path: &[&str]) -> Option<f64> {
    path.iter()
        .try_fold(result, |value, key| value.get(key))?
        .as_f64()
}

/// Mean accuracy of a way of training with this part of the labels.
fn finetune(result: &Value, fraction: f64, way: &str) -> Option<f64> {
    let fractions = result.get("fractions")?.as_array()?;
    let mut at = fractions
        .iter()
        .filter(|at| number(at, &["fraction"]) == Some(fraction));
    number(at.next()?, &[way, "mean"])
}

/// Mean accuracy of episodes with this many examples of each class.
fn fewshot(result: &Value, shots: u64) -> Option<f64> {
    let all = result.get("shots")?.as_array()?;
    let mut at = all
        .iter()
        .filter(|at| at["settings"]["shots"].as_u64() == Some(shots));
    number(at.next()?, &["accuracy"])
}

/// One row: a point of the grid.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    settings: Vec<String>,
    finished: usize,
    planned: usize,
    /// Mean and sample standard deviation of every metric, where there are values.
    results: Vec<Option<(f64, Option<f64>)>>,
}

/// Results by point of the grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    title: String,
    keys: Vec<String>,
    rows: Vec<Row>,
    /// Points that were left out.
    skipped: Vec<String>,
}

impl Table {
    /// Tabulates `outcomes`, one entry a run of the plan, `None` where it has not finished.
    pub fn new(plan: &Plan, outcomes: &[Option<Outcome>]) -> Self {
        let row = |(index, point): (usize, &super::Point)| {
            let runs = plan.runs.iter().zip(outcomes);
            let here: Vec<&Option<Outcome>> = runs
                .filter(|(run, _)| run.point == index)
                .map(|(_, outcome)| outcome)
                .collect();
            let done: Vec<&Outcome> = here.iter().filter_map(|s| s.as_ref()).collect();
            let values = |metric: &Metric| {
                done.iter()
                    .filter_map(|outcome| metric.of(outcome))
                    .collect::<Vec<f64>>()
            };
            let settings = point.values.iter().map(|(_, value)| shown(value));
            Row {
                settings: std::iter::once(point.modality.clone())
                    .chain(settings)
                    .collect(),
                finished: done.len(),
                planned: here.len(),
                results: METRICS
                    .iter()
                    .map(|m| mean_and_deviation(&values(m)))
                    .collect(),
            }
        };
        Self {
            title: plan.title.clone(),
            keys: plan.keys.clone(),
            rows: plan.points.iter().enumerate().map(row).collect(),
            skipped: plan.skipped.iter().map(ToString::to_string).collect(),
        }
    }

    /// Comma-separated values, parts of 1 as they are.
    pub fn to_csv(&self) -> String {
        let mut header = vec!["modality".to_owned()];
        header.extend(self.keys.iter().cloned());
        header.push("seeds".to_owned());
        for metric in METRICS {
            header.push(format!("{}_mean", metric.name));
            header.push(format!("{}_std", metric.name));
        }
        let mut out = csv_line(&header);
        for row in &self.rows {
            let mut cells = row.settings.clone();
            cells.push(row.finished.to_string());
            for result in &row.results {
                let (mean, std) = result.map_or((None, None), |(mean, std)| (Some(mean), std));
                cells.extend([mean, std].map(|x| x.map_or(String::new(), |x| x.to_string())));
            }
            out.push_str(&csv_line(&cells));
        }
        out
    }

    /// The rows for programs: settings, finished and planned seeds, and of every metric that was measured its
    /// mean and sample standard deviation (`null` for one seed), parts of 1 as they are.
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            let keys = std::iter::once("modality").chain(self.keys.iter().map(String::as_str));
            let settings: Map<String, Value> = keys
                .zip(&row.settings)
                .map(|(key, value)| (key.to_owned(), json!(value)))
                .collect();
            let measured = METRICS
                .iter()
                .zip(&row.results)
                .filter_map(|(metric, result)| {
                    let (mean, std) = (*result)?;
                    Some((metric.name.to_owned(), json!({"mean": mean, "std": std})))
                });
            json!({
                "settings": settings,
                "seeds": row.finished,
                "seeds_planned": row.planned,
                "results": measured.collect::<Map<String, Value>>(),
            })
        };
        self.rows.iter().map(row).collect()
    }

    /// A Markdown table for people; accuracies in per cent.
    pub fn to_markdown(&self) -> String {
        let shown: Vec<usize> = (0..METRICS.len())
            .filter(|i| self.rows.iter().any(|row| row.results[*i].is_some()))
            .collect();
        let mut header = vec!["modality".to_owned()];
        header.extend(self.keys.iter().map(|key| format!("`{key}`")));
        header.extend(shown.iter().map(|i| METRICS[*i].title.to_owned()));
        header.push("seeds".to_owned());
        let mut out = format!("## {}\n\n{}", self.title, markdown_line(&header));
        out.push_str(&markdown_line(&vec!["---".to_owned(); header.len()]));
        for row in &self.rows {
            let mut cells = row.settings.clone();
            cells.extend(
                shown
                    .iter()
                    .map(|i| describe(&METRICS[*i], row.results[*i])),
            );
            cells.push(match row.finished == row.planned {
                true => row.planned.to_string(),
                false => format!("{} of {}", row.finished, row.planned),
            });
            out.push_str(&markdown_line(&cells));
        }
        out.push_str("\nMean ± standard deviation over seeds.\n");
        if !self.skipped.is_empty() {
            let _ = writeln!(out, "Left out: {}.", self.skipped.join("; "));
        }
        out
    }
}

fn describe(metric: &Metric, result: Option<(f64, Option<f64>)>) -> String {
    let Some((mean, deviation)) = result else {
        return "–".to_owned();
    };
    let (factor, digits, unit) = match metric.is_part {
        true => (100.0, 1, " %"),
        false => (1.0, 4, ""),
    };
    let mut text = format!("{:.digits$}", factor * mean);
    if let Some(deviation) = deviation {
        let _ = write!(text, " ± {:.digits$}", factor * deviation);
    }
    text + unit
}

fn csv_line(cells: &[String]) -> String {
    let quoted = cells
        .iter()
        .map(|cell| match cell.contains([',', '"', '\n']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

fn markdown_line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layer;
    use std::path::Path;

    fn table() -> Table {
        let text = "title = \"T\"\nmodalities = [\"image\"]\nseeds = [1, 2, 3]\n[grid]\n\
                    viewmaker.norm = [\"l1\", \"l2\"]\n";
        let plan = Plan::parse(text, Path::new("t.toml"), &Layer::default()).unwrap();
        let summary = |accuracy| {
            Some(Outcome::from(RunSummary {
                knn_accuracy: Some(accuracy),
                ..RunSummary::default()
            }))
        };
        let done = [
            summary(0.5),
            summary(0.6),
            summary(0.7),
            summary(0.25),
            None,
            None,
        ];
        Table::new(&plan, &done)
    }

    #[test]
    fn markdown_is_for_people() {
        let expected = "## T\n\n\
            | modality | `viewmaker.norm` | kNN accuracy | seeds |\n\
            | --- | --- | --- | --- |\n\
            | image | l1 | 60.0 ± 10.0 % | 3 |\n\
            | image | l2 | 25.0 % | 1 of 3 |\n\n\
            Mean ± standard deviation over seeds.\n";
        assert_eq!(table().to_markdown(), expected);
    }

    #[test]
    fn rows_are_for_programs() {
        let rows = table().to_json();
        let accuracy = |row: usize| rows[row]["results"]["knn_accuracy"].clone();
        assert_eq!(
            rows[0]["settings"],
            json!({"modality": "image", "viewmaker.norm": "l1"})
        );
        assert!((accuracy(0)["mean"].as_f64().unwrap() - 0.6).abs() < 1e-12);
        assert!((accuracy(0)["std"].as_f64().unwrap() - 0.1).abs() < 1e-12);
        assert_eq!(accuracy(1), json!({"mean": 0.25, "std": null}));
        assert_eq!(
            (&rows[1]["seeds"], &rows[1]["seeds_planned"]),
            (&json!(1), &json!(3))
        );
    }

    #[test]
    fn probes_have_columns() {
        let fine = json!({"fractions": [
            {"fraction": 0.01, "finetuned": {"mean": 0.2}, "scratch": {"mean": 0.1}},
            {"fraction": 0.1, "finetuned": {"mean": 0.4}, "scratch": {"mean": 0.3}},
        ]});
        let shots = json!({"shots": [{"settings": {"shots": 5}, "accuracy": 0.6}]});
        let run = Outcome::from(RunSummary::default())
            .with(
                Probe::Linear,
                vec![json!({"accuracy": 0.7}), json!({"accuracy": 0.9})],
            )
            .with(Probe::Finetune, vec![fine])
            .with(Probe::Fewshot, vec![shots]);
        let read = |name: &str| {
            let metric = METRICS.iter().find(|metric| metric.name == name);
            metric.and_then(|metric| metric.of(&run))
        };
        assert_eq!(read("linear_accuracy"), Some(0.7));
        assert_eq!(read("finetuned_accuracy_1_percent"), Some(0.2));
        assert_eq!(read("finetuned_accuracy_10_percent"), Some(0.4));
        assert_eq!(read("scratch_accuracy_10_percent"), Some(0.3));
        assert_eq!(read("fewshot_accuracy_5_shot"), Some(0.6));
        assert_eq!(read("fewshot_accuracy_1_shot"), None);
        assert_eq!(read("logistic_accuracy"), None);
    }

    #[test]
    fn csv_is_for_programs() {
        let csv = table().to_csv();
        let lines: Vec<&str> = csv.lines().collect();
        let start = "modality,viewmaker.norm,seeds,knn_accuracy_mean,knn_accuracy_std,";
        assert!(lines[0].starts_with(start), "{csv}");
        assert!(lines[2].starts_with("image,l2,1,0.25,,"), "{csv}");
        let columns: Vec<usize> = lines.iter().map(|line| line.split(',').count()).collect();
        assert!(columns.iter().all(|count| *count == columns[0]), "{csv}");
        assert_eq!(
            csv_line(&["[1, 2]".into(), "a\"b".into()]),
            "\"[1, 2]\",\"a\"\"b\"\n"
        );
    }
}
