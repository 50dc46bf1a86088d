//! NVIDIA's run-time compiler, with the emulator's compiler in its place.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use cudarc::nvrtc::sys::{nvrtcProgram, nvrtcResult};

use crate::errors::{Out, complain};
use crate::image;

/// Generations that this compiler knows.
const ARCHITECTURES: [c_int; 9] = [70, 72, 75, 80, 86, 87, 88, 89, 90];

type Outcome = Result<(), nvrtcResult>;

struct Program {
    name: String,
    text: String,
    log: Vec<u8>,
    image: Option<Vec<u8>>,
}

static PROGRAMS: Mutex<(usize, Option<HashMap<usize, Program>>)> = Mutex::new((0, None));

fn answer(call: &str, work: impl FnOnce() -> Outcome) -> nvrtcResult {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => nvrtcResult::NVRTC_SUCCESS,
        Ok(Err(code)) => code,
        Err(_) => {
            complain(&format!("{call} panicked: a defect of the stand-in"));
            nvrtcResult::NVRTC_ERROR_INTERNAL_ERROR
        }
    }
}

fn put<T>(to: Out<T>, value: T) -> Outcome {
    to.put(value)
        .map_err(|_| nvrtcResult::NVRTC_ERROR_INVALID_INPUT)
}

fn program(handle: nvrtcProgram, work: impl FnOnce(&mut Program) -> Outcome) -> Outcome {
    let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let programs = programs.1.get_or_insert_default();
    let found = programs.get_mut(&(handle as usize));
    work(found.ok_or(nvrtcResult::NVRTC_ERROR_INVALID_PROGRAM)?)
}

/// # Safety
/// `text` is null or ends with a zero byte.
unsafe fn text_of(text: *const c_char) -> Result<String, nvrtcResult> {
    if text.is_null() {
        return Err(nvrtcResult::NVRTC_ERROR_INVALID_INPUT);
    }
    // SAFETY: promised by the caller.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    let text = text.map_err(|_| nvrtcResult::NVRTC_ERROR_INVALID_INPUT)?;
    Ok(text.to_owned())
}

/// Version 0.1: what is compiled here and kept on disk is never taken for a real compiler's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcVersion(major: Out<c_int>, minor: Out<c_int>) -> nvrtcResult {
    answer("nvrtcVersion", || {
        put(major, 0)?;
        put(minor, 1)
    })
}

/// How many generations are known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetNumSupportedArchs(count: Out<c_int>) -> nvrtcResult {
    answer("nvrtcGetNumSupportedArchs", || {
        put(count, ARCHITECTURES.len() as c_int)
    })
}

/// The generations.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetSupportedArchs(list: *mut c_int) -> nvrtcResult {
    answer("nvrtcGetSupportedArchs", || {
        if list.is_null() {
            return Err(nvrtcResult::NVRTC_ERROR_INVALID_INPUT);
        }
        // SAFETY: the caller has room for as many as the call above says.
        unsafe { std::ptr::copy_nonoverlapping(ARCHITECTURES.as_ptr(), list, ARCHITECTURES.len()) };
        Ok(())
    })
}

/// A program from its text. Includes must be in place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcCreateProgram(
    handle: Out<nvrtcProgram>,
    text: *const c_char,
    name: *const c_char,
    headers: c_int,
    _contents: *const *const c_char,
    _names: *const *const c_char,
) -> nvrtcResult {
    answer("nvrtcCreateProgram", || {
        if headers != 0 {
            return Err(nvrtcResult::NVRTC_ERROR_INVALID_INPUT);
        }
        // SAFETY: the caller's texts end with zero bytes.
        let (text, name) = unsafe { (text_of(text)?, text_of(name)?) };
        let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
        programs.0 += 16;
        let number = 0x7e4f_0000_0000 + programs.0;
        let (log, image) = (Vec::new(), None);
        let made = Program {
            name,
            text,
            log,
            image,
        };
        programs.1.get_or_insert_default().insert(number, made);
        put(handle, number as nvrtcProgram)
    })
}

/// Compiles for the emulator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcCompileProgram(
    handle: nvrtcProgram,
    count: c_int,
    options: *const *const c_char,
) -> nvrtcResult {
    answer("nvrtcCompileProgram", || {
        for number in 0..usize::try_from(count).unwrap_or(0) {
            // SAFETY: the caller gives `count` texts.
            known_option(&unsafe { text_of(options.add(number).read()) }?)?;
        }
        program(handle, |program| {
            let source = image::source(program.name.clone(), program.text.clone());
            let bytes = image::write(&source);
            match image::compile(source) {
                Ok(_) => {
                    program.image = Some(bytes);
                    Ok(())
                }
                Err(words) => {
                    program.log = words.into_bytes();
                    Err(nvrtcResult::NVRTC_ERROR_COMPILATION)
                }
            }
        })
    })
}

