//! A device: memory, copies, launches, graphs and timing behind one handle.

mod graph;

use std::sync::{Arc, Mutex, PoisonError};

use crate::cuda::Cuda;
#[cfg(feature = "emulator")]
use crate::emulator::{Build, Emulator};
use crate::launch::Launch;
use crate::{Args, Buffer, DeviceError, Kernel, Source, Span};
pub use graph::{Event, Graph};
use graph::{Moment, Recording};

/// What the emulator does in tests: `checked`, `off`, or nothing special.
#[cfg(feature = "emulator")]
pub(crate) const EMULATOR: &str = "VIEWMAKER_EMULATOR";
/// `1` where a test without a card must fail.
#[cfg(feature = "emulator")]
const NEED_CARD: &str = "VIEWMAKER_TESTS_NEED_CARD";

/// A device that executes kernels in the order of their launches.
///
/// Cloning gives another handle to the same device. Launches, copies on the device and
/// [`fill_zero`](Self::fill_zero) may return before they are done, and copies from the host when its
/// memory may be changed; copies to the host wait.
#[derive(Clone)]
pub struct Device(Arc<Shared>);

struct Shared {
    backend: Backend,
    /// What has been called since `capture` began.
    recorded: Mutex<Option<Vec<Command>>>,
}

#[derive(Clone)]
enum Backend {
    Cuda(Arc<Cuda>),
    #[cfg(feature = "emulator")]
    Emulated(Arc<Emulator>),
}

/// Work that a graph can hold.
enum Command {
    Launch(Kernel, Launch, Args),
    Copy(Span, Span),
    FillZero(Span),
}

impl Device {
    /// The CUDA card with number `ordinal`, counted from 0.
    ///
    /// # Errors
    /// When the driver, the card or the run-time compiler is missing, or the card is too old.
    pub fn cuda(ordinal: usize) -> Result<Self, DeviceError> {
        Ok(Self::new(Backend::Cuda(Arc::new(Cuda::new(ordinal)?))))
    }

    /// The processor, executing kernels as the system's C++ compiler translates them. Slow; for tests.
    ///
    /// # Errors
    /// When there is no C++ compiler, or with `VIEWMAKER_EMULATOR=off` in the environment.
    #[cfg(feature = "emulator")]
    pub fn emulated() -> Result<Self, DeviceError> {
        Self::emulator(Build::Plain)
    }

    /// [`emulated`](Self::emulated), and every access of a kernel to memory is looked at: a launch fails
    /// when two threads race for a word, when a kernel leaves the spans it was given or reads
    /// `__shared__` memory that nobody wrote, when an address is not aligned as its type asks, an index
    /// leaves its array, or an integer overflows. Many times slower.
    ///
    /// # Errors
    /// As [`emulated`](Self::emulated).
    #[cfg(feature = "emulator")]
    pub fn checked() -> Result<Self, DeviceError> {
        Self::emulator(Build::Checked)
    }

    /// [`emulated`](Self::emulated), with a product and the sum behind it rounded once wherever the compiler finds
    /// the two, as the compilers for cards have it: a kernel that takes two roundings for granted shows here.
    ///
    /// # Errors
    /// When there is no C++ compiler, and `NoFusion`.
    #[cfg(feature = "emulator")]
    pub fn contracted() -> Result<Self, DeviceError> {
        Self::emulator(Build::Contracted)
    }

    #[cfg(feature = "emulator")]
    fn emulator(build: Build) -> Result<Self, DeviceError> {
        let emulator = Emulator::new(build)?;
        Ok(Self::new(Backend::Emulated(Arc::new(emulator))))
    }

