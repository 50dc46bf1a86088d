//! `viewmaker objectives`

use super::output;
use crate::config::{self, ViewSource, doc};
use crate::error::Result;
use clap::Args;
use std::fmt::Write;
use viewmaker_objective::{Entry, registry};

/// List the objectives: loss, paper, what each needs, its options.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ObjectivesArgs {
    /// Print JSON.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print a table in Markdown.
    #[arg(long)]
    markdown: bool,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker objectives
  viewmaker objectives --json
  viewmaker train --modality image --objective moco-v2
  viewmaker train --modality image --objective triplet --set objective.mining=hardest";

pub(super) fn run(args: ObjectivesArgs) -> Result<()> {
    if args.json {
        return output::print_json(&registry());
    }
    let text = match args.markdown {
        true => markdown(),
        false => registry()
            .iter()
            .map(describe)
            .collect::<Vec<_>>()
            .join("\n"),
    };
    output::print(text.trim_end())
}

/// Where an objective can be used.
fn defined_on(entry: &Entry) -> &'static str {
    let branches = entry.branches;
    match (branches.labels, branches.ordered, branches.text) {
        (true, _, _) => "every modality, labelled data",
        (_, true, _) => "speech, sensor, and image with data.image.frames = true",
        (_, _, true) => "every modality, data with texts (pairs.csv) or classes",
        _ => "every modality",
    }
}

/// On what data of a modality an objective is defined.
fn on(entry: &Entry, modality: &str) -> &'static str {
    let branches = entry.branches;
    match (branches.labels, branches.ordered, branches.text) {
        (true, _, _) => "labelled data",
        (_, true, _) if modality == "image" => "folders of frames",
        (_, _, true) => "data with texts or classes",
        _ => "all data",
    }
}

/// Whether an objective can have views of this source.
fn with(entry: &Entry, source: ViewSource) -> &'static str {
    match source {
        ViewSource::Temporal | ViewSource::Ends if entry.branches.ordered => "no",
        ViewSource::Temporal => "speech, sensor",
        ViewSource::Ends => "speech",
        _ => "yes",
    }
}

fn describe(entry: &Entry) -> String {
    let mut text = format!("{}: {}\n", entry.name, entry.title);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    line("loss", entry.equation);
    line("paper", entry.paper);
    line("defined on", defined_on(entry));
    line("needs", &entry.branches.describe());
    line("viewmaker", entry.game);
    for option in entry.options {
        let key = format!("objective.{option}");
        let meaning = doc(&key).unwrap_or_default();
        line("option", &format!("{key}: {meaning}"));
    }
    for default in entry.defaults {
        line("default", default);
    }
    text
}

/// The table of `docs/objectives.md`.
fn markdown() -> String {
    let mut text = String::from(
        "# Objectives\n\nWritten by `viewmaker objectives --markdown`; a test compares.\n\n\
         | name | loss | paper | defined on | needs | the viewmaker's gradient | options | defaults |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for entry in registry() {
        let code = |words: &[&str]| {
            let words = words.iter().map(|word| format!("`{word}`"));
            words.collect::<Vec<_>>().join(" ")
        };
        let cells = [
            format!("`{}`", entry.name),
            format!("{}: {}", entry.title, entry.equation),
            entry.paper.to_owned(),
            defined_on(entry).to_owned(),
            entry.branches.describe(),
            entry.game.to_owned(),
            code(entry.options),
            code(entry.defaults),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text + &coverage()
}

/// The table of objectives by modality and source of views.
fn coverage() -> String {
    let modalities = config::modality_names();
    let sources = [
        ViewSource::Learned,
        ViewSource::Expert,
        ViewSource::Noise,
        ViewSource::Patch,
        ViewSource::Temporal,
        ViewSource::Ends,
        ViewSource::None,
    ];
    let words = sources.iter().map(|source| format!("`{}`", source.word()));
    let head: Vec<String> = modalities
        .iter()
        .map(|&m| m.to_owned())
        .chain(words)
        .collect();
    let mut text = format!(
        "\n## Where each is defined\n\nBy modality, and by source of views (`views.source`, which may be a \
         list).\n\n| name | {} |\n|{}\n",
        head.join(" | "),
        "---|".repeat(head.len() + 1)
    );
    for entry in registry() {
        let on = modalities.iter().map(|modality| on(entry, modality));
        let with = sources.iter().map(|source| with(entry, *source));
        let cells: Vec<&str> = on.chain(with).collect();
        let _ = writeln!(text, "| `{}` | {} |", entry.name, cells.join(" | "));
    }
    text
}
