//! The sections of a configuration. What each key means to a user stands in `docs/`; the ranges
//! stand in `validate.rs`; the default values in `preset.rs`.

use super::probes::*;
use super::views::ViewSources;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use viewmaker_data::views::{ExpertConfig, PatchConfig, TemporalConfig};
use viewmaker_data::{DataConfig, ViewsConfig};

/// The section `data`: which data, and how they are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSection {
    /// File or folder; `None` is the embedded data of the modality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How it is read.
    #[serde(flatten)]
    pub options: DataConfig,
}

/// The section `viewmaker`: the network that makes views.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewmakerSection {
    /// Budget ε of the perturbation: its norm per element.
    pub distortion_budget: f32,
    /// Norm of the budget.
    pub norm: Norm,
    /// Residual blocks in use, 0 to 5.
    pub num_res_blocks: usize,
    /// Channels at the three resolutions.
    pub widths: [usize; 3],
    /// Nonlinearity of the convolution stages.
    pub activation: Activation,
    /// Whether views are clamped to `[0, 1]`.
    pub clamp: bool,
    /// Whether DCT coefficients are perturbed instead of the signal.
    pub frequency_domain: bool,
    /// Height and width the network works at; 0: those of the data.
    pub downsample_to: usize,
    /// Which of two views it perturbs.
    pub perturbs: Perturbs,
    /// Epochs in which the budget grows linearly from 0 to its full size; may be a fraction.
    pub budget_warmup_epochs: f32,
}

/// Which views of an example are perturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Perturbs {
    /// All.
    Both,
    /// The first; the second is the example itself.
    First,
}

/// Norm of the distortion budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Mean |δ|.
    L1,
    /// Root mean square of δ.
    L2,
    /// Largest |δ|.
    Linf,
}

/// Nonlinearity of the viewmaker's convolution stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// Slope 0.01 below zero.
    LeakyRelu,
}

/// The section `views`: where views come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewsSection {
    /// What makes the views, in order.
    pub source: ViewSources,
    /// Hand-made augmentations, by modality.
    pub expert: ExpertConfig,
    /// Views by patch.
    pub patch: PatchConfig,
    /// Views by time.
    pub temporal: TemporalConfig,
}

impl ViewsSection {
    /// The options of what is done while examples are loaded.
    pub fn options(&self) -> ViewsConfig {
        ViewsConfig {
            expert: self.expert.clone(),
            patch: self.patch.clone(),
            temporal: self.temporal.clone(),
        }
    }
}

/// The section `encoder`: the network that is wanted in the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSection {
    /// A name of the encoder registry.
    pub name: String,
    /// Length of the embedding that the objective compares.
    pub embedding_dim: usize,
    /// What stands between the pooled features and the embedding.
    pub projection: Projection,
    /// Channels of the first stage of the text tower, where an objective has one.
    pub text_width: usize,
}

/// What stands between the pooled features and the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Projection {
    /// Nothing: the features are the embedding.
    None,
    /// One linear layer.
    Linear,
    /// Linear, ReLU, linear.
    Mlp,
    /// Linear, batch norm, ReLU, linear.
    MlpNorm,
}

/// The section `train`: the course of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSection {
    /// Examples of a step.
    pub batch_size: usize,
    /// Examples whose activations are kept at once; 0: those of the whole batch.
    pub chunk: usize,
    /// Passes over the training data.
    pub epochs: u64,
    /// Steps in all, instead of `epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Order in which the two players move.
    pub update: Update,
    /// Weight w of the viewmaker's loss, −w times the encoder's.
    pub viewmaker_loss_weight: f32,
    /// Epochs after which the viewmaker stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze_viewmaker_after: Option<u64>,
    /// Steps between checkpoints beside those at the end of every epoch; 0: none.
    pub checkpoint_every: u64,
    /// Checkpoints kept beside the best.
    pub keep_checkpoints: usize,
    /// Epochs between measurements of the kNN accuracy; 0: only before and after training.
    pub knn_every: u64,
}

impl TrainSection {
    /// Examples whose activations are in memory at the same time.
    pub fn examples_at_once(&self) -> usize {
        match self.chunk {
            0 => self.batch_size,
            chunk => chunk,
        }
    }
}

/// Order in which encoder and viewmaker move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// Each batch runs twice: the encoder moves, then the viewmaker against the moved encoder.
    Alternating,
    /// Each batch runs once and both move.
    Simultaneous,
}

impl Update {
    /// The word in a configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alternating => "alternating",
            Self::Simultaneous => "simultaneous",
        }
    }
}

/// The section `optim`: one optimiser per player.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimSection {
    /// Optimiser of the encoder.
    pub encoder: OptimizerSection,
    /// Optimiser of the viewmaker.
    pub viewmaker: OptimizerSection,
}

/// An optimiser and its schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSection {
    /// Update rule.
    pub name: OptimizerName,
    /// Learning rate (after warm-up).
    pub lr: f32,
    /// Momentum of SGD.
    pub momentum: f32,
    /// Weight decay: added to the gradient by SGD and Adam, decoupled in AdamW.
    pub weight_decay: f32,
    /// Decay rates of Adam's two moments.
    pub betas: [f32; 2],
    /// Adam's ε.
    pub eps: f32,
    /// Course of the learning rate.
    pub schedule: Schedule,
    /// Epochs of linear warm-up, may be a fraction.
    pub warmup_epochs: f32,
}

/// Update rule of an optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam, with weight decay added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
}

/// Course of the learning rate after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Always the same.
    Constant,
    /// Half a cosine down to 0 at the last step.
    Cosine,
}

/// The section `eval`: how good the features are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalSection {
    /// Whether batch-norm statistics are estimated on clean examples before an evaluation.
    pub clean_statistics: bool,
    /// Neighbours that vote.
    pub knn_k: usize,
    /// Temperature of the votes' weights exp(cosine / temperature).
    pub knn_temperature: f32,
    /// Epochs of the linear probe.
    pub linear_epochs: u64,
    /// Learning rate of the linear probe (SGD).
    pub linear_lr: f32,
    /// Momentum of the linear probe.
    pub linear_momentum: f32,
    /// Weight decay of the linear probe.
    pub linear_weight_decay: f32,
    /// Batch size of the linear probe.
    pub linear_batch_size: usize,
    /// Epochs of the linear probe at which its learning rate drops to a tenth.
    pub linear_milestones: Vec<u64>,
    /// What the prompts of a class say in zero-shot classification, `{}` standing for its name.
    pub prompts: Vec<String>,
    /// Whether training batches of the linear probe pass through the frozen viewmaker.
    pub linear_views: bool,
    /// Logistic regression.
    pub logistic: LogisticSection,
    /// Fine-tuning.
    pub finetune: FinetuneSection,
    /// Few-shot episodes.
    pub fewshot: FewshotSection,
    /// Transfer between subjects.
    pub subjects: SubjectsSection,
    /// Corrupted pictures.
    pub corruptions: CorruptionsSection,
}