    /// What tests run on: the emulator, and the first card. What is missing is printed with its reason.
    /// `VIEWMAKER_EMULATOR=checked` or `=contracted` in the environment names another emulator, with `off` there
    /// is none.
    ///
    /// # Panics
    /// With `VIEWMAKER_TESTS_NEED_CARD=1` in the environment, when the card cannot be had: a test that was
    /// meant for it must not pass without it.
    #[cfg(feature = "emulator")]
    pub fn present() -> Vec<Self> {
        let is = |name, value| std::env::var_os(name).is_some_and(|word| word == value);
        let emulated = match std::env::var(EMULATOR).as_deref() {
            Ok("checked") => Self::checked(),
            Ok("contracted") => Self::contracted(),
            _ => Self::emulated(),
        };
        let card = Self::cuda(0);
        if let (Err(reason), true) = (&card, is(NEED_CARD, "1")) {
            panic!("{NEED_CARD}=1: {reason}");
        }
        let found = [("emulator", emulated), ("CUDA", card)];
        let present = found.into_iter().filter_map(|(name, device)| {
            device
                .map_err(|reason| println!("skipped on {name}: {reason}"))
                .ok()
        });
        present.collect()
    }

    fn new(backend: Backend) -> Self {
        let recorded = Mutex::new(None);
        Self(Arc::new(Shared { backend, recorded }))
    }

    /// What the device calls itself.
    pub fn name(&self) -> &str {
        match &self.0.backend {
            Backend::Cuda(cuda) => cuda.name(),
            #[cfg(feature = "emulator")]
            Backend::Emulated(emulator) => emulator.name(),
        }
    }

    /// The card's compute capability, `(9, 0)`; `None` for the emulator.
    pub fn capability(&self) -> Option<(i32, i32)> {
        match &self.0.backend {
            Backend::Cuda(cuda) => Some(cuda.capability()),
            #[cfg(feature = "emulator")]
            Backend::Emulated(_) => None,
        }
    }

