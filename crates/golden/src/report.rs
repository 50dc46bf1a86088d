//! Comparing every result of a case, and noticing what was not compared.

use crate::{Case, GoldenError, Spec, Tolerance};
use std::collections::BTreeSet;

/// A number that can be compared with a reference.
pub trait Value: Copy {
    /// The same number in double precision.
    fn to_f64(self) -> f64;
}

macro_rules! values {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}
values!(f32, f64, i64, usize, u32);

/// The comparisons of one case.
///
/// Every tensor whose role says so must be compared with a single-precision result
/// ([`Report::check`]); after [`Report::require_float64`] also, where the manifest gives a tolerance
/// for it, with a double-precision one ([`Report::check_float64`]).
#[derive(Debug)]
#[must_use = "a report means something only when it is finished"]
pub struct Report<'a> {
    case: &'a Case,
    unchecked: BTreeSet<&'a str>,
    unchecked_float64: BTreeSet<&'a str>,
    problems: Vec<String>,
    compared: usize,
    worst: Option<(f64, String)>,
}

impl<'a> Report<'a> {
    /// Nothing has been compared yet.
    pub fn new(case: &'a Case) -> Self {
        let compared = case.specs().filter(|(_, spec)| spec.role.is_compared());
        Self {
            case,
            unchecked: compared.map(|(name, _)| name).collect(),
            unchecked_float64: BTreeSet::new(),
            problems: Vec::new(),
            compared: 0,
            worst: None,
        }
    }

    /// Tensors with a tolerance for double precision must be compared in double precision too.
    pub fn require_float64(mut self) -> Self {
        let wanted = self
            .case
            .specs()
            .filter(|(_, spec)| spec.tol_float64.is_some());
        self.unchecked_float64 = wanted.map(|(name, _)| name).collect();
        self
    }

    /// Compares a single-precision result with the tensor `name`.
    pub fn check<V: Value>(&mut self, name: &str, got: &[V]) {
        self.unchecked.remove(name);
        self.compare(name, "", got, |spec| spec.tol);
    }

    /// Compares a double-precision result with the tensor `name`, by the tolerance for double
    /// precision where there is one. It does not count as the single-precision comparison.
    pub fn check_float64<V: Value>(&mut self, name: &str, got: &[V]) {
        self.unchecked_float64.remove(name);
        self.compare(name, " (f64)", got, |spec| spec.tol_float64.or(spec.tol));
    }

    /// Compares a whole result with whatever the case keeps of it: the tensor `name` itself, or
    /// its strided sample, norm and sum (`name.sample`, `name.norm`, `name.sum`).
    pub fn check_reduced<V: Value>(&mut self, name: &str, got: &[V]) {
        let wide: Vec<f64> = got.iter().map(|x| x.to_f64()).collect();
        let [sample, norm, sum] = ["sample", "norm", "sum"].map(|part| format!("{name}.{part}"));
        if self.case.has(name) {
            self.check(name, &wide);
        }
        if let Some(spec) = self.case.spec(&sample) {
            let stride = spec.flat_stride.unwrap_or(1);
            let kept: Vec<f64> = wide.iter().step_by(stride).copied().collect();
            self.check(&sample, &kept);
        } else if !self.case.has(name) {
            self.problems
                .push(format!("{name}: the case keeps nothing of it"));
        }
        if self.case.has(&norm) {
            let squares: f64 = wide.iter().map(|x| x * x).sum();
            self.check(&norm, &[squares.sqrt()]);
        }
        if self.case.has(&sum) {
            self.check(&sum, &[wide.iter().sum::<f64>()]);
        }
    }

    fn compare<V: Value>(
        &mut self,
        name: &str,
        precision: &str,
        got: &[V],
        tolerance: impl Fn(&Spec) -> Option<Tolerance>,
    ) {
        let (Some(spec), Ok(want)) = (self.case.spec(name), self.case.f64(name)) else {
            self.problems.push(format!("{name}: not in the case"));
            return;
        };
        let Some(mut tolerance) = tolerance(spec) else {
            self.problems.push(format!("{name}: no tolerance is given"));
            return;
        };
        if spec.degenerate {
            tolerance.rel = 0.0;
        }
        if got.len() != want.data.len() {
            let (expected, found) = (want.data.len(), got.len());
            let problem = format!("{name}{precision}: expected {expected} elements, found {found}");
            self.problems.push(problem);
            return;
        }
        let got: Vec<f64> = got.iter().map(|x| x.to_f64()).collect();
        let verdict = tolerance.check(&got, &want.data);
        self.compared += 1;
        if self
            .worst
            .as_ref()
            .is_none_or(|(ratio, _)| verdict.ratio > *ratio)
        {
            self.worst = Some((verdict.ratio, format!("{name}{precision}")));
        }
        if !verdict.passes() {
            self.problems.push(format!(
                "{name}{precision}: error {:.3e}, allowed {:.3e} ({:.2}×)",
                verdict.error, verdict.allowed, verdict.ratio
            ));
        }
    }

    /// The case in one line: how many comparisons, and the one closest to its tolerance.
    pub fn summary(&self) -> String {
        let (ratio, name) = self.worst.clone().unwrap_or_default();
        let (case, compared) = (self.case.name(), self.compared);
        format!("{case}: {compared} comparisons, worst error {ratio:.3} of its tolerance at {name}")
    }

    /// Prints the summary; fails if a comparison failed or a reference was never compared.
    pub fn finish(mut self) -> Result<(), GoldenError> {
        println!("{}", self.summary());
        let single = self.unchecked.iter().map(|name| (name, ""));
        let double = self.unchecked_float64.iter().map(|name| (name, " (f64)"));
        for (name, precision) in single.chain(double) {
            self.problems
                .push(format!("{name}{precision}: never compared"));
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(GoldenError::Disagreement {
            case: self.case.name().to_owned(),
            problems: self.problems,
        })
    }
}
