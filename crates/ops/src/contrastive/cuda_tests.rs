//! The kernels of devices against the reference, on every device that is there.

use super::device::{Block, Blocks, Cut};
use super::tests::{embeddings, error, family, hostile, wide};
use super::*;
use viewmaker_device::{Device, DeviceError, Span};

/// Kernels that compute a loss.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernels {
    pub(super) version: Version,
    pub(super) cut: Cut,
}

impl Kernels {
    /// Of `version`, cut alike in both passes.
    pub(super) fn new(version: Version, block: Block, splits: usize) -> Self {
        let blocks = Blocks { block, splits };
        let cut = Cut {
            forward: blocks,
            backward: blocks,
        };
        Self { version, cut }
    }

    /// `contrast` with these kernels.
    fn on_device(self, contrast: &Contrast, device: &Device) -> Result<OnDevice, DeviceError> {
        OnDevice::cut_as(contrast.clone(), device, self.version, self.cut)
    }
}

/// The versions that the device can execute; what it cannot is said.
pub(super) fn versions(device: &Device) -> impl Iterator<Item = Version> {
    let runs = |version: &Version| {
        let runs = version.runs_on(device);
        if !runs {
            let name = device.name();
            println!("skipped {version:?} on {name}: its card is too old");
        }
        runs
    };
    Version::ALL.into_iter().filter(runs)
}

/// All that the device can execute for rows of `dim` components, in blocks of either size, and in three splits, some
/// of which have nothing to do where there are fewer tiles.
pub(super) fn kernels(device: &Device, dim: usize) -> impl Iterator<Item = Kernels> {
    let cuts = |version| match version {
        Version::V1 => &[(Block::Narrow, 1)][..],
        Version::V2 => &[(Block::Narrow, 1), (Block::Narrow, 3)],
        Version::V3 => &[(Block::Narrow, 1), (Block::Narrow, 3), (Block::Wide, 1)],
    };
    let all: Vec<Kernels> = versions(device)
        .flat_map(|version| {
            let cuts = cuts(version).iter();
            cuts.map(move |&(block, splits)| Kernels::new(version, block, splits))
        })
        .filter(|kernels| kernels.cut.forward.block.serves(dim))
        .collect();
    all.into_iter()
}

/// What a device computes of a loss.
pub(super) struct Found {
    pub(super) loss: f32,
    pub(super) gradient: Vec<f32>,
    /// The derivative with respect to the log of the scale, where no rows are constants.
    pub(super) of_scale: Option<f32>,
}

impl Found {
    pub(super) fn is_finite(&self) -> bool {
        let all = self.gradient.iter().chain(&self.of_scale);
        self.loss.is_finite() && all.into_iter().all(|x| x.is_finite())
    }

    pub(super) fn bits(&self) -> Vec<u32> {
        let all = self.gradient.iter().chain(&self.of_scale);
        all.chain([&self.loss]).map(|x| x.to_bits()).collect()
    }
}

/// Loss, gradient and derivative of the scale on `device`, in memory that is full of NaN beforehand. The
/// gradient must be that of a backward pass without the scale, to the bit.
pub(super) fn compute(
    device: &Device,
    kernels: Kernels,
    contrast: &Contrast,
    z: &[f32],
    loss_grad: f32,
) -> Found {
    let run = || -> Result<Found, DeviceError> {
        let on_device = kernels.on_device(contrast, device)?;
        let input = device.alloc(z.len())?.all();
        device.upload(&input, z)?;
        let full_of_nan = |len| {
            let span = device.alloc(len)?.all();
            device.upload(&span, &vec![f32::NAN; len])?;
            Ok::<_, DeviceError>(span)
        };
        let read = |span: &Span| {
            let mut values = vec![0.0; span.len()];
            device.download(span, &mut values)?;
            Ok::<_, DeviceError>(values)
        };
        let trained = contrast.trained() * contrast.dim();
        let (grad, loss) = (full_of_nan(trained)?, full_of_nan(1)?);
        on_device.forward(&input, &loss)?;
        on_device.backward(loss_grad, &grad)?;
        let mut found = Found {
            loss: read(&loss)?[0],
            gradient: read(&grad)?,
            of_scale: None,
        };
        if contrast.trained() == contrast.rows() {
            let (grad, of_scale) = (full_of_nan(trained)?, full_of_nan(1)?);
            on_device.backward_with_scale(loss_grad, &grad, &of_scale)?;
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let same = bits(&read(&grad)?) == bits(&found.gradient);
            assert!(same, "{device:?} {kernels:?}: the scale changed a gradient");
            found.of_scale = Some(read(&of_scale)?[0]);
        }
        Ok(found)
    };
    run().unwrap_or_else(|error| panic!("{device:?} {kernels:?}: {error}"))
}

