//! The stand-in's functions, loaded as a program loads them.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cudarc::driver::sys::{
    CUcontext, CUdeviceptr, CUevent, CUfunction, CUgraph, CUgraphExec, CUmodule, CUresult, CUstream,
};
use cudarc::nvrtc::sys::{nvrtcProgram, nvrtcResult};
use libloading::Library;

pub type Answer<T = ()> = Result<T, CUresult>;

/// A context of its own, for one test at a time: an error that stays would meet the others.
pub struct Card {
    library: &'static Library,
    pub context: CUcontext,
    pub stream: CUstream,
    _alone: MutexGuard<'static, ()>,
}

/// `None` where there is no stand-in, which is said.
pub fn card() -> Option<Card> {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    static ALONE: Mutex<()> = Mutex::new(());
    let path = match viewmaker_rehearsal::library_path() {
        Ok(path) => path,
        Err(reason) => {
            println!("skipped: {reason}");
            return None;
        }
    };
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let library = LIBRARY.get_or_init(|| {
        // SAFETY: the library has no initialisers beyond Rust's.
        let library = unsafe { Library::new(path) }.unwrap();
        let count: unsafe extern "C" fn(*mut c_int) -> CUresult =
            symbol(&library, "cuDeviceGetCount");
        // SAFETY: the type is the driver's.
        let early = unsafe { count(&mut 0) };
        assert_eq!(early, CUresult::CUDA_ERROR_NOT_INITIALIZED);
        library
    });
    let mut card = Card {
        library,
        context: std::ptr::null_mut(),
        stream: std::ptr::null_mut(),
        _alone: alone,
    };
    card.init().unwrap();
    card.context = card.retain().unwrap();
    card.set_current(card.context).unwrap();
    card.stream = card.stream_create().unwrap();
    Some(card)
}

fn symbol<F: Copy>(library: &Library, name: &str) -> F {
    // SAFETY: the callers name the types that the driver's documentation has.
    unsafe { *library.get::<F>(name).unwrap() }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = self.stream_destroy(self.stream);
        self.release();
    }
}

/// A method for each function: what it is given, and what comes back through its first pointer, if anything.
macro_rules! functions {
    ($($method:ident = $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?;)*) => {
        impl Card {
            $(functions!(@ $method $name ($($arg: $type),*) $($out)?);)*
        }
    };
    (@ $method:ident $name:ident ($($arg:ident: $type:ty),*)) => {
        #[allow(clippy::too_many_arguments, reason = "the driver's")]
        pub fn $method(&self, $($arg: $type),*) -> Answer {
            let call: unsafe extern "C" fn($($type),*) -> CUresult =
                symbol(self.library, stringify!($name));
            // SAFETY: the type is the driver's; what is wrong with the arguments is what is tested.
            unsafe { call($($arg),*) }.result().map_err(|e| e.0)
        }
    };
    (@ $method:ident $name:ident ($($arg:ident: $type:ty),*) $out:ty) => {
        pub fn $method(&self, $($arg: $type),*) -> Answer<$out> {
            let call: unsafe extern "C" fn(*mut $out, $($type),*) -> CUresult =
                symbol(self.library, stringify!($name));
            let mut out = std::mem::MaybeUninit::<$out>::zeroed();
            // SAFETY: as above; the result is a number or a pointer, for which zero is a value.
            unsafe {
                call(out.as_mut_ptr(), $($arg),*).result().map_err(|e| e.0)?;
                Ok(out.assume_init())
            }
        }
    };
}

functions! {
    init_with = cuInit(flags: c_uint);
    retain_card = cuDevicePrimaryCtxRetain(device: c_int) -> CUcontext;
    release_card = cuDevicePrimaryCtxRelease_v2(device: c_int);
    set_current = cuCtxSetCurrent(context: CUcontext);
    alloc = cuMemAlloc_v2(bytes: usize) -> CUdeviceptr;
    free = cuMemFree_v2(address: CUdeviceptr);
    alloc_host_with = cuMemHostAlloc(bytes: usize, flags: c_uint) -> *mut c_void;
    free_host = cuMemFreeHost(address: *mut c_void);
    fill_on = cuMemsetD8Async(to: CUdeviceptr, value: u8, bytes: usize, stream: CUstream);
    upload_on = cuMemcpyHtoDAsync_v2(to: CUdeviceptr, from: *const c_void, bytes: usize, stream: CUstream);
    download_on = cuMemcpyDtoHAsync_v2(to: *mut c_void, from: CUdeviceptr, bytes: usize, stream: CUstream);
    copy_on = cuMemcpyDtoDAsync_v2(to: CUdeviceptr, from: CUdeviceptr, bytes: usize, stream: CUstream);
    stream_create_with = cuStreamCreate(flags: c_uint) -> CUstream;
    stream_destroy = cuStreamDestroy_v2(stream: CUstream);
    synchronize = cuStreamSynchronize(stream: CUstream);
    begin_capture = cuStreamBeginCapture_v2(stream: CUstream, mode: c_uint);
    end_capture_into = cuStreamEndCapture(stream: CUstream, graph: *mut CUgraph);
    instantiate = cuGraphInstantiateWithFlags(graph: CUgraph, flags: u64) -> CUgraphExec;
    graph_destroy = cuGraphDestroy(graph: CUgraph);
    graph_launch = cuGraphLaunch(instance: CUgraphExec, stream: CUstream);
    instance_destroy = cuGraphExecDestroy(instance: CUgraphExec);
    event_create = cuEventCreate(flags: c_uint) -> CUevent;
    event_record = cuEventRecord(event: CUevent, stream: CUstream);
    event_synchronize = cuEventSynchronize(event: CUevent);
    event_destroy = cuEventDestroy_v2(event: CUevent);
    elapsed = cuEventElapsedTime(start: CUevent, end: CUevent) -> f32;
    module_load = cuModuleLoadData(image: *const c_void) -> CUmodule;
    module_unload = cuModuleUnload(module: CUmodule);
    get_function = cuModuleGetFunction(module: CUmodule, name: *const c_char) -> CUfunction;
    set_attribute = cuFuncSetAttribute(function: CUfunction, attribute: c_int, value: c_int);
    launch_kernel = cuLaunchKernel(
        function: CUfunction, gx: c_uint, gy: c_uint, gz: c_uint, bx: c_uint, by: c_uint, bz: c_uint,
        shared: c_uint, stream: CUstream, parameters: *mut *mut c_void, extra: *mut *mut c_void
    );
    error_name_into = cuGetErrorName(code: c_int, name: *mut *const c_char);
}

