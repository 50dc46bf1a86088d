//! Calls that allocate, free, copy and fill.

use std::ffi::{c_uchar, c_uint, c_void};
use std::sync::Arc;

use cudarc::driver::sys::{CUdeviceptr, CUstream};

use crate::context::total_memory;
use crate::errors::{CUresult, Out, answer};
use crate::state::in_context;
use crate::work::Work;

/// New memory of the card, full of NaN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: Out<CUdeviceptr>, bytes: usize) -> CUresult {
    answer("cuMemAlloc", || {
        in_context(|state, context| {
            state.outside_capture(context, "allocating", true)?;
            if bytes == 0 {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            match state.memory.alloc(context, bytes, total_memory()) {
                Some(made) => address.put(made as CUdeviceptr),
                None => Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY),
            }
        })
    })
}

/// Frees memory of the card, when all streams have done their work.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: CUdeviceptr) -> CUresult {
    answer("cuMemFree", || {
        in_context(|state, context| {
            state.outside_capture(context, "freeing", true)?;
            state.run_all(context)?;
            let freed = address == 0 || state.memory.free(context, address as usize);
            freed
                .then_some(())
                .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)
        })
    })
}

/// New page-locked memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(
    address: Out<*mut c_void>,
    bytes: usize,
    flags: c_uint,
) -> CUresult {
    answer("cuMemHostAlloc", || {
        in_context(|state, context| {
            state.outside_capture(context, "allocating page-locked memory", true)?;
            if bytes == 0 || flags > 7 {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            match state.memory.alloc_host(context, bytes) {
                Some(made) => address.put(made as *mut c_void),
                None => Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY),
            }
        })
    })
}

/// Frees page-locked memory at once: a copy that still reads it fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(address: *mut c_void) -> CUresult {
    answer("cuMemFreeHost", || {
        in_context(|state, context| {
            state.outside_capture(context, "freeing page-locked memory", true)?;
            let freed = state.memory.free_host(context, address as usize);
            freed
                .then_some(())
                .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)
        })
    })
}

/// Sets bytes on the card.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8Async(
    address: CUdeviceptr,
    value: c_uchar,
    bytes: usize,
    stream: CUstream,
) -> CUresult {
    answer("cuMemsetD8Async", || {
        in_context(|state, context| {
            state.submit(context, stream, Work::Fill(address, value, bytes))
        })
    })
}

/// Copies to the card.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(
    to: CUdeviceptr,
    from: *const c_void,
    bytes: usize,
    stream: CUstream,
) -> CUresult {
    answer("cuMemcpyHtoDAsync", || {
        in_context(|state, context| {
            let work = if state.memory.holds_host(context, from as usize, bytes) {
                Work::UploadPinned(to, from as usize, bytes)
            } else if from.is_null() {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            } else {
                // SAFETY: the caller has as many bytes there.
                let taken = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
                Work::Upload(to, Arc::from(taken))
            };
            state.submit(context, stream, work)
        })
    })
}

/// Copies to the host.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(
    to: *mut c_void,
    from: CUdeviceptr,
    bytes: usize,
    stream: CUstream,
) -> CUresult {
    answer("cuMemcpyDtoHAsync", || {
        in_context(|state, context| {
            if to.is_null() {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            state.submit(context, stream, Work::Download(to as usize, from, bytes))
        })
    })
}

/// Copies on the card.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoDAsync_v2(
    to: CUdeviceptr,
    from: CUdeviceptr,
    bytes: usize,
    stream: CUstream,
) -> CUresult {
    answer("cuMemcpyDtoDAsync", || {
        in_context(|state, context| state.submit(context, stream, Work::Copy(to, from, bytes)))
    })
}
