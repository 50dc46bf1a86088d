//! What all losses share: tensor types, safe normalisation, and the checks of their inputs.
//!
//! A tensor that is used twice gives its tape to one use; the other gets `with_empty_tape()`.
//! Inputs behind a stop-gradient are tensors without a tape: the types keep the gradient out.

use crate::ObjectiveError;
use dfdx::prelude::*;

/// A matrix on dfdx's CPU device, one embedding per row.
pub type Matrix<E, T = NoneTape> = Tensor<(usize, usize), E, Cpu, T>;
/// A vector on dfdx's CPU device, one number per embedding.
pub type Vector<E, T = NoneTape> = Tensor<(usize,), E, Cpu, T>;
/// A single number on dfdx's CPU device.
pub type Scalar<E, T = NoneTape> = Tensor<Rank0, E, Cpu, T>;

/// The two precisions of the losses: `f32` for training, `f64` for checking.
pub trait Real: Dtype + PartialOrd {
    /// Smallest positive normal number.
    const TINY: f64;
    /// Largest finite number.
    const HUGE: f64;
    /// The nearest number of this type.
    fn of(x: f64) -> Self;
    /// The same number in double precision.
    fn wide(self) -> f64;
}

macro_rules! real {
    ($type:ty) => {
        impl Real for $type {
            const TINY: f64 = <$type>::MIN_POSITIVE as f64;
            const HUGE: f64 = <$type>::MAX as f64;
            fn of(x: f64) -> Self {
                x as $type
            }
            fn wide(self) -> f64 {
                self as f64
            }
        }
    };
}
real!(f32);
real!(f64);

/// Each row divided by its Euclidean length.
///
/// Finite for every finite input: rows are first scaled by a power of two (exact, and without
/// effect on the direction), so that no square overflows. A row whose largest component is below
/// the square root of the smallest normal number (1e-19 in single precision) has no direction: it becomes
/// zero and gets a zero gradient.
pub fn l2_normalize<E: Real, T: Tape<E, Cpu>>(z: Matrix<E, T>) -> Matrix<E, T>
where
    Cpu: Device<E>,
{
    let shape = *z.shape();
    let scales: Vec<f64> = z.as_vec().chunks(shape.1).map(row_scale).collect();
    // The length of a zero row is taken as 1, or its gradient would be 0/0.
    let absent = vector(&z, scales.iter().map(|s| f64::from(s.is_infinite())));
    let scale = vector(&z, scales.iter().copied());
    let y = z / scale.broadcast_like::<_, Axis<1>>(&shape);
    let squares = y.with_empty_tape().square().sum::<(usize,), Axis<1>>();
    y / (squares + absent)
        .sqrt()
        .broadcast_like::<_, Axis<1>>(&shape)
}

/// The power of two next below the largest magnitude; infinite for a zero row, which makes it an
/// exact zero.
fn row_scale<E: Real>(row: &[E]) -> f64 {
    let largest = row.iter().map(|x| x.wide().abs()).fold(0.0, f64::max);
    if largest < E::TINY.sqrt() {
        f64::INFINITY
    } else {
        largest.log2().floor().exp2()
    }
}

/// Components clamped so that sums of products of two of them stay finite, for losses without
/// normalisation: beyond about 1e16 in single precision they saturate instead of becoming NaN.
pub fn bounded<E: Real, T: Tape<E, Cpu>>(z: Matrix<E, T>) -> Matrix<E, T>
where
    Cpu: Device<E>,
{
    let (rows, columns) = *z.shape();
    let bound = (E::HUGE / (16.0 * (rows * columns) as f64)).sqrt();
    z.clamp(-bound, bound)
}

/// The rows of `u`, then the rows of `v`.
pub(crate) fn stack<E: Real, T: Tape<E, Cpu>>(u: Matrix<E, T>, v: Matrix<E, T>) -> Matrix<E, T>
where
    Cpu: Device<E>,
{
    (u, v).concat_along(Axis::<0>)
}

/// `u_i · v_i` for every row.
pub(crate) fn row_dots<E: Real, T, R>(u: Matrix<E, T>, v: Matrix<E, R>) -> Vector<E, T>
where
    Cpu: Device<E>,
    T: Tape<E, Cpu> + Merge<R>,
    R: Tape<E, Cpu>,
{
    (u * v).sum::<(usize,), Axis<1>>()
}

/// `|u_i − v_i|²` for every row.
pub(crate) fn row_distances<E: Real, T: Tape<E, Cpu>>(
    u: Matrix<E, T>,
    v: Matrix<E, T>,
) -> Vector<E, T>
where
    Cpu: Device<E>,
{
    (u - v).square().sum::<(usize,), Axis<1>>()
}

