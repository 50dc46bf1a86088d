//! Training steps that stay on a device against the same steps over the tape, on every device that is
//! there.

use viewmaker::config::{Config, Update, ViewSource, preset};
use viewmaker::model::Networks;
use viewmaker::train::companions::Companions;
use viewmaker::train::players::{NoiseRequest, NoiseSource, Players, SeededNoise};
use viewmaker::train::resident::Resident;
use viewmaker::train::step::{Learners, Perturbation, StepBatch, StepOutcome, StepRates};
use viewmaker_device::Device;
use viewmaker_exec::optim::{Optimizer, Sgd};
use viewmaker_exec::{Machine, Profiler};
use viewmaker_objective::{Objective, build};
use viewmaker_ops::device::Precision;
use viewmaker_ops::random::Philox;

const BATCH: usize = 6;
const SHAPE: [usize; 3] = [3, 10, 9];

const RATES: StepRates = StepRates {
    update: Update::Alternating,
    viewmaker_loss_weight: 0.8,
    encoder_lr: 0.01,
    viewmaker_lr: Some(0.05),
    encoder_momentum: 0.0,
    chunk: 0,
    perturbation: Perturbation::FULL,
};

fn config(objective: &str, source: ViewSource) -> Config {
    let mut config = preset("image");
    config.viewmaker.widths = [4, 6, 8];
    config.viewmaker.num_res_blocks = 1;
    config.viewmaker.distortion_budget = 0.1;
    config.encoder.name = "tiny".to_owned();
    config.encoder.embedding_dim = 8;
    config.views.source = source.into();
    config.objective.name = objective.to_owned();
    config.objective.temperature = 0.3;
    config
}

/// The run's noise, as numbers of the host.
struct Given(SeededNoise);

impl NoiseSource for Given {
    fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]) {
        self.0.uniform(request, out);
    }
}

/// A run of some steps.
struct Run {
    players: Players,
    /// Plain descent on both sides: Adam makes whole steps of gradients that are round-off.
    encoder_sgd: Sgd,
    viewmaker_sgd: Option<Sgd>,
    objective: Box<dyn Objective>,
    resident: Resident,
    examples: Vec<Vec<f32>>,
    step: u64,
}

impl Run {
    /// `sources` arrays of examples: one that both views share, or one for each.
    fn new(config: &Config, machine: &Machine, sources: usize) -> Self {
        let networks = Networks::build(config, SHAPE, None).unwrap();
        let players = networks.init(config, 3, machine).unwrap();
        let viewmaker = players.views.tower();
        let examples = |source| {
            let mut x = vec![0.0; BATCH * SHAPE.iter().product::<usize>()];
            Philox::new(9, source as u32, 0).fill_uniform(&mut x);
            x
        };
        Self {
            encoder_sgd: Sgd::new(players.encoder.net(), 0.9, 1e-4),
            viewmaker_sgd: viewmaker.map(|t| Sgd::new(t.net(), 0.9, 0.0)),
            objective: build(&config.objective, config.encoder.embedding_dim, 100, 3).unwrap(),
            players,
            resident: Resident::default(),
            examples: (0..sources).map(examples).collect(),
            step: 0,
        }
    }

    fn step(&mut self, rates: StepRates, noise: &mut dyn NoiseSource) -> StepOutcome {
        let examples: Vec<&[f32]> = self.examples.iter().map(Vec::as_slice).collect();
        let [c, h, w] = SHAPE;
        let batch = StepBatch {
            examples: &examples,
            first: 0,
            dims: [BATCH, c, h, w],
            indices: &[0, 1, 2, 3, 4, 5],
            labels: &[],
            sequences: &[],
            texts: &[],
            step: self.step,
        };
        let mut learners = Learners {
            players: &self.players,
            encoder_optimizer: &mut self.encoder_sgd,
            viewmaker_optimizer: match &mut self.viewmaker_sgd {
                Some(sgd) => Some(sgd as &mut dyn Optimizer),
                None => None,
            },
            objective: &mut *self.objective,
            companions: &mut Companions::default(),
            resident: &mut self.resident,
        };
        let outcome = learners.step(batch, rates, noise).unwrap();
        self.players.check().unwrap();
        self.step += 1;
        outcome
    }

    /// Parameters and running statistics of both networks.
    fn weights(&self) -> Vec<Vec<f32>> {
        let towers = [Some(&self.players.encoder), self.players.views.tower()];
        let of = |tower: &viewmaker_exec::Tower| {
            let weights = tower.weights();
            [weights.params.clone(), weights.state.clone()]
        };
        towers.into_iter().flatten().flat_map(of).collect()
    }
}

/// Largest difference, relative to the largest element.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    let off = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    off.fold(
        0.0,
        |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) },
    ) / largest
}

