//! The processor as a device: kernels are compiled as C++ against `language.h` and `runtime.h`, which
//! execute blocks with fibers as threads. For tests; see `runtime.h` for what it checks.
//!
//! [`Device::emulated`](crate::Device::emulated) is the whole device; [`Compiler`] and [`run`] are for those who
//! keep memory and order themselves.

mod library;

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::EMULATOR;
use crate::launch::{Argument, Launch};
use crate::{Args, DeviceError, Kernel, Span};
pub(crate) use library::Build;
use library::Range;
pub use library::{Compiler, Function, Library};

/// Words before and behind every allocation; a kernel that changes them wrote out of range.
const FENCE: usize = 64;
const FENCE_WORD: u32 = 0xfefe_c0de;

/// Below so many threads of a launch, starting a second system thread costs more than it saves.
const THREADS_WORTH_SHARING: u64 = 8192;

pub(crate) struct Emulator {
    compiler: Compiler,
    /// By the address of their source's text.
    libraries: Mutex<HashMap<usize, Arc<Library>>>,
    /// Held by whoever reads or writes what spans lead to: handles to one span may be in several threads,
    /// and a device does one thing after the other.
    memory: Mutex<()>,
}

impl Emulator {
    /// One that checks executes kernels on one thread and is many times slower.
    pub(crate) fn new(build: Build) -> Result<Self, DeviceError> {
        // Asked here and not of `Compiler`, which the stand-in for a driver uses as well.
        if std::env::var_os(EMULATOR).is_some_and(|word| word == "off") {
            return Err(DeviceError::EmulatorOff);
        }
        Ok(Self {
            compiler: Compiler::with(build)?,
            libraries: Mutex::default(),
            memory: Mutex::default(),
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.compiler.build {
            Build::Plain => "emulator",
            Build::Checked => "checking emulator",
            Build::Contracted => "contracting emulator",
        }
    }

    /// Zeroed words between two fences.
    pub(crate) fn alloc(&self, words: usize) -> u64 {
        let mut memory = vec![0u32; words + 2 * FENCE];
        memory[..FENCE].fill(FENCE_WORD);
        memory[FENCE + words..].fill(FENCE_WORD);
        let raw = Box::into_raw(memory.into_boxed_slice());
        (raw.cast::<u32>().wrapping_add(FENCE)) as u64
    }

    pub(crate) fn free(&self, address: u64, words: usize) {
        let start = (address as *mut u32).wrapping_sub(FENCE);
        let raw = std::ptr::slice_from_raw_parts_mut(start, words + 2 * FENCE);
        // SAFETY: exactly what `alloc` took out of its box; freed once, with the last handle.
        drop(unsafe { Box::from_raw(raw) });
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn upload(&self, to: &Span, from: &[u32]) {
        let _alone = self.alone();
        // SAFETY: the span lies inside its allocation and has the length of `from`; nobody else touches
        // the device's memory now.
        unsafe {
            std::ptr::copy_nonoverlapping(from.as_ptr(), to.address() as *mut u32, from.len())
        }
    }

    pub(crate) fn download(&self, from: &Span, to: &mut [u32]) {
        let _alone = self.alone();
        // SAFETY: the span lies inside its allocation and has the length of `to`; nobody else touches the
        // device's memory now.
        unsafe {
            std::ptr::copy_nonoverlapping(from.address() as *const u32, to.as_mut_ptr(), to.len())
        }
    }

    pub(crate) fn copy(&self, from: &Span, to: &Span) {
        let _alone = self.alone();
        // SAFETY: both spans lie inside their allocations and are equally long; nobody else touches the
        // device's memory now.
        unsafe {
            std::ptr::copy(
                from.address() as *const u32,
                to.address() as *mut u32,
                from.len(),
            )
        }
    }

    pub(crate) fn fill_zero(&self, span: &Span) {
        let _alone = self.alone();
        // SAFETY: the span lies inside its allocation, and nobody else touches the device's memory now.
        unsafe { std::ptr::write_bytes(span.address() as *mut u32, 0, span.len()) }
    }

    /// # Safety
    /// As `Device::launch`.
    pub(crate) unsafe fn launch(
        &self,
        kernel: &Kernel,
        launch: Launch,
        args: &Args,
    ) -> Result<(), DeviceError> {
        let library = self.library(kernel)?;
        let failure = |reason: String| DeviceError::Launch {
            kernel: kernel.to_string(),
            reason,
        };
        let function = library.function(kernel.function).map_err(failure)?;
        let given: String = args.list.iter().map(Argument::letter).collect();
        if given != function.signature {
            return Err(failure(format!(
                "parameters are \"{}\", arguments \"{given}\" (p pointer, i int, u unsigned, l u64, f float)",
                function.signature
            )));
        }
        let _alone = self.alone();
        // SAFETY: the signature was compared; the caller answers for the spans, which nobody else touches
        // now.
        unsafe { run_within(&function, &launch, &args.words(), &ranges(args)) }.map_err(failure)?;
        fences(args).map_err(failure)
    }

    fn library(&self, kernel: &Kernel) -> Result<Arc<Library>, DeviceError> {
        let mut libraries = self
            .libraries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = kernel.source.text.as_ptr() as usize;
        if let Some(library) = libraries.get(&key) {
            return Ok(Arc::clone(library));
        }
        let library = Arc::new(self.compiler.compile(kernel.source)?);
        libraries.insert(key, Arc::clone(&library));
        Ok(library)
    }
}

/// What the pointers of a launch lead to.
fn ranges(args: &Args) -> Vec<Range> {
    let spans = args.list.iter().filter_map(|argument| match argument {
        Argument::Pointer(Some(span)) => Some(span),
        _ => None,
    });
    let bytes = |words: usize| 4 * words as u64;
    let range = |span: &Span| {
        let buffer = span.address() - bytes(span.start());
        Range {
            start: span.address(),
            end: span.address() + bytes(span.len()),
            fence_start: buffer - bytes(FENCE),
            fence_end: buffer + bytes(span.buffer().len() + FENCE),
        }
    };
    spans.map(range).collect()
}

/// Executes all blocks of a launch, on several system threads where there is work for them. `words` are the
/// arguments, each in the first bytes of its word.
///
/// # Errors
/// What the kernel did that a kernel must not do, in words.
///
/// # Safety
/// The words match `function.signature`, and pointers lead to as much memory as the kernel reads and writes.
pub unsafe fn run(function: &Function<'_>, launch: &Launch, words: &[u64]) -> Result<(), String> {
    // SAFETY: promised by the caller.
    unsafe { run_within(function, launch, words, &[]) }
}

/// [`run`], with what the pointers lead to.
///
/// # Safety
/// As `run`.
unsafe fn run_within(
    function: &Function<'_>,
    launch: &Launch,
    words: &[u64],
    ranges: &[Range],
) -> Result<(), String> {
    // The kernel reads its arguments through raw pointers, on several threads.
    let words: Vec<UnsafeCell<u64>> = words.iter().copied().map(UnsafeCell::new).collect();
    let pointers: Vec<usize> = words.iter().map(|w| w.get() as usize).collect();
    let next = AtomicU64::new(0);
    // SAFETY: promised by the caller.
    let run = || unsafe { function.run(launch, &pointers, ranges, &next) };
    let helpers = match function.checked {
        true => 0,
        false => helpers(launch),
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(run)).collect();
        let own = run();
        let joined = helpers.into_iter().map(|h| h.join());
        let others = joined.map(|h| h.unwrap_or_else(|_| Err("panic".to_owned())));
        // Every helper is joined before anything is returned.
        let outcomes: Vec<_> = std::iter::once(own).chain(others).collect();
        outcomes.into_iter().collect()
    })
}

/// System threads besides this one.
fn helpers(launch: &Launch) -> u64 {
    let blocks: u64 = launch.grid.iter().map(|&n| u64::from(n)).product();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let worth = blocks * launch.threads() / THREADS_WORTH_SHARING;
    cores.min(blocks).min(worth).saturating_sub(1)
}

/// Whether the words around all buffers of a launch are as they were.
fn fences(args: &Args) -> Result<(), String> {
    for (number, argument) in args.list.iter().enumerate() {
        let Argument::Pointer(Some(span)) = argument else {
            continue;
        };
        let (words, start) = (
            span.buffer().len(),
            span.address() - 4 * span.start() as u64,
        );
        let before = (start as *const u32).wrapping_sub(FENCE);
        let behind = (start as *const u32).wrapping_add(words);
        for (side, fence) in [("before", before), ("behind", behind)] {
            // SAFETY: `alloc` placed FENCE words on either side; the launch is over.
            let fence = unsafe { std::slice::from_raw_parts(fence, FENCE) };
            if fence.iter().any(|&word| word != FENCE_WORD) {
                return Err(format!(
                    "wrote {side} the buffer of argument {number} ({words} words)"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Device;

    /// What several threads do to one span happens one after the other.
    #[test]
    fn copies_of_two_threads_do_not_mix() {
        const LEN: usize = 1 << 20;
        let device = match Device::emulated() {
            Ok(device) => device,
            Err(reason) => return println!("skipped: {reason}"),
        };
        let span = device.alloc(LEN).unwrap().all();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..60 {
                    let values = vec![1.0 + (round % 2) as f32; LEN];
                    device.upload(&span.clone(), &values).unwrap();
                    device.fill_zero(&span.clone()).unwrap();
                }
            });
            let mut seen = vec![0.0; LEN];
            for _ in 0..60 {
                device.download(&span, &mut seen).unwrap();
                let first = seen[0];
                let other = seen.iter().position(|x| *x != first);
                assert_eq!(other, None, "{first} at first");
            }
        });
    }
}
