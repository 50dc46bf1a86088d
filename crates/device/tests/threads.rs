//! What blocks, warps and barriers do, on every device that is there.

mod common;

use common::{devices, numbers, place, read};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Source};

static CHECKS: Source = Source {
    name: "checks.cu",
    text: include_str!("kernels/checks.cu"),
};
static MISTAKES: Source = Source {
    name: "mistakes.cu",
    text: include_str!("kernels/mistakes.cu"),
};

fn run(device: &Device, function: &'static str, launch: Launch, args: Args) {
    // SAFETY: the tests below pass what the kernels' signatures ask for.
    unsafe { device.launch(&Kernel::new(&CHECKS, function), launch, args) }.unwrap();
}

fn read_u32(device: &Device, span: &viewmaker_device::Span) -> Vec<u32> {
    let mut values = vec![0; span.len()];
    device.download_u32(span, &mut values).unwrap();
    values
}

#[test]
fn cuda_every_thread_gets_the_same_sum_and_maximum() {
    let (blocks, per) = (5, 1777);
    let x = numbers(blocks * per, 4);
    for device in devices() {
        for threads in [32, 64, 96, 256, 992, 1024] {
            let input = place(&device, &x);
            let sums = place(&device, &vec![0.0; blocks * threads]);
            let maxima = place(&device, &vec![0.0; blocks * threads]);
            let args = Args::new()
                .span(&input)
                .span(&sums)
                .span(&maxima)
                .i32(per as i32);
            run(
                &device,
                "reduce",
                Launch::linear(blocks as u32, threads as u32),
                args,
            );
            let (sums, maxima) = (read(&sums), read(&maxima));
            for (b, values) in x.chunks_exact(per).enumerate() {
                let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
                let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mine = b * threads..(b + 1) * threads;
                // Round-off of 1777 numbers of size 1 by trees: about 20 additions deep.
                assert!(
                    (f64::from(sums[mine.start]) - sum).abs() < 1e-4,
                    "{threads}: {sum}"
                );
                assert!(
                    sums[mine.clone()]
                        .iter()
                        .all(|s| s.to_bits() == sums[mine.start].to_bits())
                );
                assert!(maxima[mine].iter().all(|&m| m == largest), "{threads}");
            }
        }
    }
}

#[test]
fn cuda_shuffles_move_values_between_lanes() {
    let x: Vec<u32> = (0..64).map(|i| i * i + 3).collect();
    for device in devices() {
        let input = device.alloc(64).unwrap().all();
        let out = device.alloc(5 * 64).unwrap().all();
        device.upload_u32(&input, &x).unwrap();
        run(
            &device,
            "shuffles",
            Launch::linear(1, 64),
            Args::new().span(&input).span(&out),
        );
        let out = read_u32(&device, &out);
        for i in 0..64 {
            let (half, lane) = (i / 16 * 16, i % 16);
            let votes = (0..32).fold(0, |bits, l| bits | (x[i / 32 * 32 + l] & 1) << l);
            let wanted = [
                x[half + 5],
                x[if lane < 3 { i } else { i - 3 }],
                x[if lane + 3 > 15 { i } else { i + 3 }],
                x[i ^ 9],
                votes,
            ];
            assert_eq!(out[5 * i..5 * i + 5], wanted, "thread {i}");
        }
    }
}

#[test]
fn cuda_parts_of_a_warp_shuffle_on_their_own() {
    for device in devices() {
        let out = device.alloc(32).unwrap().all();
        run(
            &device,
            "halves",
            Launch::linear(1, 32),
            Args::new().span(&out),
        );
        for (i, value) in read_u32(&device, &out).into_iter().enumerate() {
            let pair = |i: usize| i + (i ^ 1);
            let wanted = if i < 16 {
                pair(i)
            } else {
                pair(i) + pair(i ^ 2)
            };
            assert_eq!(value as usize, wanted, "lane {i}");
        }
    }
}

#[test]
fn cuda_dynamic_shared_memory_and_integer_atomics() {
    let (blocks, threads) = (67, 200);
    let x = numbers(blocks * threads, 5);
    for device in devices() {
        let (input, out) = (place(&device, &x), place(&device, &x));
        let count = device.alloc(1).unwrap().all();
        // More than kernels get without asking for it.
        for bytes in [4 * threads as u32, 60 * 1024] {
            let launch = Launch::linear(blocks as u32, threads as u32).with_shared(bytes);
            run(
                &device,
                "reverse",
                launch,
                Args::new().span(&input).span(&out).span(&count),
            );
            let wanted: Vec<f32> = x
                .chunks(threads)
                .flat_map(|b| b.iter().rev().copied())
                .collect();
            assert_eq!(read(&out), wanted);
        }
        assert_eq!(read_u32(&device, &count), [2 * (blocks * threads) as u32]);
    }
}

