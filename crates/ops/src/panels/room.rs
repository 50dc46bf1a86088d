//! Memory of a thread for operands that a product brings together.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut, Range};

/// Elements of a cache line.
const LINE: usize = 16;

thread_local! {
    static ROOM: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Memory that begins with a cache line, so that no register is loaded from two of them. The thread
/// gets it back for the next product.
pub struct Room {
    memory: Vec<f32>,
    used: Range<usize>,
}

impl Room {
    /// `len` elements that hold what an earlier product left there.
    pub fn new(len: usize) -> Self {
        // Whoever asks while another product has it gets memory of its own.
        let mut memory = ROOM.take();
        if memory.len() < len + LINE {
            memory.resize(len + LINE, 0.0);
        }
        let start = memory.as_ptr().align_offset(LINE * size_of::<f32>());
        let start = start.min(LINE);
        Self {
            memory,
            used: start..start + len,
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        ROOM.set(std::mem::take(&mut self.memory));
    }
}

impl Deref for Room {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.used.clone()]
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.used.clone()]
    }
}
