//! Compiles kernel sources for a card with NVIDIA's run-time compiler.

use std::ffi::{CStr, CString};
use std::path::Path;

use cudarc::nvrtc::{result, sys};

use super::cache;
use crate::{DeviceError, Source};

/// A card's generation, `9.0` as `(9, 0)`.
pub type Capability = (i32, i32);

/// A compiled source.
#[derive(Clone, Debug)]
pub struct Binary {
    /// A cubin, or PTX with a final zero byte.
    pub image: Vec<u8>,
    /// Warnings of the compiler; empty if there were none or if the binary comes from the disk.
    pub log: String,
}

/// Version of the run-time compiler, `(13, 0)`.
///
/// # Errors
/// `NoNvrtc` when its library cannot be loaded.
pub fn version() -> Result<(i32, i32), DeviceError> {
    // SAFETY: loads the library, whose initialisers are NVIDIA's.
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::NoNvrtc {
            looked_for: "libnvrtc.so, libnvrtc.so.13, libnvrtc.so.12",
        });
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are valid for writes.
    let answer = unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
    answer.result().map_err(|e| failed("nvrtcVersion", e))?;
    Ok((major, minor))
}

/// Compiles `source` for a card of generation `capability`; `folder` keeps the result.
///
/// The result is a cubin where the compiler knows the generation, else PTX for the newest one that it
/// knows, which the driver translates.
///
/// # Errors
/// `NoNvrtc` without the compiler, `Compile` with its words.
pub fn compile(
    source: &Source,
    capability: Capability,
    folder: Option<&Path>,
) -> Result<Binary, DeviceError> {
    let plan = Plan::of(source, capability)?;
    if let Some(image) = folder.and_then(|folder| cache::read(folder, plan.key)) {
        let log = String::new();
        return Ok(Binary { image, log });
    }
    let binary = translate(source.name, &plan)?;
    if let Some(folder) = folder {
        // Without a cache the next start compiles again; nothing else depends on it.
        let _ = cache::write(folder, plan.key, &binary.image);
    }
    Ok(binary)
}

/// Whether `folder` keeps what [`compile`] would make. A file that is damaged counts: `compile` makes it anew.
///
/// # Errors
/// As `compile`, less what a compilation can find.
pub fn is_kept(
    source: &Source,
    capability: Capability,
    folder: Option<&Path>,
) -> Result<bool, DeviceError> {
    let key = Plan::of(source, capability)?.key;
    Ok(folder.is_some_and(|folder| cache::holds(folder, key)))
}

/// What the compiler is given.
struct Plan {
    text: String,
    target: String,
    options: [String; 3],
    /// Of all of it, and of the compiler.
    key: u128,
}

impl Plan {
    fn of(source: &Source, capability: Capability) -> Result<Self, DeviceError> {
        let version = version()?;
        let target = target(capability)?;
        let text = source.flat();
        let options = [
            format!("--gpu-architecture={target}"),
            "--std=c++17".to_owned(),
            // Profilers show source lines; costs nothing at run time.
            "--generate-line-info".to_owned(),
        ];
        let key = cache::hash(&[
            text.as_bytes(),
            options.join(" ").as_bytes(),
            format!("{version:?}").as_bytes(),
        ]);
        Ok(Self {
            text,
            target,
            options,
            key,
        })
    }
}

/// `sm_90` where the compiler knows the generation, else the newest `compute_…` below it.
fn target((major, minor): Capability) -> Result<String, DeviceError> {
    let wanted = 10 * major + minor;
    let known = known_generations()?;
    if known.contains(&wanted) {
        return Ok(format!("sm_{wanted}"));
    }
    match known.iter().filter(|&&k| k < wanted).max() {
        Some(below) => Ok(format!("compute_{below}")),
        None => Err(DeviceError::Compile {
            file: "*".to_owned(),
            target: format!("sm_{wanted}"),
            log: format!(
                "this NVRTC supports {known:?} only; an older one (CUDA 12) supports this card"
            ),
        }),
    }
}

fn known_generations() -> Result<Vec<i32>, DeviceError> {
    let mut count = 0;
    // SAFETY: the pointer is valid for writes.
    let answer = unsafe { sys::nvrtcGetNumSupportedArchs(&mut count) };
    answer
        .result()
        .map_err(|e| failed("nvrtcGetNumSupportedArchs", e))?;
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the list has the length that the call above named.
    let answer = unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) };
    answer
        .result()
        .map_err(|e| failed("nvrtcGetSupportedArchs", e))?;
    Ok(known)
}

/// A program of the compiler, destroyed on drop.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: created by `create_program`, destroyed only here.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

fn translate(name: &str, plan: &Plan) -> Result<Binary, DeviceError> {
    let error = |log: String| DeviceError::Compile {
        file: name.to_owned(),
        target: plan.target.clone(),
        log,
    };
    let zero = |_| error("a zero byte in the source".to_owned());
    let (text, c_name) = (
        CString::new(plan.text.as_str()).map_err(zero)?,
        CString::new(name).map_err(zero)?,
    );
    let created = result::create_program(&text, Some(&c_name));
    let program = Program(created.map_err(|e| error(e.to_string()))?);
    // SAFETY: the program lives, and so do text and name.
    let compiled = unsafe { result::compile_program(program.0, &plan.options) };
    // SAFETY: as above.
    let log = unsafe { result::get_program_log(program.0) };
    let log = log.map(|raw| text_of(&raw)).unwrap_or_default();
    if let Err(reason) = compiled {
        return Err(error(format!("{reason}\n{log}{}", advice(&log))));
    }
    let image = if plan.target.starts_with("sm_") {
        cubin(&program)
    } else {
        // SAFETY: the program lives and is compiled.
        unsafe { result::get_ptx(program.0) }.map(|ptx| ptx.iter().map(|&c| c as u8).collect())
    };
    let image = image.map_err(|e| error(e.to_string()))?;
    Ok(Binary { image, log })
}

/// NVRTC looks for a second file of its own at its first compilation, as the loader looks for libraries: a
/// program that was given only the first one's path fails here.
fn advice(log: &str) -> &'static str {
    match log.contains("libnvrtc-builtins") {
        true => {
            "\nname the folder of libnvrtc in LD_LIBRARY_PATH: libnvrtc-builtins lies beside it"
        }
        false => "",
    }
}

fn cubin(program: &Program) -> Result<Vec<u8>, result::NvrtcError> {
    let mut size = 0;
    // SAFETY: the program lives and is compiled; the pointer is valid for writes.
    unsafe { sys::nvrtcGetCUBINSize(program.0, &mut size) }.result()?;
    let mut image = vec![0u8; size];
    // SAFETY: the image has the size that the call above named.
    unsafe { sys::nvrtcGetCUBIN(program.0, image.as_mut_ptr().cast()) }.result()?;
    Ok(image)
}

/// A C string's characters up to its end, without surrounding white space.
fn text_of(raw: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = raw.iter().map(|&c| c as u8).collect();
    let text = CStr::from_bytes_until_nul(&bytes).map(CStr::to_string_lossy);
    text.map(|t| t.trim().to_owned()).unwrap_or_default()
}

fn failed(call: &'static str, reason: result::NvrtcError) -> DeviceError {
    let reason = reason.to_string();
    DeviceError::Driver { call, reason }
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn a_missing_second_file_is_told_from_mistakes_in_a_source() {
        let words = "nvrtc: error: failed to open libnvrtc-builtins.so.13.0.";
        assert!(advice(words).contains("LD_LIBRARY_PATH"));
        assert_eq!(
            advice("x.cu(2): error: identifier \"missing\" is undefined"),
            ""
        );
    }
}
