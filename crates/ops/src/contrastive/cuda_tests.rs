//! The kernels of devices against the reference, on every device that is there.

use super::tests::{embeddings, error, family, hostile, wide};
use super::*;
use viewmaker_device::Device;

/// The versions that the device can execute; what it cannot is said.
fn versions(device: &Device) -> impl Iterator<Item = Version> {
    Version::ALL.into_iter().filter(|version| {
        let runs = version.runs_on(device);
        if !runs {
            println!(
                "skipped {version:?} on {}: its card is too old",
                device.name()
            );
        }
        runs
    })
}

/// Loss and gradient, computed on `device`; the gradient's memory is full of NaN beforehand.
fn gradient(
    device: &Device,
    version: Version,
    contrast: &Contrast,
    z: &[f32],
    loss_grad: f32,
) -> (f32, Vec<f32>) {
    let run = || {
        let on_device = OnDevice::new(contrast.clone(), device, version)?;
        let trained = contrast.trained() * contrast.dim();
        let (input, grad, loss) = (
            device.alloc(z.len())?.all(),
            device.alloc(trained)?.all(),
            device.alloc(1)?.all(),
        );
        let (mut value, mut gradient) = (vec![f32::NAN], vec![f32::NAN; trained]);
        device.upload(&input, z)?;
        device.upload(&grad, &gradient)?;
        on_device.forward(&input, &loss)?;
        on_device.backward(loss_grad, &grad)?;
        device.download(&loss, &mut value)?;
        device.download(&grad, &mut gradient)?;
        Ok::<_, viewmaker_device::DeviceError>((value[0], gradient))
    };
    run().unwrap_or_else(|error| panic!("{device:?} {version:?}: {error}"))
}

#[test]
fn kernels_agree_with_the_reference() {
    // Below, at and above a tile (64 rows) and the width of a block (128 components).
    for device in Device::present() {
        for (pairs, dim) in [(2, 3), (3, 16), (32, 17), (33, 130), (70, 40)] {
            for t in [0.07, 1.0] {
                let z = embeddings(pairs, dim, pairs as u64);
                for (name, contrast) in family(pairs, dim, t) {
                    let want = reference_loss(&contrast, &wide(&z));
                    let slopes = reference_gradient(&contrast, &wide(&z), -1.5);
                    for version in versions(&device) {
                        let case = format!("{device:?} {version:?} {name} {pairs}×{dim} t={t}");
                        let (loss, grad) = gradient(&device, version, &contrast, &z, -1.5);
                        // Per unit of 1/t: logits in single precision, or of components rounded to 8
                        // bits, whose errors of up to 2⁻⁹ mostly cancel in a sum.
                        let (logit, weight) = match version {
                            Version::V1 | Version::V2 => (1e-6, 3e-5),
                            Version::V3 => (2e-3, 1e-2 * f64::from(1.0 / t).max(1.0).sqrt()),
                        };
                        let allowed = logit * f64::from(1.0 + 1.0 / t);
                        let off = (f64::from(loss) - want).abs();
                        assert!(off < allowed, "{case}: loss off by {off:e}");
                        let off = error(&grad, &slopes);
                        assert!(off < weight, "{case}: gradient off by {off:e}");
                    }
                }
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
                    for version in versions(&device) {
                        let (loss, grad) = gradient(&device, version, &contrast, z, 1.0);
                        let finite = loss.is_finite() && grad.iter().all(|g| g.is_finite());
                        assert!(finite, "{device:?} {version:?} {name} of {input}, t={t}");
                    }
                }
            }
        }
    }
}

#[test]
fn kernels_give_the_same_bits_again() {
    let z = embeddings(40, 20, 3);
    for device in Device::present() {
        for (name, contrast) in family(40, 20, 0.1) {
            for version in versions(&device) {
                let bits = || {
                    let (loss, grad) = gradient(&device, version, &contrast, &z, 1.0);
                    let bits: Vec<u32> = grad.iter().map(|x| x.to_bits()).collect();
                    (loss.to_bits(), bits)
                };
                assert!(bits() == bits(), "{device:?} {version:?} {name}");
            }
        }
    }
}
