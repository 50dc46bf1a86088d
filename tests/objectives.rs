//! Every objective on every modality: its loss falls when the encoder learns and rises when the
//! viewmaker does; momentum encoder and queue step by step against a plain reference.

use std::sync::Arc;
use viewmaker::config::{Config, OptimizerName, Update, ViewSource, preset};
use viewmaker::model::Networks;
use viewmaker::pictures;
use viewmaker::train::learners::Learners;
use viewmaker::train::players::{NoiseRequest, NoiseSource};
use viewmaker::train::step::{Perturbation, StepBatch, StepOutcome, StepRates};
use viewmaker_data::text;
use viewmaker_data::{Batch, Draw, Loader, Recipe, Splits};
use viewmaker_exec::{Call, Machine, Tower, Wanted, Weights};
use viewmaker_net::{Net, NetBuilder, Purpose};
use viewmaker_objective::{Mining, build, registry};
use viewmaker_ops::activation::Activation;
use viewmaker_ops::conv2d::{Conv2d, ConvInit, Padding};
use viewmaker_ops::linear::Linear;
use viewmaker_ops::pool::GlobalAvgPool;
use viewmaker_ops::{Mode, random::Philox};

const BATCH: usize = 8;

/// Small networks on a few embedded examples.
fn config(modality: &str, objective: &str) -> Config {
    let mut config = preset(modality);
    config.data.options.embedded_train = 3 * BATCH;
    config.data.options.embedded_test = 10;
    config.data.options.image.size = 16;
    config.viewmaker.widths = [4, 6, 8];
    config.viewmaker.num_res_blocks = 1;
    config.viewmaker.distortion_budget = 0.2;
    config.encoder.embedding_dim = 16;
    config.objective.name = objective.to_owned();
    config.objective.queue = 2 * BATCH;
    config.objective.negatives = 16;
    config.objective.predictor_hidden = 12;
    config.objective.ways = 3;
    config.optim.encoder.weight_decay = 0.0;
    config
}

/// The same noise in every step.
struct Still;

impl NoiseSource for Still {
    fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]) {
        let stream = 100 + request.channel * 2 + request.view;
        Philox::new(7, stream, 0).fill_uniform(out);
    }
}

/// Everything that a step needs.
struct Bench {
    learners: Learners,
    batch: Batch,
    texts: Vec<f32>,
}

/// A batch of views that the loader makes.
fn made(splits: &Splits, recipe: Recipe, views: usize) -> Batch {
    let loader = Loader::training(Arc::clone(&splits.train), BATCH, 0, 3).unwrap();
    let mut batches = loader.with_views(Arc::new(recipe), views, 3).epoch(0);
    batches.next().unwrap().unwrap()
}

/// The same noise for both halves of a batch.
struct Halves;

impl NoiseSource for Halves {
    fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]) {
        let (first, second) = out.split_at_mut(out.len() / 2);
        Still.uniform(request, first);
        second.copy_from_slice(first);
    }
}

/// The same with plain descent, whose steps are the gradients.
fn descending(config: &Config) -> Config {
    let mut config = config.clone();
    config.optim.encoder.name = OptimizerName::Sgd;
    config.optim.encoder.momentum = 0.0;
    config
}

impl Bench {
    fn new(config: &Config, splits: &Splits) -> Self {
        Self::around(config, splits, None)
    }

    /// With an encoder of its own.
    fn around(config: &Config, splits: &Splits, encoder: Option<Net>) -> Self {
        let shape = splits.train.shape();
        let networks = Networks::build(config, shape, splits.after_view.as_ref()).unwrap();
        let mut players = networks.init(config, 3, &Machine::Cpu).unwrap();
        if let Some(net) = encoder {
            players.encoder = Tower::new(Weights::init(net.into(), 3, 1));
        }
        let (dim, examples) = (players.embedding_dim(), splits.train.len());
        let objective = build(&config.objective, dim, examples, 3).unwrap();
        let indices: Vec<usize> = (0..BATCH).map(|i| 3 * i).collect();
        let batch = match config.recipe().unwrap() {
            Some(recipe) => made(splits, recipe, objective.branches().views()),
            None => Batch::of(&*splits.train, &indices, Draw::FIXED).unwrap(),
        };
        Self {
            learners: Learners::new(config, players, objective).unwrap(),
            texts: text::pages(&batch.captions),
            batch,
        }
    }

    fn step(&mut self, rates: StepRates) -> StepOutcome {
        self.step_with(rates, &mut Still)
    }

