//! Minimisation of smooth functions by L-BFGS, in double precision and without randomness.

use std::collections::VecDeque;

/// Pairs of steps and gradient changes that are remembered.
const HISTORY: usize = 10;

/// Sufficient decrease (c₁) and curvature (c₂) of an accepted step.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;

/// Values closer than this part are the same up to rounding.
const ROUNDING: f64 = 1e-14;

/// Bisections of one line search; 2⁻⁵⁰ of the first step changes nothing any more.
const LONGEST_SEARCH: usize = 50;

/// When the search ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stop {
    /// At most this many iterations.
    pub max_iterations: u64,
    /// Largest magnitude of a component of the gradient at a minimum.
    pub tolerance: f64,
}

/// Where the search ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimum {
    /// The place.
    pub x: Vec<f64>,
    /// The value there.
    pub value: f64,
    /// Largest magnitude of a component of the gradient there.
    pub gradient: f64,
    /// Iterations: accepted steps.
    pub iterations: u64,
    /// Whether the gradient is within the tolerance.
    pub converged: bool,
}

/// What is minimised: takes a point, writes the gradient there into the second argument, and returns the
/// value. Its error ends the search.
pub type Function<'a, E> = dyn FnMut(&[f64], &mut [f64]) -> Result<f64, E> + 'a;

/// A point with value and gradient.
struct Point {
    x: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// A step and the change of the gradient along it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// 1 / (step · change), positive.
    inverse: f64,
}

/// Minimises `f` from `start`.
///
/// Directions by the two-loop recursion over the last ten steps, scaled by `s·y / y·y`; steps satisfy
/// the weak Wolfe conditions (c₁ = 1e-4, c₂ = 0.9; near a minimum, where differences of values drown
/// in rounding, the approximate ones) and are found by doubling and bisection from 1.
///
/// Sources: Nocedal & Wright, *Numerical Optimization* (2nd edition, 2006), algorithms 7.4 and 7.5;
/// Lewis & Overton, *Nonsmooth Optimization via Quasi-Newton Methods* (Mathematical Programming 141,
/// 2013), algorithm 2.6; Hager & Zhang, *A New Conjugate Gradient Method with Guaranteed Descent and
/// an Efficient Line Search* (SIAM Journal on Optimization 16, 2005), equation 4.1.
///
/// # Errors
/// The first error of `f`.
pub fn minimize<E>(start: Vec<f64>, stop: Stop, f: &mut Function<'_, E>) -> Result<Minimum, E> {
    let mut gradient = vec![0.0; start.len()];
    let value = f(&start, &mut gradient)?;
    let mut at = Point {
        x: start,
        value,
        gradient,
    };
    let mut pairs = VecDeque::<Pair>::new();
    let mut iterations = 0;
    while iterations < stop.max_iterations && largest(&at.gradient) > stop.tolerance {
        let direction = direction(&at.gradient, &pairs);
        let Some(next) = search(&at, &direction, f)? else {
            break;
        };
        let step = difference(&next.x, &at.x);
        let change = difference(&next.gradient, &at.gradient);
        let product = dot(&step, &change);
        if product > 0.0 {
            pairs.truncate(HISTORY - 1);
            pairs.push_front(Pair {
                step,
                change,
                inverse: 1.0 / product,
            });
        }
        at = next;
        iterations += 1;
    }
    let gradient = largest(&at.gradient);
    Ok(Minimum {
        value: at.value,
        x: at.x,
        gradient,
        iterations,
        converged: gradient <= stop.tolerance,
    })
}

/// Minus the gradient times the approximate inverse Hessian; `pairs` has the latest first.
fn direction(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut weights = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let weight = pair.inverse * dot(&pair.step, &q);
        add(&mut q, -weight, &pair.change);
        weights.push(weight);
    }
    let scale = match pairs.front() {
        Some(pair) => 1.0 / (pair.inverse * dot(&pair.change, &pair.change)),
        // Without any knowledge of the curvature, a step of length 1 at most.
        None => 1.0 / dot(gradient, gradient).sqrt().max(1.0),
    };
    q.iter_mut().for_each(|x| *x *= scale);
    for (pair, weight) in pairs.iter().zip(weights).rev() {
        let back = pair.inverse * dot(&pair.change, &q);
        add(&mut q, weight - back, &pair.step);
    }
    q
}

