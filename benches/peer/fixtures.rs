//! Numbers that both sides make for themselves, so that they can prove to compute the same.

use std::collections::BTreeMap;
use viewmaker_ops::Dims;

/// Salt of the fill rule for everything in this benchmark.
const SALT: u64 = 7;

/// Values of the check by name; both sides must agree on every one.
pub type Check = BTreeMap<String, Vec<f64>>;

/// The tensor called `name`, by the rule that the reference fixtures use for weights.
pub fn fill(name: &str, shape: &[usize]) -> Vec<f32> {
    viewmaker_golden::fill(name, shape, SALT)
}

/// `len` numbers in `[0, 1)`.
pub fn uniform(name: &str, len: usize) -> Vec<f32> {
    // The rule gives a tenth of a number in [-1, 1) to a vector of this name.
    let values = fill(name, &[len]).into_iter();
    values.map(|x| 5.0 * x + 0.5).collect()
}

/// The NHWC form of [`fill`] with NCHW shape.
pub fn fill_nhwc(name: &str, dims: Dims) -> Vec<f32> {
    let mut out = vec![0.0; dims.len()];
    let nchw = fill(name, &[dims.n, dims.c, dims.h, dims.w]);
    viewmaker_exec::to_nhwc(&nchw, dims, &mut out);
    out
}

/// Elements of a tensor that a check compares.
const PROBES: usize = 32;

/// Evenly spaced elements of a tensor in C order of its NCHW form.
pub fn probe(values: &[f32]) -> Vec<f64> {
    let positions = (0..PROBES).map(|i| i * values.len() / PROBES);
    positions.map(|i| f64::from(values[i])).collect()
}

/// The same for NHWC data.
pub fn probe_nhwc(values: &[f32], dims: Dims) -> Vec<f64> {
    let mut nchw = vec![0.0; dims.len()];
    viewmaker_exec::to_nchw(values, dims, &mut nchw);
    probe(&nchw)
}