#[test]
fn cuda_indices_have_three_dimensions() {
    let launch = Launch {
        grid: [3, 2, 4],
        block: [5, 3, 2],
        shared_bytes: 0,
    };
    for device in devices() {
        let out = device.alloc(24 * 30).unwrap().all();
        run(&device, "indices", launch, Args::new().span(&out));
        let out = read_u32(&device, &out);
        for (i, value) in out.into_iter().enumerate() {
            let (block, thread) = (i / 30, i % 30);
            let inner = thread % 5 + 10 * (thread / 5 % 3) + 100 * (thread / 15);
            let outer = block % 3 + 10 * (block / 3 % 2) + 100 * (block / 6);
            assert_eq!(value as usize, inner + 1000 * outer);
        }
    }
}

#[test]
fn cuda_bfloat16_rounds_to_nearest_even() {
    let cases = [
        (1.0, 1.0),
        (1.0 + 1.0 / 256.0, 1.0),
        (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
        (1.0 + 1.1 / 256.0, 1.0 + 2.0 / 256.0),
        (-3.402_823_5e38, f32::NEG_INFINITY),
        (f32::INFINITY, f32::INFINITY),
        (-0.0, -0.0),
    ];
    for device in devices() {
        let input = place(&device, &cases.map(|c| c.0));
        let out = place(&device, &cases.map(|_| 9.0));
        let args = |n| Args::new().span(&input).span(&out).u64(n);
        run(
            &device,
            "round_bf16",
            Launch::over(cases.len()),
            args(cases.len() as u64),
        );
        assert_eq!(
            read(&out).iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            cases.map(|c| c.1.to_bits())
        );
        device.upload(&input.slice(0..1), &[f32::NAN]).unwrap();
        run(&device, "round_bf16", Launch::over(1), args(1));
        assert!(read(&out)[0].is_nan());
    }
}

/// The emulator's complaint about a kernel; nothing without a compiler.
fn complaint(
    function: &'static str,
    launch: Launch,
    more: impl Fn(Args) -> Args,
) -> Option<String> {
    let device = match Device::emulated() {
        Ok(device) => device,
        Err(reason) => {
            println!("skipped: {reason}");
            return None;
        }
    };
    let out = device.alloc(64).unwrap();
    let args = more(Args::new().span(&out.all()));
    // SAFETY: the emulator survives these mistakes: that is the test.
    let outcome = unsafe { device.launch(&Kernel::new(&MISTAKES, function), launch, args) };
    let error = outcome.expect_err("a mistake was not found");
    assert!(matches!(error, DeviceError::Launch { .. }), "{error}");
    // The emulator is as good as new.
    let sum = place(&device, &[0.0; 64]);
    let args = Args::new()
        .span(&place(&device, &numbers(64, 6)))
        .span(&sum)
        .span(&sum)
        .i32(64);
    run(&device, "reduce", Launch::linear(1, 64), args);
    Some(error.to_string())
}

#[track_caller]
fn assert_says(complaint: Option<String>, words: &[&str]) {
    if let Some(text) = complaint {
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[test]
fn the_emulator_reports_barriers_that_not_all_threads_reach() {
    let plain = |args| args;
    let words = [
        "mistakes.cu:divergent",
        "block (0, 0, 0)",
        "thread 0",
        "thread 20",
        "mistakes.cu:7",
    ];
    assert_says(complaint("divergent", Launch::linear(3, 64), plain), &words);
    let words = ["mistakes.cu:crossed", "for its warp", "for its block"];
    assert_says(complaint("crossed", Launch::linear(1, 32), plain), &words);
}

#[test]
fn the_emulator_reports_shuffles_from_lanes_that_have_left() {
    assert_says(
        complaint("departed", Launch::linear(1, 32), |args| args),
        &["departed", "from lane 31"],
    );
}

#[test]
fn the_emulator_reports_writes_out_of_range() {
    let far = |args: Args| args.i32(64);
    assert_says(
        complaint("beyond", Launch::linear(1, 1), far),
        &["beyond", "argument 0 (64 words)"],
    );
    let before = |args: Args| args.i32(-1);
    assert_says(
        complaint("beyond", Launch::linear(1, 1), before),
        &["wrote before"],
    );
}

#[test]
fn the_emulator_compares_arguments_with_parameters() {
    let wrong = |args: Args| args.f32(1.0);
    assert_says(
        complaint("beyond", Launch::linear(1, 1), wrong),
        &["\"pi\"", "\"pf\""],
    );
    assert_says(
        complaint("nowhere", Launch::linear(1, 1), |args| args),
        &["nowhere", "no extern"],
    );
    assert_says(
        complaint("beyond", Launch::linear(1, 2048), |args| args.i32(0)),
        &["1 to 1024 threads"],
    );
}
