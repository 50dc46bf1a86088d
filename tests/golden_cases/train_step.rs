//! Whole adversarial training steps with the original's noise, step by step.

use super::each_case;
use super::network::tensors;
use super::viewmaker::config as viewmaker_config;
use std::collections::BTreeMap;
use std::sync::Arc;
use viewmaker::config::Update;
use viewmaker::train::companions::Companions;
use viewmaker::train::learners::Learners;
use viewmaker::train::perturbation::Perturbation;
use viewmaker::train::players::{NoiseRequest, NoiseSource, Players, Views};
use viewmaker::train::resident::Resident;
use viewmaker::train::step::{StepBatch, StepOutcome, StepRates};
use viewmaker_device::Device;
use viewmaker_exec::optim::{Adam, Sgd};
use viewmaker_exec::{Machine, Tensor, Tower, Weights};
use viewmaker_golden::{Case, GoldenError, Report};
use viewmaker_net::{Net, NetBuilder, zoo};
use viewmaker_objective::instdisc::instdisc;
use viewmaker_objective::memory_bank::MemoryBank;
use viewmaker_objective::{
    BatchInfo, Branches, Loss, Objective, ObjectiveConfig, ObjectiveError, Outputs, Seen, build,
};
use viewmaker_ops::activation::Activation;
use viewmaker_ops::batch_norm::BatchNorm;
use viewmaker_ops::conv2d::{Conv2d, ConvInit, Padding};
use viewmaker_ops::device::Precision;
use viewmaker_ops::linear::Linear;
use viewmaker_ops::normalize::Normalize;
use viewmaker_ops::pool::GlobalAvgPool;

#[test]
fn train_steps() {
    each_case("train_step", |case| check(case, &Machine::Cpu));
}

/// The same on every device that is there, with the same tolerances.
#[test]
fn cuda_train_steps() {
    for device in Device::present() {
        let machine = Machine::Device(device, Precision::F32);
        each_case("train_step", |case| check(case, &machine));
    }
}

/// The encoder of the fixtures: two convolutions, with the views normalised in front.
fn tiny_encoder(case: &Case) -> Net {
    let size = case.number("size").unwrap() as usize;
    let conv = |out_channels, stride| Conv2d {
        out_channels,
        kernel: 3,
        stride,
        padding: Padding::Zero(1),
        bias: false,
        init: ConvInit::PyTorchDefault,
    };
    let mut b = NetBuilder::new("tiny encoder");
    let mut y = b.input("x", [3, size, size]).unwrap();
    let normalize = Normalize {
        mean: vec![0.491, 0.482, 0.446],
        std: vec![0.247, 0.243, 0.261],
    };
    y = b.apply("normalize", normalize, &[y]).unwrap();
    for (index, (channels, stride)) in [(8, 1), (16, 2)].into_iter().enumerate() {
        let name = |part: &str| format!("{part}{}", index + 1);
        y = b
            .apply(&name("conv"), conv(channels, stride), &[y])
            .unwrap();
        y = b.apply(&name("bn"), BatchNorm::default(), &[y]).unwrap();
        y = b.apply(&name("relu"), Activation::Relu, &[y]).unwrap();
    }
    y = b.apply("pool", GlobalAvgPool, &[y]).unwrap();
    let out_features = case.number("dim").unwrap() as usize;
    let fc = Linear {
        out_features,
        bias: true,
    };
    b.apply("fc", fc, &[y]).unwrap();
    b.finish()
}

/// Replays the noise of the case.
struct Recorded<'a>(&'a Case);

impl NoiseSource for Recorded<'_> {
    fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]) {
        let NoiseRequest {
            step,
            pass,
            view,
            channel,
        } = request;
        let name = format!(
            "step{}.noise.opt{pass}.view{}.{channel}",
            step + 1,
            view + 1
        );
        out.copy_from_slice(&self.0.f32(&name).unwrap().data);
    }
}

/// Instance discrimination with the recorded noise rows.
#[derive(Debug)]
struct RecordedNce {
    bank: MemoryBank,
    /// Noise rows by pass number.
    noise: Vec<Vec<usize>>,
    temperature: f64,
    momentum: f64,
}

