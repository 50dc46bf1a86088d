//! What stands for a cubin: the text of a source with its name, for the emulator's compiler.

use std::sync::OnceLock;

use viewmaker_device::emulator::{Compiler, Library};
use viewmaker_device::{DeviceError, Source};

use crate::errors::{Answer, CUresult};

/// First bytes of an image; no cubin and no PTX begins like this.
const MAGIC: &[u8; 8] = b"\x01rehears";

/// The image of a source: magic, lengths of name and text, name, text.
pub(crate) fn write(source: &Source) -> Vec<u8> {
    let (name, text) = (source.name.as_bytes(), source.text.as_bytes());
    let lengths = [name, text].map(|part| (part.len() as u64).to_le_bytes());
    [MAGIC, &lengths[0][..], &lengths[1], name, text].concat()
}

/// The source of an image; `NO_BINARY_FOR_GPU` for a real one.
///
/// # Safety
/// `data` leads to a whole image: a cubin, zero-terminated text, or one made by [`write`].
pub(crate) unsafe fn read(data: *const u8) -> Answer<Source> {
    if data.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    for (i, byte) in MAGIC.iter().enumerate() {
        // SAFETY: stops at the first other byte, which is at the latest a text's zero byte.
        if unsafe { data.add(i).read() } != *byte {
            return Err(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
        }
    }
    // SAFETY: behind the magic, an image has the layout of `write`.
    let (name, text) = unsafe {
        let length = |at: usize| u64::from_le_bytes(data.add(at).cast::<[u8; 8]>().read()) as usize;
        let (name, text) = (length(8), length(16));
        let part = |at: usize, len: usize| std::slice::from_raw_parts(data.add(at), len).to_vec();
        (part(24, name), part(24 + name, text))
    };
    let text_of = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU)
    };
    Ok(source(text_of(name)?, text_of(text)?))
}

/// A source as the emulator's compiler takes it. Its texts are leaked: sources are part of the program
/// everywhere else, and a test loads a dozen.
pub(crate) fn source(name: String, text: String) -> Source {
    // Includes are in place already. Without the line that flattening puts first, flattening again gives the
    // same text, and with it the same compiled library.
    let first = format!("#line 1 \"{name}\"\n");
    let text = text
        .strip_prefix(&first)
        .map_or(text.clone(), str::to_owned);
    Source {
        name: String::leak(name),
        text: String::leak(text),
    }
}

/// Compiles a source for the emulator; the compiler's words where it cannot.
pub(crate) fn compile(source: Source) -> Result<Library, String> {
    static COMPILER: OnceLock<Result<Compiler, String>> = OnceLock::new();
    let compiler = COMPILER.get_or_init(|| Compiler::find().map_err(|e| e.to_string()));
    let compiler = compiler.as_ref().map_err(Clone::clone)?;
    compiler.compile(&source).map_err(|error| match error {
        DeviceError::Compile { log, .. } => log,
        other => other.to_string(),
    })
}
