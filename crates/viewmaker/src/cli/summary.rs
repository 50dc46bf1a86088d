//! `viewmaker summary`

use super::args::ConfigArgs;
use super::output;
use crate::config::Config;
use crate::error::Result;
use crate::model::Networks;
use crate::pictures;
use clap::Args;
use serde_json::{Value, json};
use viewmaker_net::{Keep, Net, Plan, Purpose, Summary};

/// Show layers, shapes, parameters, FLOPs and memory before training.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SummaryArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: ConfigArgs,
}

const EXAMPLES: &str = "\
Examples:
  viewmaker summary --modality image
  viewmaker summary --config configs/cifar10.toml --set encoder.name=resnet50-small";

pub(super) fn run(args: SummaryArgs) -> Result<()> {
    let config = args.settings.resolve()?;
    let splits = pictures::open_data(&config)?;
    let shape = splits.train.shape();
    let networks = Networks::build(&config, shape, splits.after_view.as_ref())?;
    let nets: Vec<&Net> = networks
        .views
        .iter()
        .chain([&networks.encoder])
        .map(|net| net.as_ref())
        .collect();
    match args.json {
        true => {
            let nets: Vec<Value> = nets.into_iter().map(|net| net_json(net, &config)).collect();
            output::print_json(&json!({
                "event": "result",
                "shape": shape,
                "batch_size": config.train.batch_size,
                "examples_at_once": config.train.examples_at_once(),
                "networks": nets,
            }))
        }
        false => {
            let texts: Vec<String> = nets.into_iter().map(|net| net_text(net, &config)).collect();
            output::print(&format!("{}\n\n{}", splits.description, texts.join("\n\n")))
        }
    }
}

/// Bytes of one forward and backward pass over the examples that are in memory at once.
fn plan_bytes(net: &Net, config: &Config) -> usize {
    let threads = match config.threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        threads => threads,
    };
    let batch = config.train.examples_at_once();
    Plan::new(net, batch, threads, Purpose::Training, Keep::Outputs).bytes()
}

fn net_text(net: &Net, config: &Config) -> String {
    let mebibytes = plan_bytes(net, config) as f64 / f64::from(1 << 20);
    let batch = config.train.examples_at_once();
    format!(
        "{}\n  memory: {mebibytes:.1} MiB for a training pass over {batch} examples",
        Summary::new(net)
    )
}

fn net_json(net: &Net, config: &Config) -> Value {
    let summary = Summary::new(net);
    let layers: Vec<Value> = summary
        .rows
        .iter()
        .map(|row| {
            json!({
                "layer": row.layer,
                "operation": row.operation,
                "output": [row.output.c, row.output.h, row.output.w],
                "parameters": row.params,
                "flops": row.flops,
            })
        })
        .collect();
    json!({
        "name": summary.name,
        "parameters": summary.params,
        "unused_parameters": summary.unused_params,
        "flops": summary.flops,
        "training_bytes": plan_bytes(net, config),
        "layers": layers,
    })
}