    /// Compiles the sources that the cache on the disk does not have, all at the same time, so that no launch
    /// has to wait for the compiler; `begins` is told how many there are, if any. Without this a source is
    /// compiled at the first launch of one of its kernels. The emulator does so in any case.
    ///
    /// # Errors
    /// `NoNvrtc`; `Compile` when a source does not compile; `Launch` when the driver refuses the result.
    pub fn prepare(
        &self,
        sources: &[&'static Source],
        begins: impl FnOnce(usize),
    ) -> Result<(), DeviceError> {
        match &self.0.backend {
            Backend::Cuda(cuda) => cuda.prepare(sources, begins),
            #[cfg(feature = "emulator")]
            Backend::Emulated(_) => Ok(()),
        }
    }

    /// Bytes that are free and bytes that there are; the emulator knows no limit.
    ///
    /// # Errors
    /// When the driver does not answer.
    pub fn memory(&self) -> Result<(usize, usize), DeviceError> {
        match &self.0.backend {
            Backend::Cuda(cuda) => cuda.memory(),
            #[cfg(feature = "emulator")]
            Backend::Emulated(_) => Ok((usize::MAX, usize::MAX)),
        }
    }

    /// Allocates `words` zeroed words of 4 bytes.
    ///
    /// # Errors
    /// `OutOfMemory`; `Capturing` inside a capture.
    pub fn alloc(&self, words: usize) -> Result<Buffer, DeviceError> {
        self.outside_capture("allocating")?;
        let address = match &self.0.backend {
            Backend::Cuda(cuda) => cuda.alloc(words)?,
            #[cfg(feature = "emulator")]
            Backend::Emulated(emulator) => emulator.alloc(words),
        };
        Ok(Buffer::new(self.clone(), address, words))
    }

    pub(crate) fn free(&self, address: u64, words: usize) {
        match &self.0.backend {
            Backend::Cuda(cuda) => {
                let _ = words;
                cuda.free(address);
            }
            #[cfg(feature = "emulator")]
            Backend::Emulated(emulator) => emulator.free(address, words),
        }
    }

    /// Copies `from` to the device, for whatever is launched next; returns when `from` may be changed.
    ///
    /// # Errors
    /// `Capturing` inside a capture; when the driver fails.
    ///
    /// # Panics
    /// When lengths differ or the span is another device's.
    pub fn upload(&self, to: &Span, from: &[f32]) -> Result<(), DeviceError> {
        self.upload_u32(to, bytemuck::cast_slice(from))
    }

    /// [`upload`](Self::upload) for integers.
    ///
    /// # Errors
    /// As `upload`.
    ///
    /// # Panics
    /// As `upload`.
    pub fn upload_u32(&self, to: &Span, from: &[u32]) -> Result<(), DeviceError> {
        assert_eq!(to.len(), from.len(), "upload: lengths differ");
        self.owns(to);
        self.outside_capture("a copy from the host")?;
        if from.is_empty() {
            return Ok(());
        }
        match &self.0.backend {
            Backend::Cuda(cuda) => cuda.upload(to, from),
            #[cfg(feature = "emulator")]
            Backend::Emulated(emulator) => {
                emulator.upload(to, from);
                Ok(())
            }
        }
    }

    /// Waits for all launches, then copies `from` to the host.
    ///
    /// # Errors
    /// `Capturing` inside a capture; when the driver or an earlier kernel fails.
    ///
    /// # Panics
    /// When lengths differ or the span is another device's.
    pub fn download(&self, from: &Span, to: &mut [f32]) -> Result<(), DeviceError> {
        self.download_u32(from, bytemuck::cast_slice_mut(to))
    }

    /// [`download`](Self::download) for integers.
    ///
    /// # Errors
    /// As `download`.
    ///
    /// # Panics
    /// As `download`.
    pub fn download_u32(&self, from: &Span, to: &mut [u32]) -> Result<(), DeviceError> {
        assert_eq!(from.len(), to.len(), "download: lengths differ");
        self.owns(from);
        self.outside_capture("a copy to the host")?;
        if to.is_empty() {
            return Ok(());
        }
        match &self.0.backend {
            Backend::Cuda(cuda) => cuda.download(from, to),
            #[cfg(feature = "emulator")]
            Backend::Emulated(emulator) => {
                emulator.download(from, to);
                Ok(())
            }
        }
    }

    /// Copies words on the device. The spans must not overlap.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When lengths differ, spans are another device's or overlap.
    pub fn copy(&self, from: &Span, to: &Span) -> Result<(), DeviceError> {
        assert_eq!(from.len(), to.len(), "copy: lengths differ");
        let (a, b, bytes) = (from.address(), to.address(), 4 * from.len() as u64);
        assert!(a + bytes <= b || b + bytes <= a, "copy: spans overlap");
        self.owns(from);
        self.owns(to);
        self.submit(Command::Copy(from.clone(), to.clone()))
    }

    /// Sets words to zero.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When the span is another device's.
    pub fn fill_zero(&self, span: &Span) -> Result<(), DeviceError> {
        self.owns(span);
        self.submit(Command::FillZero(span.clone()))
    }

    /// Waits until everything that was called is done.
    ///
    /// # Errors
    /// When an earlier kernel failed; `Capturing` inside a capture.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.outside_capture("waiting")?;
        match &self.0.backend {
            Backend::Cuda(cuda) => cuda.synchronize(),
            #[cfg(feature = "emulator")]
            Backend::Emulated(_) => Ok(()),
        }
    }

    /// Executes a kernel, compiling its source at first use.
    ///
    /// # Errors
    /// `Compile` when the source does not compile, `Launch` when the kernel does not start. A card
    /// reports what goes wrong during execution at the next call that waits.
    ///
    /// # Panics
    /// When a span is another device's.
    ///
    /// # Safety
    /// The arguments match the kernel's parameters in number, order and type, and every span is as
    /// long as the kernel reads or writes with these arguments.
    pub unsafe fn launch(
        &self,
        kernel: &Kernel,
        launch: Launch,
        args: Args,
    ) -> Result<(), DeviceError> {
        for argument in &args.list {
            if let crate::launch::Argument::Pointer(Some(span)) = argument {
                self.owns(span);
            }
        }
        if launch.threads() > 1024 || launch.threads() == 0 || launch.grid.contains(&0) {
            return Err(DeviceError::Launch {
                kernel: kernel.to_string(),
                reason: format!("blocks have 1 to 1024 threads and grids no side of 0: {launch:?}"),
            });
        }
        self.submit(Command::Launch(*kernel, launch, args))
    }

