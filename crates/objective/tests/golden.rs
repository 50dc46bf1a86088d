//! Every loss, gradient and memory-bank update against the original's numbers, in both precisions.

use dfdx::prelude::*;
use viewmaker_golden::{Case, GoldenError, Group, Report, Value};
use viewmaker_objective::ObjectiveError;
use viewmaker_objective::key_queue::KeyQueue;
use viewmaker_objective::memory_bank::MemoryBank;
use viewmaker_objective::tensor::{Matrix, Real, Scalar};
use viewmaker_objective::{
    byol::byol, clip::clip, fused, infonce::infonce, instdisc::instdisc, moco::moco, npair::npair,
    ntxent::dcl, ntxent::ntxent, protonet::protonet, simsiam::simsiam, supcon::supcon,
    tcn::tcn_infonce, tcn::tcn_r3m, triplet::triplet, triplet::triplet_unit,
    viewmaker_simclr::viewmaker_simclr, viewmaker_simclr::viewmaker_simclr_push_only,
};

type TestResult = Result<(), Box<dyn std::error::Error>>;
type Traced<E> = Scalar<E, OwnedTape<E, Cpu>>;
type LossResult<E> = Result<Traced<E>, ObjectiveError>;

#[test]
fn losses_agree_with_the_original() -> TestResult {
    let group = Group::open(viewmaker_golden::directory(), "losses")?;
    assert!(!group.cases().is_empty());
    for case in group.cases() {
        let mut report = Report::new(case).require_float64();
        check_losses::<f32>(case, &mut report)?;
        check_losses::<f64>(case, &mut report)?;
        check_fused(case, &mut report)?;
        if case.has("in.bank") {
            check_bank(case, &mut report)?;
        }
        if case.has("in.moco.queue") {
            check_queue(case, &mut report)?;
        }
        report.finish()?;
    }
    Ok(())
}

/// A precision with its way to read and to compare.
trait Precision: Real + Value {
    fn read(case: &Case, name: &str) -> Result<Vec<Self>, GoldenError>;
    fn check(report: &mut Report<'_>, name: &str, got: &[Self]);
}

impl Precision for f32 {
    fn read(case: &Case, name: &str) -> Result<Vec<Self>, GoldenError> {
        Ok(case.f32(name)?.data)
    }
    fn check(report: &mut Report<'_>, name: &str, got: &[Self]) {
        report.check(name, got);
    }
}

impl Precision for f64 {
    fn read(case: &Case, name: &str) -> Result<Vec<Self>, GoldenError> {
        Ok(case.f64(name)?.data)
    }
    fn check(report: &mut Report<'_>, name: &str, got: &[Self]) {
        report.check_float64(name, got);
    }
}

/// One case in one precision: its tensors by name, with the leaves that gradients belong to.
struct Inputs<'a, E: Real> {
    case: &'a Case,
    device: Cpu,
    z: Vec<Matrix<E>>,
}

impl<'a, E: Precision> Inputs<'a, E>
where
    Cpu: Device<E>,
{
    fn new(case: &'a Case) -> Result<Self, GoldenError> {
        let device = Cpu::default();
        let names = (1..=4).map(|i| format!("in.z{i}"));
        let z = names
            .filter(|name| case.has(name))
            .map(|name| matrix(case, &name, &device))
            .collect::<Result<_, _>>()?;
        Ok(Self { case, device, z })
    }

    fn matrix(&self, name: &str) -> Result<Matrix<E>, GoldenError> {
        matrix(self.case, name, &self.device)
    }

    /// The i-th embedding matrix (from 1, as in the names) on a new tape.
    fn traced(&self, i: usize) -> Matrix<E, OwnedTape<E, Cpu>> {
        self.z[i - 1].leaky_trace()
    }

    fn constant(&self, i: usize) -> Matrix<E> {
        self.z[i - 1].clone()
    }
}

fn matrix<E: Precision>(case: &Case, name: &str, device: &Cpu) -> Result<Matrix<E>, GoldenError>
where
    Cpu: Device<E>,
{
    let shape = case
        .spec(name)
        .map(|spec| spec.shape.clone())
        .unwrap_or_default();
    let data = E::read(case, name)?;
    Ok(device.tensor_from_vec(data, (shape[0], shape[1])))
}