impl Objective for RecordedNce {
    fn name(&self) -> &'static str {
        "recorded"
    }

    fn branches(&self) -> Branches {
        Branches::ONE_VIEW
    }

    fn loss(
        &mut self,
        mut outputs: Outputs,
        batch: &BatchInfo<'_>,
    ) -> Result<Loss, ObjectiveError> {
        let z = outputs.embeddings.remove(0);
        let bank = self.bank.tensor(&dfdx::prelude::Cpu::default());
        let noise = &self.noise[batch.pass as usize];
        instdisc(z, bank, batch.indices, noise, self.temperature)
    }

    fn observe(&mut self, seen: &Seen<'_>, batch: &BatchInfo<'_>) -> Result<(), ObjectiveError> {
        self.bank
            .update(batch.indices, &seen.embeddings[0], self.momentum)
    }

    fn memory_bank(&self) -> Option<&MemoryBank> {
        Some(&self.bank)
    }
}

fn text<'a>(case: &'a Case, name: &str) -> &'a str {
    case.parameter(name).and_then(|v| v.as_str()).unwrap_or("")
}

fn initial_bank(case: &Case) -> MemoryBank {
    let rows = case.f32("before.bank").unwrap();
    MemoryBank::from_rows(rows.data, rows.shape[1]).unwrap()
}

fn objective(case: &Case) -> Box<dyn Objective> {
    let temperature = case.number("t").unwrap();
    if text(case, "objective") == "AdversarialNCELoss" {
        let steps = case.number("steps").unwrap() as usize;
        let passes = (1..=steps).flat_map(|step| (0..2).map(move |pass| (step, pass)));
        let noise = |(step, pass)| case.indices(&format!("step{step}.noise.opt{pass}.nce"));
        return Box::new(RecordedNce {
            bank: initial_bank(case),
            noise: passes.map(|p| noise(p).unwrap().data).collect(),
            temperature,
            momentum: case.number("m").unwrap(),
        });
    }
    let config = ObjectiveConfig {
        name: "viewmaker-simclr".to_string(),
        temperature,
        ..ObjectiveConfig::default()
    };
    let dim = case.number("dim").unwrap() as usize;
    build(&config, dim, case.number("bank").unwrap() as usize, 0).unwrap()
}

fn tower(case: &Case, net: Net, player: &str, machine: &Machine) -> Tower {
    let net = Arc::new(net);
    let salt = case.number("salt").unwrap() as u64;
    let stored = |name: &str| Some(case.f32(&format!("before.{player}.{name}")).ok()?.data);
    let tensors = tensors(&net, salt, stored);
    let mut weights = Weights::init(net, 0, 0);
    weights.load(&tensors).unwrap();
    Tower::on(weights, machine).unwrap()
}

fn check(case: &Case, machine: &Machine) -> Result<(), GoldenError> {
    let number = |name: &str| case.number(name).unwrap();
    let size = number("size") as usize;
    let config = viewmaker_config(case, [3, size, size], "viewmaker_widths");
    let players = Players {
        encoder: tower(case, tiny_encoder(case), "encoder", machine),
        views: Views::Learned(tower(
            case,
            zoo::viewmaker(&config).unwrap(),
            "viewmaker",
            machine,
        )),
    };
    let viewmaker = players.views.tower().unwrap().clone();
    let (momentum, decay) = (number("momentum") as f32, number("weight_decay") as f32);
    let encoder = players.encoder.clone();
    let mut learners = Learners {
        encoder_optimizer: Box::new(Sgd::new(encoder.net(), momentum, decay)),
        viewmaker_optimizer: Some(Box::new(Adam::new(
            viewmaker.net(),
            [0.9, 0.999],
            1e-8,
            0.0,
            false,
        ))),
        objective: objective(case),
        companions: Companions::default(),
        resident: Resident::default(),
        players,
    };
    let rates = StepRates {
        update: match text(case, "variant") {
            "alternating" => Update::Alternating,
            _ => Update::Simultaneous,
        },
        viewmaker_loss_weight: number("weight") as f32,
        encoder_lr: number("lr_encoder") as f32,
        viewmaker_lr: Some(number("lr_viewmaker") as f32),
        encoder_momentum: 0.0,
        chunk: 0,
        perturbation: Perturbation::FULL,
    };
    let mut report = Report::new(case);
    // The reference's SimCLR system writes view 1 into a bank for its online metric.
    let mut bank = initial_bank(case);
    for step in 1..=number("steps") as u64 {
        let indices = case.indices(&format!("step{step}.in.indices"))?.data;
        let first = case.f32(&format!("step{step}.in.img"))?;
        let second = case.f32(&format!("step{step}.in.img2"));
        let batch = StepBatch {
            examples: &[
                &first.data,
                second.as_ref().map_or(&first.data, |x| &x.data),
            ],
            first: 0,
            dims: first.shape.clone().try_into().unwrap(),
            indices: &indices,
            labels: &[],
            sequences: &[],
            texts: &[],
            step: step - 1,
        };
        let outcome = learners.step(batch, rates, &mut Recorded(case)).unwrap();
        for pass in &outcome.embeddings {
            bank.write_view(&indices, &pass[0]).unwrap();
        }
        check_pass(case, &mut report, step, &outcome, [&encoder, &viewmaker]);
        let bank = learners.objective.memory_bank().unwrap_or(&bank).rows();
        let state = after(&learners, bank);
        check_state(case, &mut report, &format!("after{step}."), &state);
    }
    print!("train step ");
    report.finish()
}

