//! Run-time choice of the instruction set.

use pulp::{Arch, WithSimd};

/// Runs a kernel compiled for the best instruction set of this machine (AVX-512, AVX2, NEON, or
/// what every machine of the architecture has).
///
/// Kernels that add and multiply separately give the same bits with every instruction set. Tasks
/// are made outside of a kernel: a thread pool calls them through code compiled for the least
/// machine.
pub(crate) fn run<R>(kernel: impl WithSimd<Output = R>) -> R {
    Arch::new().dispatch(kernel)
}

#[cfg(test)]
mod tests {
    use pulp::{Simd, WithSimd};

    /// How many numbers a register holds.
    struct Lanes;

    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) -> usize {
            S::F32_LANES
        }
    }

    /// Instruction sets are features of the library: without them kernels still run, on scalars.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn uses_the_widest_registers_of_this_machine() {
        let narrow = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let want = match (is_x86_feature_detected!("avx512f"), narrow) {
            (true, _) => 16,
            (false, true) => 8,
            (false, false) => 1,
        };
        assert!(
            super::run(Lanes) >= want,
            "kernels use {} of {want} lanes",
            super::run(Lanes)
        );
    }
}