/// All outputs of the manifest that are losses, with their gradients.
fn check_losses<E: Precision>(case: &Case, report: &mut Report<'_>) -> TestResult
where
    Cpu: Device<E>,
{
    let inputs = Inputs::<E>::new(case)?;
    for (name, _) in case.specs() {
        if let Some(loss) = name
            .strip_suffix("loss")
            .filter(|_| !name.contains(".grad."))
        {
            check_loss(&inputs, loss, report)
                .map_err(|e| format!("{}: {name}: {e}", case.name()))?;
        }
    }
    Ok(())
}

/// `prefix` is the tensor's name up to its last word, `loss`.
fn check_loss<E: Precision>(
    inputs: &Inputs<'_, E>,
    prefix: &str,
    report: &mut Report<'_>,
) -> TestResult
where
    Cpu: Device<E>,
{
    // `adversarial.t0.07.encoder_` has its gradients at `adversarial.t0.07.encoder_loss.grad.z1`.
    let (path, part) = prefix.rsplit_once('.').unwrap_or((prefix, ""));
    let (loss_name, temperature) = match path.split_once(".t") {
        Some((loss, t)) => (loss, Some(t.parse()?)),
        None => (path, None),
    };
    let log_scale = inputs.device.tensor(E::of(0.0));
    let (loss, leaf) = match loss_name {
        "clip" => clip_loss(inputs)?,
        _ => (compute(inputs, loss_name, part, temperature)?, log_scale),
    };
    let gradients = if part.is_empty() {
        path.to_owned()
    } else {
        format!("{prefix}loss")
    };
    let value = loss.as_vec();
    E::check(report, &format!("{prefix}loss"), &value);
    if let Some(context) = single(&value) {
        report.check(&format!("{prefix}loss_f32"), &[context]);
    }
    let mut grads = loss.backward();
    for (i, z) in inputs.z.iter().enumerate() {
        let role = match (loss_name, i) {
            ("proto", 0) => "support".to_owned(),
            ("proto", 1) => "query".to_owned(),
            _ => format!("z{}", i + 1),
        };
        let name = format!("{gradients}.grad.{role}");
        if inputs.case.has(&name) {
            E::check(report, &name, &gradient(&mut grads, z)?);
        }
    }
    if loss_name == "clip" {
        E::check(report, "clip.grad.log_scale", &gradient(&mut grads, &leaf)?);
    }
    if loss_name == "proto" {
        check_accuracy(inputs, report)?;
    }
    Ok(())
}

/// The gradient of a leaf; zeros if the loss does not depend on it.
fn gradient<S: Shape, E: Real>(
    gradients: &mut Gradients<E, Cpu>,
    leaf: &Tensor<S, E, Cpu>,
) -> Result<Vec<E>, CpuError>
where
    Cpu: Device<E>,
{
    gradients.try_alloc_for(leaf)?;
    Ok(gradients.get(leaf).as_vec())
}

/// The streaming forms against the same numbers, in single precision.
fn check_fused(case: &Case, report: &mut Report<'_>) -> TestResult {
    let x = Inputs::<f32>::new(case)?;
    let log_scale = x.device.tensor(match case.has("in.clip.log_scale") {
        true => case.f32("in.clip.log_scale")?.data[0],
        false => 0.0,
    });
    for (name, _) in case.specs() {
        let Some(path) = name.strip_suffix(".loss") else {
            continue;
        };
        let (loss_name, t) = path.split_once(".t").unwrap_or((path, "0"));
        let (z1, z2, t) = (x.traced(1), x.traced(2), t.parse()?);
        let loss = match loss_name {
            "simclr_viewmaker" => fused::viewmaker_simclr(z1, z2, t),
            "ntxent" => fused::ntxent(z1, z2, t),
            "dcl" => fused::dcl(z1, z2, t),
            "infonce" => fused::infonce(z1, z2, t),
            "moco" => {
                let queue = case.f32("in.moco.queue")?.data;
                let queue = KeyQueue::from_rows(queue, z1.shape().1, 0)?;
                fused::moco(z1, x.constant(2), &queue, t)
            }
            "clip" => fused::clip(z1, z2, log_scale.leaky_trace()),
            "supcon" => {
                let labels = case.indices("in.supcon.labels")?.data;
                fused::supcon((z1, z2).concat_along(Axis::<0>), &labels, t)
            }
            "nce" => {
                let bank = MemoryBank::from_rows(case.f32("in.bank")?.data, z1.shape().1)?;
                let indices = case.indices("in.indices")?.data;
                let noise = case.indices("noise.indices")?.data;
                fused::instdisc(z1, &bank, &indices, &noise, case.number("t")?)
            }
            _ => continue,
        }?;
        report.check(name, &loss.as_vec());
        let mut grads = loss.backward();
        for (i, z) in x.z.iter().enumerate() {
            let name = format!("{path}.grad.z{}", i + 1);
            if case.has(&name) {
                report.check(&name, &gradient(&mut grads, z)?);
            }
        }
        if loss_name == "clip" {
            report.check("clip.grad.log_scale", &gradient(&mut grads, &log_scale)?);
        }
    }
    Ok(())
}

/// The value if it was computed in single precision.
fn single<E: Real>(value: &[E]) -> Option<f32> {
    (E::HUGE == f64::from(f32::MAX)).then(|| value[0].wide() as f32)
}

fn compute<E: Precision>(
    x: &Inputs<'_, E>,
    loss: &str,
    part: &str,
    temperature: Option<f64>,
) -> Result<Traced<E>, Box<dyn std::error::Error>>
where
    Cpu: Device<E>,
{
    let z = |i| x.traced(i);
    let t = temperature.unwrap_or(f64::NAN);
    let result = match loss {
        "simclr_viewmaker" => viewmaker_simclr(z(1), z(2), t),
        "simclr_viewmaker_push_only" => viewmaker_simclr_push_only(z(1), z(2), t),
        "adversarial" => Ok(adversary(x, part, viewmaker_simclr(z(1), z(2), t)?)?),
        "ntxent" => ntxent(z(1), z(2), t),
        "dcl" => dcl(z(1), z(2), t),
        "infonce" => infonce(z(1), z(2), t),
        "npair" => npair(z(1), z(2)),
        "triplet_m0.2_raw" => triplet(z(1), z(2), z(3), 0.2),
        "triplet_m1_raw" => triplet(z(1), z(2), z(3), 1.0),
        "triplet_m0.2_unit" => triplet_unit(z(1), z(2), z(3), 0.2),
        "triplet_m1_unit" => triplet_unit(z(1), z(2), z(3), 1.0),
        "moco" => moco(z(1), x.constant(2), x.matrix("in.moco.queue")?, t),
        "byol" => byol(z(1), z(2), x.constant(3), x.constant(4)),
        "simsiam" => simsiam(z(1), z(2), x.constant(3), x.constant(4)),
        "proto" => protonet(z(1), z(2), ways(x.case)?).map(|episode| episode.loss),
        "tcn_r3m" => time_contrast(x)?,
        "tcn_infonce" => tcn_infonce(z(1), z(2), z(3), t),
        "supcon" => {
            let labels = x.case.indices("in.supcon.labels")?.data;
            supcon((z(1), z(2)).concat_along(Axis::<0>), &labels, t)
        }
        "supcon_one_view" => {
            let labels = x.case.indices("in.supcon.labels")?.data;
            supcon(z(1), &labels[..labels.len() / 2], t)
        }
        "nce" => noise_contrast(x)?,
        "adversarial_nce" => Ok(adversary(x, part, noise_contrast(x)??)?),
        _ => return Err(format!("no such loss: {loss}").into()),
    };
    Ok(result?)
}

/// The encoder's loss as it is, the viewmaker's as `−weight` times it.
fn adversary<E: Precision>(
    x: &Inputs<'_, E>,
    part: &str,
    loss: Traced<E>,
) -> Result<Traced<E>, GoldenError>
where
    Cpu: Device<E>,
{
    match part {
        "view_maker_" => Ok(loss * E::of(-x.case.number("view_maker_loss_weight")?)),
        _ => Ok(loss),
    }
}

fn clip_loss<E: Precision>(
    x: &Inputs<'_, E>,
) -> Result<(Traced<E>, Scalar<E>), Box<dyn std::error::Error>>
where
    Cpu: Device<E>,
{
    let log_scale = x.device.tensor(E::read(x.case, "in.clip.log_scale")?[0]);
    let loss = clip(x.traced(1), x.traced(2), log_scale.leaky_trace())?;
    Ok((loss, log_scale))
}

fn time_contrast<E: Precision>(x: &Inputs<'_, E>) -> Result<LossResult<E>, GoldenError>
where
    Cpu: Device<E>,
{
    let perm0 = x.case.indices("in.tcn_r3m.perm0")?;
    let perm2 = x.case.indices("in.tcn_r3m.perm2")?;
    let perm0: Vec<&[usize]> = perm0.data.chunks(perm0.shape[1]).collect();
    let perm2: Vec<&[usize]> = perm2.data.chunks(perm2.shape[1]).collect();
    Ok(tcn_r3m(
        x.traced(1),
        x.traced(2),
        x.traced(3),
        &perm0,
        &perm2,
    ))
}

fn noise_contrast<E: Precision>(x: &Inputs<'_, E>) -> Result<LossResult<E>, GoldenError>
where
    Cpu: Device<E>,
{
    let indices = x.case.indices("in.indices")?.data;
    let noise = x.case.indices("noise.indices")?.data;
    let bank = x.matrix("in.bank")?;
    Ok(instdisc(
        x.traced(1),
        bank,
        &indices,
        &noise,
        x.case.number("t")?,
    ))
}

fn ways(case: &Case) -> Result<usize, String> {
    let ways = case
        .parameter("proto")
        .and_then(|proto| proto["ways"].as_u64());
    ways.map(|ways| ways as usize)
        .ok_or_else(|| format!("{}: no proto.ways", case.name()))
}

fn check_accuracy<E: Precision>(x: &Inputs<'_, E>, report: &mut Report<'_>) -> TestResult
where
    Cpu: Device<E>,
{
    let accuracy = protonet(x.traced(1), x.traced(2), ways(x.case)?)?.accuracy;
    E::check(report, "proto.accuracy", &[E::of(accuracy)]);
    report.check("proto.accuracy_f32", &[accuracy]);
    Ok(())
}

/// Updates and look-ups of the memory bank.
fn check_bank(case: &Case, report: &mut Report<'_>) -> TestResult {
    let (z1, z2) = (case.f32("in.z1")?, case.f32("in.z2")?.data);
    let (columns, z1) = (z1.shape[1], z1.data);
    let indices = case.indices("in.indices")?.data;
    let bank = MemoryBank::from_rows(case.f32("in.bank")?.data, columns)?;

    let mut updated = bank.clone();
    updated.update(&indices, &z1, case.number("m")?)?;
    report.check("bank_update.bank_after", updated.rows());
    let rows: Vec<f32> = indices
        .iter()
        .flat_map(|i| updated.row(*i).to_vec())
        .collect();
    report.check("bank_update.rows", &rows);

    let mut expert = bank.clone();
    expert.write_average(&indices, &z1, &z2)?;
    report.check("simclr_expert_update.bank_after", expert.rows());
    let mut viewmaker = bank.clone();
    viewmaker.write_view(&indices, &z1)?;
    report.check("simclr_viewmaker_update.bank_after", viewmaker.rows());

    let queries = z2.chunks(columns);
    let dots = queries
        .clone()
        .map(|z| bank.dot_products(z))
        .collect::<Result<Vec<_>, _>>()?;
    report.check("knn.dot_products", &dots.concat());
    let distances = queries
        .map(|z| bank.distances(z))
        .collect::<Result<Vec<_>, _>>()?;
    report.check("bank.distances", &distances.concat());
    report.check("knn.nearest", &bank.nearest(&z2)?);
    Ok(())
}

fn check_queue(case: &Case, report: &mut Report<'_>) -> TestResult {
    let (keys, rows) = (case.f32("in.z2")?, case.f32("in.moco.queue")?);
    let next = case.indices("in.moco.ptr")?.data[0];
    let mut queue = KeyQueue::from_rows(rows.data, rows.shape[1], next)?;
    queue.enqueue(&keys.data)?;
    report.check("moco.queue_after", queue.rows());
    Ok(())
}
