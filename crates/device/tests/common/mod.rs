//! The devices that tests run on.
#![allow(dead_code, reason = "every test file uses a part")]

use viewmaker_device::{Device, Span};

/// The emulator and the first card, each if it is there; says why if it is not.
pub fn devices() -> Vec<Device> {
    Device::present()
}

/// A span that holds `values`, somewhere inside a longer buffer.
pub fn place(device: &Device, values: &[f32]) -> Span {
    let buffer = device.alloc(values.len() + 7).unwrap();
    let span = buffer.span(3..3 + values.len());
    device.upload(&span, values).unwrap();
    span
}

/// The values of a span.
pub fn read(span: &Span) -> Vec<f32> {
    let mut values = vec![0.0; span.len()];
    span.buffer().device().download(span, &mut values).unwrap();
    values
}

/// Reproducible numbers around zero.
pub fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_769).wrapping_add(1);
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(step).collect()
}
