//! The conformance case list and the checks that every operation has to pass.
//!
//! Each operation's folder offers `cases()`: shapes and attributes with written tolerances.
//! [`cases`] lists them all; tests, benchmarks and device paths read the same list, so a new
//! operation is covered everywhere by one line here.
//!
//! [`check`] compares, for one case:
//! 1. the `f64` reference gradients with central differences of the `f64` reference output;
//! 2. the `f32` kernels with the reference, all buffers they own filled with NaN beforehand so that
//!    an element left unwritten, or read before it was written, cannot go unnoticed;
//! 3. the bits on 1, 2 and 3 threads;
//! 4. the conventions of [`Backward`](crate::Backward): input gradients are overwritten, parameter
//!    gradients are added to, and what nobody asked for changes nothing else.

mod differences;
#[cfg(test)]
mod on_device;
mod run;
mod sample;
#[cfg(test)]
mod tests;

pub use run::{Gradients, Results, Wanted, reference, run_f32, starts};
pub use sample::Sample;

use crate::{Dims, Mode, Op};
use std::fmt;

/// What random numbers the inputs of a case are.
#[derive(Clone, Debug, PartialEq)]
pub enum InputKind {
    /// Standard normal.
    Normal,
    /// Uniform in `[0, 1)`.
    Uniform01,
    /// Uniform in `[low, high)`.
    Uniform {
        /// Lower end, included.
        low: f32,
        /// Upper end, excluded.
        high: f32,
    },
    /// Standard normal, but nowhere within 0.02 of these points: for functions with a kink, where
    /// a finite difference across the kink would mean nothing.
    AwayFrom(Vec<f32>),
    /// A random permutation of evenly spaced numbers in `[-1, 1)`: no two are close to each other,
    /// for functions that compare their inputs.
    Distinct,
}

/// The largest error allowed in a tensor: `max|got − want| ≤ abs + rel · max|want|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Absolute part.
    pub abs: f64,
    /// Part relative to the largest magnitude in the expected tensor.
    pub rel: f64,
}

impl Tolerance {
    /// A tolerance with these parts.
    pub const fn new(abs: f64, rel: f64) -> Self {
        Self { abs, rel }
    }

    /// Largest deviation from `want` and the deviation allowed; not a number counts as infinite.
    pub fn measure(&self, what: impl Into<String>, got: &[f32], want: &[f64]) -> Measure {
        let largest = want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
        let mut error: f64 = if got.len() == want.len() {
            0.0
        } else {
            f64::INFINITY
        };
        for (&g, &w) in got.iter().zip(want) {
            let off = (f64::from(g) - w).abs();
            error = if off.is_nan() {
                f64::INFINITY
            } else {
                error.max(off)
            };
        }
        Measure {
            what: what.into(),
            error,
            allowed: self.abs + self.rel * largest,
        }
    }
}

/// One comparison of two tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// Which tensor.
    pub what: String,
    /// Largest absolute deviation found.
    pub error: f64,
    /// Largest absolute deviation allowed.
    pub allowed: f64,
}

impl Measure {
    /// Error as a fraction of what is allowed; at most 1 when the comparison passes.
    pub fn ratio(&self) -> f64 {
        if self.error == 0.0 {
            0.0
        } else {
            self.error / self.allowed
        }
    }

    fn passed(&self) -> bool {
        self.error <= self.allowed
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: error {:.2e}, allowed {:.2e}",
            self.what, self.error, self.allowed
        )
    }
}

/// An operation with shapes on which it is checked.
#[derive(Debug)]
pub struct Case {
    /// Unique name, for example `conv2d 3→16 9×9 reflect`.
    pub name: String,
    /// The operation.
    pub op: Box<dyn Op>,
    /// Shapes of its inputs.
    pub inputs: Vec<Dims>,
    /// Mode it runs in.
    pub mode: Mode,
    /// Distribution of all inputs.
    pub input: InputKind,
    /// Tolerance of output and state.
    pub forward: Tolerance,
    /// Tolerance of all gradients.
    pub backward: Tolerance,
}

impl Case {
    /// A case in training mode with normal inputs and tolerances of `1e-6 + 1e-5 · max`.
    pub fn new(name: impl Into<String>, op: impl Op + 'static, inputs: &[Dims]) -> Self {
        Self {
            name: name.into(),
            op: Box::new(op),
            inputs: inputs.to_vec(),
            mode: Mode::Train,
            input: InputKind::Normal,
            forward: Tolerance::new(1e-6, 1e-5),
            backward: Tolerance::new(1e-6, 1e-5),
        }
    }

    /// The same in another mode.
    pub fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// The same with other inputs.
    pub fn input(self, input: InputKind) -> Self {
        Self { input, ..self }
    }

    /// The same with another tolerance for output and state.
    pub fn forward(self, abs: f64, rel: f64) -> Self {
        Self {
            forward: Tolerance::new(abs, rel),
            ..self
        }
    }

