//! What can go wrong on a device, in words that say what to do about it.

use thiserror::Error;

/// Why a device could not be had or did not do what it was asked to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The NVIDIA driver's library cannot be loaded.
    #[error(
        "no NVIDIA driver: looked for {looked_for} and found none that loads; install the NVIDIA \
         driver (in a container: start it with access to the GPU) or use the CPU"
    )]
    NoDriver {
        /// File names of the library.
        looked_for: &'static str,
    },
    /// The driver does not list a card with this number.
    #[error("no CUDA device {ordinal}: the driver lists {count} ({reason})")]
    NoDevice {
        /// The number asked for, from 0.
        ordinal: usize,
        /// How many there are.
        count: usize,
        /// The driver's words, or what to try.
        reason: String,
    },
    /// NVIDIA's run-time compiler cannot be loaded.
    #[error(
        "no NVRTC: looked for {looked_for} and found none that loads; install the CUDA toolkit's \
         NVRTC (for example the PyPI package nvidia-cuda-nvrtc, which PyTorch for CUDA brings along) \
         and name the folder it lies in in LD_LIBRARY_PATH (`pip show --files nvidia-cuda-nvrtc` lists \
         it: site-packages/nvidia/…/lib)"
    )]
    NoNvrtc {
        /// File names of the library.
        looked_for: &'static str,
    },
    /// The card's generation is not supported.
    #[error("{name} has compute capability {major}.{minor}; 7.0 or newer is needed")]
    TooOld {
        /// The card's name.
        name: String,
        /// Compute capability, first number.
        major: i32,
        /// Compute capability, second number.
        minor: i32,
    },
    /// The memory asked for is not free.
    #[error(
        "out of device memory: asked for {} MiB, {} of {} MiB are free; use a smaller batch or \
         free the device from other programs",
        mebibytes(*.asked), mebibytes(*.free), mebibytes(*.total)
    )]
    OutOfMemory {
        /// Bytes asked for.
        asked: usize,
        /// Bytes that were free.
        free: usize,
        /// Bytes that the device has.
        total: usize,
    },
    /// A kernel source does not compile.
    #[error("kernels/{file} does not compile for {target}:\n{log}")]
    Compile {
        /// The source's file name.
        file: String,
        /// What it was compiled for.
        target: String,
        /// The compiler's words.
        log: String,
    },
    /// A kernel was not started or did not finish.
    #[error("kernel {kernel}: {reason}")]
    Launch {
        /// File and function.
        kernel: String,
        /// The driver's or the emulator's words.
        reason: String,
    },
    /// Something that a graph cannot hold was called inside `Device::capture`.
    #[error("{what} cannot be part of a captured graph; do it before or after the capture")]
    Capturing {
        /// The operation.
        what: &'static str,
    },
    /// Any other call of the driver failed.
    #[error("{call}: {reason}")]
    Driver {
        /// What was being done.
        call: &'static str,
        /// The driver's words.
        reason: String,
    },
    /// The environment says that nothing is to be emulated.
    #[error("the kernel emulator is switched off by VIEWMAKER_EMULATOR=off")]
    EmulatorOff,
    /// The emulator found no C++ compiler.
    #[error(
        "no C++ compiler for the kernel emulator: tried {tried}; install one or name it in CXX"
    )]
    NoCompiler {
        /// Names of programs.
        tried: String,
    },
    /// The emulator cannot do what cards do to products and sums.
    #[error(
        "no contracting emulator: this processor has no instruction for a product and a sum; run it \
         on one with FMA"
    )]
    NoFusion,
}

fn mebibytes(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}
