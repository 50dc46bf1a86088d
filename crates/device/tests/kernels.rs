//! The first kernels against plain Rust, on every device that is there.

mod common;

use common::{devices, numbers, place, read};
use viewmaker_device::source::{ELEMENTWISE, LAYOUT, RANDOM};
use viewmaker_device::{Args, Device, Kernel, Launch, Span};

static FILL: Kernel = Kernel::new(&ELEMENTWISE, "fill");
static ADD: Kernel = Kernel::new(&ELEMENTWISE, "add");
static ACCUMULATE: Kernel = Kernel::new(&ELEMENTWISE, "accumulate");
static SCALE: Kernel = Kernel::new(&ELEMENTWISE, "scale");
static FILL_UNIFORM: Kernel = Kernel::new(&RANDOM, "fill_uniform");
static TRANSPOSE: Kernel = Kernel::new(&LAYOUT, "transpose");

fn run(device: &Device, kernel: &Kernel, launch: Launch, args: Args) {
    // SAFETY: the tests below pass what the kernels' signatures ask for.
    unsafe { device.launch(kernel, launch, args) }.unwrap();
}

#[test]
fn cuda_elementwise_kernels_do_their_arithmetic() {
    for device in devices() {
        for n in [1, 255, 256, 257, 10_001] {
            let (x, y) = (numbers(n, 1), numbers(n, 2));
            let (a, b, out) = (place(&device, &x), place(&device, &y), place(&device, &x));
            let (all, few) = (Launch::over(n), Launch::linear(2, 96));
            let count = n as u64;

            run(
                &device,
                &ADD,
                few,
                Args::new().span(&a).span(&b).span(&out).u64(count),
            );
            let sums: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
            assert_eq!(read(&out), sums, "add, {n}");

            run(
                &device,
                &ACCUMULATE,
                all,
                Args::new().span(&b).span(&out).u64(count),
            );
            let more: Vec<f32> = sums.iter().zip(&y).map(|(s, y)| s + y).collect();
            assert_eq!(read(&out), more, "accumulate, {n}");

            run(
                &device,
                &SCALE,
                all,
                Args::new().span(&a).f32(-0.3).span(&a).u64(count),
            );
            let scaled: Vec<f32> = x.iter().map(|x| -0.3 * x).collect();
            assert_eq!(read(&a), scaled, "scale, {n}");

            let inner = out.slice(0..n - 1);
            run(
                &device,
                &FILL,
                all,
                Args::new().span(&inner).f32(7.0).u64(count - 1),
            );
            let mut filled = vec![7.0; n];
            filled[n - 1] = more[n - 1];
            assert_eq!(read(&out), filled, "fill, {n}");
        }
    }
}

/// Philox as crates/ops has it, written down again: this crate lies below it.
fn uniform(seed: u64, stream: u32, step: u32, element: u64) -> f32 {
    let block = element / 4;
    let mut counter = [block as u32, (block >> 32) as u32, step, stream];
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let low = 0xD251_1F53_u64 * u64::from(counter[0]);
        let high = 0xCD9E_8D57_u64 * u64::from(counter[2]);
        counter = [
            (high >> 32) as u32 ^ counter[1] ^ key[0],
            high as u32,
            (low >> 32) as u32 ^ counter[3] ^ key[1],
            low as u32,
        ];
        key = [
            key[0].wrapping_add(0x9E37_79B9),
            key[1].wrapping_add(0xBB67_AE85),
        ];
    }
    (counter[(element % 4) as usize] >> 8) as f32 / 16_777_216.0
}

#[test]
fn cuda_random_numbers_are_the_hosts_bit_for_bit() {
    // Published known answer (Random123): zero counter and key.
    let words = [0x6627_e8d5_u32, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8];
    for (i, word) in words.into_iter().enumerate() {
        assert_eq!(
            uniform(0, 0, 0, i as u64),
            (word >> 8) as f32 / 16_777_216.0
        );
    }
    let (seed, stream, step) = (0x1234_5678_9abc_def0, 7, 42);
    for device in devices() {
        for n in [1, 5, 1023, 10_001] {
            let out = place(&device, &vec![9.0; n]);
            let args = Args::new()
                .span(&out)
                .u64(n as u64)
                .u64(seed)
                .u32(stream)
                .u32(step);
            run(&device, &FILL_UNIFORM, Launch::over(n.div_ceil(4)), args);
            let wanted: Vec<f32> = (0..n)
                .map(|i| uniform(seed, stream, step, i as u64))
                .collect();
            assert_eq!(read(&out), wanted, "{n}");
        }
    }
}

fn transpose(device: &Device, from: &Span, to: &Span, [examples, rows, columns]: [usize; 3]) {
    let tiles = |n: usize| n.div_ceil(32) as u32;
    let launch = Launch {
        grid: [tiles(columns), tiles(rows), examples.min(2) as u32],
        block: [32, 8, 1],
        shared_bytes: 0,
    };
    let [examples, rows, columns] = [examples, rows, columns].map(|n| n as i32);
    run(
        device,
        &TRANSPOSE,
        launch,
        Args::new()
            .span(from)
            .span(to)
            .i32(examples)
            .i32(rows)
            .i32(columns),
    );
}

#[test]
fn cuda_layouts_there_and_back() {
    for device in devices() {
        for (examples, channels, area) in [(1, 1, 1), (2, 3, 35), (3, 64, 49), (5, 33, 100)] {
            let x = numbers(examples * channels * area, 3);
            let (nchw, nhwc) = (place(&device, &x), place(&device, &x));
            transpose(&device, &nchw, &nhwc, [examples, channels, area]);
            let there = read(&nhwc);
            for (i, value) in there.iter().enumerate() {
                let (e, rest) = (i / (channels * area), i % (channels * area));
                let (p, c) = (rest / channels, rest % channels);
                assert_eq!(*value, x[(e * channels + c) * area + p]);
            }
            device.fill_zero(&nchw).unwrap();
            transpose(&device, &nhwc, &nchw, [examples, area, channels]);
            assert_eq!(read(&nchw), x);
        }
    }
}
