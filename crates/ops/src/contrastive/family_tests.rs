//! What is particular to losses with constants, two directions or classes.

use super::tests::{embeddings, error, family, hostile, wide};
use super::*;

const TEMPERATURES: [f32; 3] = [0.01, 0.1, 2.0];

/// Loss, gradient and the derivative with respect to the log of the scale.
fn with_scale(contrast: &Contrast, z: &[f32], loss_grad: f32) -> (f32, Vec<f32>, f32) {
    let (loss, saved) = contrast.forward(z);
    let mut grad = vec![f32::NAN; z.len()];
    let of_scale = contrast.backward_with_scale(&saved, loss_grad, &mut grad);
    (loss, grad, of_scale)
}

fn trained(pairs: usize, dim: usize, t: f32) -> impl Iterator<Item = (&'static str, Contrast)> {
    let all = family(pairs, dim, t).into_iter();
    all.filter(|(_, contrast)| contrast.trained() == contrast.rows())
}

#[test]
fn the_derivative_of_the_scale_agrees_with_the_reference() {
    for pairs in [2, 40, 150] {
        let z = embeddings(pairs, 7, 8);
        for t in TEMPERATURES {
            for (name, contrast) in trained(pairs, 7, t) {
                let (_, _, got) = with_scale(&contrast, &z, -1.5);
                let want = -1.5 * reference_scale_gradient(&contrast, &wide(&z));
                let off = (f64::from(got) - want).abs();
                // A sum of logits up to 1/t with weights of both signs, all rounded to 24 bits.
                let allowed = 1e-6 * f64::from(1.0 + 1.0 / t);
                assert!(off < allowed, "{name} {pairs} t={t}: {got} for {want}");
            }
        }
    }
}

#[test]
fn the_reference_derivative_of_the_scale_is_a_slope() {
    let z = wide(&embeddings(5, 4, 3));
    for t in [0.5, 2.0] {
        for (name, contrast) in trained(5, 4, t) {
            let at = |factor: f32| {
                let moved = Contrast {
                    temperature: factor * t,
                    ..contrast.clone()
                };
                let log_scale = -f64::from(moved.temperature).ln();
                (log_scale, reference_loss(&moved, &z))
            };
            let ((s1, l1), (s2, l2)) = (at(0.9995), at(1.0005));
            let slope = (l2 - l1) / (s2 - s1);
            let off = (reference_scale_gradient(&contrast, &z) - slope).abs();
            // Third derivatives of up to 1/t³, times 5e-4²/6; the middle is off by a rounding of t.
            assert!(off < 2e-6, "{name} t={t}: off by {off:e}");
        }
    }
}

#[test]
fn the_derivative_of_the_scale_is_finite_and_independent_of_threads() {
    let big = ("ordinary", embeddings(150, 5, 2));
    for (input, z) in hostile().into_iter().chain([big]) {
        for t in [1e-4, 0.07, 1e4] {
            for (name, contrast) in trained(z.len() / 10, 5, t) {
                let on = |threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                    let pool = pool.expect("a thread pool");
                    pool.install(|| with_scale(&contrast, &z, 1.0).2)
                };
                let one = on(1);
                assert!(one.is_finite(), "{name} of {input}, t={t}: {one}");
                let same = [2, 5].map(|threads| on(threads).to_bits() == one.to_bits());
                assert_eq!(same, [true; 2], "{name} of {input}, t={t}");
            }
        }
    }
}

#[test]
fn constants_change_nothing_for_the_others() {
    for pairs in [3, 70, 300] {
        let z = embeddings(pairs, 9, 1);
        for t in TEMPERATURES {
            let run = |contrast: Result<Contrast, ContrastError>| {
                let contrast = contrast.expect("a valid loss");
                let (loss, saved) = contrast.forward(&z);
                let mut grad = vec![f32::NAN; contrast.trained() * 9];
                contrast.backward(&saved, 2.0, &mut grad);
                (loss, grad)
            };
            let (want, all) = run(Contrast::infonce(pairs, 9, t));
            let (got, first) = run(Contrast::infonce_of_constants(pairs, 9, t));
            assert_eq!(got.to_bits(), want.to_bits(), "{pairs} t={t}");
            // Products of fewer rows may be summed in another order.
            let off = error(&first, &wide(&all[..pairs * 9]));
            assert!(off < 1e-6, "{pairs} t={t}: gradient off by {off:e}");
        }
    }
}

#[test]
fn clip_is_the_mean_of_both_directions() {
    let z = embeddings(50, 9, 1);
    let (first, second) = z.split_at(50 * 9);
    let turned = [second, first].concat();
    for t in TEMPERATURES {
        let loss = |contrast: Result<Contrast, ContrastError>, z: &[f32]| {
            f64::from(contrast.expect("a valid loss").forward(z).0)
        };
        let ways = [&z, &turned].map(|z| loss(Contrast::infonce(50, 9, t), z));
        let off = (loss(Contrast::clip(50, 9, t), &z) - (ways[0] + ways[1]) / 2.0).abs();
        assert!(off < 1e-6, "t={t}: off by {off:e}");
    }
}

#[test]
fn classes_of_two_are_ntxent() {
    let z = embeddings(50, 9, 1);
    let classes: Vec<usize> = (0..100).map(|i| 1000 - i % 50).collect();
    for t in TEMPERATURES {
        let run = |contrast: Result<Contrast, ContrastError>| {
            let contrast = contrast.expect("a valid loss");
            let (loss, saved) = contrast.forward(&z);
            let mut grad = vec![f32::NAN; z.len()];
            contrast.backward(&saved, 1.0, &mut grad);
            (loss, grad)
        };
        let want = run(Contrast::ntxent(50, 9, t));
        assert!(run(Contrast::supcon(&classes, 9, t)) == want, "t={t}");
    }
}

#[test]
fn without_positives_there_is_nothing_to_learn() {
    for t in [1e-4, 0.1, 1e4] {
        for (input, z) in hostile() {
            let contrast = Contrast::supcon(&[5, 4, 3, 2, 1, 0], 5, t).expect("a valid loss");
            let (loss, grad, of_scale) = with_scale(&contrast, &z, 1.0);
            assert_eq!((loss, of_scale), (0.0, 0.0), "{input} t={t}");
            assert_eq!(grad, [0.0; 30], "{input} t={t}");
        }
    }
}

#[test]
fn the_smallest_losses_are_finite() {
    for t in [1e-4, 0.07, 1e4] {
        let losses = [
            Contrast::moco(1, 1, 1, t),
            Contrast::clip(1, 1, t),
            Contrast::infonce_of_constants(1, 1, t),
            Contrast::supcon(&[0, 0], 1, t),
        ];
        for (i, contrast) in losses.into_iter().enumerate() {
            let contrast = contrast.expect("a valid loss");
            for x in [0.0, 1.0, -1e38] {
                let (loss, saved) = contrast.forward(&vec![x; contrast.rows()]);
                let mut grad = vec![f32::NAN; contrast.trained()];
                contrast.backward(&saved, 1.0, &mut grad);
                assert!(loss.is_finite(), "case {i}, {x}: {loss}");
                assert!(
                    grad.iter().all(|g| g.is_finite()),
                    "case {i}, {x}: {grad:?}"
                );
            }
        }
    }
}