#[test]
fn cuda_resident_steps_follow_the_tape() {
    let noise = SeededNoise { seed: 4 };
    for device in Device::present() {
        let machine = Machine::Device(device, Precision::F32);
        for (objective, source, sources, update) in [
            (
                "viewmaker-simclr",
                ViewSource::Learned,
                1,
                Update::Alternating,
            ),
            (
                "viewmaker-simclr",
                ViewSource::Learned,
                2,
                Update::Simultaneous,
            ),
            ("ntxent", ViewSource::Learned, 1, Update::Simultaneous),
            ("infonce", ViewSource::None, 2, Update::Alternating),
            ("dcl", ViewSource::None, 2, Update::Simultaneous),
        ] {
            let what = format!("{machine:?}, {objective}, {source:?}, {update:?}");
            let rates = StepRates { update, ..RATES };
            let config = config(objective, source);
            let mut plain = config.clone();
            plain.objective.fused = false;
            let mut there = Run::new(&config, &machine, sources);
            let mut tape = Run::new(&plain, &machine, sources);
            // Three steps: launch by launch, captured, and the graph again.
            for step in 0..3 {
                let got = there.step(rates, &mut noise.clone());
                let want = tape.step(rates, &mut noise.clone());
                let place = format!("{what}, step {step}: {got:?}, {want:?}");
                // Sums in another order.
                let allowed = 1e-5;
                let close = |a: f32, b: f32| (a - b).abs() <= allowed * b.abs().max(0.1);
                assert!(close(got.encoder_loss, want.encoder_loss), "{place}");
                assert_eq!(
                    got.viewmaker_loss.is_some(),
                    want.viewmaker_loss.is_some(),
                    "{place}"
                );
                let losses = got.viewmaker_loss.zip(want.viewmaker_loss);
                assert!(losses.is_none_or(|(a, b)| close(a, b)), "{place}");
                assert!(close(got.mean_distortion, want.mean_distortion), "{place}");
            }
            assert!(there.resident.is_used(), "{what}");
            assert!(!tape.resident.is_used(), "{what}");
            let start = Run::new(&config, &machine, sources).weights();
            for (got, (want, start)) in there.weights().iter().zip(tape.weights().iter().zip(start))
            {
                let off = difference(got, want);
                println!("{what}: weights differ by {off:.1e}");
                assert!(off <= 1e-5, "{what}: {off}");
                let moved = difference(got, &start);
                assert!(got.is_empty() || moved > 1e-3, "{what}: moved by {moved}");
            }
        }
    }
}

/// A graph, single launches, and noise of the host give the same bits.
#[test]
fn cuda_resident_steps_have_the_same_bits_however_they_are_launched() {
    let noise = SeededNoise { seed: 4 };
    for device in Device::present() {
        let machine = Machine::Device(device, Precision::F32);
        let config = config("viewmaker-simclr", ViewSource::Learned);
        let mut runs = [0, 1, 2].map(|_| Run::new(&config, &machine, 1));
        runs[1].players.set_profiler(&Profiler::on());
        for step in 0..4 {
            // The viewmaker rests in the last step: other launches in the same memory.
            let rates = StepRates {
                viewmaker_lr: RATES.viewmaker_lr.filter(|_| step < 3),
                ..RATES
            };
            let [graph, single, given] = &mut runs;
            let outcome = graph.step(rates, &mut noise.clone());
            assert_eq!(
                outcome,
                single.step(rates, &mut noise.clone()),
                "step {step}"
            );
            assert_eq!(outcome, given.step(rates, &mut Given(noise)), "step {step}");
        }
        let weights = runs.each_ref().map(Run::weights);
        assert!(weights.iter().all(|other| *other == weights[0]));
    }
}

/// Other networks of the same shapes are not those that a graph was captured with.
#[test]
fn cuda_resident_steps_follow_networks_that_are_replaced() {
    for device in Device::present() {
        let machine = Machine::Device(device, Precision::F32);
        let config = config("viewmaker-simclr", ViewSource::Learned);
        let step = |run: &mut Run| run.step(RATES, &mut SeededNoise { seed: 4 });
        let mut first = Run::new(&config, &machine, 1);
        // Until there is a graph.
        (0..3).for_each(|_| drop(step(&mut first)));
        let before = first.weights();
        let (mut fresh, mut replaced) = [0, 1].map(|_| Run::new(&config, &machine, 1)).into();
        std::mem::swap(&mut replaced.resident, &mut first.resident);
        assert_eq!(step(&mut replaced), step(&mut fresh));
        assert_eq!(replaced.weights(), fresh.weights());
        assert_eq!(first.weights(), before);
    }
}

/// What cannot stay on the device goes over the tape.
#[test]
fn cuda_steps_that_need_the_tape_take_it() {
    for device in Device::present() {
        let machine = Machine::Device(device, Precision::F32);
        let changes: [(&str, StepRates); 3] = [
            ("viewmaker-simclr", StepRates { chunk: 3, ..RATES }),
            (
                "viewmaker-simclr",
                StepRates {
                    perturbation: Perturbation {
                        strength: 0.5,
                        ..Perturbation::FULL
                    },
                    ..RATES
                },
            ),
            ("pull", RATES),
        ];
        for (objective, rates) in changes {
            let mut run = Run::new(&config(objective, ViewSource::Learned), &machine, 1);
            let outcome = run.step(rates, &mut SeededNoise { seed: 4 });
            assert!(
                outcome.encoder_loss.is_finite() && !run.resident.is_used(),
                "{objective}"
            );
        }
    }
    let mut run = Run::new(&config("ntxent", ViewSource::Learned), &Machine::Cpu, 1);
    run.step(RATES, &mut SeededNoise { seed: 4 });
    assert!(!run.resident.is_used(), "on the processor");
}
