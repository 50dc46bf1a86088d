//! Training steps that stay on a device against the same steps over the tape, on every device that is
//! there.

use viewmaker::config::{Config, OptimizerName, Perturbs, Update, ViewSource, preset};
use viewmaker::model::Networks;
use viewmaker::train::learners::Learners;
use viewmaker::train::perturbation::Perturbation;
use viewmaker::train::players::{NoiseRequest, NoiseSource, SeededNoise};
use viewmaker::train::resident::Resident;
use viewmaker::train::step::{StepBatch, StepOutcome, StepRates, Upcoming};
use viewmaker_data::text;
use viewmaker_device::Device;
use viewmaker_exec::{Machine, Profiler, Tower};
use viewmaker_objective::{build, registry};
use viewmaker_ops::device::Precision;
use viewmaker_ops::random::Philox;

const BATCH: usize = 6;
const SHAPE: [usize; 3] = [3, 10, 9];

const RATES: StepRates = StepRates {
    update: Update::Alternating,
    viewmaker_loss_weight: 0.8,
    encoder_lr: 0.01,
    viewmaker_lr: Some(0.05),
    encoder_momentum: 0.7,
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
    // Two steps go over the end of it.
    config.objective.queue = 2 * BATCH - 1;
    config.objective.negatives = 5;
    config.objective.predictor_hidden = 12;
    config.objective.ways = 3;
    // Plain descent on both sides: Adam makes whole steps of gradients that are round-off.
    for optimizer in [&mut config.optim.encoder, &mut config.optim.viewmaker] {
        optimizer.name = OptimizerName::Sgd;
        optimizer.momentum = 0.0;
    }
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
    learners: Learners,
    examples: Vec<Vec<f32>>,
    texts: Vec<f32>,
    step: u64,
}

impl Run {
    /// `sources` arrays of examples: one that all views share, or one for each.
    fn new(config: &Config, machine: &Machine, sources: usize) -> Self {
        let networks = Networks::build(config, SHAPE, None).unwrap();
        let players = networks.init(config, 3, machine).unwrap();
        let objective = build(&config.objective, config.encoder.embedding_dim, 100, 3).unwrap();
        let examples = |source| {
            let mut x = vec![0.0; BATCH * SHAPE.iter().product::<usize>()];
            Philox::new(9, source as u32, 0).fill_uniform(&mut x);
            x
        };
        let captions: Vec<_> = (0..BATCH).map(|i| format!("number {i}")).collect();
        Self {
            learners: Learners::new(config, players, objective).unwrap(),
            examples: (0..sources).map(examples).collect(),
            texts: text::pages(&captions),
            step: 0,
        }
    }

    /// All passes over the tape.
    fn on_tape(mut self) -> Self {
        self.learners.resident = Resident::off();
        self
    }

    fn step(&mut self, rates: StepRates, noise: &mut dyn NoiseSource) -> StepOutcome {
        self.step_before(&mut Known(&[]), rates, noise)
    }

    fn step_before(
        &mut self,
        next: &mut dyn Upcoming,
        rates: StepRates,
        noise: &mut dyn NoiseSource,
    ) -> StepOutcome {
        let examples: Vec<&[f32]> = self.examples.iter().map(Vec::as_slice).collect();
        let [c, h, w] = SHAPE;
        let batch = StepBatch {
            examples: &examples,
            first: 0,
            dims: [BATCH, c, h, w],
            indices: &[0, 1, 2, 3, 4, 5],
            labels: &[0, 1, 0, 2, 1, 2].map(Some),
            sequences: &[0, 0, 1, 1, 2, 2].map(Some),
            texts: &self.texts,
            step: self.step,
        };
        let learners = &mut self.learners;
        let outcome = learners.step_before(next, batch, rates, noise).unwrap();
        self.learners.check().unwrap();
        self.step += 1;
        outcome
    }

    /// All networks.
    fn towers(&self) -> impl Iterator<Item = &Tower> {
        let players = &self.learners.players;
        let companions = &self.learners.companions;
        let towers = [
            Some(&players.encoder),
            players.views.tower(),
            companions.predictor(),
            companions.momentum_encoder(),
        ];
        towers.into_iter().flatten()
    }

