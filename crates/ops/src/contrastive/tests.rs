//! The streaming kernels against the reference, and the reference against finite differences.

use super::*;
use crate::random::Philox;

const DIM: usize = 17;
const TEMPERATURES: [f32; 3] = [0.07, 0.5, 5.0];
/// For which there is no fixed shift.
const LOW: f32 = 0.02;

/// All losses with a name, on `[z1; z2]`.
pub(super) fn losses(pairs: usize, dim: usize, t: f32) -> Vec<(&'static str, Contrast)> {
    let all = [
        (
            "viewmaker-simclr",
            Contrast::viewmaker_simclr(pairs, dim, t),
        ),
        ("ntxent", Contrast::ntxent(pairs, dim, t)),
        ("dcl", Contrast::dcl(pairs, dim, t)),
        ("infonce", Contrast::infonce(pairs, dim, t)),
        ("uneven", uneven(pairs, dim, t)),
    ];
    all.map(|(name, contrast)| (name, contrast.expect("a valid loss")))
        .to_vec()
}

/// A loss whose queries, keys and positives follow no pattern: several queries share a positive,
/// some rows are neither query nor key.
fn uneven(pairs: usize, dim: usize, t: f32) -> Result<Contrast, ContrastError> {
    let rows = 2 * pairs;
    let first_key = pairs / 2;
    let keys = first_key..rows - 1;
    let positives = (0..pairs)
        .map(|i| first_key + i * 7 / 5 % keys.len())
        .collect();
    Contrast::new((rows, dim), positives, keys, Excluded::Itself, t)
}

/// The whole family: [`losses`], and those that look at other rows or have other positives.
pub(super) fn family(pairs: usize, dim: usize, t: f32) -> Vec<(&'static str, Contrast)> {
    let rows = 2 * pairs;
    let queries = pairs.div_ceil(3);
    // The first two rows are alone.
    let classes: Vec<usize> = (0..rows).map(|i| i / 2 % 3).collect();
    let classes = [&[7, 9][..], &classes[2..]].concat();
    let fours: Vec<usize> = (0..rows).map(|i| i % pairs.div_ceil(2)).collect();
    let all = [
        ("moco", Contrast::moco(queries, rows - 2 * queries, dim, t)),
        (
            "infonce-of-constants",
            Contrast::infonce_of_constants(pairs, dim, t),
        ),
        ("clip", Contrast::clip(pairs, dim, t)),
        ("supcon", Contrast::supcon(&classes, dim, t)),
        ("supcon-fours", Contrast::supcon(&fours, dim, t)),
    ];
    let all = all.map(|(name, contrast)| (name, contrast.expect("a valid loss")));
    losses(pairs, dim, t).into_iter().chain(all).collect()
}

/// Correlated views: the second is the first plus noise.
pub(super) fn embeddings(pairs: usize, dim: usize, seed: u64) -> Vec<f32> {
    let random = |stream| {
        let mut x = vec![0.0; pairs * dim];
        Philox::new(seed, stream, 0).fill_uniform(&mut x);
        x
    };
    let first: Vec<f32> = random(1).iter().map(|x| x - 0.5).collect();
    let second = first
        .iter()
        .zip(random(2))
        .map(|(x, noise)| x + 0.5 * (noise - 0.5));
    first.iter().copied().chain(second).collect()
}

pub(super) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Largest difference relative to the largest reference.
pub(super) fn error(got: &[f32], want: &[f64]) -> f64 {
    let differences = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs());
    let largest = want.iter().map(|w| w.abs()).fold(1e-12, f64::max);
    differences.fold(0.0, f64::max) / largest
}

fn gradient(contrast: &Contrast, z: &[f32], loss_grad: f32) -> (f32, Vec<f32>) {
    let (loss, saved) = contrast.forward(z);
    let mut grad = vec![f32::NAN; contrast.trained() * contrast.dim()];
    contrast.backward(&saved, loss_grad, &mut grad);
    (loss, grad)
}

