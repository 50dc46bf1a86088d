//! Random inputs, parameters, state and output gradient of a case.

use super::{Case, InputKind};
use crate::random::Philox;
use crate::{Dims, Init};

const SEED: u64 = 0x5EED;
/// Distance kept from the points of [`InputKind::AwayFrom`].
const GAP: f32 = 0.02;

/// The numbers a case is computed on; the same on every run and every device.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Shape of the output.
    pub output_dims: Dims,
    /// The inputs.
    pub inputs: Vec<Vec<f32>>,
    /// The parameters, drawn as they would be initialised; constants are spread by ±0.5.
    pub params: Vec<Vec<f32>>,
    /// The state, its initial value plus a number in `[0, 0.5)`.
    pub state: Vec<Vec<f32>>,
    /// Gradient with respect to the output, standard normal.
    pub output_grad: Vec<f32>,
}

impl Sample {
    /// Draws the numbers of `case`; fails when the operation refuses the shapes.
    pub fn new(case: &Case) -> Result<Self, String> {
        let output_dims = case.output()?;
        let mut stream = 0;
        let mut next = || {
            stream += 1;
            Philox::new(SEED, stream, 0)
        };
        let inputs = case.inputs.iter();
        let inputs = inputs
            .map(|d| input(&case.input, next(), d.len()))
            .collect();
        let params = case.op.params(&case.inputs);
        let params = params
            .iter()
            .map(|p| param(p.init, next(), p.shape.iter().product()))
            .collect();
        let state = case.op.state(&case.inputs);
        let state = state
            .iter()
            .map(|s| {
                let random = next();
                let len = s.shape.iter().product();
                fill(len, |i| s.init + 0.5 * random.uniform(i))
            })
            .collect();
        let random = next();
        let output_grad = fill(output_dims.len(), |i| normal(&random, i));
        Ok(Self {
            output_dims,
            inputs,
            params,
            state,
            output_grad,
        })
    }
}

fn input(kind: &InputKind, random: Philox, len: usize) -> Vec<f32> {
    match kind {
        InputKind::Normal => fill(len, |i| normal(&random, i)),
        InputKind::Uniform01 => fill(len, |i| random.uniform(i)),
        InputKind::Uniform { low, high } => fill(len, |i| low + (high - low) * random.uniform(i)),
        InputKind::AwayFrom(points) => fill(len, |i| away(points, normal(&random, i))),
        InputKind::Distinct => distinct(&random, len),
    }
}

fn param(init: Init, random: Philox, len: usize) -> Vec<f32> {
    let signed = |i| 2.0 * random.uniform(i) - 1.0;
    match init {
        Init::Uniform { bound } => fill(len, |i| bound * signed(i)),
        Init::Normal { std } => fill(len, |i| std * normal(&random, i)),
        Init::Constant(value) => fill(len, |i| value + 0.5 * signed(i)),
    }
}

fn fill(len: usize, value: impl FnMut(u64) -> f32) -> Vec<f32> {
    (0..len as u64).map(value).collect()
}

/// Standard normal number with index `i` (Box & Muller 1958).
fn normal(random: &Philox, i: u64) -> f32 {
    let [a, b] = [random.uniform(2 * i), random.uniform(2 * i + 1)].map(f64::from);
    ((-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()) as f32
}

/// Moves `x` out of the gaps around `points`.
fn away(points: &[f32], x: f32) -> f32 {
    let near = points.iter().find(|p| (x - **p).abs() < GAP);
    near.map_or(x, |p| p + if x < *p { -GAP } else { GAP })
}

fn distinct(random: &Philox, len: usize) -> Vec<f32> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by_key(|&i| random.word(i as u64));
    let mut out = vec![0.0; len];
    for (rank, i) in order.into_iter().enumerate() {
        out[i] = 2.0 * rank as f32 / len as f32 - 1.0;
    }
    out
}