/// The options that our sources are compiled with.
fn known_option(option: &str) -> Outcome {
    let architecture = option.strip_prefix("--gpu-architecture=");
    let known = match architecture {
        Some(target) => {
            let number = target.strip_prefix("sm_");
            let number = number.or_else(|| target.strip_prefix("compute_"));
            let number = number.and_then(|n| n.parse().ok());
            number.is_some_and(|n| ARCHITECTURES.contains(&n))
        }
        None => ["--std=c++17", "--generate-line-info"].contains(&option),
    };
    if known {
        return Ok(());
    }
    complain(&format!("NVRTC: unknown option {option}"));
    Err(nvrtcResult::NVRTC_ERROR_INVALID_OPTION)
}

/// Length of the compiler's words, with the zero byte at their end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetProgramLogSize(
    handle: nvrtcProgram,
    size: Out<usize>,
) -> nvrtcResult {
    answer("nvrtcGetProgramLogSize", || {
        program(handle, |program| put(size, program.log.len() + 1))
    })
}

/// The compiler's words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetProgramLog(handle: nvrtcProgram, log: Out<c_char>) -> nvrtcResult {
    answer("nvrtcGetProgramLog", || {
        program(handle, |program| {
            log.put_text(&program.log, program.log.len() + 1)
                .map_err(|_| nvrtcResult::NVRTC_ERROR_INVALID_INPUT)
        })
    })
}

fn image_size(handle: nvrtcProgram, size: Out<usize>) -> Outcome {
    program(handle, |program| match &program.image {
        Some(image) => put(size, image.len()),
        None => Err(nvrtcResult::NVRTC_ERROR_INVALID_PROGRAM),
    })
}

/// # Safety
/// There is room for as many bytes as [`image_size`] says.
unsafe fn copy_image(handle: nvrtcProgram, to: *mut c_char) -> Outcome {
    program(handle, |program| match &program.image {
        Some(image) if !to.is_null() => {
            // SAFETY: promised by the caller.
            unsafe { std::ptr::copy_nonoverlapping(image.as_ptr(), to.cast(), image.len()) };
            Ok(())
        }
        _ => Err(nvrtcResult::NVRTC_ERROR_INVALID_PROGRAM),
    })
}

/// Bytes of the compiled program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetCUBINSize(handle: nvrtcProgram, size: Out<usize>) -> nvrtcResult {
    answer("nvrtcGetCUBINSize", || image_size(handle, size))
}

/// The compiled program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetCUBIN(handle: nvrtcProgram, to: *mut c_char) -> nvrtcResult {
    // SAFETY: the caller has asked for the size.
    answer("nvrtcGetCUBIN", || unsafe { copy_image(handle, to) })
}

/// Bytes of what the driver would translate; the same as a compiled program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetPTXSize(handle: nvrtcProgram, size: Out<usize>) -> nvrtcResult {
    answer("nvrtcGetPTXSize", || image_size(handle, size))
}

/// The same as a compiled program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetPTX(handle: nvrtcProgram, to: *mut c_char) -> nvrtcResult {
    // SAFETY: the caller has asked for the size.
    answer("nvrtcGetPTX", || unsafe { copy_image(handle, to) })
}

/// Ends a program, and sets the caller's handle to null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcDestroyProgram(handle: *mut nvrtcProgram) -> nvrtcResult {
    answer("nvrtcDestroyProgram", || {
        if handle.is_null() {
            return Err(nvrtcResult::NVRTC_ERROR_INVALID_PROGRAM);
        }
        // SAFETY: the caller's handle may be read.
        let number = unsafe { handle.read() } as usize;
        let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = programs.1.get_or_insert_default().remove(&number);
        gone.map(drop)
            .ok_or(nvrtcResult::NVRTC_ERROR_INVALID_PROGRAM)
    })
}

/// An answer in words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetErrorString(code: c_int) -> *const c_char {
    let words = match code {
        0 => c"NVRTC_SUCCESS",
        3 => c"NVRTC_ERROR_INVALID_INPUT",
        4 => c"NVRTC_ERROR_INVALID_PROGRAM",
        5 => c"NVRTC_ERROR_INVALID_OPTION",
        6 => c"NVRTC_ERROR_COMPILATION",
        _ => c"NVRTC_ERROR unknown",
    };
    words.as_ptr()
}
