//! The ranges of all values. Types have been checked before.

use super::error::ConfigError;
use super::probes::*;
use super::sections::*;
use super::{Config, Device, Precision};
use std::fmt::Display;
use viewmaker_data::DataError;
use viewmaker_objective::ObjectiveError;

/// Largest seed: TOML has no larger whole number.
const MAX_SEED: u64 = i64::MAX as u64;

/// Most epochs of the linear probe. Each of them draws its views at 65,536 steps of the generator that no
/// training run reaches, and there are 2³² steps.
const MAX_LINEAR_EPOCHS: u64 = 10_000;

/// Checks every value of a configuration; names the first that cannot work.
pub(super) fn validate(config: &Config) -> Result<(), ConfigError> {
    word("modality", &config.modality, super::modality_names())?;
    check(
        "seed",
        config.seed,
        config.seed <= MAX_SEED,
        "at most 2⁶³ − 1",
    )?;
    at_most("threads", config.threads, 1024)?;
    check(
        "device",
        &config.device,
        config.device.parse::<Device>().is_ok(),
        "auto, cpu, cuda, or cuda:N for card N, counted from 0",
    )?;
    check(
        "precision",
        match config.precision {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        },
        config.precision == Precision::F32 || config.device != "cpu",
        "f32 on the processor; tf32 and bf16 are for tensor cores (device = \"cuda\")",
    )?;
    config.data.options.validate().map_err(from_data)?;
    viewmaker(&config.viewmaker, &config.modality)?;
    views(config)?;
    let encoder = &config.encoder;
    word("encoder.name", &encoder.name, super::encoder_names())?;
    at_least("encoder.embedding_dim", encoder.embedding_dim, 1)?;
    at_least("encoder.text_width", encoder.text_width, 1)?;
    objective(config)?;
    train(&config.train)?;
    optimizer("optim.encoder", &config.optim.encoder)?;
    optimizer("optim.viewmaker", &config.optim.viewmaker)?;
    eval(&config.eval)
}

fn viewmaker(section: &ViewmakerSection, modality: &str) -> Result<(), ConfigError> {
    positive("viewmaker.distortion_budget", section.distortion_budget)?;
    at_most("viewmaker.num_res_blocks", section.num_res_blocks, 5)?;
    let widths = section.widths;
    let shown = format!("{widths:?}");
    let fine = widths.iter().all(|width| (1..=4096).contains(width));
    check(
        "viewmaker.widths",
        shown,
        fine,
        "three numbers from 1 to 4096",
    )?;
    let warmup = section.budget_warmup_epochs;
    not_negative("viewmaker.budget_warmup_epochs", warmup)?;
    let size = section.downsample_to;
    let fine = size == 0 || size >= 5;
    check(
        "viewmaker.downsample_to",
        size,
        fine,
        "5 or more, or 0 for no resizing",
    )?;
    // Spectrograms are not confined to [0, 1]: clamping would destroy them.
    let fine = !section.clamp || modality == "image";
    check(
        "viewmaker.clamp",
        section.clamp,
        fine,
        "false unless the modality is image",
    )
}

fn views(config: &Config) -> Result<(), ConfigError> {
    let source = &config.views.source;
    source
        .check()
        .map_err(|why| ConfigError::refused("views.source", source, why))?;
    config.recipe().map(drop).map_err(from_data)
}

fn objective(config: &Config) -> Result<(), ConfigError> {
    word(
        "objective.name",
        &config.objective.name,
        super::objective_names(),
    )?;
    config.objective.validate().map_err(|error| match error {
        ObjectiveError::Setting {
            field,
            expected,
            found,
        } => ConfigError::value(format!("objective.{field}"), found, expected),
        other => ConfigError::refused("objective", "…", other.to_string()),
    })
}

fn train(section: &TrainSection) -> Result<(), ConfigError> {
    at_least("train.batch_size", section.batch_size, 2)?;
    let (chunk, batch) = (section.chunk, section.batch_size);
    let divides = chunk == 0 || (chunk > 1 && batch.is_multiple_of(chunk));
    let expected = format!("0, or 2 or more that divide train.batch_size = {batch}");
    check("train.chunk", chunk, divides, &expected)?;
    at_least("train.epochs", section.epochs, 1)?;
    at_least("train.steps", section.steps.unwrap_or(1), 1)?;
    not_negative("train.viewmaker_loss_weight", section.viewmaker_loss_weight)?;
    at_least("train.keep_checkpoints", section.keep_checkpoints, 1)
}

fn optimizer(at: &str, section: &OptimizerSection) -> Result<(), ConfigError> {
    let key = |name: &str| format!("{at}.{name}");
    not_negative(&key("lr"), section.lr)?;
    let momentum = section.momentum;
    let fine = (0.0..1.0).contains(&momentum);
    check(
        &key("momentum"),
        momentum,
        fine,
        "0 or more and less than 1",
    )?;
    not_negative(&key("weight_decay"), section.weight_decay)?;
    let betas = section.betas;
    let fine = betas.iter().all(|beta| (0.0..1.0).contains(beta));
    check(
        &key("betas"),
        format!("{betas:?}"),
        fine,
        "two numbers, each 0 or more and less than 1",
    )?;
    positive(&key("eps"), section.eps)?;
    not_negative(&key("warmup_epochs"), section.warmup_epochs)
}