/// A point along `direction` that satisfies the weak Wolfe conditions; `None` when there is none up to
/// rounding.
fn search<E>(from: &Point, direction: &[f64], f: &mut Function<'_, E>) -> Result<Option<Point>, E> {
    let slope = dot(&from.gradient, direction);
    if slope.is_nan() || slope >= 0.0 {
        return Ok(None);
    }
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut t = 1.0;
    for _ in 0..LONGEST_SEARCH {
        let mut x = from.x.clone();
        add(&mut x, t, direction);
        let mut gradient = vec![0.0; x.len()];
        let value = f(&x, &mut gradient)?;
        let next_slope = dot(&gradient, direction);
        let decreases = value <= from.value + DECREASE * t * slope;
        let level = value <= from.value + ROUNDING * from.value.abs()
            && next_slope <= (2.0 * DECREASE - 1.0) * slope;
        if !(decreases || level) {
            high = t;
        } else if next_slope < CURVATURE * slope {
            low = t;
        } else {
            return Ok(Some(Point { x, value, gradient }));
        }
        t = match high.is_finite() {
            true => 0.5 * (low + high),
            false => 2.0 * t,
        };
    }
    Ok(None)
}

fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |most, x| most.max(x.abs()))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, v: &[f64]) {
    for (x, v) in to.iter_mut().zip(v) {
        *x += factor * v;
    }
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [`super::minimize`] of a function that cannot fail.
    fn minimize(
        start: Vec<f64>,
        stop: Stop,
        f: &mut dyn FnMut(&[f64], &mut [f64]) -> f64,
    ) -> Minimum {
        let mut f = |x: &[f64], g: &mut [f64]| Ok::<_, ()>(f(x, g));
        super::minimize(start, stop, &mut f).unwrap()
    }

    const STOP: Stop = Stop {
        max_iterations: 500,
        tolerance: 1e-9,
    };

    #[test]
    fn finds_the_minimum_of_rosenbrock_s_valley() {
        let mut valley = |x: &[f64], g: &mut [f64]| {
            let bend = x[1] - x[0] * x[0];
            g[0] = -400.0 * x[0] * bend - 2.0 * (1.0 - x[0]);
            g[1] = 200.0 * bend;
            100.0 * bend * bend + (1.0 - x[0]).powi(2)
        };
        let found = minimize(vec![-1.2, 1.0], STOP, &mut valley);
        assert!(found.converged && found.iterations < 60, "{found:?}");
        assert!(found.x.iter().all(|x| (x - 1.0).abs() < 1e-8), "{found:?}");
    }

    #[test]
    fn solves_an_ill_conditioned_system() {
        // f = Σ c_i (x_i − i)² / 2 with c from 0.1 to 1000.
        let curvature = |i: usize| 10f64.powf(-1.0 + 4.0 * i as f64 / 29.0);
        let mut bowl = |x: &[f64], g: &mut [f64]| {
            let mut value = 0.0;
            for (i, (x, g)) in x.iter().zip(g).enumerate() {
                let off = x - i as f64;
                *g = curvature(i) * off;
                value += 0.5 * curvature(i) * off * off;
            }
            value
        };
        let long = Stop {
            max_iterations: 3000,
            ..STOP
        };
        let found = minimize(vec![0.0; 30], long, &mut bowl);
        assert!(found.converged, "{found:?}");
        let worst = found.x.iter().enumerate();
        let worst = worst.fold(0.0, |worst: f64, (i, x)| worst.max((x - i as f64).abs()));
        assert!(worst < 1e-6, "{worst}");
    }

    #[test]
    fn ends_where_it_is_told_to_and_at_walls() {
        let mut quartic = |x: &[f64], g: &mut [f64]| {
            g[0] = 4.0 * x[0].powi(3);
            x[0].powi(4)
        };
        let short = Stop {
            max_iterations: 3,
            ..STOP
        };
        let found = minimize(vec![5.0], short, &mut quartic);
        assert_eq!((found.iterations, found.converged), (3, false));
        // Nothing to find: the search gives up instead of going on for ever.
        let mut line = |_: &[f64], g: &mut [f64]| {
            g[0] = 1.0;
            f64::NAN
        };
        let found = minimize(vec![0.0], STOP, &mut line);
        assert!(!found.converged && found.iterations == 0);
    }
}