/// Losses, embeddings and gradients of the passes of one step.
fn check_pass(
    case: &Case,
    report: &mut Report<'_>,
    step: u64,
    outcome: &StepOutcome,
    [encoder, viewmaker]: [&Tower; 2],
) {
    let losses = [Some(outcome.encoder_loss), outcome.viewmaker_loss];
    let alternating = text(case, "variant") == "alternating";
    for (pass, loss) in losses.into_iter().enumerate() {
        let name = |what: &str| match alternating {
            true => format!("step{step}.opt{pass}.{what}"),
            false => format!("step{step}.{what}"),
        };
        if pass == 1 && !alternating {
            continue;
        }
        if let (true, Some(loss)) = (case.has(&name("loss")), loss) {
            report.check(&name("loss"), &[loss]);
        }
        for (view, z) in outcome
            .embeddings
            .get(pass)
            .into_iter()
            .flatten()
            .enumerate()
        {
            report.check(&name(&format!("view{}_embs", view + 1)), z);
        }
        for (player, tower) in [("encoder", encoder), ("viewmaker", viewmaker)] {
            let grads = tower.grads();
            for param in tower.net().params() {
                let name = name(&format!("grad.{player}.{}", param.name));
                if case.has(&name) {
                    report.check(&name, &grads[param.range()]);
                }
            }
        }
    }
}

/// Weights, optimiser state and memory bank, by the names of the fixtures.
fn after(learners: &Learners, bank: &[f32]) -> BTreeMap<String, Vec<f32>> {
    let encoder = &learners.players.encoder;
    let viewmaker = learners.players.views.tower().unwrap();
    let sgd = &learners.encoder_optimizer;
    let adam = learners.viewmaker_optimizer.as_ref().unwrap();
    let mut all = BTreeMap::from([("bank".to_string(), bank.to_vec())]);
    let mut add = |player: &str, tensors: BTreeMap<String, Tensor>| {
        let named = tensors.into_iter();
        all.extend(named.map(|(name, t)| (format!("{player}.{name}"), t.data)));
    };
    add("encoder", encoder.weights().tensors());
    add("encoder", sgd.state(encoder.net()).unwrap());
    add("viewmaker", viewmaker.weights().tensors());
    let mut state = adam.state(viewmaker.net()).unwrap();
    let steps = state.remove("#adam_step").unwrap().data[1];
    for param in viewmaker.net().params().iter().filter(|p| p.used) {
        let (shape, data) = (vec![], vec![steps]);
        let name = format!("{}#adam_step", param.name);
        state.insert(name, Tensor { shape, data });
    }
    add("viewmaker", state);
    all
}

fn check_state(
    case: &Case,
    report: &mut Report<'_>,
    prefix: &str,
    state: &BTreeMap<String, Vec<f32>>,
) {
    for (name, _) in case.specs().filter(|(name, _)| name.starts_with(prefix)) {
        match state.get(&name[prefix.len()..]) {
            Some(got) => report.check(name, got),
            None => panic!("{}: no rule for the tensor {name}", case.name()),
        }
    }
}