    /// Parameters and running statistics of all networks, and what the objective keeps.
    fn weights(&self) -> Vec<Vec<f32>> {
        let of = |tower: &Tower| {
            let weights = tower.weights();
            [weights.params.clone(), weights.state.clone()]
        };
        let memory = self.learners.objective.state().into_iter();
        self.towers()
            .flat_map(of)
            .chain(memory.map(|(_, _, data)| data))
            .collect()
    }

    /// Takes over the networks of `other`. One step compares exactly; the next would find rectifiers on
    /// another side.
    fn follow(&mut self, other: &Self) {
        for (own, other) in self.towers().zip(other.towers()) {
            let (mut own, other) = (own.weights_mut(), other.weights());
            own.params.clone_from(&other.params);
            own.state.clone_from(&other.state);
        }
    }
}

/// Largest difference.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let off = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    off.fold(
        0.0,
        |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) },
    )
}

/// A run that stays on the device, and how it is perturbed.
struct Case {
    objective: &'static str,
    source: ViewSource,
    sources: usize,
    update: Update,
    perturbation: Perturbation,
}

impl Case {
    fn learned(objective: &'static str, update: Update) -> Self {
        Self {
            objective,
            source: ViewSource::Learned,
            sources: 1,
            update,
            perturbation: Perturbation::FULL,
        }
    }

    fn of(objective: &'static str, source: ViewSource, sources: usize) -> Self {
        Self {
            source,
            sources,
            ..Self::learned(objective, Update::Simultaneous)
        }
    }

    /// Every objective, and every way to make and to perturb views.
    fn all() -> Vec<Self> {
        let strength = |strength| Perturbation {
            strength,
            ..Perturbation::FULL
        };
        let first = Perturbation {
            perturbs: Perturbs::First,
            ..Perturbation::FULL
        };
        let every = registry().iter().map(|entry| {
            let moments = match entry.branches.ordered {
                true => entry.branches.views(),
                false => 1,
            };
            Self::of(entry.name, ViewSource::Learned, moments)
        });
        let further = [
            Self::learned("viewmaker-simclr", Update::Alternating),
            Self::learned("moco-v2", Update::Alternating),
            Self::learned("byol", Update::Alternating),
            Self::of("viewmaker-simclr", ViewSource::Learned, 2),
            Self::of("infonce", ViewSource::None, 2),
            Self::of("moco-v2", ViewSource::None, 2),
            Self::of("dcl", ViewSource::Noise, 1),
            Self::of("simsiam", ViewSource::Noise, 2),
            Self {
                perturbation: strength(0.3),
                ..Self::learned("viewmaker-simclr", Update::Simultaneous)
            },
            Self {
                perturbation: strength(0.3),
                ..Self::of("byol", ViewSource::Noise, 1)
            },
            Self {
                perturbation: first,
                ..Self::learned("ntxent", Update::Alternating)
            },
            Self {
                perturbation: first,
                ..Self::learned("supcon", Update::Simultaneous)
            },
        ];
        every.chain(further).collect()
    }

    fn check(&self, machine: &Machine) {
        let Self {
            objective,
            source,
            sources,
            update,
            perturbation,
        } = *self;
        let what = format!("{machine:?}, {objective}, {source:?}, {update:?}, {perturbation:?}");
        let config = config(objective, source);
        let mut there = Run::new(&config, machine, sources);
        let mut tape = Run::new(&config, machine, sources).on_tape();
        let noise = SeededNoise { seed: 4 };
        let part = match update {
            Update::Simultaneous => 1e-5,
            // The viewmaker's pass meets an encoder whose last bits differ, and with it a rectifier on
            // another side now and then.
            Update::Alternating => 2e-2,
        };
        // Launch by launch, captured, the graph again, and, where perturbations grow, with all of them.
        let grows = perturbation.strength < 1.0;
        for step in 0..3 + u16::from(grows) {
            let strength = match step {
                3 => 1.0,
                _ => perturbation.strength * f32::from(1 + step * u16::from(grows)),
            };
            let rates = StepRates {
                update,
                perturbation: Perturbation {
                    strength,
                    ..perturbation
                },
                ..RATES
            };
            let what = format!("{what}, step {step}");
            let start = there.weights();
            let got = there.step(rates, &mut noise.clone());
            let want = tape.step(rates, &mut noise.clone());
            same(&got, &want, &what);
            let pairs = there.weights().into_iter().zip(tape.weights());
            for (index, ((got, want), start)) in pairs.zip(start).enumerate() {
                // Relative to how far they moved: gradients differ by the order of sums, in the loss and
                // in its normalisation. Where nothing moves, nothing may.
                let moved = distance(&want, &start);
                let off = distance(&got, &want);
                println!("{what}: array {index} moved by {moved:.1e}, differs by {off:.1e}");
                assert!(
                    off <= part * moved + 1e-7,
                    "{what}, array {index}: {off} of {moved}"
                );
            }
            there.follow(&tape);
        }
        assert!(there.learners.resident.is_used(), "{what}");
        assert!(!tape.learners.resident.is_used(), "{what}");
    }
}