    /// The same with another tolerance for gradients.
    pub fn backward(self, abs: f64, rel: f64) -> Self {
        Self {
            backward: Tolerance::new(abs, rel),
            ..self
        }
    }

    /// Shape of the output, or what is wrong with the case.
    pub fn output(&self) -> Result<Dims, String> {
        self.op.output(&self.inputs).map_err(|e| e.to_string())
    }
}

/// Every case of every operation.
pub fn cases() -> Vec<Case> {
    let lists = [
        crate::activation::cases(),
        crate::add::cases(),
        crate::attention::cases(),
        crate::batch_norm::cases(),
        crate::budget::cases(),
        crate::clamp::cases(),
        crate::concat::cases(),
        crate::conv2d::cases(),
        crate::dct::cases(),
        crate::flatten::cases(),
        crate::fused_norm::cases(),
        crate::instance_norm::cases(),
        crate::l2_normalize::cases(),
        crate::layer_norm::cases(),
        crate::linear::cases(),
        crate::normalize::cases(),
        crate::pool::cases(),
        crate::resize::cases(),
        crate::upsample::cases(),
    ];
    lists.into_iter().flatten().collect()
}

/// What [`check`] measured.
#[derive(Clone, Debug)]
pub struct Report {
    /// All comparisons, every one of them passed.
    pub measures: Vec<Measure>,
}

impl Report {
    /// The comparison closest to its tolerance.
    pub fn worst(&self) -> Option<&Measure> {
        let by_ratio = |a: &&Measure, b: &&Measure| a.ratio().total_cmp(&b.ratio());
        self.measures.iter().max_by(by_ratio)
    }
}

/// Checks one case; an error says what deviates and by how much.
pub fn check(case: &Case) -> Result<Report, String> {
    let sample = Sample::new(case)?;
    let want = reference(case, &sample)?;
    let starts = starts(&want);
    let run = |threads, wanted: &Wanted| -> Result<Results<f32>, String> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| format!("no pool of {threads} threads: {e}"))?;
        Ok(pool.install(|| run_f32(case, &sample, &starts, wanted, threads)))
    };
    let all = Wanted::all(case);

    let mut measures = differences::check(case, &sample, &want);
    let single = run(1, &all)?;
    measures.extend(compare(case, &single, &want, &starts));
    if let Some(bad) = measures.iter().find(|m| !m.passed()) {
        return Err(bad.to_string());
    }
    let rebuilt = single.rebuilt.as_deref();
    if rebuilt.is_some_and(|rebuilt| !equal(rebuilt, &single.output)) {
        return Err("the output computed a second time has other bits".into());
    }
    for threads in [2, 3] {
        let other = run(threads, &all)?;
        same_bits(&single, &other).map_err(|w| format!("{w} differs on {threads} threads"))?;
    }
    for wanted in Wanted::subsets(case) {
        let part = run(2, &wanted)?;
        same_bits(&single, &part)
            .map_err(|w| format!("{w} differs when only {wanted} is asked for"))?;
    }
    Ok(Report { measures })
}

/// Measures `got`, whose parameter gradients were added to `starts`, against the reference with the
/// tolerances of the case. Gradients nobody asked for are left out.
pub fn compare(
    case: &Case,
    got: &Results<f32>,
    want: &Results<f64>,
    starts: &[Vec<f32>],
) -> Vec<Measure> {
    let mut measures = vec![case.forward.measure("output", &got.output, &want.output)];
    for (i, (g, w)) in got.state.iter().zip(&want.state).enumerate() {
        measures.push(case.forward.measure(format!("state {i}"), g, w));
    }
    let pairs = got.gradients.inputs.iter().zip(&want.gradients.inputs);
    for (i, pair) in pairs.enumerate() {
        if let (Some(g), Some(w)) = pair {
            let what = format!("gradient of input {i}");
            measures.push(case.backward.measure(what, g, w));
        }
    }
    let pairs = got.gradients.params.iter().zip(&want.gradients.params);
    for (i, (pair, start)) in pairs.zip(starts).enumerate() {
        if let (Some(g), Some(w)) = pair {
            let what = format!("gradient of parameter {i}");
            let sum: Vec<f64> = w
                .iter()
                .zip(start)
                .map(|(w, s)| w + f64::from(*s))
                .collect();
            measures.push(case.backward.measure(what, g, &sum));
        }
    }
    measures
}

/// Compares what both have; an error is the name of the first tensor whose bits differ.
fn same_bits(a: &Results<f32>, b: &Results<f32>) -> Result<(), String> {
    if !equal(&a.output, &b.output) {
        return Err("output".into());
    }
    for (i, (x, y)) in a.state.iter().zip(&b.state).enumerate() {
        if !equal(x, y) {
            return Err(format!("state {i}"));
        }
    }
    for ((what, x), (_, y)) in a.gradients.named().zip(b.gradients.named()) {
        match (x, y) {
            (Some(x), Some(y)) if !equal(x, y) => return Err(what),
            _ => {}
        }
    }
    Ok(())
}

fn equal(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