fn eval(section: &EvalSection) -> Result<(), ConfigError> {
    at_least("eval.knn_k", section.knn_k, 1)?;
    positive("eval.knn_temperature", section.knn_temperature)?;
    let prompts = &section.prompts;
    let fine = !prompts.is_empty() && prompts.iter().all(|prompt| prompt.contains("{}"));
    let expected = "one text or more, each with {} where the name of a class stands";
    check("eval.prompts", format!("{prompts:?}"), fine, expected)?;
    at_least("eval.linear_epochs", section.linear_epochs, 1)?;
    at_most(
        "eval.linear_epochs",
        section.linear_epochs,
        MAX_LINEAR_EPOCHS,
    )?;
    positive("eval.linear_lr", section.linear_lr)?;
    let momentum = section.linear_momentum;
    let fine = (0.0..1.0).contains(&momentum);
    check(
        "eval.linear_momentum",
        momentum,
        fine,
        "0 or more and less than 1",
    )?;
    not_negative("eval.linear_weight_decay", section.linear_weight_decay)?;
    at_least("eval.linear_batch_size", section.linear_batch_size, 1)?;
    let logistic = &section.logistic;
    not_negative("eval.logistic.l2", logistic.l2)?;
    at_least("eval.logistic.max_iterations", logistic.max_iterations, 1)?;
    positive("eval.logistic.tolerance", logistic.tolerance)?;
    finetune(&section.finetune)?;
    fewshot(&section.fewshot)?;
    counts("eval.subjects.counts", &section.subjects.counts)?;
    at_least("eval.subjects.repeats", section.subjects.repeats, 1)
}

fn finetune(section: &FinetuneSection) -> Result<(), ConfigError> {
    let fractions = &section.fractions;
    let fine = !fractions.is_empty() && fractions.iter().all(|f| *f > 0.0 && *f <= 1.0);
    check(
        "eval.finetune.fractions",
        format!("{fractions:?}"),
        fine,
        "a list of numbers greater than 0 and at most 1",
    )?;
    at_least("eval.finetune.seeds", section.seeds, 1)?;
    at_least("eval.finetune.steps", section.steps, 1)?;
    at_least("eval.finetune.batch_size", section.batch_size, 1)?;
    positive("eval.finetune.lr", section.lr)?;
    not_negative("eval.finetune.weight_decay", section.weight_decay)
}

fn fewshot(section: &FewshotSection) -> Result<(), ConfigError> {
    at_least("eval.fewshot.ways", section.ways, 2)?;
    counts("eval.fewshot.shots", &section.shots)?;
    at_least("eval.fewshot.queries", section.queries, 1)?;
    at_least("eval.fewshot.episodes", section.episodes, 1)
}

/// A list of whole numbers from 1 on, with one at least.
fn counts(key: &str, counts: &[usize]) -> Result<(), ConfigError> {
    let fine = !counts.is_empty() && counts.iter().all(|count| *count > 0);
    let expected = "a list of whole numbers, each 1 or more";
    check(key, format!("{counts:?}"), fine, expected)
}

fn check(key: &str, value: impl Display, fine: bool, expected: &str) -> Result<(), ConfigError> {
    match fine {
        true => Ok(()),
        false => Err(ConfigError::value(key, value, expected)),
    }
}

fn at_least<T: PartialOrd + Display>(key: &str, value: T, least: T) -> Result<(), ConfigError> {
    let expected = format!("{least} or more");
    check(key, &value, value >= least, &expected)
}

fn at_most<T: PartialOrd + Display>(key: &str, value: T, most: T) -> Result<(), ConfigError> {
    let expected = format!("{most} or less");
    check(key, &value, value <= most, &expected)
}

fn positive(key: &str, value: impl Into<f64> + Copy + Display) -> Result<(), ConfigError> {
    let number = value.into();
    let fine = number > 0.0 && number.is_finite();
    check(key, value, fine, "a number greater than 0")
}

fn not_negative(key: &str, value: impl Into<f64> + Copy + Display) -> Result<(), ConfigError> {
    let number = value.into();
    let fine = number >= 0.0 && number.is_finite();
    check(key, value, fine, "a number, 0 or more")
}

fn word(key: &str, value: &str, words: Vec<&'static str>) -> Result<(), ConfigError> {
    if words.contains(&value) {
        return Ok(());
    }
    let expected = format!("one of {}", words.join(", "));
    Err(ConfigError::value(key, value, expected).suggesting(words))
}

/// An option that the data crate refused, as an error of the configuration.
fn from_data(error: DataError) -> ConfigError {
    match error {
        DataError::Option { key, value, why } => ConfigError::refused(key, value, why),
        other => ConfigError::refused("data", "…", other.to_string()),
    }
}
