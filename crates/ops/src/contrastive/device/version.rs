//! The versions of the kernels.

use viewmaker_device::Device;

/// Oldest compute capability whose tensor cores multiply bfloat16.
const TENSOR_CORES: (i32, i32) = (8, 0);

/// Which of the kernels computes a loss; a later one is faster and is tested against the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One block a row: plain enough to be read at once.
    V1,
    /// Tiles of 64 × 64 similarities.
    V2,
    /// The same on tensor cores: products of bfloat16, sums in single precision. The embeddings are
    /// rounded to 8 bits, so that a logit is off by up to 0.004/t; from compute capability 8.0 on.
    V3,
}

impl Version {
    /// Every version, the plainest first.
    pub const ALL: [Self; 3] = [Self::V1, Self::V2, Self::V3];

    /// Whether `device` can execute it. The emulator can.
    pub fn runs_on(self, device: &Device) -> bool {
        let able = |capability| self != Self::V3 || capability >= TENSOR_CORES;
        device.capability().is_none_or(able)
    }
}
