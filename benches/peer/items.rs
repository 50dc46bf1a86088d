//! The list of work.

use super::files::{RECORDINGS, RECORDS};
use super::layers::{LayerShape, layers};
use super::steps::{BATCH, Task};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use viewmaker::config::Update;
use viewmaker::error::{Error, Result};
use viewmaker_data::ChannelStats;
use viewmaker_data::modality::speech::SpeechConfig;

/// Work as both workers are told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// One adversarial training step.
    Step(StepWork),
    /// One pass of one convolution layer.
    Layer(LayerWork),
    /// A contrastive loss, forward and backward.
    Loss(LossWork),
    /// From sound files to normalised spectrograms.
    Spectrogram(SpectrogramWork),
    /// An epoch of pictures.
    Loading(LoadingWork),
}

/// One adversarial training step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepWork {
    /// What is trained on.
    pub task: Task,
    /// Order of the players.
    pub update: Update,
    /// Channels, height, width.
    pub input: [usize; 3],
    /// Examples.
    pub batch: usize,
    /// The whole configuration, for a peer that cannot read ours.
    pub config: serde_json::Value,
    /// Mean and standard deviation between viewmaker and encoder.
    pub after_view: Option<(Vec<f32>, Vec<f32>)>,
}

/// One pass of one convolution layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerWork {
    /// Shape of the layer.
    #[serde(flatten)]
    pub shape: LayerShape,
    /// Examples.
    pub batch: usize,
    /// Which pass.
    pub pass: Pass,
}

/// A contrastive loss, forward and backward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossWork {
    /// Its name in the registry.
    pub objective: String,
    /// Embeddings of both views together.
    pub embeddings: usize,
    /// Their length.
    pub dim: usize,
    /// Temperature.
    pub temperature: f64,
}

/// From sound files to normalised log-mel spectrograms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpectrogramWork {
    /// `wav` or `flac`.
    pub format: String,
    /// The files, once they are there.
    pub files: Vec<PathBuf>,
    /// The options of the data.
    pub speech: SpeechConfig,
    /// Mean of the normalisation, in dB.
    pub mean: f32,
    /// Standard deviation of the normalisation, in dB.
    pub std: f32,
}

/// An epoch of shuffled, normalised batches of pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadingWork {
    /// Folder of record files, once they are there.
    pub folder: PathBuf,
    /// Examples of a batch; the last incomplete one is left out.
    pub batch: usize,
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
}

/// A pass of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pass {
    /// The output.
    Forward,
    /// The gradient of the input.
    InputGradient,
    /// The gradients of weight and bias.
    WeightGradient,
}

impl Pass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Forward, Self::InputGradient, Self::WeightGradient];

    /// Its name in items.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::InputGradient => "input-gradient",
            Self::WeightGradient => "weight-gradient",
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name, for `--filter`.
    pub name: String,
    /// What is done.
    pub work: Work,
    /// Pairs of runs unless the command line says otherwise.
    pub pairs: u16,
    /// Threads where they are not those of the command line.
    pub threads: Option<u16>,
    /// What one iteration processes, for rates: how many, of what.
    pub amount: (f64, &'static str),
    /// What a reader should know.
    pub note: String,
}

const PAIRS: u16 = 7;
/// Pairs of work that takes seconds.
const FEWER_PAIRS: u16 = 5;

/// Everything that is compared.
///
/// # Errors
/// When a configuration cannot be read.
pub fn items() -> Result<Vec<Item>> {
    let mut items = step_items()?;
    items.extend(layer_items()?);
    items.extend(loss_items()?);
    items.extend(speech_items()?);
    items.push(loading_item());
    Ok(items)
}

fn step_items() -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for task in Task::ALL {
        for update in [Update::Simultaneous, Update::Alternating] {
            let stats = |ChannelStats { mean, std }| (mean, std);
            items.push(Item {
                name: format!("step-{}/{}", task.name(), update.word()),
                work: Work::Step(StepWork {
                    task,
                    update,
                    input: task.input(),
                    batch: BATCH,
                    config: task.config(update)?.to_json(),
                    after_view: task.after_view().map(stats),
                }),
                pairs: FEWER_PAIRS,
                threads: None,
                amount: (BATCH as f64, "examples"),
                note: String::new(),
            });
        }
    }
    Ok(items)
}

fn layer_items() -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for layer in layers()? {
        for pass in Pass::ALL {
            let unused = pass == Pass::InputGradient && !layer.input_gradient;
            let mut note = format!("in {}", layer.places.join(", "));
            if unused {
                note += "; no step computes this pass";
            }
            let work = LayerWork {
                shape: layer.shape.clone(),
                batch: BATCH,
                pass,
            };
            items.push(Item {
                name: format!("conv/{}/{}", layer.shape.name(), pass.name()),
                amount: (work.flops() * 1e-9, "GFLOP"),
                work: Work::Layer(work),
                pairs: PAIRS,
                threads: None,
                note,
            });
        }
    }
    Ok(items)
}

fn loss_items() -> Result<Vec<Item>> {
    const EMBEDDINGS: [usize; 3] = [256, 4096, 16_384];
    let config = Task::Image.config(Update::Simultaneous)?;
    let mut items = Vec::new();
    for objective in ["viewmaker-simclr", "ntxent"] {
        for embeddings in EMBEDDINGS {
            items.push(Item {
                name: format!("loss/{objective}/{embeddings}"),
                work: Work::Loss(LossWork {
                    objective: objective.to_string(),
                    embeddings,
                    dim: config.encoder.embedding_dim,
                    temperature: config.objective.temperature,
                }),
                pairs: PAIRS,
                threads: None,
                amount: (embeddings as f64, "embeddings"),
                note: String::new(),
            });
        }
    }
    Ok(items)
}

fn speech_items() -> Result<Vec<Item>> {
    let config = Task::Speech.config(Update::Simultaneous)?;
    let speech = config.data.options.speech;
    let (Some(mean), Some(std)) = (speech.normalize_mean, speech.normalize_std) else {
        return Err(Error::failure("the speech configuration has no statistics"));
    };
    let item = |format: &str| Item {
        name: format!("spectrogram/{format}"),
        work: Work::Spectrogram(SpectrogramWork {
            format: format.to_string(),
            files: Vec::new(),
            speech: speech.clone(),
            mean,
            std,
        }),
        pairs: PAIRS,
        threads: Some(1),
        amount: (RECORDINGS as f64, "recordings"),
        note: "from files in the page cache; one thread".to_string(),
    };
    Ok(vec![item("wav"), item("flac")])
}

fn loading_item() -> Item {
    const LOADED_BATCH: usize = 256;
    let stats = Task::Image.after_view();
    let (mean, std) = stats.map_or_else(Default::default, |stats| (stats.mean, stats.std));
    Item {
        name: "loading/cifar10".to_string(),
        work: Work::Loading(LoadingWork {
            folder: PathBuf::new(),
            batch: LOADED_BATCH,
            mean,
            std,
        }),
        pairs: FEWER_PAIRS,
        threads: None,
        amount: ((RECORDS / LOADED_BATCH * LOADED_BATCH) as f64, "examples"),
        note: "records in memory; one epoch".to_string(),
    }
}

impl LayerWork {
    /// Floating-point operations of the direct algorithm, the same for every pass.
    fn flops(&self) -> f64 {
        use viewmaker_ops::{Dims, Op};
        let [c, h, w] = self.shape.input;
        self.shape.op().flops(&[Dims::new(self.batch, h, w, c)]) as f64
    }
}