/// The loss on `device`.
fn forward(device: &Device, kernels: Kernels, contrast: &Contrast, z: &[f32]) -> f32 {
    let run = || -> Result<f32, DeviceError> {
        let on_device = kernels.on_device(contrast, device)?;
        let (input, loss) = (device.alloc(z.len())?.all(), device.alloc(1)?.all());
        device.upload(&input, z)?;
        on_device.forward(&input, &loss)?;
        let mut found = [f32::NAN];
        device.download(&loss, &mut found)?;
        Ok(found[0])
    };
    run().unwrap_or_else(|error| panic!("{device:?} {kernels:?}: {error}"))
}

#[test]
fn kernels_agree_with_the_reference() {
    // Below, at and above a tile (64 rows) and the width of a block (128 components); tiles without positives;
    // more components than stay in shared memory.
    for device in Device::present() {
        for (pairs, dim) in [
            (2, 3),
            (3, 16),
            (32, 17),
            (33, 130),
            (70, 40),
            (200, 20),
            (5, 300),
        ] {
            for t in [0.07, 1.0] {
                let z = embeddings(pairs, dim, pairs as u64);
                for (name, contrast) in family(pairs, dim, t) {
                    let want = reference_loss(&contrast, &wide(&z));
                    let slopes = reference_gradient(&contrast, &wide(&z), -1.5);
                    let of_scale = -1.5 * reference_scale_gradient(&contrast, &wide(&z));
                    for kernels in kernels(&device, contrast.dim()) {
                        let case = format!("{device:?} {kernels:?} {name} {pairs}×{dim} t={t}");
                        let found = compute(&device, kernels, &contrast, &z, -1.5);
                        // Per unit of 1/t: logits in single precision, or of components rounded to 8
                        // bits, whose errors of up to 2⁻⁹ mostly cancel in a sum.
                        let (logit, weight) = match kernels.version {
                            Version::V1 | Version::V2 => (1e-6, 3e-5),
                            Version::V3 => (2e-3, 1e-2 * f64::from(1.0 / t).max(1.0).sqrt()),
                        };
                        let allowed = logit * f64::from(1.0 + 1.0 / t);
                        let off = (f64::from(found.loss) - want).abs();
                        assert!(off < allowed, "{case}: loss off by {off:e}");
                        let off = error(&found.gradient, &slopes);
                        assert!(off < weight, "{case}: gradient off by {off:e}");
                        // Weighted logits, where the weights are off as well.
                        let off = found.of_scale.map(|s| (f64::from(s) - of_scale).abs());
                        let off = off.unwrap_or(0.0);
                        assert!(off < 2.0 * allowed, "{case}: scale off by {off:e}");
                    }
                }
            }
        }
    }
}

/// With every access to memory looked at: rows that stay in shared memory and others, and for one loss tiles
/// without borders, diagonal and positives.
#[test]
fn kernels_are_free_of_races() {
    let device = match Device::checked() {
        Ok(device) => device,
        Err(reason) => return println!("skipped: {reason}"),
    };
    for (pairs, dim, losses) in [(3, 16, 100), (2, 300, 100), (140, 8, 1)] {
        let z = embeddings(pairs, dim, 3);
        for (_, contrast) in family(pairs, dim, 0.1).into_iter().take(losses) {
            for kernels in kernels(&device, contrast.dim()) {
                compute(&device, kernels, &contrast, &z, 1.0);
            }
        }
    }
}

/// Correlated views of numbers ±1: in 4ⁿ dimensions their unit rows have components that bfloat16 holds exactly.
fn signs(pairs: usize, dim: usize) -> Vec<f32> {
    let first = embeddings(pairs, dim, 5);
    let (first, second) = first.split_at(pairs * dim);
    let sign = |x: f32| if x < 0.0 { -1.0 } else { 1.0 };
    let both = first.iter().zip(second);
    let views = both.map(|(a, b)| sign(a + 4.0 * (b - a)));
    first.iter().map(|x| sign(*x)).chain(views).collect()
}

