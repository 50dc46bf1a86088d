//! NVIDIA cards, through the driver's library as it is found at run time.

pub(crate) mod cache;
mod graph;
mod modules;
pub mod nvrtc;
mod staging;

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::{DriverError, result, sys};

use crate::launch::Launch;
use crate::{Args, DeviceError, Kernel, Source, Span};
pub(crate) use graph::{CudaEvent, CudaGraph};
use modules::Modules;
use staging::Staging;

/// Oldest supported compute capability: warps whose lanes advance independently.
const OLDEST: nvrtc::Capability = (7, 0);

/// A card with one stream. All calls are asynchronous unless they say otherwise.
pub(crate) struct Cuda {
    name: String,
    capability: nvrtc::Capability,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    modules: Mutex<Modules>,
    staging: Mutex<Option<Staging>>,
}

// SAFETY: contexts, streams, modules, functions, events and page-locked memory of the driver may be used
// from any thread once the context is current there, which every method sees to; the tables and the
// staging memory are behind mutexes.
unsafe impl Send for Cuda {}
// SAFETY: as above; the driver serialises calls on one stream.
unsafe impl Sync for Cuda {}

impl Cuda {
    pub(crate) fn new(ordinal: usize) -> Result<Self, DeviceError> {
        // SAFETY: loads the library, whose initialisers are NVIDIA's.
        if !unsafe { sys::is_culib_present() } {
            return Err(DeviceError::NoDriver {
                looked_for: "libcuda.so, libcuda.so.1",
            });
        }
        let device = find(ordinal)?;
        let (name, capability) = describe(device)?;
        if capability < OLDEST {
            let (major, minor) = capability;
            return Err(DeviceError::TooOld { name, major, minor });
        }
        // Without the compiler nothing can be launched: say so now.
        nvrtc::version()?;
        // SAFETY: `device` comes from the driver; released on drop.
        let context = unsafe { result::primary_ctx::retain(device) };
        let mut cuda = Self {
            name,
            capability,
            device,
            context: context.map_err(|e| failed("taking the card's context", e))?,
            stream: std::ptr::null_mut(),
            modules: Mutex::new(Modules::new(capability)),
            staging: Mutex::default(),
        };
        cuda.bind()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        cuda.stream = stream.map_err(|e| failed("creating a stream", e))?;
        Ok(cuda)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn capability(&self) -> nvrtc::Capability {
        self.capability
    }

    pub(crate) fn memory(&self) -> Result<(usize, usize), DeviceError> {
        self.bind()?;
        result::mem_get_info().map_err(|e| failed("asking for free memory", e))
    }

    /// Allocates and zeroes; waits for it.
    pub(crate) fn alloc(&self, words: usize) -> Result<u64, DeviceError> {
        self.bind()?;
        let bytes = words.max(1) * 4;
        // SAFETY: the memory is zeroed below before anybody sees it.
        let address = unsafe { result::malloc_sync(bytes) }.map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let (free, total) = result::mem_get_info().unwrap_or((0, 0));
                DeviceError::OutOfMemory {
                    asked: bytes,
                    free,
                    total,
                }
            }
            _ => failed("allocating", e),
        })?;
        // SAFETY: `address` has `bytes` bytes.
        let zeroed = unsafe { result::memset_d8_async(address, 0, bytes, self.stream) };
        let zeroed = zeroed.map_err(|e| failed("clearing memory", e));
        match zeroed.and_then(|()| self.synchronize()) {
            Ok(()) => Ok(address),
            Err(error) => {
                self.free(address);
                Err(error)
            }
        }
    }

    pub(crate) fn free(&self, address: u64) {
        // SAFETY: allocated by `alloc`, freed once; the driver waits for work that uses it.
        // A failure means that the context is broken, which the next call reports.
        let _ = self.bind().map(|()| unsafe { result::free_sync(address) });
    }

    /// Returns when `from` may be changed; a large copy may still be under way.
    pub(crate) fn upload(&self, to: &Span, from: &[u32]) -> Result<(), DeviceError> {
        self.bind()?;
        if from.len() >= staging::LARGE {
            let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
            // Page-locked memory may be short; then the copy is waited for.
            if staging.is_none() {
                *staging = Staging::new().ok();
            }
            if let Some(staging) = &mut *staging {
                // SAFETY: the caller has compared lengths. Whoever frees the span's memory waits for the
                // stream, as the driver does in `free`.
                return unsafe { staging.send(to.address(), from, self.stream) };
            }
        }
        // SAFETY: the caller has compared lengths; `from` lives until the copy is over (below).
        let copied = unsafe { result::memcpy_htod_async(to.address(), from, self.stream) };
        copied.map_err(|e| failed("copying to the card", e))?;
        self.synchronize()
    }

    pub(crate) fn download(&self, from: &Span, to: &mut [u32]) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the caller has compared lengths; `to` lives until the copy is over (below).
        let copied = unsafe { result::memcpy_dtoh_async(to, from.address(), self.stream) };
        copied.map_err(|e| failed("copying from the card", e))?;
        self.synchronize()
    }

    pub(crate) fn copy(&self, from: &Span, to: &Span) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the caller has compared lengths; spans keep their memory.
        let copied = unsafe {
            result::memcpy_dtod_async(to.address(), from.address(), 4 * from.len(), self.stream)
        };
        copied.map_err(|e| failed("copying on the card", e))
    }

    pub(crate) fn fill_zero(&self, span: &Span) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: a span lies inside its allocation.
        let filled =
            unsafe { result::memset_d8_async(span.address(), 0, 4 * span.len(), self.stream) };
        filled.map_err(|e| failed("clearing memory", e))
    }

    pub(crate) fn synchronize(&self) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the stream lives as long as `self`.
        let done = unsafe { result::stream::synchronize(self.stream) };
        done.map_err(|e| failed("waiting for the card", e))
    }

    /// # Safety
    /// As `Device::launch`.
    pub(crate) unsafe fn launch(
        &self,
        kernel: &Kernel,
        launch: Launch,
        args: &Args,
    ) -> Result<(), DeviceError> {
        self.bind()?;
        let function = self.modules().function(kernel, launch.shared_bytes)?;
        let mut words = args.words();
        let mut pointers: Vec<*mut c_void> = words
            .iter_mut()
            .map(|w| std::ptr::from_mut(w).cast())
            .collect();
        let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
        // SAFETY: the function is loaded; each pointer leads to the bytes of one argument, which the
        // driver copies before it returns; the caller answers for the rest.
        let launched = unsafe {
            let shape = ((gx, gy, gz), (bx, by, bz));
            result::launch_kernel(
                function,
                shape.0,
                shape.1,
                launch.shared_bytes,
                self.stream,
                &mut pointers,
            )
        };
        launched.map_err(|e| DeviceError::Launch {
            kernel: kernel.to_string(),
            reason: format!("{} with {launch:?}", words_of(e)),
        })
    }

    /// As `Device::prepare`.
    pub(crate) fn prepare(
        &self,
        sources: &[&'static Source],
        begins: impl FnOnce(usize),
    ) -> Result<(), DeviceError> {
        self.bind()?;
        self.modules().prepare(sources, begins)
    }

    fn modules(&self) -> MutexGuard<'_, Modules> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the context current in this thread.
    fn bind(&self) -> Result<(), DeviceError> {
        // SAFETY: the context is retained as long as `self`.
        unsafe { result::ctx::set_current(self.context) }
            .map_err(|e| failed("entering the card's context", e))
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.bind().is_err() {
            return;
        }
        let modules = self.modules.get_mut();
        let modules = modules.unwrap_or_else(PoisonError::into_inner);
        let staging = self.staging.get_mut();
        let staging = staging.unwrap_or_else(PoisonError::into_inner).take();
        // SAFETY: created and retained in `new`, or made later; everything that was launched or copied is
        // over when the stream is.
        unsafe {
            if !self.stream.is_null() {
                let _ = result::stream::synchronize(self.stream);
            }
            modules.unload();
            if !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            if let Some(staging) = staging {
                staging.free();
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

fn find(ordinal: usize) -> Result<sys::CUdevice, DeviceError> {
    let none = |count, reason| DeviceError::NoDevice {
        ordinal,
        count,
        reason,
    };
    result::init().map_err(|e| none(0, words_of(e)))?;
    let count = result::device::get_count().map_err(|e| none(0, words_of(e)))?;
    let count = usize::try_from(count).unwrap_or(0);
    if ordinal >= count {
        let reason = "they are numbered from 0; CUDA_VISIBLE_DEVICES hides others".to_owned();
        return Err(none(count, reason));
    }
    result::device::get(ordinal as i32).map_err(|e| none(count, words_of(e)))
}

fn describe(device: sys::CUdevice) -> Result<(String, nvrtc::Capability), DeviceError> {
    use sys::CUdevice_attribute as Attribute;
    let name =
        result::device::get_name(device).map_err(|e| failed("asking for the card's name", e))?;
    // SAFETY: `device` comes from the driver.
    let ask = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    let major = ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    let minor = ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    match (major, minor) {
        (Ok(major), Ok(minor)) => Ok((name, (major, minor))),
        (Err(e), _) | (_, Err(e)) => Err(failed("asking for the compute capability", e)),
    }
}

fn failed(call: &'static str, error: DriverError) -> DeviceError {
    let reason = words_of(error);
    DeviceError::Driver { call, reason }
}

/// The driver's name and description of an error, and who may be to blame.
fn words_of(error: DriverError) -> String {
    let blame = match is_of_execution(error.0) {
        true => " (an earlier kernel may have failed)",
        false => "",
    };
    match error.error_string() {
        Ok(text) => format!("{:?}: {}{blame}", error.0, text.to_string_lossy()),
        Err(_) => format!("{:?}{blame}", error.0),
    }
}

/// Whether an error is one of a kernel that was running: any later call may return it, and does from then
/// on, because the context is broken.
const fn is_of_execution(code: sys::CUresult) -> bool {
    use sys::CUresult as Code;
    matches!(
        code,
        Code::CUDA_ERROR_ILLEGAL_ADDRESS
            | Code::CUDA_ERROR_LAUNCH_FAILED
            | Code::CUDA_ERROR_MISALIGNED_ADDRESS
            | Code::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | Code::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | Code::CUDA_ERROR_INVALID_PC
            | Code::CUDA_ERROR_HARDWARE_STACK_ERROR
            | Code::CUDA_ERROR_LAUNCH_TIMEOUT
            | Code::CUDA_ERROR_ASSERT
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::CUresult as Code;

    #[test]
    fn errors_of_running_kernels_are_told_from_those_of_a_call() {
        for code in [
            Code::CUDA_ERROR_ILLEGAL_ADDRESS,
            Code::CUDA_ERROR_LAUNCH_FAILED,
            Code::CUDA_ERROR_MISALIGNED_ADDRESS,
        ] {
            assert!(is_of_execution(code), "{code:?}");
        }
        for code in [
            Code::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
            Code::CUDA_ERROR_INVALID_VALUE,
        ] {
            assert!(!is_of_execution(code), "{code:?}");
        }
    }
}
