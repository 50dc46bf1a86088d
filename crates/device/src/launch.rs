//! How many threads execute a kernel, and with which arguments.

use crate::Span;

/// The shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory of each block.
    pub shared_bytes: u32,
}

impl Launch {
    /// Threads of a block for elementwise kernels.
    pub const THREADS: u32 = 256;

    /// `blocks` × `threads`, one-dimensional, no dynamic shared memory.
    pub const fn linear(blocks: u32, threads: u32) -> Self {
        Self {
            grid: [blocks, 1, 1],
            block: [threads, 1, 1],
            shared_bytes: 0,
        }
    }

    /// One thread for each of `n` elements, in blocks of 256; one block when there are none. For
    /// more than 2³¹ blocks the grid is cut short: kernels step by the size of the grid.
    pub const fn over(n: usize) -> Self {
        let blocks = n.div_ceil(Self::THREADS as usize);
        let most = i32::MAX as usize;
        let blocks = if blocks > most { most } else { blocks };
        Self::linear(if blocks == 0 { 1 } else { blocks as u32 }, Self::THREADS)
    }

    /// The same launch with `bytes` of dynamic shared memory.
    pub const fn with_shared(self, bytes: u32) -> Self {
        Self {
            shared_bytes: bytes,
            ..self
        }
    }

    /// Threads of a block.
    pub(crate) fn threads(&self) -> u64 {
        self.block.iter().map(|&n| u64::from(n)).product()
    }
}

/// One argument of a kernel.
#[derive(Clone, Debug)]
pub(crate) enum Argument {
    Pointer(Option<Span>),
    I32(i32),
    U32(u32),
    U64(u64),
    F32(f32),
}

impl Argument {
    /// What the emulator calls this kind of parameter.
    #[cfg(feature = "emulator")]
    pub(crate) fn letter(&self) -> char {
        match self {
            Self::Pointer(_) => 'p',
            Self::I32(_) => 'i',
            Self::U32(_) => 'u',
            Self::U64(_) => 'l',
            Self::F32(_) => 'f',
        }
    }

    /// The value as the first bytes of a word, as a kernel reads it.
    pub(crate) fn word(&self) -> u64 {
        let low = |bytes: [u8; 4]| {
            let [a, b, c, d] = bytes;
            u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0])
        };
        match self {
            Self::Pointer(None) => 0,
            Self::Pointer(Some(span)) => span.address(),
            Self::I32(x) => low(x.to_ne_bytes()),
            Self::U32(x) => low(x.to_ne_bytes()),
            Self::U64(x) => *x,
            Self::F32(x) => low(x.to_ne_bytes()),
        }
    }
}

/// The arguments of a launch, in the order of the kernel's parameters.
#[derive(Clone, Debug, Default)]
pub struct Args {
    pub(crate) list: Vec<Argument>,
}

impl Args {
    /// No arguments yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A pointer to the start of `span`.
    pub fn span(self, span: &Span) -> Self {
        self.with(Argument::Pointer(Some(span.clone())))
    }

    /// A pointer to the start of `span`, or the null pointer.
    pub fn maybe(self, span: Option<&Span>) -> Self {
        self.with(Argument::Pointer(span.cloned()))
    }

    /// An `int`.
    pub fn i32(self, value: i32) -> Self {
        self.with(Argument::I32(value))
    }

    /// An `unsigned`.
    pub fn u32(self, value: u32) -> Self {
        self.with(Argument::U32(value))
    }

    /// An `unsigned long long` (`u64` in kernels).
    pub fn u64(self, value: u64) -> Self {
        self.with(Argument::U64(value))
    }

    /// A `float`.
    pub fn f32(self, value: f32) -> Self {
        self.with(Argument::F32(value))
    }

    fn with(mut self, argument: Argument) -> Self {
        self.list.push(argument);
        self
    }

    pub(crate) fn words(&self) -> Vec<u64> {
        self.list.iter().map(Argument::word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_covers_every_element() {
        assert_eq!(Launch::over(0).grid[0], 1);
        assert_eq!(Launch::over(256).grid[0], 1);
        assert_eq!(Launch::over(257).grid[0], 2);
        assert_eq!(Launch::over(usize::MAX).grid[0], i32::MAX as u32);
    }
}
