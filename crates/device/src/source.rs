//! The kernel sources: every file of `kernels/`, part of the program.

use std::fmt::Write as _;

/// A CUDA source file. Code beside this crate may have its own, for example tests.
#[derive(Debug)]
pub struct Source {
    /// File name, `elementwise.cu`.
    pub name: &'static str,
    /// The whole text.
    pub text: &'static str,
}

/// A function of a source, `extern "C" __global__ void function(…)`.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Where it is written.
    pub source: &'static Source,
    /// Its name.
    pub function: &'static str,
}

impl Kernel {
    /// The kernel `function` of `source`.
    pub const fn new(source: &'static Source, function: &'static str) -> Self {
        Self { source, function }
    }
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.source.name, self.function)
    }
}

macro_rules! file {
    ($name:literal) => {
        Source {
            name: $name,
            text: include_str!(concat!("../../../kernels/", $name)),
        }
    };
}

macro_rules! sources {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub static $constant: Source = file!($name);)*
        /// Every `.cu` file of `kernels/`.
        pub static SOURCES: &[&Source] = &[$(&$constant),*];
    };
}

sources! {
    /// The distortion budget.
    BUDGET = "budget.cu";
    /// Batch and instance normalisation with what follows them.
    CHANNEL_NORM = "channel_norm.cu";
    /// Contrastive losses in streaming form.
    CONTRASTIVE = "contrastive.cu";
    /// Convolutions and fully connected layers.
    CONV2D = "conv2d.cu";
    /// Cosine transforms.
    DCT = "dct.cu";
    /// How far views are from their examples.
    DISTORTION = "distortion.cu";
    /// Sums and scalings of whole spans.
    ELEMENTWISE = "elementwise.cu";
    /// NCHW to NHWC and back.
    LAYOUT = "layout.cu";
    /// Operations that look at an element, or at a few, of a map.
    MAPS = "maps.cu";
    /// Optimiser updates.
    OPTIM = "optim.cu";
    /// Positives of contrastive losses outside of tiles.
    POSITIVES = "positives.cu";
    /// Philox4x32-10.
    RANDOM = "random.cu";
    /// Projection onto the sphere, layer normalisation, attention.
    ROWS = "rows.cu";
}

/// Every `.cuh` file of `kernels/`: what sources may include.
pub static HEADERS: &[Source] = &[
    file!("async.cuh"),
    file!("common.cuh"),
    file!("contrastive.cuh"),
    file!("contrastive_tiles.cuh"),
    file!("contrastive_v3.cuh"),
    file!("conv2d_v2.cuh"),
    file!("conv2d_v3.cuh"),
    file!("mma.cuh"),
    file!("patches.cuh"),
    file!("philox.cuh"),
];

impl Source {
    /// The text with its includes in place, each once, and line numbers that lead back to the files.
    ///
    /// # Panics
    /// When the source includes a file that is not in [`HEADERS`].
    pub fn flat(&self) -> String {
        let mut out = String::new();
        flatten(self.name, self.text, &mut Vec::new(), &mut out);
        out
    }

    /// The names of all kernels in the source, in order.
    pub fn functions(&self) -> Vec<&'static str> {
        const START: &str = "extern \"C\" __global__ void";
        self.text
            .split(START)
            .skip(1)
            .filter_map(function_name)
            .collect()
    }
}

fn flatten(name: &str, text: &str, seen: &mut Vec<&'static str>, out: &mut String) {
    let _ = writeln!(out, "#line 1 \"{name}\"");
    for (number, line) in text.lines().enumerate() {
        let included = line
            .strip_prefix("#include \"")
            .and_then(|rest| rest.strip_suffix('"'));
        if let Some(wanted) = included {
            let header = HEADERS.iter().find(|h| h.name == wanted);
            let header = header
                .unwrap_or_else(|| panic!("{name} includes {wanted}, which is not in HEADERS"));
            if !seen.contains(&header.name) {
                seen.push(header.name);
                flatten(header.name, header.text, seen, out);
            }
            let _ = writeln!(out, "#line {} \"{name}\"", number + 2);
        } else if line.trim() != "#pragma once" {
            out.push_str(line);
            out.push('\n');
        } else {
            out.push('\n');
        }
    }
}

/// The word before the parameter list, behind a possible `__launch_bounds__(…)`.
fn function_name(declaration: &'static str) -> Option<&'static str> {
    let mut rest = declaration.trim_start();
    if let Some(bounds) = rest.strip_prefix("__launch_bounds__") {
        let mut depth = 0;
        let end = bounds.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ')' && depth == 0
        })?;
        rest = bounds[end + 1..].trim_start();
    }
    rest.split_once('(').map(|(name, _)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_part_of_the_program() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kernels");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".cu") || name.ends_with(".cuh"))
            .collect();
        let names = SOURCES.iter().map(|s| s.name);
        let mut known: Vec<_> = names.chain(HEADERS.iter().map(|h| h.name)).collect();
        files.sort();
        known.sort_unstable();
        assert_eq!(files, known);
    }

    #[test]
    fn kernels_are_found_with_and_without_bounds() {
        let source = Source {
            name: "test.cu",
            text: "extern \"C\" __global__ void one(int a) {}\n\
                   extern \"C\" __global__ void\n  __launch_bounds__(2 * (64 + 64))\n  two(int b) {}\n",
        };
        assert_eq!(source.functions(), ["one", "two"]);
        for source in SOURCES {
            let kernels = source.text.matches("__global__").count();
            assert_eq!(source.functions().len(), kernels, "{}", source.name);
        }
    }

    /// One name, one kernel: profilers show nothing else, and the emulator loads all sources into one
    /// process, whose linker may take the kernels of two for one.
    #[test]
    fn names_of_kernels_are_unique() {
        let mut names: Vec<_> = SOURCES.iter().flat_map(|s| s.functions()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn headers_are_included_once() {
        let flat = RANDOM.flat();
        assert_eq!(flat.matches("struct Sum").count(), 1);
        assert!(!flat.contains("#include"));
    }
}