#[test]
fn tensor_cores_agree_on_rows_that_they_hold_exactly() {
    for device in Device::present() {
        for (pairs, dim) in [(3, 4), (100, 16), (40, 256)] {
            let z = signs(pairs, dim);
            // The lowest two have no fixed shift.
            for t in [0.01, 0.02, 0.03, 0.5] {
                for (name, contrast) in family(pairs, dim, t) {
                    let want = reference_loss(&contrast, &wide(&z));
                    let slopes = reference_gradient(&contrast, &wide(&z), 1.0);
                    for kernels in kernels(&device, dim).filter(|k| k.version == Version::V3) {
                        let case = format!("{device:?} {kernels:?} {name} {pairs}×{dim} t={t}");
                        let found = compute(&device, kernels, &contrast, &z, 1.0);
                        let off = (f64::from(found.loss) - want).abs();
                        // Logits of up to 1/t in single precision.
                        let allowed = 1e-6 * f64::from(1.0 + 1.0 / t);
                        assert!(off < allowed, "{case}: loss off by {off:e}");
                        // Weights are rounded to 8 bits, and gradients are their differences.
                        let off = error(&found.gradient, &slopes);
                        assert!(off < 8e-3, "{case}: gradient off by {off:e}");
                    }
                }
            }
        }
    }
}

/// A running maximum that stays must not touch the sum, however many tiles pass by: on cards the difference of two
/// equal products is no zero when one of them is fused with it.
#[test]
fn sums_of_many_tiles_do_not_drift() {
    let devices = [
        ("contracting emulator", Device::contracted()),
        ("CUDA", Device::cuda(0)),
    ];
    for (name, device) in devices {
        let device = match device {
            Ok(device) => device,
            Err(reason) => {
                println!("skipped on {name}: {reason}");
                continue;
            }
        };
        // Rows of ±1/4, which bfloat16 holds, with nothing in common: the sum of the keys is the denominator.
        let (queries, queue, dim) = (3, 8192, 16);
        let rows = 2 * queries + queue;
        let z = embeddings(rows, dim, 5);
        let z: Vec<f32> = z[..rows * dim].iter().map(|x| x.signum()).collect();
        for t in [1e-4, 1e-3, 0.01] {
            let contrast = Contrast::moco(queries, queue, dim, t).expect("a valid loss");
            let want = reference_loss(&contrast, &wide(&z));
            for kernels in kernels(&device, dim).filter(|k| k.cut.forward.splits == 1) {
                let found = forward(&device, kernels, &contrast, &z);
                let off = (f64::from(found) - want).abs();
                // A few roundings of logits of up to 1/t.
                let allowed = 1e-6 + 2e-7 / f64::from(t);
                assert!(
                    off < allowed,
                    "{device:?} {kernels:?} t={t}: loss off by {off:e}"
                );
            }
        }
    }
}

#[test]
fn kernels_are_finite_for_every_finite_input() {
    for device in Device::present() {
        for (input, z) in &hostile() {
            for t in [1e-4, 0.07, 1e4] {
                for (name, contrast) in family(3, 5, t) {
                    for kernels in kernels(&device, contrast.dim()) {
                        let found = compute(&device, kernels, &contrast, z, 1.0);
                        let finite = found.is_finite();
                        assert!(finite, "{device:?} {kernels:?} {name} of {input}, t={t}");
                    }
                }
            }
        }
    }
}

#[test]
fn kernels_give_the_same_bits_again() {
    // Several blocks of either size, and tiles without positives.
    let z = embeddings(150, 20, 3);
    for device in Device::present() {
        for (name, contrast) in family(150, 20, 0.1) {
            for kernels in kernels(&device, contrast.dim()) {
                let bits = || compute(&device, kernels, &contrast, &z, 1.0).bits();
                assert!(bits() == bits(), "{device:?} {kernels:?} {name}");
            }
        }
    }
}

#[test]
fn the_smallest_losses_are_finite_with_their_scale() {
    for device in Device::present() {
        for (input, x) in [("zero", 0.0), ("constant", 1.0), ("huge", -1e38)] {
            for t in [1e-4, 0.07, 1e4] {
                let losses = [
                    Contrast::clip(1, 1, t),
                    Contrast::ntxent(1, 1, t),
                    Contrast::supcon(&[0, 0], 1, t),
                    Contrast::supcon(&[0, 1], 1, t),
                    Contrast::clip(2, 1, t),
                ];
                for contrast in losses.map(|contrast| contrast.expect("a valid loss")) {
                    let z = vec![x; contrast.rows()];
                    let want = reference_scale_gradient(&contrast, &wide(&z));
                    for kernels in kernels(&device, contrast.dim()) {
                        let found = compute(&device, kernels, &contrast, &z, 1.0);
                        let case = format!("{device:?} {kernels:?} {contrast:?} of {input}");
                        assert!(found.is_finite(), "{case}");
                        // Exponentials of logits that are off by 24 bits of 1/t, times logits of 1/t.
                        let off = found.of_scale.map(|s| (f64::from(s) - want).abs());
                        let allowed = 1e-6 + 1e-7 / f64::from(t).powi(2);
                        assert!(off.is_some_and(|off| off <= allowed), "{case}: {off:?}");
                    }
                }
            }
        }
    }
}
