//! Compiles a kernel source with the system's C++ compiler and loads the result.

use std::error::Error as _;
use std::ffi::{CStr, OsString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cuda::cache;
use crate::launch::Launch;
use crate::{DeviceError, Source};

/// In the order in which a translation unit has them.
const HEADERS: [(&str, &str); 5] = [
    ("context.h", include_str!("context.h")),
    ("checks.h", include_str!("checks.h")),
    ("runtime.h", include_str!("runtime.h")),
    ("checks_hooks.h", include_str!("checks_hooks.h")),
    ("language.h", include_str!("language.h")),
];

/// `-ffp-contract=off`: what a kernel writes as product and sum is rounded twice. The fortified
/// `longjmp` of some distributions takes a switch of stacks for an error.
const OPTIONS: &[&str] = &[
    "-std=c++17",
    "-O2",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fno-exceptions",
    "-U_FORTIFY_SOURCE",
    "-fPIC",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
    "-Wno-unused-parameter",
];

/// What the compiler adds to look at every access (`checks.h`). `-g1`: complaints name lines.
const CHECKED: &[&str] = &[
    "-DVIEWMAKER_CHECKED",
    "-g1",
    "-fsanitize=thread,alignment,bounds,shift,signed-integer-overflow,integer-divide-by-zero",
];

/// What the compiler adds to round a product and the sum behind it only once, as those for cards do.
const CONTRACTED: &[&str] = &[
    "-DVIEWMAKER_CONTRACTED",
    "-ffp-contract=fast",
    #[cfg(target_arch = "x86_64")]
    "-mfma",
];

/// What kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// Every operation is rounded.
    Plain,
    /// The same, and every access is looked at.
    Checked,
    /// Products and sums become one operation wherever the compiler finds them.
    Contracted,
}

impl Build {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::Checked => CHECKED,
            Self::Contracted => CONTRACTED,
        }
    }
}

/// Whether this processor has an instruction for a product and a sum.
fn fuses() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// The system's C++ compiler.
pub struct Compiler {
    program: OsString,
    version: String,
    options: Vec<&'static str>,
    pub(super) build: Build,
}

impl Compiler {
    /// `$CXX`, then the usual names.
    ///
    /// # Errors
    /// `NoCompiler` when none of them answers.
    pub fn find() -> Result<Self, DeviceError> {
        Self::with(Build::Plain)
    }

    /// The same, for one of the builds.
    pub(super) fn with(build: Build) -> Result<Self, DeviceError> {
        if build == Build::Contracted && !fuses() {
            return Err(DeviceError::NoFusion);
        }
        let named = std::env::var_os("CXX").filter(|name| !name.is_empty());
        let usual = ["c++", "g++", "clang++"].map(OsString::from);
        let candidates: Vec<OsString> = named.into_iter().chain(usual).collect();
        for program in &candidates {
            if let Some(version) = version(program) {
                return Ok(Self {
                    program: program.clone(),
                    version,
                    options: [OPTIONS, build.options()].concat(),
                    build,
                });
            }
        }
        let tried: Vec<_> = candidates.iter().map(|c| c.to_string_lossy()).collect();
        let tried = tried.join(", ");
        Err(DeviceError::NoCompiler { tried })
    }

    /// Compiles and loads `source`; a library that an earlier process compiled is used again.
    ///
    /// # Errors
    /// `Compile` with the compiler's words.
    pub fn compile(&self, source: &Source) -> Result<Library, DeviceError> {
        let text = translation_unit(source);
        let error = |log: String| DeviceError::Compile {
            file: source.name.to_owned(),
            target: "the emulator".to_owned(),
            log,
        };
        let program = self.program.to_string_lossy();
        let parts = [&text, &*program, &self.version, &self.options.join(" ")];
        let key = cache::hash(&parts.map(|part: &str| part.as_bytes()));
        let folder = folder().map_err(|e| error(format!("no folder to compile in: {e}")))?;
        let stem = source.name.trim_end_matches(".cu");
        let place = folder.join(format!("{stem}-{key:032x}.so"));
        if !place.exists() {
            self.build(&text, &place).map_err(error)?;
        }
        Library::load(&place, self.build == Build::Checked).map_err(|e| {
            let why = e
                .source()
                .map_or_else(|| e.to_string(), ToString::to_string);
            error(format!("{}: {why}", place.display()))
        })
    }

    /// Writes beside the place and renames, because other tests may be doing the same.
    fn build(&self, text: &str, place: &Path) -> Result<(), String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{}-{number}", std::process::id());
        let source = place.with_extension(format!("{unique}.cpp"));
        let object = place.with_extension(format!("{unique}.o"));
        std::fs::write(&source, text).map_err(|e| format!("{}: {e}", source.display()))?;
        let library = place.with_extension(format!("{unique}.part"));
        let built = self.run(&self.options, &["-c"], &source, &object);
        // Linked without the options, which would bring the sanitizers' libraries along.
        let built = built.and_then(|()| self.run(&[], &["-shared"], &object, &library));
        let _ = std::fs::remove_file(&source);
        let _ = std::fs::remove_file(&object);
        if built.is_err() {
            let _ = std::fs::remove_file(&library);
        }
        built?;
        std::fs::rename(&library, place).map_err(|e| format!("{}: {e}", place.display()))
    }

    fn run(&self, options: &[&str], to: &[&str], from: &Path, out: &Path) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.args(options).args(to).arg("-o").arg(out).arg(from);
        let output = command.output().map_err(|e| e.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

fn version(program: &OsString) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// Headers, the source, and a launcher for each of its kernels.
fn translation_unit(source: &Source) -> String {
    let launchers: String = source
        .functions()
        .iter()
        .map(|name| format!("EMULATED_KERNEL({name})\n"))
        .collect();
    let mut text = String::new();
    for (name, part) in HEADERS {
        text.push_str(&format!("#line 1 \"{name}\"\n"));
        text.push_str(&part.replace("#pragma once", ""));
    }
    text.push_str(&source.flat());
    text.push_str("#line 1 \"launchers\"\n");
    text.push_str(&launchers);
    text
}

/// Beside the running program (inside `target`), else a folder of this process. Programs use the folder
/// of the tests, one level deeper, where there is one.
fn folder() -> std::io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let beside = program.parent().map(|own| {
        let tests = own.join("deps");
        let place = if tests.is_dir() { &tests } else { own };
        place.join("emulated-kernels")
    });
    if let Some(folder) = beside.filter(|folder| std::fs::create_dir_all(folder).is_ok()) {
        return Ok(folder);
    }
    let own =
        std::env::temp_dir().join(format!("viewmaker-emulated-kernels-{}", std::process::id()));
    std::fs::create_dir_all(&own)?;
    Ok(own)
}

