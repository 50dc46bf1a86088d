//! Every kernel compiles for the cards we care about, without any card.

use std::path::Path;
use std::process::Command;

use viewmaker_device::{DeviceError, Source, nvrtc, source};

static CHECKS: Source = Source {
    name: "checks.cu",
    text: include_str!("kernels/checks.cu"),
};

#[test]
fn nvrtc_compiles_every_kernel_without_warnings() {
    match nvrtc::version() {
        Err(reason) => return println!("skipped: {reason}"),
        Ok(version) => println!("NVRTC {version:?}"),
    }
    let cache = tempfile::tempdir().unwrap();
    for source in source::SOURCES.iter().copied().chain([&CHECKS]) {
        for capability in [(8, 0), (9, 0)] {
            let first = nvrtc::compile(source, capability, Some(cache.path())).unwrap();
            assert_eq!(first.log, "", "{}", source.name);
            assert!(
                first.image.starts_with(b"\x7fELF"),
                "{} is no cubin",
                source.name
            );
            let again = nvrtc::compile(source, capability, Some(cache.path())).unwrap();
            assert_eq!(again.image, first.image);
        }
    }
    assert_eq!(
        std::fs::read_dir(cache.path()).unwrap().count(),
        2 * (source::SOURCES.len() + 1)
    );
    // A card newer than the compiler gets code that the driver translates.
    let newer = nvrtc::compile(source::SOURCES[0], (99, 0), None).unwrap();
    assert!(newer.image.windows(7).any(|w| w == b".target") && newer.image.ends_with(b"\0"));
    let older = nvrtc::compile(source::SOURCES[0], (1, 0), None).err();
    assert!(
        matches!(older, Some(DeviceError::Compile { .. })),
        "{older:?}"
    );
}

#[test]
fn nvcc_compiles_every_kernel_without_warnings() {
    let Some(nvcc) = std::env::var_os("VIEWMAKER_NVCC") else {
        return println!("skipped: VIEWMAKER_NVCC does not name an nvcc");
    };
    let out = tempfile::tempdir().unwrap();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kernels = package.join("../../kernels");
    let own = package.join("tests/kernels/checks.cu");
    let files = source::SOURCES
        .iter()
        .map(|source| kernels.join(source.name));
    for file in files.chain([own]) {
        for architecture in ["sm_80", "sm_90"] {
            let mut command = Command::new(&nvcc);
            command.args([
                "-cubin",
                "-std=c++17",
                "-Werror",
                "all-warnings",
                "-arch",
                architecture,
            ]);
            command
                .arg("-I")
                .arg(&kernels)
                .arg("-o")
                .arg(out.path().join("out.cubin"))
                .arg(&file);
            let output = command
                .output()
                .unwrap_or_else(|e| panic!("{}: {e}", nvcc.display()));
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "{} for {architecture}:\n{words}",
                file.display()
            );
        }
    }
}
