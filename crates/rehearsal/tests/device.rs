//! The tests of `crates/device`, with the stand-in as the card.

#![allow(clippy::duplicate_mod, reason = "they share a module of helpers")]

#[path = "../../device/tests/device.rs"]
mod device;
#[path = "../../device/tests/kernels.rs"]
mod kernels;
#[path = "../../device/tests/threads.rs"]
mod threads;

use std::process::Command;
use viewmaker_device::{Args, Device, Kernel, Launch, Source};

static IDLE: Source = Source {
    name: "idle.cu",
    text: "extern \"C\" __global__ void rehearsal_idle(int n) {}\n",
};

/// Nothing waits for a kernel without buffers: a device must, before it unloads the kernel's module.
#[test]
fn cuda_a_device_may_go_right_after_a_launch() {
    let device = match Device::cuda(0) {
        Ok(device) => device,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let kernel = Kernel::new(&IDLE, "rehearsal_idle");
    // SAFETY: the kernel takes one number.
    unsafe { device.launch(&kernel, Launch::linear(1, 1), Args::new().i32(1)) }.unwrap();
}

#[test]
fn the_tests_of_devices_hold_on_the_stand_in() {
    if let Err(reason) = viewmaker_rehearsal::library_path() {
        return println!("skipped: {reason}");
    }
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(["cuda_", "missing_card", "--nocapture"]);
    let output = viewmaker_rehearsal::run(&mut tests).unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}\n{errors}");
    assert!(words.contains("card 0: rehearsal Some((9, 0))"), "{words}");
    assert!(!words.contains("skipped on CUDA"), "{words}");
    assert!(!errors.contains("still alive"), "{errors}");
    assert!(!errors.contains("module is unloaded"), "{errors}");
    // The tests share a card; how often its context ends depends on their order.
    assert!(errors.contains("rehearsal: executed "), "{errors}");
}
