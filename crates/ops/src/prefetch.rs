//! Asking for memory before it is needed.
//!
//! Transforms of tiles visit memory in pieces of a cache line, far apart: no processor guesses what
//! comes next, and every tile would wait for the main memory.

/// Asks for the cache line of `from[at]`, if there is one. A hint: it changes no result.
#[inline(always)]
pub(crate) fn prefetch(from: &[f32], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let (Some(element), Some(sse)) = (from.get(at), pulp::core_arch::x86::Sse::try_new()) {
        use std::arch::x86_64::_MM_HINT_T0;
        sse._mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, at);
}
