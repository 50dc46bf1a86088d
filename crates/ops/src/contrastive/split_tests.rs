//! Losses of few rows and many columns, which devices cut by columns.

use super::cuda_tests::{Kernels, compute, versions};
use super::device::{Block, Cut};
use super::tests::{embeddings, error, hostile, wide};
use super::*;
use viewmaker_device::Device;

const DIM: usize = 16;

/// Rows that have nothing in common, of components ±1/4: bfloat16 holds them.
fn signs(rows: usize) -> Vec<f32> {
    let z = embeddings(rows, DIM, rows as u64);
    z[..rows * DIM].iter().map(|x| x.signum()).collect()
}

/// Compares loss, gradient and derivative of the scale with the reference.
fn expect_reference(case: &str, contrast: &Contrast, z: &[f32], device: &Device, kernels: Kernels) {
    let t = f64::from(contrast.temperature);
    let found = compute(device, kernels, contrast, z, -1.5);
    let off = (f64::from(found.loss) - reference_loss(contrast, &wide(z))).abs();
    // Logits of up to 1/t in single precision.
    let allowed = 1e-6 * (1.0 + 1.0 / t);
    assert!(off < allowed, "{case} {kernels:?}: loss off by {off:e}");
    let slopes = reference_gradient(contrast, &wide(z), -1.5);
    // Tensor cores round weights to 8 bits, and gradients are their differences.
    let weight = match kernels.version {
        Version::V1 | Version::V2 => 3e-5,
        Version::V3 => 8e-3,
    };
    let off = error(&found.gradient, &slopes);
    assert!(off < weight, "{case} {kernels:?}: gradient off by {off:e}");
    if let Some(of_scale) = found.of_scale {
        let want = -1.5 * reference_scale_gradient(contrast, &wide(z));
        let off = (f64::from(of_scale) - want).abs();
        // Weighted logits, where the weights are off as well; from unit rows that are not rounded.
        let allowed = allowed * weight / 5e-6;
        assert!(off < allowed, "{case} {kernels:?}: scale off by {off:e}");
    }
}

#[test]
fn few_queries_against_many_keys_agree_with_the_reference() {
    // Queues of one split, of several whole tiles, and with a last tile that is not full.
    for (queries, queue) in [(3, 200), (3, 512), (70, 1030)] {
        let z = signs(2 * queries + queue);
        // The lower temperature has no fixed shift.
        for t in [0.02, 0.2] {
            let contrast = Contrast::moco(queries, queue, DIM, t).expect("a valid loss");
            for device in Device::present() {
                for version in versions(&device) {
                    let cut = Cut::of(&contrast, version);
                    let wanted = queue >= 512 && version != Version::V1;
                    assert_eq!(cut.forward.splits > 1, wanted, "{version:?}");
                    let case = format!("{device:?} {queries} {queue} t={t}");
                    let kernels = Kernels { version, cut };
                    expect_reference(&case, &contrast, &z, &device, kernels);
                }
            }
        }
    }
}

#[test]
fn a_positive_is_found_by_the_split_that_has_it() {
    // Keys 10 .. 210: four tiles from there on. Positives at both ends of a tile and of all, and shared ones.
    let (rows, keys) = (220, 10..210);
    let positives = vec![10, 73, 74, 137, 138, 209, 209, 201];
    let z = signs(rows);
    for excluded in [
        Excluded::Nothing,
        Excluded::Itself,
        Excluded::ItselfAndPositive,
    ] {
        let contrast = Contrast::new((rows, DIM), positives.clone(), keys.clone(), excluded, 0.1)
            .expect("a valid loss");
        for device in Device::present() {
            for version in versions(&device).filter(|version| *version != Version::V1) {
                // As many as tiles, two tiles each, and more than tiles.
                for splits in [2, 4, 7] {
                    let kernels = Kernels::new(version, Block::Narrow, splits);
                    let case = format!("{device:?} {excluded:?}");
                    expect_reference(&case, &contrast, &z, &device, kernels);
                }
            }
            let kernels = Kernels::new(Version::V3, Block::Wide, 4);
            if kernels.version.runs_on(&device) {
                let case = format!("{device:?} {excluded:?}");
                expect_reference(&case, &contrast, &z, &device, kernels);
            }
        }
    }
}

#[test]
fn a_split_may_have_nothing_for_a_query() {
    // Two tiles, the second of which is row 64 alone: the last query itself, and the positive of the others.
    let positives = (0..65).map(|i| if i < 64 { 64 } else { 0 }).collect();
    let excluded = Excluded::ItselfAndPositive;
    let alone = Contrast::new((65, DIM), positives, 0..65, excluded, 0.1).expect("a valid loss");
    // Queries of two directions in one block, with keys in one of its two splits each.
    let directions = Contrast::clip(32, DIM, 0.1).expect("a valid loss");
    for (case, contrast) in [("alone", &alone), ("directions", &directions)] {
        let z = signs(contrast.rows());
        for device in Device::present() {
            for version in versions(&device).filter(|version| *version != Version::V1) {
                let kernels = Kernels::new(version, Block::Narrow, 2);
                expect_reference(
                    &format!("{device:?} {case}"),
                    contrast,
                    &z,
                    &device,
                    kernels,
                );
            }
        }
    }
}

#[test]
fn splits_are_finite_and_the_same_bits_for_every_finite_input() {
    let (queries, queue) = (5, 600);
    let rows = 2 * queries + queue;
    for (input, z) in hostile() {
        let z: Vec<f32> = z.iter().copied().cycle().take(rows * 5).collect();
        for t in [1e-4, 0.07, 1e4] {
            let contrast = Contrast::moco(queries, queue, 5, t).expect("a valid loss");
            let (want, _) = contrast.forward(&z);
            for device in Device::present() {
                for version in versions(&device) {
                    let cut = Cut::of(&contrast, version);
                    let run = || compute(&device, Kernels { version, cut }, &contrast, &z, 1.0);
                    let (found, again) = (run(), run());
                    let case = format!("{device:?} {version:?} {input} t={t}");
                    assert!(found.is_finite(), "{case}");
                    assert!(found.bits() == again.bits(), "{case}");
                    // Logits of up to 1/t in 24 bits, or of components of 8.
                    let allowed = match version {
                        Version::V1 | Version::V2 => 1e-6,
                        Version::V3 => 4e-3,
                    };
                    let off = f64::from((found.loss - want).abs());
                    let allowed = allowed * (1.0 + 1.0 / f64::from(t));
                    assert!(off <= allowed, "{case}: {} for {want}", found.loss);
                }
            }
        }
    }
}

#[test]
fn large_classes_are_summed_in_pieces() {
    // 400 rows of one class are two pieces, 3 of another are one.
    let classes: Vec<usize> = (0..403).map(|i| usize::from(i >= 400)).collect();
    let contrast = Contrast::supcon(&classes, DIM, 0.3).expect("a valid loss");
    let z = signs(403);
    for device in Device::present() {
        for version in versions(&device) {
            let cut = Cut::of(&contrast, version);
            let kernels = Kernels { version, cut };
            expect_reference(&format!("{device:?}"), &contrast, &z, &device, kernels);
        }
    }
}
