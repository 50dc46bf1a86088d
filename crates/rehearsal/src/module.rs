//! Modules, their functions, and launches.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use cudarc::driver::sys::{CUfunction, CUfunction_attribute_enum as Attribute, CUmodule, CUstream};
use viewmaker_device::Launch;
use viewmaker_device::emulator::Library;

use crate::context::capability;
use crate::errors::{Answer, CUresult, Out, answer, complain};
use crate::image;
use crate::limits::{self, FREE_SHARED};
use crate::state::{find, in_context};
use crate::work::Work;

/// A loaded image.
pub(crate) struct Module {
    pub(crate) context: usize,
    text: &'static str,
    library: Arc<Library>,
    functions: HashMap<String, usize>,
}

/// A kernel of a module.
pub(crate) struct Function {
    pub(crate) context: usize,
    code: Arc<Code>,
    /// Dynamic shared memory that it may have.
    shared: usize,
    /// What its launch bounds say.
    threads: Option<u64>,
}

/// What is needed to execute a kernel.
pub(crate) struct Code {
    pub(crate) module: usize,
    pub(crate) library: Arc<Library>,
    pub(crate) name: String,
    pub(crate) signature: String,
}

/// Loads an image of `nvrtc.rs`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: Out<CUmodule>, data: *const c_void) -> CUresult {
    answer("cuModuleLoadData", || {
        in_context(|state, context| state.outside_capture(context, "loading a module", false))?;
        // SAFETY: the caller gives an image: a cubin, text with a zero byte at its end, or one of ours.
        let source = unsafe { image::read(data.cast()) }?;
        let text = source.text;
        let library = image::compile(source).map_err(|words| {
            complain(&words);
            CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        })?;
        in_context(|state, context| {
            let handle = state.handle();
            let made = Module {
                context,
                text,
                library: Arc::new(library),
                functions: HashMap::new(),
            };
            state.modules.insert(handle, made);
            module.put(handle as CUmodule)
        })
    })
}

/// Ends a module with its functions; what is queued of it never runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: CUmodule) -> CUresult {
    answer("cuModuleUnload", || {
        in_context(|state, context| {
            state.outside_capture(context, "unloading a module", true)?;
            let handle = module as usize;
            find(&mut state.modules, handle, context)?;
            state.modules.remove(&handle);
            state.functions.retain(|_, f| f.code.module != handle);
            Ok(())
        })
    })
}

/// The kernel with a name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: Out<CUfunction>,
    module: CUmodule,
    name: *const c_char,
) -> CUresult {
    answer("cuModuleGetFunction", || {
        if name.is_null() {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        // SAFETY: the caller's name ends with a zero byte.
        let name = unsafe { CStr::from_ptr(name) }
            .to_string_lossy()
            .into_owned();
        in_context(|state, context| {
            let fresh = state.handle();
            let module_handle = module as usize;
            let module = find(&mut state.modules, module_handle, context)?;
            if let Some(known) = module.functions.get(&name) {
                return function.put(*known as CUfunction);
            }
            let found = module.library.function(&name);
            let signature = found.map_err(|_| CUresult::CUDA_ERROR_NOT_FOUND)?.signature;
            let code = Arc::new(Code {
                module: module_handle,
                library: Arc::clone(&module.library),
                name: name.clone(),
                signature,
            });
            let threads = limits::bounds(module.text, &name);
            module.functions.insert(name, fresh);
            let made = Function {
                context,
                code,
                shared: FREE_SHARED,
                threads,
            };
            state.functions.insert(fresh, made);
            function.put(fresh as CUfunction)
        })
    })
}

/// The shared memory of a kernel's own arrays, which is not known here: 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(
    value: Out<c_int>,
    attribute: c_int,
    function: CUfunction,
) -> CUresult {
    const ARRAYS: c_int = Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES as c_int;
    answer("cuFuncGetAttribute", || {
        in_context(|state, context| {
            find(&mut state.functions, function as usize, context)?;
            match attribute {
                ARRAYS => value.put(0),
                _ => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
            }
        })
    })
}

/// Allows a kernel more dynamic shared memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(
    function: CUfunction,
    attribute: c_int,
    value: c_int,
) -> CUresult {
    const SHARED: c_int = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as c_int;
    answer("cuFuncSetAttribute", || {
        in_context(|state, context| {
            let function = find(&mut state.functions, function as usize, context)?;
            let most = limits::most_shared(capability());
            let bytes = usize::try_from(value).ok().filter(|b| *b <= most);
            match (attribute, bytes) {
                (SHARED, Some(bytes)) => {
                    function.shared = bytes.max(FREE_SHARED);
                    Ok(())
                }
                _ => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
            }
        })
    })
}

/// Queues a kernel; its arguments are read here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: CUfunction,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: CUstream,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> CUresult {
    let launch = Launch {
        grid: [grid_x, grid_y, grid_z],
        block: [block_x, block_y, block_z],
        shared_bytes,
    };
    answer("cuLaunchKernel", || {
        in_context(|state, context| {
            let found = find(&mut state.functions, function as usize, context)?;
            limits::check(&launch, found.shared, found.threads)?;
            if !extra.is_null() {
                complain("launches with `extra` are not rehearsed");
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            let code = Arc::clone(&found.code);
            // SAFETY: the caller gives a pointer to each argument of the kernel.
            let words = unsafe { arguments(&code.signature, parameters) }?;
            state.submit(context, stream, Work::Launch(code, launch, words))
        })
    })
}

/// Each argument in the first bytes of a word.
///
/// # Safety
/// `parameters` are as many pointers as the signature has letters, each to a value of that type.
unsafe fn arguments(signature: &str, parameters: *mut *mut c_void) -> Answer<Vec<u64>> {
    let mut words = Vec::new();
    for (number, letter) in signature.chars().enumerate() {
        let bytes = if matches!(letter, 'p' | 'l') { 8 } else { 4 };
        if parameters.is_null() {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        let mut word = [0u8; 8];
        // SAFETY: promised by the caller.
        unsafe {
            let from = parameters.add(number).read();
            if from.is_null() {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), word.as_mut_ptr(), bytes);
        }
        words.push(u64::from_ne_bytes(word));
    }
    Ok(words)
}
