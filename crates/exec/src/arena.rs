//! Several disjoint parts of one allocation at once, without unsafe code.

use memmap2::MmapMut;
use std::ops::{Deref, DerefMut, Range};

/// Elements of a cache line of 64 bytes.
const LINE: usize = 16;
/// Elements from which on memory comes in pages of its own: several huge ones.
const PAGES_FROM: usize = 2 << 20;

/// Memory that begins with a cache line, so that whole registers are not split between two lines.
///
/// A large arena asks for huge pages: kernels that visit many places at once, such as the slabs of a
/// transform, otherwise wait for the translation of addresses.
#[derive(Debug)]
pub struct Arena {
    memory: Memory,
    len: usize,
}

#[derive(Debug)]
enum Memory {
    /// With the element it begins with.
    Heap(Vec<f32>, usize),
    Pages(MmapMut),
}

impl Memory {
    fn heap(len: usize) -> Self {
        let memory = vec![0.0; len + LINE];
        let start = memory.as_ptr().align_offset(LINE * size_of::<f32>());
        Self::Heap(memory, start.min(LINE))
    }

    fn pages(len: usize) -> std::io::Result<Self> {
        let pages = MmapMut::map_anon(len * size_of::<f32>())?;
        // A wish: kernels without huge pages refuse it.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Ok(Self::Pages(pages))
    }
}

impl Arena {
    /// `len` elements of zeros.
    pub fn new(len: usize) -> Self {
        let memory = match len < PAGES_FROM {
            true => Memory::heap(len),
            false => Memory::pages(len).unwrap_or_else(|_| Memory::heap(len)),
        };
        Self { memory, len }
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Clone for Arena {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Deref for Arena {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.memory {
            Memory::Heap(memory, start) => &memory[*start..][..self.len],
            Memory::Pages(pages) => &bytemuck::cast_slice(pages)[..self.len],
        }
    }
}

impl DerefMut for Arena {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.memory {
            Memory::Heap(memory, start) => &mut memory[*start..][..self.len],
            Memory::Pages(pages) => &mut bytemuck::cast_slice_mut(pages)[..self.len],
        }
    }
}

/// Splits `arena` into the parts at `ranges`, in the order given.
///
/// Empty ranges give empty parts. The ranges must be disjoint, which a plan guarantees for the
/// buffers of one node.
pub(crate) fn carve<'a, T>(arena: &'a mut [T], ranges: &[Range<usize>]) -> Vec<&'a mut [T]> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&i| (ranges[i].start, ranges[i].end));
    let mut parts: Vec<&'a mut [T]> = ranges.iter().map(|_| Default::default()).collect();
    let (mut rest, mut position) = (arena, 0);
    for i in order {
        let range = &ranges[i];
        if range.is_empty() {
            continue;
        }
        let (_, tail) = rest.split_at_mut(range.start - position);
        let (part, tail) = tail.split_at_mut(range.len());
        parts[i] = part;
        rest = tail;
        position = range.end;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_begins_with_a_cache_line() {
        for len in [0, 1, 1000, 1 << 20, PAGES_FROM, PAGES_FROM + 17] {
            let mut arena = Arena::new(len);
            assert!(arena[..].len() == len && arena.len() == len);
            assert!(arena.iter().all(|x| *x == 0.0));
            assert_eq!(arena.as_mut_ptr() as usize % 64, 0);
        }
    }

    #[test]
    fn parts_come_back_in_the_order_asked_for() {
        let mut arena: Vec<usize> = (0..20).collect();
        let parts = carve(&mut arena, &[10..13, 0..2, 5..5, 2..5]);
        assert_eq!(parts[0], [10, 11, 12]);
        assert_eq!(parts[1], [0, 1]);
        assert!(parts[2].is_empty());
        assert_eq!(parts[3], [2, 3, 4]);
    }
}