/// A loaded source.
pub struct Library {
    symbols: libloading::Library,
    path: PathBuf,
    checked: bool,
}

/// Words that an argument leads to, and its whole allocation with the fences; addresses of bytes. Same
/// layout as `Range` in checks.h.
#[repr(C)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) fence_start: u64,
    pub(super) fence_end: u64,
}

/// Same layout as `Launch` in runtime.h.
#[repr(C)]
struct Shape {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    ranges: *const Range,
    range_count: u64,
}

type Signature = unsafe extern "C" fn() -> *const c_char;
type Run =
    unsafe extern "C" fn(*const Shape, *const usize, *const AtomicU64, *mut c_char, usize) -> c_int;

/// A kernel of a loaded source.
pub struct Function<'a> {
    /// One letter for each parameter: p pointer, i int, u unsigned, l u64, f float.
    pub signature: String,
    run: libloading::Symbol<'a, Run>,
    library: &'a Path,
    /// Whether every access is looked at, which one thread must do.
    pub(super) checked: bool,
}

impl Library {
    fn load(path: &Path, checked: bool) -> Result<Self, libloading::Error> {
        // SAFETY: the library is ours; it has no initialisers beyond the C++ library's.
        let symbols = unsafe { libloading::Library::new(path) }?;
        let path = path.to_owned();
        Ok(Self {
            symbols,
            path,
            checked,
        })
    }

    /// The kernel `name`.
    ///
    /// # Errors
    /// When the source has no such kernel, in words.
    pub fn function(&self, name: &str) -> Result<Function<'_>, String> {
        let missing = |_| format!("no extern \"C\" __global__ void {name}(…) in the source");
        // SAFETY: EMULATED_KERNEL defines both functions with these types.
        unsafe {
            let signature = self
                .symbols
                .get::<Signature>(format!("emulated_signature_{name}"));
            let text = CStr::from_ptr(signature.map_err(missing)?());
            Ok(Function {
                signature: text.to_string_lossy().into_owned(),
                run: self
                    .symbols
                    .get::<Run>(format!("emulated_launch_{name}"))
                    .map_err(missing)?,
                library: &self.path,
                checked: self.checked,
            })
        }
    }
}

impl Function<'_> {
    /// Executes blocks, taking their numbers from `next`, until there are none left.
    ///
    /// # Safety
    /// `arguments` are addresses of values that match the signature; spans are as long as the kernel
    /// reads and writes.
    pub(super) unsafe fn run(
        &self,
        launch: &Launch,
        arguments: &[usize],
        ranges: &[Range],
        next: &AtomicU64,
    ) -> Result<(), String> {
        let shape = Shape {
            grid: launch.grid,
            block: launch.block,
            shared_bytes: launch.shared_bytes,
            ranges: ranges.as_ptr(),
            range_count: ranges.len() as u64,
        };
        let mut message: [c_char; 512] = [0; 512];
        // SAFETY: all pointers are valid for the call; the caller answers for the arguments.
        let failed = unsafe {
            (self.run)(
                &shape,
                arguments.as_ptr(),
                next,
                message.as_mut_ptr(),
                message.len(),
            )
        };
        if failed == 0 {
            return Ok(());
        }
        // SAFETY: snprintf ends the message with a zero byte.
        let words = unsafe { CStr::from_ptr(message.as_ptr()) };
        Err(with_lines(&words.to_string_lossy(), self.library))
    }
}

/// `words` with the file and line of every place in `library` (`@+0x12ab`), as far as `addr2line` knows them.
fn with_lines(words: &str, library: &Path) -> String {
    let line = |place: &str| {
        let output = Command::new("addr2line")
            .arg("-e")
            .arg(library)
            .arg(place)
            .output();
        let text = String::from_utf8_lossy(&output.ok()?.stdout)
            .trim()
            .to_owned();
        // The compiler writes the folder that it runs in before the names in #line, and a linker's word
        // for one of several pieces of code may stand behind the line.
        let name = text.split(' ').next()?.rsplit('/').next()?.to_owned();
        (!name.starts_with('?')).then(|| format!("at {name}"))
    };
    let mut parts = words.split("@+");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !c.is_ascii_hexdigit() && c != 'x')
            .unwrap_or(part.len());
        let (place, rest) = part.split_at(end);
        out.push_str(&line(place).unwrap_or_else(|| format!("at {place}")));
        out.push_str(rest);
    }
    out
}