    fn step_with(&mut self, rates: StepRates, noise: &mut dyn NoiseSource) -> StepOutcome {
        let batch = StepBatch {
            examples: &self.batch.views(),
            first: 0,
            dims: self.batch.dims,
            indices: &self.batch.indices,
            labels: &self.batch.labels,
            sequences: &self.batch.sequences,
            texts: &self.texts,
            step: 0,
        };
        self.learners.step(batch, rates, noise).unwrap()
    }

    /// The losses of some steps on the same batch, with the objective's memory as it was before.
    fn losses(&mut self, rates: StepRates, steps: usize) -> Vec<f32> {
        let memory = self.learners.objective.state();
        let mut losses = Vec::new();
        for _ in 0..steps {
            losses.push(self.step(rates).encoder_loss);
            self.learners.objective.load_state(&memory).unwrap();
        }
        losses
    }
}

const RATES: StepRates = StepRates {
    update: Update::Simultaneous,
    viewmaker_loss_weight: 1.0,
    encoder_lr: 3e-3,
    viewmaker_lr: None,
    encoder_momentum: 0.9,
    chunk: 0,
    perturbation: Perturbation::FULL,
};

/// The encoder learns: the loss falls. The viewmaker learns alone: it rises.
fn check(modality: &str) {
    let splits = pictures::open_data(&config(modality, "ntxent")).unwrap();
    let splits = splits.captioned(None).unwrap();
    for entry in registry() {
        if entry.branches.ordered && splits.train.sequence(0).is_none() {
            continue; // That it is refused has a test of its own.
        }
        let mut sources = vec![
            ViewSource::Learned,
            ViewSource::Noise,
            ViewSource::Expert,
            ViewSource::Patch,
            ViewSource::None,
        ];
        if modality != "image" && !entry.branches.ordered {
            sources.push(ViewSource::Temporal);
        }
        for source in sources {
            let mut config = config(modality, entry.name);
            config.views.source = source.into();
            if source == ViewSource::None && entry.name == "pull" {
                continue; // Two equal views have distance 0 from the start.
            }
            let mut bench = Bench::new(&config, &splits);
            let losses = bench.losses(RATES, 8);
            let place = format!("{modality}, {}, {source:?}: {losses:?}", entry.name);
            assert!(losses[7] < losses[0], "{place}");
            let finite = losses.iter().all(|loss| loss.is_finite());
            assert!(finite, "{place}");
        }
        for update in [Update::Simultaneous, Update::Alternating] {
            let rates = StepRates {
                update,
                encoder_lr: 0.0,
                viewmaker_lr: Some(3e-3),
                encoder_momentum: 1.0,
                ..RATES
            };
            let config = config(modality, entry.name);
            let mut bench = Bench::new(&config, &splits);
            let losses = bench.losses(rates, 6);
            let place = format!("{modality}, {}, {update:?}: {losses:?}", entry.name);
            assert!(losses[5] > losses[0], "{place}");
        }
    }
}

#[test]
fn every_objective_trains_on_images() {
    check("image");
}

#[test]
fn every_objective_trains_on_speech() {
    check("speech");
}

#[test]
fn every_objective_trains_on_sensor_streams() {
    check("sensor");
}

/// Videos of a bright square that moves from left to right over a ground of their own.
fn videos(folder: &std::path::Path) {
    for video in 0..8u8 {
        let clip = folder.join(format!("clip{video}"));
        std::fs::create_dir(&clip).unwrap();
        for frame in 0..6u32 {
            let picture = image::RgbImage::from_fn(16, 16, |x, y| {
                let inside = (2 * frame..2 * frame + 5).contains(&x) && (5..11).contains(&y);
                image::Rgb(if inside {
                    [250; 3]
                } else {
                    [20 * video, 90, 10 * video]
                })
            });
            picture.save(clip.join(format!("{frame}.png"))).unwrap();
        }
    }
}

#[test]
fn moments_in_time_are_learned_from_folders_of_frames() {
    let folder = tempfile::tempdir().unwrap();
    videos(folder.path());
    for source in [ViewSource::Learned, ViewSource::Expert, ViewSource::None] {
        let mut config = config("image", "tcn");
        config.data.path = Some(folder.path().to_owned());
        config.data.options.image.frames = true;
        config.views.source = source.into();
        let splits = pictures::open_data(&config).unwrap();
        let mut bench = Bench::new(&config, &splits);
        let losses = bench.losses(RATES, 8);
        assert!(losses[7] < losses[0], "{source:?}: {losses:?}");
    }
}

