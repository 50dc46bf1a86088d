//! Memory of the card and page-locked memory: what is allocated, and whether a range lies inside it.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::{BTreeMap, VecDeque};

/// A NaN that no computation makes.
const FRESH: u32 = 0x7fc0_f2e5;
/// Words around an allocation; whoever changes them wrote out of range.
const FENCE_WORD: u32 = 0xfefe_c0de;
/// Bytes of a fence, and the alignment of addresses.
const FENCE: usize = 256;
/// Bytes of freed memory that are held back, so that its addresses belong to nobody.
const HELD_BACK: usize = 64 << 20;

/// Memory between two fences. Pages are those of this process; an address is an address.
struct Block {
    /// Of the first byte between the fences.
    address: usize,
    bytes: usize,
    context: usize,
}

impl Block {
    fn layout(bytes: usize) -> Option<Layout> {
        let all = bytes.checked_add(2 * FENCE)?.next_multiple_of(4);
        Layout::from_size_align(all, FENCE).ok()
    }

    /// Filled with NaN; `None` where this process has no such memory.
    fn new(bytes: usize, context: usize) -> Option<Self> {
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(Self::layout(bytes)?) };
        if start.is_null() {
            return None;
        }
        let block = Self {
            address: start as usize + FENCE,
            bytes,
            context,
        };
        block.write(0, bytes, FRESH);
        block.write_fences();
        Some(block)
    }

    fn write(&self, offset: isize, bytes: usize, word: u32) {
        let pattern = word.to_ne_bytes();
        let start = (self.address as *mut u8).wrapping_offset(offset);
        // SAFETY: callers stay between the ends of the two fences.
        let range = unsafe { std::slice::from_raw_parts_mut(start, bytes) };
        for piece in range.chunks_mut(4) {
            piece.copy_from_slice(&pattern[..piece.len()]);
        }
    }

    fn write_fences(&self) {
        self.write(-(FENCE as isize), FENCE, FENCE_WORD);
        self.write(self.bytes as isize, FENCE, FENCE_WORD);
    }

    /// Which fence somebody wrote over.
    fn damage(&self) -> Option<&'static str> {
        let pattern = FENCE_WORD.to_ne_bytes();
        let whole = |start: usize| {
            // SAFETY: both fences are part of the allocation.
            let fence = unsafe { std::slice::from_raw_parts(start as *const u8, FENCE) };
            fence.chunks(4).all(|word| word == pattern)
        };
        if !whole(self.address - FENCE) {
            Some("before")
        } else if !whole(self.address + self.bytes) {
            Some("behind")
        } else {
            None
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.bytes) {
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc((self.address - FENCE) as *mut u8, layout) };
        }
    }
}

/// Blocks by their address.
#[derive(Default)]
struct Blocks(BTreeMap<usize, Block>);

impl Blocks {
    fn holds(&self, context: usize, address: usize, bytes: usize) -> bool {
        let before = self.0.range(..=address).next_back();
        before.is_some_and(|(start, block)| {
            let end = address.checked_add(bytes);
            block.context == context && end.is_some_and(|end| end <= start + block.bytes)
        })
    }

    fn take(&mut self, context: usize, address: usize) -> Option<Block> {
        let block = self.0.get(&address)?;
        (block.context == context).then(|| self.0.remove(&address))?
    }

    fn remove_all(&mut self, context: usize) -> usize {
        let before = self.0.len();
        self.0.retain(|_, block| block.context != context);
        before - self.0.len()
    }
}

/// What is allocated.
#[derive(Default)]
pub(crate) struct Memory {
    device: Blocks,
    host: Blocks,
    freed: VecDeque<Block>,
}

impl Memory {
    /// Bytes of the card in use.
    pub(crate) fn used(&self, context: usize) -> usize {
        let blocks = self.device.0.values();
        let own = blocks.filter(|block| block.context == context);
        own.map(|block| block.bytes).sum()
    }

    /// The address of new memory of the card, `None` where there is not as much.
    pub(crate) fn alloc(&mut self, context: usize, bytes: usize, total: usize) -> Option<usize> {
        let free = total.saturating_sub(self.used(context));
        let block = (bytes <= free).then(|| Block::new(bytes, context))??;
        let address = block.address;
        self.device.0.insert(address, block);
        Some(address)
    }

    /// Frees memory of the card; whether there was some at just this address.
    pub(crate) fn free(&mut self, context: usize, address: usize) -> bool {
        let Some(block) = self.device.take(context, address) else {
            return false;
        };
        block.write(0, block.bytes, FRESH);
        self.freed.push_back(block);
        while self.freed.iter().map(|b| b.bytes).sum::<usize>() > HELD_BACK {
            self.freed.pop_front();
        }
        true
    }

    /// Whether the range lies inside one allocation of the card.
    pub(crate) fn holds(&self, context: usize, address: u64, bytes: usize) -> bool {
        self.device.holds(context, address as usize, bytes)
    }

    /// New page-locked memory.
    pub(crate) fn alloc_host(&mut self, context: usize, bytes: usize) -> Option<usize> {
        let block = Block::new(bytes, context)?;
        let address = block.address;
        self.host.0.insert(address, block);
        Some(address)
    }

    /// Frees page-locked memory; whether there was some at just this address.
    pub(crate) fn free_host(&mut self, context: usize, address: usize) -> bool {
        self.host.take(context, address).is_some()
    }

    /// Whether the range is page-locked.
    pub(crate) fn holds_host(&self, context: usize, address: usize, bytes: usize) -> bool {
        self.host.holds(context, address, bytes)
    }

    /// An allocation that somebody wrote beside, in words. Said once.
    pub(crate) fn damage(&self, context: usize) -> Option<String> {
        let blocks = self.device.0.values().filter(|b| b.context == context);
        blocks.into_iter().find_map(|block| {
            let side = block.damage()?;
            block.write_fences();
            let (bytes, address) = (block.bytes, block.address);
            Some(format!(
                "wrote {side} an allocation ({bytes} bytes at {address:#x})"
            ))
        })
    }

    /// Ends all memory of a context; how many allocations of the card and of the host there were.
    pub(crate) fn remove_all(&mut self, context: usize) -> [usize; 2] {
        [&mut self.device, &mut self.host].map(|blocks| blocks.remove_all(context))
    }
}
