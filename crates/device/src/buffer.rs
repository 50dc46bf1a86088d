//! Memory of a device and ranges of it.

use std::ops::Range;
use std::sync::Arc;

use crate::Device;

/// One allocation of 4-byte words on a device, freed with its last handle.
///
/// Words are `f32` or `u32`, as kernels and copies read them.
#[derive(Clone)]
pub struct Buffer {
    memory: Arc<Memory>,
}

pub(crate) struct Memory {
    device: Device,
    /// Where it lies: a device pointer, or a host pointer for the emulator.
    address: u64,
    words: usize,
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.device.free(self.address, self.words);
    }
}

impl Buffer {
    pub(crate) fn new(device: Device, address: u64, words: usize) -> Self {
        Self {
            memory: Arc::new(Memory {
                device,
                address,
                words,
            }),
        }
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.memory.words
    }

    /// Whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The device it lies on.
    pub fn device(&self) -> &Device {
        &self.memory.device
    }

    /// A handle to a range of words.
    ///
    /// # Panics
    /// When the range is not inside the buffer.
    pub fn span(&self, range: Range<usize>) -> Span {
        self.all().slice(range)
    }

    /// A handle to all words.
    pub fn all(&self) -> Span {
        Span {
            buffer: self.clone(),
            start: 0,
            len: self.len(),
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Buffer({} words on {})",
            self.len(),
            self.memory.device.name()
        )
    }
}

/// A handle to a range of a buffer. Spans alias as pointers do: device memory is not Rust memory,
/// and what is in it is known only to whoever orders the launches.
#[derive(Clone, Debug)]
pub struct Span {
    buffer: Buffer,
    start: usize,
    len: usize,
}

impl Span {
    /// Number of words.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// First word, counted from the start of the buffer.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The buffer it is a range of.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// A part of this span; `range` counts from its start.
    ///
    /// # Panics
    /// When the range is not inside the span.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "words {range:?} of a span of {} words",
            self.len
        );
        Self {
            buffer: self.buffer.clone(),
            start: self.start + range.start,
            len: range.len(),
        }
    }

    /// Whether it begins at a multiple of `bytes`, as instructions that read several words at once need it.
    ///
    /// # Panics
    /// When `bytes` is 0.
    pub fn is_aligned_to(&self, bytes: u64) -> bool {
        self.address().is_multiple_of(bytes)
    }

    /// The address of the first word.
    pub(crate) fn address(&self) -> u64 {
        self.buffer.memory.address + 4 * self.start as u64
    }
}
