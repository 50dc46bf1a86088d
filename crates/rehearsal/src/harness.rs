//! How a test runs a program with the stand-in as its card.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};

/// Names under which programs look for NVIDIA's libraries.
const NAMES: [&str; 3] = ["libcuda.so", "libcuda.so.1", "libnvrtc.so"];

/// The stand-in as cargo built it, beside the running test or in the folder above.
///
/// # Errors
/// Why there is none, in words: it is found and loaded on Linux only.
pub fn library_path() -> Result<PathBuf, String> {
    if !cfg!(target_os = "linux") {
        return Err("the stand-in for CUDA is loaded by its name on Linux only".to_owned());
    }
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut folders = program.ancestors().skip(1).take(2);
    let found = folders.find_map(|folder| {
        let place = folder.join("libviewmaker_rehearsal.so");
        place.is_file().then_some(place)
    });
    found.ok_or_else(|| format!("no libviewmaker_rehearsal.so beside {}", program.display()))
}

/// A folder with the stand-in under NVIDIA's names, to be searched before others. It lies beside the
/// stand-in, not in a folder that cargo makes every test search.
///
/// # Errors
/// Why there is none, in words.
pub fn folder() -> Result<PathBuf, String> {
    let library = library_path()?;
    let folder = library.with_file_name("rehearsal");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for name in NAMES {
        let place = folder.join(name);
        if std::fs::read_link(&place).ok().as_deref() != Some(library.as_path()) {
            link(&library, &place).map_err(|e| format!("{}: {e}", place.display()))?;
        }
    }
    Ok(folder)
}

/// Puts a link where readers see the old one or the new one: other tests do the same.
fn link(to: &Path, place: &Path) -> std::io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let unique = format!("{}-{number}.part", std::process::id());
    let temporary = place.with_extension(unique);
    #[cfg(unix)]
    std::os::unix::fs::symlink(to, &temporary)?;
    #[cfg(not(unix))]
    std::fs::copy(to, &temporary)?;
    std::fs::rename(&temporary, place)
}

/// Sets what `command` needs to find the stand-in as its card, with a cache of compiled kernels of its own,
/// and to hear at its end what was executed.
///
/// # Errors
/// Those of [`folder`].
pub fn prepare(command: &mut Command) -> Result<&mut Command, String> {
    let folder = folder()?;
    let mut path = folder.clone().into_os_string();
    if let Some(more) = std::env::var_os("LD_LIBRARY_PATH").filter(|p| !p.is_empty()) {
        path.push(":");
        path.push(more);
    }
    command
        .env("LD_LIBRARY_PATH", path)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("VIEWMAKER_REHEARSAL_REPORT", "1");
    Ok(command)
}

/// Runs `command` with the stand-in as its card.
///
/// # Errors
/// Those of [`folder`], and those of starting the program, in words.
pub fn run(command: &mut Command) -> Result<Output, String> {
    let output = prepare(command)?.output();
    output.map_err(|e| format!("{command:?}: {e}"))
}
