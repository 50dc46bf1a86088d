//! `viewmaker views`

use super::args::use_threads;
use super::output;
use crate::error::Result;
use crate::pictures::{self, Request, Written};
use crate::progress::ui;
use crate::run::RunDir;
use crate::trained::{Changes, Trained};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use viewmaker_data::Dataset;

/// Draw views that a trained viewmaker makes.
///
/// Images become a grid (original, views, magnified change), speech and sensor streams become
/// spectrograms with scales; views of speech are written as WAV, too. All tensors are in
/// views.safetensors.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ViewsArgs {
    /// Run folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Your own files instead of held-out examples.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    input: Vec<PathBuf>,
    /// Number of examples.
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    count: usize,
    /// Folder for the files; without it the run's views/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker views runs/image-001 --count 16
  viewmaker views runs/image-001 --input cat.png dog.jpg --out pictures
  viewmaker views runs/speech-001 --input hello.wav";

pub(super) fn run(args: ViewsArgs) -> Result<()> {
    let mut ui = ui(args.json);
    use_threads(&RunDir::read_config(&args.run)?)?;
    let trained = Trained::load(&args.run, &Changes::default())?;
    let splits = &trained.splits;
    trained.warnings.iter().for_each(|text| ui.on_message(text));
    ui.on_message(&splits.description);
    let own = own_files(&args, &trained)?;
    let dataset = own.as_ref().unwrap_or(&splits.test);
    let out = args.out.clone().unwrap_or_else(|| args.run.join("views"));
    let written = pictures::write(&Request {
        config: &trained.config,
        players: &trained.players,
        dataset: dataset.as_ref(),
        class_names: &splits.class_names,
        before_view: splits.before_view.as_ref(),
        count: if own.is_some() {
            args.input.len()
        } else {
            args.count
        },
        out: &out,
    })?;
    ui.on_finish();
    report(&args, &written)
}

fn own_files(args: &ViewsArgs, trained: &Trained) -> Result<Option<Arc<dyn Dataset>>> {
    if args.input.is_empty() {
        return Ok(None);
    }
    let modality = pictures::modality(&trained.config)?;
    let files = modality.open_files(
        &args.input,
        &trained.config.data.options,
        trained.splits.train.shape(),
        trained.splits.before_view.as_ref(),
    )?;
    Ok(Some(files))
}

fn report(args: &ViewsArgs, written: &Written) -> Result<()> {
    if args.json {
        return output::print_json(&json!({"event": "result", "written": written}));
    }
    let mut lines = vec![format!(
        "views of {} example{}, mean |view − original| {:.4}",
        written.examples,
        if written.examples == 1 { "" } else { "s" },
        written.mean_abs_change
    )];
    lines.extend(written.files.iter().map(|file| file.display().to_string()));
    output::print(&lines.join("\n"))
}