#[test]
fn agrees_with_the_reference() {
    // Sizes below, at and above a block (64) and a tile (128).
    for pairs in [2, 3, 31, 32, 64, 65, 150, 300] {
        for t in TEMPERATURES {
            let z = embeddings(pairs, DIM, pairs as u64);
            for (name, contrast) in family(pairs, DIM, t) {
                let (loss, grad) = gradient(&contrast, &z, -1.5);
                // Logits up to 1/t are rounded to 24 bits: 1e-7/t, and a few such errors add up.
                let allowed = 3e-7 * f64::from(1.0 + 1.0 / t);
                let want = reference_loss(&contrast, &wide(&z));
                let off = (f64::from(loss) - want).abs();
                assert!(off < allowed, "{name} {pairs} t={t}: loss off by {off:e}");
                let want = reference_gradient(&contrast, &wide(&z), -1.5);
                // Relative to the largest element; softmax minus positive cancels when t is small.
                let off = error(&grad, &want);
                assert!(off < 2e-5, "{name} {pairs} t={t}: gradient off by {off:e}");
            }
        }
    }
}

#[test]
fn low_temperatures_agree_with_the_reference() {
    for pairs in [2, 3, 33, 64, 150] {
        // Rows that have nothing in common: positives far ahead leave no gradient to compare.
        let z = &embeddings(2 * pairs, DIM, pairs as u64)[..2 * pairs * DIM];
        for (name, contrast) in family(pairs, DIM, LOW) {
            let (loss, grad) = gradient(&contrast, z, -1.5);
            let off = (f64::from(loss) - reference_loss(&contrast, &wide(z))).abs();
            assert!(off < 2e-5, "{name} {pairs}: loss off by {off:e}");
            // Weights are exponentials of logits up to 50, rounded to 24 bits: 3e-6, and as much for
            // the logarithms of sums.
            let off = error(&grad, &reference_gradient(&contrast, &wide(z), -1.5));
            assert!(off < 1e-4, "{name} {pairs}: gradient off by {off:e}");
        }
    }
}

#[test]
fn reference_gradient_is_the_slope_of_the_reference_loss() {
    const STEP: f64 = 1e-5;
    let z = wide(&embeddings(4, 5, 9));
    for t in TEMPERATURES {
        for (name, contrast) in family(4, 5, t) {
            let gradient = reference_gradient(&contrast, &z, 1.0);
            for (i, want) in gradient.iter().enumerate() {
                let moved = |step: f64| {
                    let mut z = z.clone();
                    z[i] += step;
                    reference_loss(&contrast, &z)
                };
                let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                // Third derivatives grow as 1/t³: 1e-10 · 3e3 at t = 0.07.
                assert!(
                    (slope - want).abs() < 2e-6,
                    "{name} t={t} [{i}]: {slope} for {want}"
                );
            }
        }
    }
}

#[test]
fn same_bits_on_any_number_of_threads() {
    let z = embeddings(150, 33, 4);
    // One temperature for each way of summing.
    let both = [0.07, LOW].map(|t| family(150, 33, t).into_iter().map(move |(n, c)| (t, n, c)));
    for (t, name, contrast) in both.into_iter().flatten() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let (loss, grad) = pool
                .expect("a thread pool")
                .install(|| gradient(&contrast, &z, 1.0));
            let bits: Vec<u32> = grad.iter().map(|x| x.to_bits()).collect();
            (loss.to_bits(), bits)
        };
        let one = on(1);
        assert!(one == on(2) && one == on(5), "{name} t={t}");
    }
}