impl Card {
    fn init(&self) -> Answer {
        self.init_with(0)
    }

    pub fn retain(&self) -> Answer<CUcontext> {
        self.retain_card(0)
    }

    pub fn release(&self) {
        let _ = self.release_card(0);
    }

    pub fn stream_create(&self) -> Answer<CUstream> {
        self.stream_create_with(1)
    }

    pub fn upload(&self, to: CUdeviceptr, from: *const u32, words: usize) -> Answer {
        self.upload_on(to, from.cast(), 4 * words, self.stream)
    }

    pub fn download(&self, to: *mut u32, from: CUdeviceptr, words: usize) -> Answer {
        self.download_on(to.cast(), from, 4 * words, self.stream)
    }

    /// Waits, and gives the words at an address.
    pub fn read(&self, from: CUdeviceptr, words: usize) -> Vec<u32> {
        let mut out = vec![0; words];
        self.download(out.as_mut_ptr(), from, words).unwrap();
        self.synchronize(self.stream).unwrap();
        out
    }

    pub fn alloc_host(&self, words: usize) -> *mut u32 {
        self.alloc_host_with(4 * words, 0).unwrap().cast()
    }

    pub fn end_capture(&self) -> Answer<CUgraph> {
        let mut graph = std::ptr::null_mut();
        self.end_capture_into(self.stream, &mut graph)?;
        Ok(graph)
    }

    pub fn error_name(&self, code: CUresult) -> String {
        let mut name = std::ptr::null();
        self.error_name_into(code as c_int, &mut name).unwrap();
        // SAFETY: the driver's names are static and end with a zero byte.
        unsafe { CStr::from_ptr(name) }
            .to_string_lossy()
            .into_owned()
    }

    /// The image of a source, or the compiler's words.
    pub fn compile(&self, text: &str) -> Result<Vec<u8>, String> {
        type Create = unsafe extern "C" fn(
            *mut nvrtcProgram,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> nvrtcResult;
        type Compile =
            unsafe extern "C" fn(nvrtcProgram, c_int, *const *const c_char) -> nvrtcResult;
        type Size = unsafe extern "C" fn(nvrtcProgram, *mut usize) -> nvrtcResult;
        type Bytes = unsafe extern "C" fn(nvrtcProgram, *mut c_char) -> nvrtcResult;
        type Destroy = unsafe extern "C" fn(*mut nvrtcProgram) -> nvrtcResult;
        let text = CString::new(text).unwrap();
        let option = c"--gpu-architecture=sm_90".as_ptr();
        let (library, none) = (self.library, std::ptr::null());
        let mut program = std::ptr::null_mut();
        let bytes = |size: &str, get: &str, program| {
            let mut len = 0;
            // SAFETY: the types are NVRTC's.
            unsafe {
                symbol::<Size>(library, size)(program, &mut len)
                    .result()
                    .unwrap();
                let mut out = vec![0u8; len];
                symbol::<Bytes>(library, get)(program, out.as_mut_ptr().cast())
                    .result()
                    .unwrap();
                out
            }
        };
        // SAFETY: the types are NVRTC's, and all texts end with a zero byte.
        unsafe {
            let create = symbol::<Create>(library, "nvrtcCreateProgram");
            create(
                &mut program,
                text.as_ptr(),
                c"strict.cu".as_ptr(),
                0,
                none,
                none,
            )
            .result()
            .unwrap();
            let compiled = symbol::<Compile>(library, "nvrtcCompileProgram")(program, 1, &option);
            let outcome = match compiled {
                nvrtcResult::NVRTC_SUCCESS => {
                    Ok(bytes("nvrtcGetCUBINSize", "nvrtcGetCUBIN", program))
                }
                _ => Err(bytes(
                    "nvrtcGetProgramLogSize",
                    "nvrtcGetProgramLog",
                    program,
                )),
            };
            symbol::<Destroy>(library, "nvrtcDestroyProgram")(&mut program)
                .result()
                .unwrap();
            outcome.map_err(|log| String::from_utf8(log).unwrap())
        }
    }

    /// A kernel of a source.
    pub fn load(&self, text: &str, name: &CStr) -> (CUmodule, CUfunction) {
        let image = self.compile(text).unwrap();
        let module = self.module_load(image.as_ptr().cast()).unwrap();
        (module, self.get_function(module, name.as_ptr()).unwrap())
    }
}