/// What two steps report, up to the order of sums.
fn same(got: &StepOutcome, want: &StepOutcome, what: &str) {
    let close = |a: f32, b: f32| (a - b).abs() <= 1e-5 * b.abs().max(0.1);
    let losses = |outcome: &StepOutcome| {
        let viewmaker = outcome.viewmaker_loss;
        (outcome.encoder_loss, viewmaker, outcome.mean_distortion)
    };
    let place = format!("{what}: {:?}, {:?}", losses(got), losses(want));
    assert!(close(got.encoder_loss, want.encoder_loss), "{place}");
    assert_eq!(
        got.viewmaker_loss.is_some(),
        want.viewmaker_loss.is_some(),
        "{place}"
    );
    let viewmaker = got.viewmaker_loss.zip(want.viewmaker_loss);
    assert!(viewmaker.is_none_or(|(a, b)| close(a, b)), "{place}");
    assert!(close(got.mean_distortion, want.mean_distortion), "{place}");
}

#[test]
fn cuda_resident_steps_follow_the_tape() {
    for device in Device::present() {
        let machine = Machine::Device(device, Precision::F32);
        for case in Case::all() {
            case.check(&machine);
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
        runs[1].learners.set_profiler(&Profiler::on());
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

/// The examples of the next step, sent while this one is computed.
struct Known<'a>(&'a [Vec<f32>]);

impl Upcoming for Known<'_> {
    fn examples(&mut self) -> Option<Vec<&[f32]>> {
        Some(self.0.iter().map(Vec::as_slice).collect())
    }
}

/// Also where what was announced does not come.
#[test]
fn cuda_resident_steps_see_their_own_examples_when_the_next_are_sent_ahead() {
    for device in Device::present() {
        let machine = Machine::Device(device, Precision::F32);
        for objective in ["viewmaker-simclr", "byol"] {
            let config = config(objective, ViewSource::Learned);
            let [mut ahead, mut plain] = [(), ()].map(|()| Run::new(&config, &machine, 2));
            // Two arrays take turns at being the first.
            for step in 0..5 {
                let next: Vec<_> = plain.examples.iter().rev().cloned().collect();
                let announced = match step {
                    1 => &ahead.examples.clone(),
                    2 => &next[..1].to_vec(),
                    _ => &next,
                };
                let noise = &mut SeededNoise { seed: 4 };
                let got = ahead.step_before(&mut Known(announced), RATES, noise);
                assert_eq!(got, plain.step(RATES, noise), "{objective}, step {step}");
                if step == 1 {
                    // Another step than the one that was announced.
                    (ahead.step, plain.step) = (7, 7);
                }
                (ahead.examples, plain.examples) = (next.clone(), next);
            }
            assert_eq!(ahead.weights(), plain.weights(), "{objective}");
        }
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
        std::mem::swap(
            &mut replaced.learners.resident,
            &mut first.learners.resident,
        );
        assert_eq!(step(&mut replaced), step(&mut fresh));
        assert_eq!(replaced.weights(), fresh.weights());
        assert_eq!(first.weights(), before);
    }
}

/// What cannot stay on the device goes over the tape.
#[test]
fn cuda_steps_that_need_the_tape_take_it() {
    let run = |machine: &Machine, rates: StepRates| {
        let config = config("viewmaker-simclr", ViewSource::Learned);
        let mut run = Run::new(&config, machine, 1);
        let outcome = run.step(rates, &mut SeededNoise { seed: 4 });
        assert!(outcome.encoder_loss.is_finite(), "{rates:?}");
        run.learners.resident.is_used()
    };
    for device in Device::present() {
        let machine = Machine::Device(device, Precision::F32);
        assert!(!run(&machine, StepRates { chunk: 3, ..RATES }), "in chunks");
    }
    assert!(!run(&Machine::Cpu, RATES), "on the processor");
}
