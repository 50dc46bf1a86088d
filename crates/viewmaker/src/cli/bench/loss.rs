//! `viewmaker bench loss`

use super::lines::Lines;
use super::times;
use crate::bench::loss::{LOSSES, Measured, Work, kernels};
use crate::config::Device;
use crate::error::{Error, Result};
use crate::machine;
use clap::Args;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser};
use serde::Serialize;
use std::fmt;
use std::io::Write;
use viewmaker_device::Device as Card;
use viewmaker_ops::contrastive::Version;

/// Embeddings up to which the plain kernels are measured unasked: their time grows with the square, and they
/// read every row from memory for each other.
const PLAIN_UP_TO: usize = 16_384;

/// Contrastive losses in streaming form, without the N×N matrix.
///
/// Prints the median and the extremes of a forward pass and of a forward and a backward pass, and the
/// speed of the products that similarities take in the forward pass (a backward pass takes at least
/// twice as many), a line as soon as it is measured. Times on a card are those of its own clock, and of
/// a captured graph, as in training.
///
/// The embeddings are two views of examples, one half each. For moco-v2 a quarter of them are queries, as many
/// are their keys, and the rest is the queue; only queries get a gradient. For clip the scale is learned: a
/// backward pass has its derivative, too. For supcon four examples, with both views, make a class.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LossArgs {
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
    /// Versions of a card's kernels, with commas between them, as in v2,v3; without it all, the plain v1 up
    /// to 16384 embeddings.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = version)]
    kernels: Vec<Version>,
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
    /// Print JSON, one object a measurement.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker bench loss --device cpu --embeddings 256,4096,16384
  viewmaker bench loss --device cuda --objective ntxent --embeddings 8192,32768,131072 --json
  viewmaker bench loss --device cuda --objective ntxent --kernels v3 --embeddings 262144";

fn version(name: &str) -> std::result::Result<Version, String> {
    let found = Version::ALL.into_iter().find(|&v| kernels(v) == name);
    found.ok_or_else(|| format!("expected {}", Version::ALL.map(kernels).join(", ")))
}

/// One measurement.
#[derive(Serialize)]
struct Task<'a> {
    #[serde(flatten)]
    work: &'a Work,
    device: &'a str,
    kernels: Option<String>,
}

impl fmt::Display for Task<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = match &self.kernels {
            Some(kernels) => format!("{} {kernels}", self.device),
            None => self.device.to_owned(),
        };
        let Work {
            loss,
            embeddings,
            dim,
            ..
        } = self.work;
        write!(f, "{loss:<17} {embeddings:>10} {dim:>5} {device:<14}")
    }
}

pub(super) fn run(args: &LossArgs) -> Result<()> {
    if let Some(odd) = args.embeddings.iter().find(|n| !n.is_multiple_of(2)) {
        let message = format!("--embeddings {odd}: expected an even number, as two views make");
        return Err(Error::usage(message));
    }
    let works = works(args);
    works.iter().try_for_each(Work::check)?;
    let device = open(args.device)?;
    if device.is_none() && !args.kernels.is_empty() {
        return Err(super::no_versions());
    }
    let mut lines = Lines::new(args.json);
    lines.header(&header())?;
    for work in &works {
        match &device {
            None => {
                let task = task(work, "cpu", None);
                lines.measured(&task, work.on_cpu(), cells)?;
            }
            Some(device) => on_device(args, work, device, &mut lines)?,
        }
    }
    lines.finish()
}

/// The card to use; `None` is the processor. `auto` says once why it falls back.
fn open(device: Device) -> Result<Option<Card>> {
    let (card, reason) = machine::card(device)?;
    if let Some(reason) = reason {
        // A closed standard error is no reason to stop.
        let _ = writeln!(std::io::stderr(), "on the CPU: {reason}");
    }
    Ok(card)
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

/// Every version that was asked for and can be had.
fn on_device(args: &LossArgs, work: &Work, device: &Card, lines: &mut Lines) -> Result<()> {
    let wanted = |version: &Version| args.kernels.is_empty() || args.kernels.contains(version);
    for version in Version::ALL.into_iter().filter(wanted) {
        let task = task(work, device.name(), Some(version));
        let large = version == Version::V1 && work.embeddings > PLAIN_UP_TO;
        if large && args.kernels.is_empty() {
            let reason = format!("more than {PLAIN_UP_TO} embeddings; --kernels v1 measures it");
            lines.skipped(&task, &reason)?;
        } else if version.runs_on(device) {
            lines.measured(&task, work.on_device(device, version), cells)?;
        } else {
            lines.skipped(&task, "this card has no such tensor cores")?;
        }
    }
    Ok(())
}

fn task<'a>(work: &'a Work, device: &'a str, version: Option<Version>) -> Task<'a> {
    let kernels = version.map(kernels);
    Task {
        work,
        device,
        kernels,
    }
}

fn header() -> String {
    format!(
        "{:<17} {:>10} {:>5} {:<14} {:>26} {:>26} {:>9}",
        "loss", "embeddings", "dim", "device", "forward", "forward + backward", "GFLOP/s"
    )
}

fn cells(measured: &Measured) -> String {
    format!(
        "{:>26} {:>26} {:>9.0}",
        times(measured.forward),
        times(measured.both),
        measured.flops as f64 / measured.forward.median / 1e9,
    )
}
