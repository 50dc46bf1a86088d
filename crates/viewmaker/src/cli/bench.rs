//! `viewmaker bench`

mod conv;
mod lines;
mod loss;

use super::args::{ConfigArgs, use_threads};
use super::output;
use crate::bench::Spread;
use crate::bench::step::{Bench, Measured};
use crate::error::{Error, Result};
use crate::machine;
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io::Write;

/// Measure how fast parts of training are here.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Loss(loss::LossArgs),
    Step(StepArgs),
    Conv(conv::ConvArgs),
}

/// The training step of a configuration on random examples: networks, loss and optimisers, without
/// data loading.
///
/// Prints the median and the extremes of a step of both players, and examples a second. Times are those
/// of the wall clock until a device has done everything.
#[derive(Debug, Args)]
#[command(after_help = STEP_EXAMPLES)]
struct StepArgs {
    #[command(flatten)]
    settings: ConfigArgs,
    /// Channels, height and width of an example.
    #[arg(long, value_name = "C,H,W", value_delimiter = ',', num_args = 1, default_value = "3,32,32",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    shape: Vec<usize>,
    /// Measured steps, after three that are not counted.
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    repeats: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker bench loss
  viewmaker bench step --modality image
  viewmaker bench conv --modality image";

const STEP_EXAMPLES: &str = "\
Examples:
  viewmaker bench step --modality image --device cpu
  viewmaker bench step --config configs/cifar10.toml --device cuda --set precision=bf16 --json
  viewmaker bench step --modality speech --shape 1,64,64";

pub(super) fn run(args: BenchArgs) -> Result<()> {
    match args.what {
        What::Loss(args) => loss::run(&args),
        What::Step(args) => step(&args),
        What::Conv(args) => conv::run(&args),
    }
}

/// Channels, height and width from what `--shape` says.
fn image(shape: &[usize]) -> Result<[usize; 3]> {
    let wrong = |_| Error::usage("--shape: expected three numbers, as in 3,32,32");
    shape.try_into().map_err(wrong)
}

/// A line of JSON.
#[derive(Serialize)]
struct Found {
    event: &'static str,
    #[serde(flatten)]
    measured: Measured,
}

fn step(args: &StepArgs) -> Result<()> {
    /// Steps in which memory is allocated and kernels are compiled.
    const WARMUP: usize = 3;
    let config = args.settings.resolve()?;
    let [c, h, w] = image(&args.shape)?;
    use_threads(&config)?;
    let opened = machine::open(&config)?;
    opened.prepare(|words| drop(writeln!(std::io::stderr(), "{words}")))?;
    let mut bench = Bench::new(&config, [c, h, w], None, &opened.machine)?;
    let measured = bench.measure(WARMUP, args.repeats)?;
    if args.json {
        return output::print_json(&Found {
            event: "result",
            measured,
        });
    }
    let memory = measured.device_megabytes;
    let memory = memory.map(|mb| format!(", {mb:.0} MB of device memory in use"));
    output::print(&format!(
        "{}\nbatch of {} × {c}×{h}×{w}, {} updates: {} a step, {:.0} examples/s{}",
        opened.message,
        measured.batch,
        measured.update.word(),
        times(measured.step),
        measured.examples_per_second,
        memory.unwrap_or_default()
    ))
}

/// What to say when versions of kernels are asked for where there are none.
fn no_versions() -> Error {
    Error::usage("--kernels: the processor has no versions to choose from; --device cuda has")
}

/// Median and extremes in milliseconds.
fn times(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{:.2} ms ({:.2}–{:.2})", 1e3 * median, 1e3 * min, 1e3 * max)
}
