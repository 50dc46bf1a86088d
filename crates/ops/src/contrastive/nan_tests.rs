//! An encoder that has diverged gives NaN: no loss may look healthy then, on any machine.

use super::cuda_tests::{compute, kernels};
use super::tests::{embeddings, family};
use super::*;
use viewmaker_device::Device;

const PAIRS: usize = 40;
const DIM: usize = 5;

/// Inputs with NaN, each with a name. Rows 2 and 3 are queries of every loss of the family.
fn inputs() -> Vec<(&'static str, Vec<f32>)> {
    let z = embeddings(PAIRS, DIM, 3);
    let with = |change: &dyn Fn(&mut [f32])| {
        let mut z = z.clone();
        change(&mut z);
        z
    };
    let row = 2 * DIM..3 * DIM;
    vec![
        ("a component", with(&|z| z[row.start + 1] = f32::NAN)),
        (
            "a component of a row of zeros",
            with(&|z| {
                z[row.clone()].fill(0.0);
                z[row.end - 1] = f32::NAN;
            }),
        ),
        ("a row", with(&|z| z[row.clone()].fill(f32::NAN))),
        ("rows", with(&|z| z[..4 * DIM].fill(f32::NAN))),
        ("everything", vec![f32::NAN; z.len()]),
    ]
}

/// What every query of some losses looks at without training it: the queue of MoCo, and the keys of
/// InfoNCE with constants. One row of them, and all.
fn constants() -> Vec<(&'static str, Contrast, Vec<f32>)> {
    let losses = [
        Contrast::moco(27, 26, DIM, 0.5),
        Contrast::infonce_of_constants(PAIRS, DIM, 0.5),
    ];
    let mut cases = Vec::new();
    for contrast in losses.map(|contrast| contrast.expect("a valid loss")) {
        let z = embeddings(PAIRS, DIM, 3);
        let (rows, keys) = (contrast.rows(), contrast.groups[0].keys.clone());
        for (name, from) in [("the last key", rows - 1), ("all keys", keys.start)] {
            let mut z = z.clone();
            z[from * DIM..].fill(f32::NAN);
            cases.push((name, contrast.clone(), z));
        }
    }
    cases
}

/// Loss and gradient on the processor.
fn on_processor(contrast: &Contrast, z: &[f32]) -> (f32, Vec<f32>) {
    let (loss, saved) = contrast.forward(z);
    let mut grad = vec![0.0; contrast.trained() * DIM];
    contrast.backward(&saved, 1.0, &mut grad);
    (loss, grad)
}

/// Whatever is NaN on the processor must be NaN on a device, whose tiles may spread it further.
fn expect_as_on_processor(case: &str, contrast: &Contrast, z: &[f32]) {
    let (loss, grad) = on_processor(contrast, z);
    assert!(loss.is_nan(), "{case}: {loss}");
    assert!(grad.iter().any(|g| g.is_nan()), "{case}: {grad:?}");
    for device in Device::present() {
        for kernels in kernels(&device, DIM) {
            let case = format!("{device:?} {kernels:?} {case}");
            let found = compute(&device, kernels, contrast, z, 1.0);
            assert!(found.loss.is_nan(), "{case}: {}", found.loss);
            let hidden = grad
                .iter()
                .zip(&found.gradient)
                .position(|(want, got)| want.is_nan() && !got.is_nan());
            assert_eq!(hidden, None, "{case}: a number in place of NaN");
            assert!(found.of_scale.is_none_or(f32::is_nan), "{case}: scale");
        }
    }
}

#[test]
fn nan_is_not_hidden() {
    for (input, z) in inputs() {
        // The second temperature has no fixed shift.
        for t in [0.5, 0.01] {
            for (name, contrast) in family(PAIRS, DIM, t) {
                expect_as_on_processor(&format!("{name} of {input}, t={t}"), &contrast, &z);
            }
        }
    }
}

#[test]
fn nan_among_constants_is_not_hidden() {
    for (name, contrast, z) in constants() {
        expect_as_on_processor(name, &contrast, &z);
        let (_, grad) = on_processor(&contrast, &z);
        // Every query looks at it.
        assert!(grad.iter().all(|g| g.is_nan()), "{name}: {grad:?}");
    }
}