    /// Records the launches, copies and fills that `work` calls, without executing them.
    ///
    /// Other threads must not use the device meanwhile. The graph keeps the buffers that it uses.
    ///
    /// # Errors
    /// Those of `work`; `Capturing` when it calls something that waits, allocates or captures; when
    /// the driver fails.
    pub fn capture(
        &self,
        work: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<Graph, DeviceError> {
        self.outside_capture("another capture")?;
        match &self.0.backend {
            Backend::Cuda(cuda) => cuda.begin_capture()?,
            #[cfg(feature = "emulator")]
            Backend::Emulated(_) => (),
        }
        *self.recorded() = Some(Vec::new());
        // If `work` panics, this ends the capture all the same.
        let recording = Recording(self);
        let worked = work();
        let (commands, graph) = recording.end();
        worked?;
        Ok(Graph {
            device: self.clone(),
            commands,
            graph: graph?,
        })
    }

    /// Records the present moment, to measure how long what follows takes on the device.
    ///
    /// # Errors
    /// When the driver fails; `Capturing` inside a capture.
    pub fn event(&self) -> Result<Event, DeviceError> {
        self.outside_capture("an event")?;
        Ok(Event(match &self.0.backend {
            Backend::Cuda(cuda) => Moment::Cuda(cuda.event()?),
            #[cfg(feature = "emulator")]
            Backend::Emulated(_) => Moment::Host(std::time::Instant::now()),
        }))
    }

    fn submit(&self, command: Command) -> Result<(), DeviceError> {
        let mut recorded = self.recorded();
        match &mut *recorded {
            None => {
                drop(recorded);
                self.execute(&command)
            }
            Some(list) => {
                // A card captures what is called; the emulator executes the list later.
                if matches!(self.0.backend, Backend::Cuda(_)) {
                    self.execute(&command)?;
                }
                list.push(command);
                Ok(())
            }
        }
    }

    fn execute(&self, command: &Command) -> Result<(), DeviceError> {
        match (&self.0.backend, command) {
            // SAFETY: promised by the caller of `launch`.
            (Backend::Cuda(cuda), Command::Launch(kernel, launch, args)) => unsafe {
                cuda.launch(kernel, *launch, args)
            },
            (Backend::Cuda(cuda), Command::Copy(from, to)) if !from.is_empty() => {
                cuda.copy(from, to)
            }
            (Backend::Cuda(cuda), Command::FillZero(span)) if !span.is_empty() => {
                cuda.fill_zero(span)
            }
            (Backend::Cuda(_), _) => Ok(()),
            #[cfg(feature = "emulator")]
            // SAFETY: promised by the caller of `launch`.
            (Backend::Emulated(emulator), Command::Launch(kernel, launch, args)) => unsafe {
                emulator.launch(kernel, *launch, args)
            },
            #[cfg(feature = "emulator")]
            (Backend::Emulated(emulator), Command::Copy(from, to)) => {
                emulator.copy(from, to);
                Ok(())
            }
            #[cfg(feature = "emulator")]
            (Backend::Emulated(emulator), Command::FillZero(span)) => {
                emulator.fill_zero(span);
                Ok(())
            }
        }
    }

    fn recorded(&self) -> std::sync::MutexGuard<'_, Option<Vec<Command>>> {
        self.0
            .recorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn outside_capture(&self, what: &'static str) -> Result<(), DeviceError> {
        match &*self.recorded() {
            None => Ok(()),
            Some(_) => Err(DeviceError::Capturing { what }),
        }
    }

    fn owns(&self, span: &Span) {
        let same = Arc::ptr_eq(&self.0, &span.buffer().device().0);
        assert!(same, "the span lies on another device");
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({})", self.name())
    }
}
