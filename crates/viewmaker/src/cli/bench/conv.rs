//! `viewmaker bench conv`

use super::super::args::{ConfigArgs, use_threads};
use super::super::output;
use super::{image, times};
use crate::bench::conv::{Layer, Measured, Pass, layers};
use crate::error::{Error, Result};
use crate::machine;
use crate::model::Networks;
use clap::Args;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use serde_json::json;
use viewmaker_device::Device;
use viewmaker_exec::Machine;
use viewmaker_ops::conv2d::Version;

/// The convolution and fully connected layers of a configuration's networks, one at a time.
///
/// Prints the median and the extremes of the output, of the gradient of the input and of that of weights
/// and bias, for a batch of the configuration's size; on a card by every version of the kernels and by
/// the card's own clock. GFLOP/s count the operations of the layer's definition.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConvArgs {
    #[command(flatten)]
    settings: ConfigArgs,
    /// Channels, height and width of an example.
    #[arg(long, value_name = "C,H,W", value_delimiter = ',', num_args = 1, default_value = "3,32,32",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    shape: Vec<usize>,
    /// Versions of a card's kernels, with commas between them; without it all.
    #[arg(long, value_name = "NAME", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(Version::ALL.map(Version::name))
              .try_map(|name| name.parse::<Version>()))]
    kernels: Vec<Version>,
    /// Measured repetitions, after one that is not counted.
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    repeats: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker bench conv --modality image --device cpu
  viewmaker bench conv --config configs/cifar10.toml --device cuda --json
  viewmaker bench conv --config configs/cifar10.toml --device cuda --kernels v2,v3-64,v3-128";

pub(super) fn run(args: &ConvArgs) -> Result<()> {
    let config = args.settings.resolve()?;
    let networks = Networks::build(&config, image(&args.shape)?, None)?;
    use_threads(&config)?;
    let opened = machine::open(&config)?;
    let device = match &opened.machine {
        Machine::Cpu if !args.kernels.is_empty() => {
            return Err(Error::usage(
                "--kernels: the processor has no versions to choose from; --device cuda has",
            ));
        }
        Machine::Cpu => None,
        Machine::Device(device, _) => Some(device),
    };
    if !args.json {
        output::print(&format!("{}\n{}", opened.message, header()))?;
    }
    let mut results = Vec::new();
    for layer in layers(&networks, config.train.batch_size) {
        for measured in measure(args, &layer, device)? {
            if !args.json {
                output::print(&row(&measured))?;
            }
            results.push(measured);
        }
    }
    match args.json {
        true => output::print_json(&json!({ "event": "result", "results": results })),
        false => Ok(()),
    }
}

/// Every pass by every version that was asked for.
fn measure(args: &ConvArgs, layer: &Layer, device: Option<&Device>) -> Result<Vec<Measured>> {
    let Some(device) = device else {
        let passes = Pass::ALL.into_iter();
        return passes
            .map(|pass| layer.on_cpu(pass, args.repeats))
            .collect();
    };
    let wanted = |version: &Version| args.kernels.is_empty() || args.kernels.contains(version);
    let versions = Version::ALL.into_iter().filter(wanted);
    let versions: Vec<Version> = versions.filter(|v| v.runs_on(device)).collect();
    let works = Pass::ALL
        .into_iter()
        .flat_map(|pass| versions.iter().map(move |&version| (pass, version)));
    works
        .map(|(pass, version)| layer.on_device(device, version, pass, args.repeats))
        .collect()
}

fn header() -> String {
    format!(
        "{:<52} {:<15} {:<7} {:>26} {:>9}",
        "layer", "pass", "kernels", "time", "GFLOP/s"
    )
}

fn row(measured: &Measured) -> String {
    let pass = match measured.pass {
        Pass::Output => "output",
        Pass::InputGradient => "input gradient",
        Pass::WeightGradient => "weight gradient",
    };
    format!(
        "{:<52} {pass:<15} {:<7} {:>26} {:>9.0}",
        measured.layer.name,
        measured.kernels.as_deref().unwrap_or("cpu"),
        times(measured.time),
        measured.layer.flops as f64 / measured.time.median / 1e9,
    )
}