/// What `tower` makes of the batch, and its running statistics afterwards.
fn embed(tower: &Tower, batch: &Batch) -> (Vec<f32>, Vec<f32>) {
    let copy = Tower::new(tower.weights().clone());
    let call = Call {
        output: copy.net().output(),
        extra: &[],
        mode: Mode::Train,
        wanted: Wanted::Params,
    };
    let mut pass = copy.forward(&batch.x, batch.dims[0], Purpose::Inference, call);
    let z = pass.value(call.output).to_vec();
    let state = copy.weights().state.clone();
    (z, state)
}

#[test]
fn moco_moves_step_by_step_like_a_plain_reference() {
    let mut config = config("image", "moco-v2");
    config.views.source = ViewSource::None.into();
    let splits = pictures::open_data(&config).unwrap();
    let mut bench = Bench::new(&descending(&config), &splits);
    let follower = bench
        .learners
        .companions
        .momentum_encoder()
        .unwrap()
        .clone();
    let dim = bench.learners.players.embedding_dim();
    let (momentum, length) = (0.75, config.objective.queue);
    let queue = bench.learners.objective.state()[0].2.clone();
    let mut queue: Vec<Vec<f32>> = queue.chunks(dim).map(<[f32]>::to_vec).collect();
    let mut next = 0;
    for step in 0..3 {
        let before = follower.weights().params.clone();
        let (keys, statistics) = embed(&follower, &bench.batch);
        bench.step(StepRates {
            encoder_momentum: momentum,
            encoder_lr: 0.1,
            ..RATES
        });
        // The momentum encoder: average of weights, statistics of its own, never a gradient.
        let encoder = bench.learners.players.encoder.weights();
        let pairs = before.iter().zip(&encoder.params);
        let average: Vec<f32> = pairs
            .map(|(own, other)| momentum * own + (1.0 - momentum) * other)
            .collect();
        assert!(encoder.params != before, "step {step}: the encoder moves");
        assert!(follower.weights().params == average, "step {step}: weights");
        assert!(
            follower.weights().state == statistics,
            "step {step}: statistics"
        );
        assert!(
            follower.grads().iter().all(|g| *g == 0.0),
            "step {step}: gradient"
        );
        // The queue: the keys from before the step, normalised, over the oldest rows.
        for key in keys.chunks(dim) {
            let length_of = key
                .iter()
                .map(|x| f64::from(*x).powi(2))
                .sum::<f64>()
                .sqrt();
            queue[next] = key
                .iter()
                .map(|x| (f64::from(*x) / length_of) as f32)
                .collect();
            next = (next + 1) % length;
        }
        let state = bench.learners.objective.state();
        assert_eq!(state[0].2, queue.concat(), "step {step}: queue");
        assert_eq!(state[1].2, [next as f32], "step {step}: next row");
    }
}