/// Finite inputs that break careless losses: three pairs of five components.
pub(super) fn hostile() -> [(&'static str, Vec<f32>); 7] {
    let normal = embeddings(3, 5, 1);
    [
        ("zero", vec![0.0; 30]),
        ("constant", vec![0.3; 30]),
        ("huge", normal.iter().map(|x| x * 1e38).collect()),
        ("tiny", normal.iter().map(|x| x * 1e-25).collect()),
        ("subnormal", vec![1e-44; 30]),
        ("largest", vec![f32::MAX; 30]),
        ("duplicates", normal[..5].repeat(6)),
    ]
}

#[test]
fn finite_for_every_finite_input() {
    for (input, z) in hostile() {
        for t in [1e-4, 0.07, 1e4] {
            for (name, contrast) in family(3, 5, t) {
                let (loss, grad) = gradient(&contrast, &z, 1.0);
                assert!(loss.is_finite(), "{name} of {input}, t={t}: {loss}");
                assert!(
                    grad.iter().all(|g| g.is_finite()),
                    "gradient of {name}, {input}, t={t}"
                );
            }
        }
    }
}

#[test]
fn a_row_without_direction_gets_no_gradient() {
    let mut z = embeddings(3, 5, 2);
    z[5..10].fill(0.0);
    for (name, contrast) in family(3, 5, 0.5) {
        let (_, grad) = gradient(&contrast, &z, 1.0);
        let second = grad.get(5..10).unwrap_or(&[0.0; 5]);
        assert_eq!(second, [0.0; 5], "{name}");
        assert!(grad[..5].iter().any(|g| *g != 0.0), "{name}");
    }
}

#[test]
fn refuses_what_makes_no_loss() {
    let errors = [
        Contrast::ntxent(0, 4, 0.1),
        Contrast::ntxent(3, 0, 0.1),
        Contrast::ntxent(3, 4, 0.0),
        Contrast::ntxent(3, 4, f32::NAN),
        Contrast::dcl(1, 4, 0.1),
        Contrast::new((4, 2), vec![4], 0..4, Excluded::Nothing, 0.1),
        Contrast::new((4, 2), vec![1], 2..4, Excluded::Nothing, 0.1),
        Contrast::new((4, 2), vec![1], 0..5, Excluded::Nothing, 0.1),
        Contrast::new((4, 2), vec![0], 0..1, Excluded::Itself, 0.1),
        Contrast::moco(0, 3, 2, 0.1),
        Contrast::moco(3, 0, 2, 0.1),
        Contrast::moco(3, 3, 0, 0.1),
        Contrast::clip(0, 2, 0.1),
        Contrast::clip(2, 2, 1e-5),
        Contrast::supcon(&[], 2, 0.1),
        Contrast::supcon(&[1], 2, 0.1),
    ];
    for (i, error) in errors.into_iter().enumerate() {
        assert!(error.is_err(), "case {i}");
    }
}

/// Six examples of 19 numbers against a bank of 40 rows with 23 draws each.
fn with_samples<R>(t: f32, run: impl Fn(&Sampled<'_>, &[f32]) -> R) -> R {
    let bank: Vec<f32> = embeddings(20, 19, 5).iter().map(|x| x * 0.5).collect();
    let draws = Philox::new(1, 2, 3);
    let noise: Vec<usize> = (0..6 * 23).map(|i| draws.word(i) as usize % 40).collect();
    let sampled = Sampled {
        bank: &bank,
        dim: 19,
        positives: &[0, 39, 7, 7, 20, 3],
        noise: &noise,
        temperature: t,
    };
    run(&sampled, &embeddings(3, 19, 6))
}

#[test]
fn sampled_loss_and_gradient_agree_with_the_reference() {
    const STEP: f64 = 1e-5;
    for t in TEMPERATURES {
        with_samples(t, |sampled, z| {
            let (loss, grad) = sampled.loss_and_gradient(z);
            let z = wide(z);
            // Logits up to 1/t are rounded to 24 bits.
            let off = (f64::from(loss) - reference_sampled(sampled, &z)).abs();
            assert!(
                off < 3e-7 * f64::from(1.0 + 1.0 / t),
                "t={t}: loss off by {off:e}"
            );
            let slope = |i: usize| {
                let moved = |step: f64| {
                    let mut z = z.clone();
                    z[i] += step;
                    reference_sampled(sampled, &z)
                };
                (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
            };
            let slopes: Vec<f64> = (0..z.len()).map(slope).collect();
            let off = error(&grad, &slopes);
            assert!(off < 2e-5, "t={t}: gradient off by {off:e}");
        });
    }
}

#[test]
fn sampled_loss_is_finite_and_independent_of_threads() {
    with_samples(0.07, |sampled, z| {
        for factor in [0.0, 1e-30, 1.0, 1e38] {
            let z: Vec<f32> = z.iter().map(|x| x * factor).collect();
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.expect("a thread pool")
                    .install(|| sampled.loss_and_gradient(&z))
            };
            let (loss, grad) = on(1);
            assert!(
                loss.is_finite() && grad.iter().all(|g| g.is_finite()),
                "× {factor}"
            );
            assert!(
                (loss, grad.clone()) == on(2) && (loss, grad) == on(3),
                "× {factor}"
            );
        }
    });
}
