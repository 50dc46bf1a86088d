//! `viewmaker bench`

mod conv;

use super::args::{ConfigArgs, use_threads};
use super::output;
use crate::bench::Spread;
use crate::bench::loss::{LOSSES, Measured, Work};
use crate::bench::step::Bench;
use crate::config::Device;
use crate::error::{Error, Result};
use crate::machine;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser};
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::Write;
use viewmaker_device::Device as Card;
use viewmaker_ops::contrastive::Version;

/// Measure how fast parts of training are here.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Loss(LossArgs),
    Step(StepArgs),
    Conv(conv::ConvArgs),
}

/// Contrastive losses in streaming form, without the N×N matrix.
///
/// Prints the median and the extremes of a forward pass and of a forward and a backward pass, and the
/// speed of the products that similarities take in the forward pass (a backward pass takes at least
/// twice as many). Times on a card are those of its own clock.
///
/// The embeddings are two views of examples, one half each. For moco-v2 a quarter of them are queries, as many
/// are their keys, and the rest is the queue; only queries get a gradient. For clip the scale is learned: a
/// backward pass has its derivative, too. For supcon four examples, with both views, make a class.
#[derive(Debug, Args)]
#[command(after_help = LOSS_EXAMPLES)]
struct LossArgs {
    /// Where to compute: auto, cpu, cuda, or cuda:N for card N.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Device,
    /// Losses, with commas between them; without it all.
    #[arg(long, value_name = "NAME", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(LOSSES.iter().map(|loss| loss.name)))]
    objective: Vec<String>,
    /// Embeddings, all together, with commas between several; even numbers.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1024,4096",
          value_parser = RangedU64ValueParser::<usize>::new().range(4..=1 << 22))]
    embeddings: Vec<usize>,
    /// Components of an embedding.
    #[arg(long, value_name = "D", default_value_t = 128,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=8192))]
    dim: usize,
    /// Temperature.
    #[arg(long, value_name = "T", default_value_t = 0.07)]
    temperature: f32,
    /// Measured repetitions.
    #[arg(long, value_name = "N", default_value_t = 7,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    repeats: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
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

const LOSS_EXAMPLES: &str = "\
Examples:
  viewmaker bench loss --device cpu --embeddings 256,4096,16384
  viewmaker bench loss --device cuda --objective ntxent --embeddings 8192,32768,131072 --json";

/// The card to use; `None` is the processor. `auto` says once why it falls back.
fn open(device: Device) -> Result<Option<Card>> {
    let (card, reason) = machine::card(device)?;
    if let Some(reason) = reason {
        // A closed standard error is no reason to stop.
        let _ = writeln!(std::io::stderr(), "on the CPU: {reason}");
    }
    Ok(card)
}

pub(super) fn run(args: BenchArgs) -> Result<()> {
    match args.what {
        What::Loss(args) => loss(args),
        What::Step(args) => step(&args),
        What::Conv(args) => conv::run(&args),
    }
}

/// Channels, height and width from what `--shape` says.
fn image(shape: &[usize]) -> Result<[usize; 3]> {
    let wrong = |_| Error::usage("--shape: expected three numbers, as in 3,32,32");
    shape.try_into().map_err(wrong)
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
        return output::print_json(&json!({ "event": "result", "results": [measured] }));
    }
    let memory = measured.device_megabytes;
    let memory = memory.map(|mb| format!(", {mb:.0} MB of device memory in use"));
    output::print(&format!(
        "{}\nbatch of {} × {c}×{h}×{w}, {:?} updates: {} a step, {:.0} examples/s{}",
        opened.message,
        measured.batch,
        measured.update,
        times(measured.step),
        measured.examples_per_second,
        memory.unwrap_or_default()
    ))
}

fn loss(args: LossArgs) -> Result<()> {
    if let Some(odd) = args.embeddings.iter().find(|n| !n.is_multiple_of(2)) {
        let message = format!("--embeddings {odd}: expected an even number, as two views make");
        return Err(Error::usage(message));
    }
    let device = open(args.device)?;
    if !args.json {
        output::print(&header())?;
    }
    let mut results = Vec::new();
    for work in works(&args) {
        let measured = match &device {
            None => vec![work.on_cpu()?],
            Some(device) => Version::ALL
                .into_iter()
                .filter(|version| version.runs_on(device))
                .map(|version| work.on_device(device, version))
                .collect::<Result<_>>()?,
        };
        for measured in measured {
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

/// Every combination that was asked for.
fn works(args: &LossArgs) -> Vec<Work> {
    let wanted = |name: &str| args.objective.is_empty() || args.objective.iter().any(|o| o == name);
    let losses = LOSSES.iter().map(|loss| loss.name).filter(|n| wanted(n));
    let work = |loss, embeddings| Work {
        loss,
        embeddings,
        dim: args.dim,
        temperature: args.temperature,
        repeats: args.repeats,
    };
    losses
        .flat_map(|loss| args.embeddings.iter().map(move |&n| work(loss, n)))
        .collect()
}

fn header() -> String {
    format!(
        "{:<17} {:>10} {:>5} {:<14} {:>26} {:>26} {:>9}",
        "loss", "embeddings", "dim", "device", "forward", "forward + backward", "GFLOP/s"
    )
}

fn row(measured: &Measured) -> String {
    let device = match &measured.kernels {
        Some(kernels) => format!("{} {kernels}", measured.device),
        None => measured.device.clone(),
    };
    format!(
        "{:<17} {:>10} {:>5} {device:<14} {:>26} {:>26} {:>9.0}",
        measured.work.loss,
        measured.work.embeddings,
        measured.work.dim,
        times(measured.forward),
        times(measured.both),
        measured.flops as f64 / measured.forward.median / 1e9,
    )
}

/// Median and extremes in milliseconds.
fn times(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{:.2} ms ({:.2}–{:.2})", 1e3 * median, 1e3 * min, 1e3 * max)
}
