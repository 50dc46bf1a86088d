//! `viewmaker bench conv`

use super::super::args::{ConfigArgs, use_threads};
use super::lines::Lines;
use super::{image, times};
use crate::bench::conv::{Layer, Measured, Pass, layers};
use crate::error::{Error, Result};
use crate::machine;
use crate::model::Networks;
use clap::Args;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use serde::Serialize;
use std::fmt;
use viewmaker_device::Device;
use viewmaker_exec::Machine;
use viewmaker_ops::conv2d::Version;

/// The convolution and fully connected layers of a configuration's networks, one at a time.
///
/// Prints the median and the extremes of the output, of the gradient of the input and of that of weights
/// and bias, for a batch of the configuration's size, a line as soon as it is measured; on a card by every
/// version of the kernels, by the card's own clock and of a captured graph, as in training. GFLOP/s count the operations of the layer's definition.
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
    /// Print JSON, one object a measurement.
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
        Machine::Cpu if !args.kernels.is_empty() => return Err(super::no_versions()),
        Machine::Cpu => None,
        Machine::Device(device, _) => Some(device),
    };
    let mut lines = Lines::new(args.json);
    lines.header(&format!("{}\n{}", opened.message, header()))?;
    for layer in &layers(&networks, config.train.batch_size) {
        match device {
            None => on_cpu(args, layer, &mut lines)?,
            Some(device) => on_device(args, layer, device, &mut lines)?,
        }
    }
    lines.finish()
}

/// One measurement.
#[derive(Serialize)]
struct Task<'a> {
    #[serde(flatten)]
    layer: &'a Layer,
    pass: Pass,
    device: &'a str,
    kernels: Option<&'static str>,
}

impl fmt::Display for Task<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pass = match self.pass {
            Pass::Output => "output",
            Pass::InputGradient => "input gradient",
            Pass::WeightGradient => "weight gradient",
        };
        let kernels = self.kernels.unwrap_or("cpu");
        write!(f, "{:<52} {pass:<15} {kernels:<7}", self.layer.name)
    }
}

fn on_cpu(args: &ConvArgs, layer: &Layer, lines: &mut Lines) -> Result<()> {
    for pass in Pass::ALL {
        let task = Task {
            layer,
            pass,
            device: "cpu",
            kernels: None,
        };
        lines.measured(&task, layer.on_cpu(pass, args.repeats), cells)?;
    }
    Ok(())
}

/// Every pass by every version that was asked for and that the card has.
fn on_device(args: &ConvArgs, layer: &Layer, device: &Device, lines: &mut Lines) -> Result<()> {
    let wanted = |version: &Version| args.kernels.is_empty() || args.kernels.contains(version);
    let versions = Version::ALL.into_iter().filter(wanted);
    let versions: Vec<Version> = versions.filter(|v| v.runs_on(device)).collect();
    let placed = layer.on_device(device);
    for pass in Pass::ALL {
        for &version in &versions {
            let task = Task {
                layer,
                pass,
                device: device.name(),
                kernels: Some(version.name()),
            };
            let outcome = match &placed {
                Ok(placed) => placed.measure(version, pass, args.repeats),
                Err(error) => Err(Error::failure(error.to_string())),
            };
            lines.measured(&task, outcome, cells)?;
        }
    }
    Ok(())
}

fn header() -> String {
    format!(
        "{:<52} {:<15} {:<7} {:>26} {:>9}",
        "layer", "pass", "kernels", "time", "GFLOP/s"
    )
}

fn cells(measured: &Measured) -> String {
    format!(
        "{:>26} {:>9.0}",
        times(measured.time),
        measured.layer.flops as f64 / measured.time.median / 1e9,
    )
}