#[test]
fn instdisc_moves_its_bank_like_a_plain_reference() {
    let mut config = config("image", "instdisc");
    config.views.source = ViewSource::None.into();
    config.objective.bank_momentum = 0.25;
    let splits = pictures::open_data(&config).unwrap();
    let mut bench = Bench::new(&descending(&config), &splits);
    let dim = bench.learners.players.embedding_dim();
    let mut bank = bench.learners.objective.state()[0].2.clone();
    for step in 0..3 {
        let outcome = bench.step(RATES);
        let z = &outcome.embeddings[0][0];
        for (index, z) in bench.batch.indices.iter().zip(z.chunks(dim)) {
            let unit = |row: &[f64]| -> Vec<f64> {
                let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                row.iter().map(|x| x / length).collect()
            };
            let u = unit(&z.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
            let row = &mut bank[index * dim..(index + 1) * dim];
            let blend = row
                .iter()
                .zip(u)
                .map(|(old, u)| 0.25 * f64::from(*old) + 0.75 * u);
            let new = unit(&blend.collect::<Vec<_>>());
            row.iter_mut()
                .zip(new)
                .for_each(|(row, new)| *row = new as f32);
        }
        let got = &bench.learners.objective.state()[0].2;
        let error = got.iter().zip(&bank).map(|(a, b)| (a - b).abs());
        assert!(error.fold(0.0, f32::max) < 1e-6, "step {step}");
    }
}

#[test]
fn the_gradient_through_predictor_and_encoder_is_the_slope_of_the_loss() {
    for name in ["byol", "moco-v3"] {
        let mut config = config("image", name);
        config.views.source = ViewSource::Noise.into();
        let splits = pictures::open_data(&config).unwrap();
        let mut bench = Bench::new(&descending(&config), &splits);
        let lr = 1e-4;
        // The momentum encoder stays, so that only the gradient moves the loss.
        let rates = StepRates {
            encoder_lr: lr,
            encoder_momentum: 1.0,
            ..RATES
        };
        let first = bench.step(rates).encoder_loss;
        let square = |tower: &Tower| {
            tower
                .grads()
                .iter()
                .map(|g| f64::from(*g).powi(2))
                .sum::<f64>()
        };
        let predictor = square(bench.learners.companions.predictor().unwrap());
        let slope = square(&bench.learners.players.encoder) + predictor;
        assert!(predictor > 0.0 && predictor < slope, "{name}");
        let second = bench
            .step(StepRates {
                encoder_lr: 0.0,
                ..rates
            })
            .encoder_loss;
        let ratio = f64::from(first - second) / (f64::from(lr) * slope);
        assert!((ratio - 1.0).abs() < 0.1, "{name}: {ratio}");
    }
}

/// Losses, embeddings and gradients of all networks after a step in chunks of `chunk` examples.
fn gradients(bench: &mut Bench, chunk: usize, noise: &mut dyn NoiseSource) -> Vec<Vec<f32>> {
    let rates = StepRates {
        chunk,
        viewmaker_lr: Some(0.0),
        encoder_lr: 0.0,
        ..RATES
    };
    let outcome = bench.step_with(rates, noise);
    let mut all = vec![vec![outcome.encoder_loss], vec![outcome.mean_distortion]];
    all.extend(outcome.embeddings.concat());
    let encoder = Some(&bench.learners.players.encoder);
    let views = bench.learners.players.views.tower();
    let towers = [encoder, views, bench.learners.companions.predictor()];
    all.extend(
        towers
            .into_iter()
            .flatten()
            .map(|tower| tower.grads().to_vec()),
    );
    all.extend(
        bench
            .learners
            .objective
            .state()
            .into_iter()
            .map(|tensor| tensor.2),
    );
    all
}

/// Compares to 1e-5 of the largest element.
fn assert_same(whole: &[Vec<f32>], chunked: &[Vec<f32>], place: &str) {
    assert_eq!(whole.len(), chunked.len());
    for (number, (whole, chunked)) in whole.iter().zip(chunked).enumerate() {
        let largest = whole.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let errors = whole.iter().zip(chunked).map(|(a, b)| (a - b).abs());
        let error = errors.fold(0.0, f32::max);
        assert!(
            largest > 0.0 || number > 1,
            "{place}, part {number}: nothing to compare"
        );
        // A loss is a difference of numbers of the size of 1.
        let scale = if number == 0 { 1.0 } else { largest };
        assert!(
            error <= 1e-5 * scale,
            "{place}, part {number}: {error} of {largest}"
        );
    }
}

#[test]
fn gradient_caching_equals_one_pass() {
    // Both halves of the batch are equal, and so are their batch-norm statistics: then ghost batch
    // norm gives the same gradient of every weight as batch norm over the whole batch.
    let splits = pictures::open_data(&config("image", "ntxent")).unwrap();
    let indices: Vec<usize> = (0..BATCH).map(|i| 3 * (i % (BATCH / 2))).collect();
    for entry in registry().iter().filter(|entry| !entry.branches.ordered) {
        let mut config = config("image", entry.name);
        // Equal examples are equally hard: mining would choose by rounding errors.
        config.objective.mining = Mining::Random;
        let make = || {
            let mut bench = Bench::new(&descending(&config), &splits);
            bench.batch = Batch::of(&*splits.train, &indices, Draw::FIXED).unwrap();
            bench
        };
        let whole = gradients(&mut make(), 0, &mut Halves);
        let chunked = gradients(&mut make(), BATCH / 2, &mut Halves);
        assert_same(&whole, &chunked, entry.name);
    }
}

#[test]
fn gradient_caching_is_exact_for_any_examples_without_batch_norm() {
    let splits = pictures::open_data(&config("image", "ntxent")).unwrap();
    for name in ["viewmaker-simclr", "moco-v2", "triplet", "protonet"] {
        let config = config("image", name);
        let make = || {
            let net = encoder_without_norm(splits.train.shape());
            Bench::around(&descending(&config), &splits, Some(net))
        };
        let whole = gradients(&mut make(), 0, &mut Still);
        for chunk in [2, 4] {
            let chunked = gradients(&mut make(), chunk, &mut Still);
            assert_same(&whole, &chunked, &format!("{name} in chunks of {chunk}"));
        }
    }
}

/// A convolution, pooling and a linear layer of 16 features.
fn encoder_without_norm(shape: [usize; 3]) -> Net {
    let mut b = NetBuilder::new("no norm");
    let x = b.input("x", shape).unwrap();
    let conv = Conv2d {
        out_channels: 8,
        kernel: 3,
        stride: 2,
        padding: Padding::Zero(1),
        bias: true,
        init: ConvInit::PyTorchDefault,
    };
    let y = b.apply("conv", conv, &[x]).unwrap();
    let y = b.apply("relu", Activation::Relu, &[y]).unwrap();
    let y = b.apply("pool", GlobalAvgPool, &[y]).unwrap();
    let linear = Linear {
        out_features: 16,
        bias: true,
    };
    b.apply("fc", linear, &[y]).unwrap();
    b.finish()
}

#[test]
fn budget_warm_up_and_single_views_scale_the_perturbation() {
    use viewmaker::config::Perturbs;
    let config = config("image", "ntxent");
    let splits = pictures::open_data(&config).unwrap();
    let distortion = |perturbation| {
        let mut bench = Bench::new(&descending(&config), &splits);
        bench.step(StepRates {
            perturbation,
            ..RATES
        })
    };
    let full = distortion(Perturbation::FULL);
    let quarter = distortion(Perturbation {
        strength: 0.25,
        ..Perturbation::FULL
    });
    let ratio = quarter.mean_distortion / full.mean_distortion;
    assert!((ratio - 0.25).abs() < 1e-4, "{ratio}");
    let first = distortion(Perturbation {
        perturbs: Perturbs::First,
        ..Perturbation::FULL
    });
    let bench = Bench::new(&descending(&config), &splits);
    assert_eq!(first.embeddings[0][0], full.embeddings[0][0]);
    assert_ne!(first.embeddings[0][1], full.embeddings[0][1]);
    // The running statistics play no part in training, so that the order of views does not matter.
    let (clean, _) = embed(&bench.learners.players.encoder, &bench.batch);
    assert_eq!(first.embeddings[0][1], clean);
}

#[test]
fn gradient_caching_is_exact_for_moments_in_time() {
    let mut config = config("sensor", "tcn");
    config.views.source = ViewSource::Learned.into();
    let splits = pictures::open_data(&config).unwrap();
    let make = || {
        let net = encoder_without_norm(splits.train.shape());
        Bench::around(&descending(&config), &splits, Some(net))
    };
    let whole = gradients(&mut make(), 0, &mut Still);
    let chunked = gradients(&mut make(), BATCH / 4, &mut Still);
    assert_same(&whole, &chunked, "tcn");
}

#[test]
fn moments_in_time_are_refused_where_there_is_none() {
    let mut config = config("image", "tcn");
    config.train.batch_size = BATCH;
    let splits = pictures::open_data(&config).unwrap();
    let error = viewmaker::train::Trainer::new(&config, &splits, &Machine::Cpu).err();
    let error = error.unwrap().to_string();
    assert!(
        error.contains("\"tcn\"") && error.contains("data.image.frames=true"),
        "{error}"
    );
    config.modality = "sensor".to_owned();
    config.views.source = ViewSource::Temporal.into();
    let error = config.recipe().unwrap_err().to_string();
    assert!(error.contains("leave temporal out"), "{error}");
}

#[test]
fn tasks_larger_than_a_batch_are_refused() {
    let mut config = config("image", "protonet");
    config.train.batch_size = BATCH;
    config.objective.ways = BATCH + 1;
    let splits = pictures::open_data(&config).unwrap();
    let error = viewmaker::train::Trainer::new(&config, &splits, &Machine::Cpu).err();
    let error = error.unwrap().to_string();
    assert!(
        error.starts_with("train.batch_size = 8: objective.name = \"protonet\" needs at least 9"),
        "{error}"
    );
}

#[test]
fn objectives_with_labels_refuse_data_without() {
    let mut config = config("image", "supcon");
    config.data.options.embedded_train = 3 * BATCH;
    let mut splits = pictures::open_data(&config).unwrap();
    splits.class_names.clear();
    let error = viewmaker::train::Trainer::new(&config, &splits, &Machine::Cpu)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("\"supcon\"") && error.contains("use labelled data"),
        "{error}"
    );
    config.objective.name = "ntxent".to_owned();
    config.train.batch_size = BATCH;
    assert!(viewmaker::train::Trainer::new(&config, &splits, &Machine::Cpu).is_ok());
}