/// `|u_i − v_j|²` for every pair of rows. By differences, not by products: products cancel for
/// close rows.
pub(crate) fn pair_distances<E: Real, T: Tape<E, Cpu>>(
    u: Matrix<E, T>,
    v: Matrix<E, T>,
) -> Matrix<E, T>
where
    Cpu: Device<E>,
{
    let ((n, d), (m, _)) = (*u.shape(), *v.shape());
    let cube = (n, m, d);
    let u = u.broadcast_like::<_, Axis<1>>(&cube);
    let v = v.broadcast_like::<_, Axis<0>>(&cube);
    (u - v).square().sum::<(usize, usize), Axis<2>>()
}

/// Square root whose gradient at 0 is 0: the subgradient of a distance between equal points.
pub(crate) fn distance<S: Shape, E: Real, T: Tape<E, Cpu>>(
    squared: Tensor<S, E, Cpu, T>,
) -> Tensor<S, E, Cpu, T>
where
    Cpu: Device<E>,
{
    squared.clamp(E::TINY, E::HUGE).sqrt()
}

/// `mean_i( log Σ_j exp(logits_ij) − positive_i )`: cross-entropy in which the positive logit of
/// each row is at hand.
pub(crate) fn contrast<E: Real, T: Tape<E, Cpu>>(
    logits: Matrix<E, T>,
    positive: Vector<E, T>,
) -> Scalar<E, T>
where
    Cpu: Device<E>,
{
    (logits.logsumexp::<(usize,), Axis<1>>() - positive).mean()
}

/// Mean cross-entropy of each row of logits against its target column.
pub(crate) fn cross_entropy<E: Real, T: Tape<E, Cpu>>(
    logits: Matrix<E, T>,
    targets: Vec<usize>,
) -> Scalar<E, T>
where
    Cpu: Device<E>,
{
    let rows = targets.len();
    let targets = logits.device().tensor_from_vec(targets, (rows,));
    let positive = logits.with_empty_tape().select(targets);
    contrast(logits, positive)
}

/// A matrix to add to logits: −∞ where `excluded(i, j)`, 0 elsewhere.
pub(crate) fn mask<E: Real>(
    device: &Cpu,
    shape: (usize, usize),
    excluded: impl Fn(usize, usize) -> bool,
) -> Matrix<E>
where
    Cpu: Device<E>,
{
    let value = |i, j| {
        if excluded(i, j) {
            f64::NEG_INFINITY
        } else {
            0.0
        }
    };
    let values = (0..shape.0).flat_map(|i| (0..shape.1).map(move |j| (i, j)));
    let values = values.map(|(i, j)| E::of(value(i, j))).collect();
    device.tensor_from_vec(values, shape)
}

/// A constant vector on the device of `z`.
pub(crate) fn vector<E: Real, T>(z: &Matrix<E, T>, values: impl Iterator<Item = f64>) -> Vector<E>
where
    Cpu: Device<E>,
{
    let values: Vec<E> = values.map(E::of).collect();
    let length = values.len();
    z.device().tensor_from_vec(values, (length,))
}

/// Checks that all inputs have one shape with at least `rows` rows and one column.
pub(crate) fn check_shapes(
    objective: &'static str,
    shapes: &[(usize, usize)],
    rows: usize,
) -> Result<(), ObjectiveError> {
    let same = shapes.windows(2).all(|pair| pair[0] == pair[1]);
    if same && shapes.iter().all(|(n, d)| *n >= rows && *d >= 1) {
        return Ok(());
    }
    let expected = format!("equal shapes [N, D] with N ≥ {rows} and D ≥ 1");
    Err(ObjectiveError::input(
        objective,
        expected,
        format!("{shapes:?}"),
    ))
}

/// Temperatures outside of `1e-4 ..= 1e4` only produce infinities.
pub(crate) fn check_temperature(
    objective: &'static str,
    temperature: f64,
) -> Result<(), ObjectiveError> {
    if (1e-4..=1e4).contains(&temperature) {
        return Ok(());
    }
    let expected = "a temperature between 1e-4 and 1e4";
    Err(ObjectiveError::input(
        objective,
        expected,
        temperature.to_string(),
    ))
}

/// Checks that every index is below `rows`.
pub(crate) fn check_indices(
    objective: &'static str,
    indices: &[usize],
    rows: usize,
) -> Result<(), ObjectiveError> {
    match indices.iter().find(|index| **index >= rows) {
        None => Ok(()),
        Some(index) => {
            let expected = format!("indices below {rows}");
            Err(ObjectiveError::input(
                objective,
                expected,
                index.to_string(),
            ))
        }
    }
}
