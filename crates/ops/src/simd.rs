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
