//! Page-locked memory that large copies to a card pass through.
//!
//! A card reads such memory by itself, and the host goes on as soon as it has filled it: a training step
//! is launched while its examples are still on their way. Two halves take turns, so that one is filled
//! while the card reads the other.

use cudarc::driver::{result, sys};

use super::failed;
use crate::DeviceError;

/// Words of one half: 4 MiB, a batch of a thousand small pictures.
const HALF_WORDS: usize = 1 << 20;

/// Words from which on a copy passes through here; fewer are quicker waited for.
pub(super) const LARGE: usize = 4096;

/// Both halves.
pub(super) struct Staging {
    halves: [Half; 2],
    next: usize,
}

struct Half {
    /// `HALF_WORDS` words.
    memory: *mut u32,
    /// When the card has read them.
    read: sys::CUevent,
}

impl Staging {
    /// The context must be current.
    pub(super) fn new() -> Result<Self, DeviceError> {
        let first = Half::new()?;
        match Half::new() {
            Ok(second) => Ok(Self {
                halves: [first, second],
                next: 0,
            }),
            Err(error) => {
                // SAFETY: made just now, and nothing has read from it.
                unsafe { first.free() };
                Err(error)
            }
        }
    }

    /// Copies `from` to `address`; returns when `from` may be changed.
    ///
    /// # Safety
    /// As many words may be written at `address` until `stream` has done so, and the context is current.
    pub(super) unsafe fn send(
        &mut self,
        address: u64,
        from: &[u32],
        stream: sys::CUstream,
    ) -> Result<(), DeviceError> {
        for (number, piece) in from.chunks(HALF_WORDS).enumerate() {
            let half = &self.halves[self.next];
            self.next = 1 - self.next;
            let to = address + 4 * (number * HALF_WORDS) as u64;
            // SAFETY: event and memory live as long as `self`. The card has read the half's last content
            // when the event has come (one that was never recorded counts as that), so it may be
            // overwritten; a piece has at most `HALF_WORDS` words. The caller answers for the target.
            unsafe {
                result::event::synchronize(half.read)
                    .map_err(|e| failed("waiting for a copy to the card", e))?;
                std::ptr::copy_nonoverlapping(piece.as_ptr(), half.memory, piece.len());
                let filled = std::slice::from_raw_parts(half.memory, piece.len());
                result::memcpy_htod_async(to, filled, stream)
                    .map_err(|e| failed("copying to the card", e))?;
                result::event::record(half.read, stream)
                    .map_err(|e| failed("recording an event", e))?;
            }
        }
        Ok(())
    }

    /// # Safety
    /// The context is current, and no copy from here is under way.
    pub(super) unsafe fn free(self) {
        for half in self.halves {
            // SAFETY: promised by the caller.
            unsafe { half.free() };
        }
    }
}

impl Half {
    fn new() -> Result<Self, DeviceError> {
        let read = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)
            .map_err(|e| failed("creating an event", e))?;
        // SAFETY: allocates; it is written before it is read.
        let memory = unsafe { result::malloc_host(4 * HALF_WORDS, 0) };
        match memory {
            Ok(memory) => Ok(Self {
                memory: memory.cast(),
                read,
            }),
            Err(error) => {
                // SAFETY: created just now.
                let _ = unsafe { result::event::destroy(read) };
                Err(failed("allocating page-locked memory", error))
            }
        }
    }

    /// # Safety
    /// As [`Staging::free`].
    unsafe fn free(self) {
        // SAFETY: both were made in `new` and are freed once; a failure means that the context is broken.
        unsafe {
            let _ = result::event::destroy(self.read);
            let _ = result::free_host(self.memory.cast());
        }
    }
}
