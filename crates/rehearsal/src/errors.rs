//! Answers of the driver, and the border that no panic crosses.

use std::ffi::{CStr, c_char, c_int};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use cudarc::driver::sys::CUresult;

/// What a call of the driver comes to.
pub(crate) type Answer<T = ()> = Result<T, CUresult>;

/// A pointer that a caller gave for a result.
///
/// Only callers of the exported functions, which are unsafe, make one: they answer for null or a place
/// that may be written.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Writes the result; `INVALID_VALUE` where there is no place for it.
    pub(crate) fn put(self, value: T) -> Answer {
        if self.0.is_null() {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        // SAFETY: promised by whoever called the exported function.
        unsafe { self.0.write(value) };
        Ok(())
    }
}

impl Out<c_char> {
    /// Writes as much of `text` as `room` characters hold, with a zero byte behind it.
    pub(crate) fn put_text(self, text: &[u8], room: usize) -> Answer {
        if self.0.is_null() || room == 0 {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        let len = text.len().min(room - 1);
        // SAFETY: the caller promised `room` characters.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr().cast(), self.0, len);
            self.0.add(len).write(0);
        }
        Ok(())
    }
}

/// The answer of an exported function; a panic becomes `UNKNOWN` with words.
pub(crate) fn answer(call: &str, work: impl FnOnce() -> Answer) -> CUresult {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => CUresult::CUDA_SUCCESS,
        Ok(Err(code)) => code,
        Err(_) => {
            complain(&format!("{call} panicked: a defect of the stand-in"));
            CUresult::CUDA_ERROR_UNKNOWN
        }
    }
}

/// What a card would not say.
pub(crate) fn complain(words: &str) {
    // In one piece, because the program may be writing, too. Nobody is left to tell where this fails.
    let line = format!("rehearsal: {words}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

macro_rules! texts {
    ($($name:ident: $words:literal;)*) => {
        /// Name and description of an answer that this library gives.
        fn text(code: c_int) -> Option<(&'static CStr, &'static CStr)> {
            $(if code == CUresult::$name as c_int {
                let name = concat!(stringify!($name), "\0");
                let words = concat!($words, "\0");
                return Some((
                    CStr::from_bytes_with_nul(name.as_bytes()).ok()?,
                    CStr::from_bytes_with_nul(words.as_bytes()).ok()?,
                ));
            })*
            None
        }
    };
}

texts! {
    CUDA_SUCCESS: "no error";
    CUDA_ERROR_INVALID_VALUE: "invalid argument";
    CUDA_ERROR_OUT_OF_MEMORY: "out of memory";
    CUDA_ERROR_NOT_INITIALIZED: "cuInit was not called";
    CUDA_ERROR_NO_DEVICE: "no CUDA-capable device is detected";
    CUDA_ERROR_INVALID_DEVICE: "invalid device ordinal";
    CUDA_ERROR_INVALID_CONTEXT: "no living context is current in this thread";
    CUDA_ERROR_NO_BINARY_FOR_GPU: "the image holds nothing for this device";
    CUDA_ERROR_INVALID_HANDLE: "a handle of another kind, of another context, or destroyed";
    CUDA_ERROR_ILLEGAL_STATE: "the operation cannot be performed in the present state";
    CUDA_ERROR_NOT_FOUND: "named symbol not found";
    CUDA_ERROR_NOT_READY: "device not ready";
    CUDA_ERROR_ILLEGAL_ADDRESS: "an illegal memory access was encountered";
    CUDA_ERROR_LAUNCH_FAILED: "unspecified launch failure";
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: "operation not permitted when stream is capturing";
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED: "operation failed due to a previous error during capture";
    CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD: "the capture was begun in another thread";
    CUDA_ERROR_CAPTURED_EVENT: "the event was last recorded in a capturing stream";
    CUDA_ERROR_UNKNOWN: "unknown error";
}

/// The name of an answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(code: c_int, name: Out<*const c_char>) -> CUresult {
    answer("cuGetErrorName", || match text(code) {
        Some((text, _)) => name.put(text.as_ptr()),
        None => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
    })
}

/// The description of an answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(code: c_int, words: Out<*const c_char>) -> CUresult {
    answer("cuGetErrorString", || match text(code) {
        Some((_, text)) => words.put(text.as_ptr()),
        None => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
    })
}
