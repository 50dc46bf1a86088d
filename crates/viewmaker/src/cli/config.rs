//! `viewmaker config`

use super::args::ConfigArgs;
use super::output;
use crate::config::{modality_names, preset};
use crate::error::{Error, Result};
use clap::Args;

/// Print the resolved configuration, every key explained.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConfigCommandArgs {
    /// Print the built-in defaults of the modality (of all, without --modality) and nothing else.
    #[arg(long, conflicts_with_all = ["config", "set", "data"])]
    defaults: bool,
    /// Print JSON instead of TOML.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: ConfigArgs,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker config --modality image > mine.toml    a file to edit and pass to train --config
  viewmaker config --config configs/cifar10.toml --set train.batch_size=64
  viewmaker config --defaults                      built-in defaults of every modality";

pub(super) fn run(args: ConfigCommandArgs) -> Result<()> {
    if args.defaults {
        return print_defaults(&args);
    }
    let config = args.settings.resolve()?;
    match args.json {
        true => output::print_json(&config.to_json()),
        false => output::print(config.to_toml().trim_end()),
    }
}

fn print_defaults(args: &ConfigCommandArgs) -> Result<()> {
    let wanted = args.settings.modality();
    let names = modality_names().into_iter();
    let names: Vec<&str> = names
        .filter(|name| wanted.is_none_or(|w| w == *name))
        .collect();
    if args.json {
        let all = names
            .iter()
            .map(|name| (name.to_string(), preset(name).to_json()));
        return output::print_json(&all.collect::<serde_json::Map<_, _>>());
    }
    let texts: Vec<String> = names.iter().map(|name| preset(name).to_toml()).collect();
    if texts.is_empty() {
        return Err(Error::usage("there is no such modality"));
    }
    output::print(texts.join("\n\n").trim_end())
}
