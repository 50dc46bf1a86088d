//! Compiled sources in a card's context, and the kernels in them.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use cudarc::driver::{DriverError, result, sys};

use super::{cache, failed, nvrtc, words_of};
use crate::{DeviceError, Kernel, Source};

/// Shared memory that every kernel may have without asking, its `__shared__` arrays included.
const FREE_SHARED_BYTES: u32 = 48 * 1024;

/// Modules by source and functions by kernel, as long as the context. It must be current wherever these
/// methods are called.
pub(super) struct Modules {
    capability: nvrtc::Capability,
    /// Where compiled sources are kept; nowhere if the user has no place for them.
    folder: Option<PathBuf>,
    modules: HashMap<*const u8, sys::CUmodule>,
    functions: HashMap<(*const u8, &'static str), Function>,
}

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// Dynamic shared memory that it may have so far.
    shared_bytes: u32,
}

impl Modules {
    /// Nothing loaded yet.
    pub(super) fn new(capability: nvrtc::Capability) -> Self {
        Self {
            capability,
            folder: cache::folder(),
            modules: HashMap::new(),
            functions: HashMap::new(),
        }
    }

    /// The function of a kernel that may have so much dynamic shared memory, compiled and loaded at first
    /// use.
    pub(super) fn function(
        &mut self,
        kernel: &Kernel,
        shared_bytes: u32,
    ) -> Result<sys::CUfunction, DeviceError> {
        let key = (kernel.source.text.as_ptr(), kernel.function);
        let mut function = match self.functions.get(&key) {
            Some(function) => *function,
            None => find(self.module(kernel.source)?, kernel)?,
        };
        if shared_bytes > function.shared_bytes {
            allow_shared(function.handle, kernel, shared_bytes)?;
            function.shared_bytes = shared_bytes;
        }
        self.functions.insert(key, function);
        Ok(function.handle)
    }

    fn module(&mut self, source: &'static Source) -> Result<sys::CUmodule, DeviceError> {
        let place = source.text.as_ptr();
        if let Some(module) = self.modules.get(&place) {
            return Ok(*module);
        }
        let binary = nvrtc::compile(source, self.capability, self.folder.as_deref())?;
        let module = load(source, &binary)?;
        self.modules.insert(place, module);
        Ok(module)
    }

    /// Compiles and loads what is neither loaded nor kept on the disk; see `Device::prepare`.
    pub(super) fn prepare(
        &mut self,
        sources: &[&'static Source],
        begins: impl FnOnce(usize),
    ) -> Result<(), DeviceError> {
        let (capability, folder) = (self.capability, self.folder.as_deref());
        let mut missing = Vec::new();
        for &source in sources {
            let known = self.modules.contains_key(&source.text.as_ptr())
                || nvrtc::is_kept(source, capability, folder)?;
            if !known {
                missing.push(source);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        begins(missing.len());
        for (source, binary) in missing
            .iter()
            .zip(compile_all(&missing, capability, folder))
        {
            let module = load(source, &binary?)?;
            self.modules.insert(source.text.as_ptr(), module);
        }
        Ok(())
    }

    /// # Safety
    /// Nothing that was launched from here is still running.
    pub(super) unsafe fn unload(&mut self) {
        self.functions.clear();
        for (_, module) in self.modules.drain() {
            // SAFETY: loaded once, unloaded once; the caller answers for what runs.
            let _ = unsafe { result::module::unload(module) };
        }
    }
}

/// Each in a thread of its own: the compiler uses one.
fn compile_all(
    sources: &[&'static Source],
    capability: nvrtc::Capability,
    folder: Option<&Path>,
) -> Vec<Result<nvrtc::Binary, DeviceError>> {
    std::thread::scope(|scope| {
        let compile = |source| move || nvrtc::compile(source, capability, folder);
        let started: Vec<_> = sources
            .iter()
            .map(|&source| scope.spawn(compile(source)))
            .collect();
        let joined = started.into_iter().map(|one| one.join());
        joined
            .map(|one| one.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn load(source: &Source, binary: &nvrtc::Binary) -> Result<sys::CUmodule, DeviceError> {
    // SAFETY: the image is a cubin or zero-terminated PTX; the driver copies it.
    let module = unsafe { result::module::load_data(binary.image.as_ptr().cast()) };
    module.map_err(|e| DeviceError::Launch {
        kernel: source.name.to_owned(),
        reason: format!(
            "the driver does not load what NVRTC {:?} compiled ({}){}",
            nvrtc::version().unwrap_or_default(),
            words_of(e),
            advice(e.0)
        ),
    })
}

/// What helps against an image that the driver does not understand.
const fn advice(code: sys::CUresult) -> &'static str {
    use sys::CUresult as Code;
    match code {
        Code::CUDA_ERROR_NO_BINARY_FOR_GPU
        | Code::CUDA_ERROR_INVALID_IMAGE
        | Code::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            "; update the driver or use an NVRTC that is not newer than it"
        }
        _ => "",
    }
}

fn find(module: sys::CUmodule, kernel: &Kernel) -> Result<Function, DeviceError> {
    let failure = |reason: String| DeviceError::Launch {
        kernel: kernel.to_string(),
        reason,
    };
    let name = CString::new(kernel.function).map_err(|e| failure(e.to_string()))?;
    let missing =
        |e: DriverError| failure(format!("no such function in the source ({})", words_of(e)));
    let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
    // SAFETY: the module is loaded, and so is its function.
    let (handle, arrays) = unsafe {
        let handle = result::module::get_function(module, name).map_err(missing)?;
        let arrays = result::function::get_function_attribute(handle, attribute);
        (
            handle,
            arrays.map_err(|e| failed("asking for shared memory", e))?,
        )
    };
    let shared_bytes = FREE_SHARED_BYTES.saturating_sub(arrays.max(0) as u32);
    Ok(Function {
        handle,
        shared_bytes,
    })
}

fn allow_shared(function: sys::CUfunction, kernel: &Kernel, bytes: u32) -> Result<(), DeviceError> {
    let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    // SAFETY: the function is loaded.
    let set =
        unsafe { result::function::set_function_attribute(function, attribute, bytes as i32) };
    set.map_err(|e| DeviceError::Launch {
        kernel: kernel.to_string(),
        reason: format!("{bytes} bytes of shared memory: {}", words_of(e)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::CUresult as Code;

    #[test]
    fn only_images_that_are_not_understood_ask_for_another_driver() {
        for (code, helps) in [
            (Code::CUDA_ERROR_NO_BINARY_FOR_GPU, true),
            (Code::CUDA_ERROR_INVALID_IMAGE, true),
            (Code::CUDA_ERROR_UNSUPPORTED_PTX_VERSION, true),
            (Code::CUDA_ERROR_OUT_OF_MEMORY, false),
            (Code::CUDA_ERROR_ILLEGAL_ADDRESS, false),
        ] {
            assert_eq!(advice(code).contains("driver"), helps, "{code:?}");
        }
    }
}
