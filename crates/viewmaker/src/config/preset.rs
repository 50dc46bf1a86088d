//! The built-in defaults: per modality, a demonstration that takes minutes on two cores.
//!
//! This is the one place where their numbers stand. The paper's settings, which take days on a
//! CPU, are the files in `configs/`.

use super::Config;
use super::device::{Device, Precision};
use super::probes::*;
use super::sections::*;
use super::views::ViewSource;
use crate::eval::fewshot::Nearness;
use viewmaker_data::DataConfig;
use viewmaker_data::captions::TEMPLATES;
use viewmaker_data::views::{ExpertConfig, PatchConfig, TemporalConfig};
use viewmaker_objective::ObjectiveConfig;

/// The default configuration of a modality.
pub fn preset(modality: &str) -> Config {
    let mut config = common(modality);
    match modality {
        "image" => {
            config.viewmaker.distortion_budget = 0.05;
            config.viewmaker.clamp = true;
            config.eval.prompts = vec!["a picture of a {}".to_owned()];
        }
        "speech" => config.viewmaker.distortion_budget = 0.1,
        "sensor" => {
            config.viewmaker.distortion_budget = 0.05;
            config.train.epochs = 4;
        }
        _ => {}
    }
    config
}

/// What the demonstrations of all modalities share.
fn common(modality: &str) -> Config {
    Config {
        modality: modality.to_owned(),
        seed: 0,
        threads: 0,
        device: Device::Auto.to_string(),
        precision: Precision::F32,
        data: DataSection {
            path: None,
            options: DataConfig {
                embedded_train: 2048,
                embedded_test: 1024,
                ..DataConfig::default()
            },
        },
        viewmaker: ViewmakerSection {
            distortion_budget: 0.05,
            norm: Norm::L1,
            num_res_blocks: 3,
            widths: [8, 16, 32],
            activation: Activation::Relu,
            clamp: false,
            frequency_domain: false,
            // A quarter of the cost of views at full resolution, and smoother ones.
            downsample_to: 16,
            perturbs: Perturbs::Both,
            budget_warmup_epochs: 0.0,
        },
        views: ViewsSection {
            source: ViewSource::Learned.into(),
            expert: ExpertConfig::default(),
            patch: PatchConfig::default(),
            temporal: TemporalConfig::default(),
        },
        encoder: EncoderSection {
            name: "tiny".to_owned(),
            embedding_dim: 128,
            projection: Projection::Linear,
            text_width: 32,
        },
        objective: ObjectiveConfig::default(),
        train: TrainSection {
            batch_size: 64,
            chunk: 0,
            epochs: 8,
            steps: None,
            update: Update::Simultaneous,
            viewmaker_loss_weight: 1.0,
            freeze_viewmaker_after: None,
            checkpoint_every: 0,
            keep_checkpoints: 2,
            knn_every: 2,
        },
        optim: OptimSection {
            // The reference's SGD needs its 200 epochs; Adam gets somewhere in ten.
            encoder: OptimizerSection {
                weight_decay: 1e-4,
                schedule: Schedule::Cosine,
                ..adam()
            },
            viewmaker: adam(),
        },
        eval: EvalSection {
            clean_statistics: true,
            knn_k: 20,
            knn_temperature: 0.07,
            linear_epochs: 100,
            linear_lr: 0.01,
            linear_momentum: 0.9,
            linear_weight_decay: 0.0,
            linear_batch_size: 128,
            linear_milestones: vec![60, 80],
            prompts: TEMPLATES.map(str::to_owned).to_vec(),
            // Fresh views of every epoch cannot be kept: with them the probe takes as long as training.
            linear_views: false,
            logistic: LogisticSection {
                l2: 1e-3,
                max_iterations: 1000,
                tolerance: 1e-6,
            },
            finetune: FinetuneSection {
                fractions: vec![0.01, 0.1, 1.0],
                seeds: 3,
                steps: 100,
                batch_size: 64,
                lr: 1e-3,
                weight_decay: 1e-4,
            },
            fewshot: FewshotSection {
                ways: 5,
                shots: vec![1, 5],
                queries: 15,
                episodes: 600,
                distance: Nearness::Euclidean,
            },
            subjects: SubjectsSection {
                counts: vec![1, 2, 4],
                repeats: 5,
            },
            corruptions: CorruptionsSection { examples: 512 },
        },
    }
}

/// The reference's optimiser for the viewmaker.
fn adam() -> OptimizerSection {
    OptimizerSection {
        name: OptimizerName::Adam,
        lr: 1e-3,
        momentum: 0.9,
        weight_decay: 0.0,
        betas: [0.9, 0.999],
        eps: 1e-8,
        schedule: Schedule::Constant,
        warmup_epochs: 0.0,
    }
}
