//! Memory, graphs, events and errors, on every device that is there.

mod common;

use common::{devices, place, read};
use std::process::Command;
use viewmaker_device::source::ELEMENTWISE;
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Source, Span};

static ADD: Kernel = Kernel::new(&ELEMENTWISE, "add");

fn add(device: &Device, a: &Span, b: &Span, out: &Span) -> Result<(), DeviceError> {
    let args = Args::new().span(a).span(b).span(out).u64(out.len() as u64);
    // SAFETY: `add` takes three spans of `n` words and `n`.
    unsafe { device.launch(&ADD, Launch::over(out.len()), args) }
}

#[test]
fn cuda_memory_starts_as_zeros_and_spans_are_ranges_of_it() {
    for device in devices() {
        let buffer = device.alloc(1000).unwrap();
        assert_eq!(read(&buffer.all()), vec![0.0; 1000]);
        let middle = buffer.span(100..200).slice(10..20);
        assert_eq!((middle.start(), middle.len()), (110, 10));
        device.upload(&middle, &[1.0; 10]).unwrap();
        device
            .copy(&middle.slice(0..5), &buffer.span(0..5))
            .unwrap();
        device.fill_zero(&middle.slice(9..10)).unwrap();
        let all = read(&buffer.all());
        let ones: Vec<usize> = (0..1000).filter(|&i| all[i] == 1.0).collect();
        assert_eq!(
            ones,
            [0, 1, 2, 3, 4, 110, 111, 112, 113, 114, 115, 116, 117, 118]
        );
        assert!(device.alloc(0).unwrap().all().is_empty());
        let (free, total) = device.memory().unwrap();
        assert!(free <= total && total > 0);
    }
}

#[test]
#[should_panic(expected = "words 5..11 of a span of 10 words")]
fn cuda_a_span_cannot_leave_its_buffer() {
    match devices().first() {
        Some(device) => drop(device.alloc(10).unwrap().span(5..11)),
        None => panic!("skipped: words 5..11 of a span of 10 words"),
    }
}

#[test]
fn cuda_large_copies_arrive_though_their_source_changes_at_once() {
    // More than one and more than two pieces of page-locked memory, and a few words.
    for device in devices() {
        for len in [1, 5000, (1 << 20) + 3, (5 << 20) / 2] {
            let buffer = device.alloc(len + 1).unwrap();
            let mut from: Vec<f32> = (0..len).map(|i| i as f32).collect();
            device.upload(&buffer.span(0..len), &from).unwrap();
            from.fill(-1.0);
            device
                .upload(&buffer.span(0..len / 2), &from[..len / 2])
                .unwrap();
            let mut back = vec![0.0; len + 1];
            device.download(&buffer.all(), &mut back).unwrap();
            let want = |i: usize| {
                if i < len / 2 {
                    -1.0
                } else if i < len {
                    i as f32
                } else {
                    0.0
                }
            };
            let wrong = back.iter().enumerate().find(|(i, x)| **x != want(*i));
            assert_eq!(wrong, None, "{len} words");
        }
    }
}

#[test]
fn cuda_a_graph_repeats_what_was_captured() {
    for device in devices() {
        let (one, sum) = (place(&device, &[1.0; 300]), place(&device, &[0.0; 300]));
        let twice = place(&device, &[5.0; 300]);
        let mut graph = device
            .capture(|| {
                add(&device, &one, &sum, &sum)?;
                device.fill_zero(&twice)?;
                add(&device, &sum, &twice, &twice)?;
                add(&device, &sum, &twice, &twice)?;
                device.copy(&sum.slice(0..1), &twice.slice(299..300))
            })
            .unwrap();
        assert_eq!(graph.len(), 5);
        assert_eq!(read(&sum), vec![0.0; 300], "capturing does not execute");
        for round in 1..=3 {
            graph.launch().unwrap();
            assert_eq!(read(&sum), vec![round as f32; 300]);
            let mut wanted = vec![2.0 * round as f32; 300];
            wanted[299] = round as f32;
            assert_eq!(read(&twice), wanted);
        }
    }
}

#[test]
fn cuda_a_capture_refuses_what_a_graph_cannot_hold() {
    for device in devices() {
        let span = place(&device, &[1.0; 4]);
        let refused = device.capture(|| device.upload(&span, &[0.0; 4]));
        let error = refused.err().expect("an upload was captured").to_string();
        assert!(
            error.contains("copy from the host cannot be part of a captured graph"),
            "{error}"
        );
        assert!(matches!(
            device.capture(|| device.alloc(1).map(drop)).err(),
            Some(DeviceError::Capturing { .. })
        ));
        // The capture is over, whatever happened inside.
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = device.capture(|| panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        assert_eq!(read(&span), [1.0; 4]);
    }
}

#[test]
fn cuda_events_measure_what_lies_between_them() {
    for device in devices() {
        let (a, b) = (place(&device, &[1.0; 1000]), place(&device, &[0.0; 1000]));
        let start = device.event().unwrap();
        for _ in 0..10 {
            add(&device, &a, &b, &b).unwrap();
        }
        let end = device.event().unwrap();
        assert!(end.since(&start).unwrap().as_nanos() > 0);
        assert_eq!(read(&b), vec![10.0; 1000]);
    }
}

#[test]
fn cuda_a_source_that_does_not_compile_is_named_with_the_compilers_words() {
    static BROKEN: Source = Source {
        name: "broken.cu",
        text: "extern \"C\" __global__ void broken(float* x) {\n    x[0] = missing;\n}\n",
    };
    for device in devices() {
        let out = device.alloc(1).unwrap().all();
        // SAFETY: it does not compile.
        let outcome = unsafe {
            device.launch(
                &Kernel::new(&BROKEN, "broken"),
                Launch::linear(1, 1),
                Args::new().span(&out),
            )
        };
        let text = outcome.expect_err("it compiled").to_string();
        for word in ["kernels/broken.cu", "missing", "broken.cu"] {
            assert!(text.contains(word), "{text}");
        }
        let line = ["broken.cu:2", "broken.cu(2)"];
        assert!(line.iter().any(|l| text.contains(l)), "{text}");
    }
}

/// Whether a test passes in a process with a setting and without cards, and what it says.
fn passes_without_cards(name: &str, value: &str) -> (bool, String) {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["cuda_memory_starts_as_zeros", "--nocapture"])
        .env_remove("VIEWMAKER_TESTS_NEED_CARD")
        .env("CUDA_VISIBLE_DEVICES", "")
        .env("VIEWMAKER_REHEARSAL_CARDS", "0")
        .env(name, value);
    let output = test.output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    let words = String::from_utf8_lossy(&words).into_owned();
    assert!(words.contains("running 1 test"), "{words}");
    (output.status.success(), words)
}

#[test]
fn where_a_card_is_needed_its_absence_is_a_failure() {
    const NEEDED: &str = "VIEWMAKER_TESTS_NEED_CARD";
    let (passed, words) = passes_without_cards(NEEDED, "1");
    assert!(
        !passed && words.contains("VIEWMAKER_TESTS_NEED_CARD=1: no "),
        "{words}"
    );
    let (passed, words) = passes_without_cards(NEEDED, "0");
    assert!(passed && words.contains("skipped on CUDA: no "), "{words}");
}

#[test]
fn the_emulator_can_be_switched_off() {
    let (passed, words) = passes_without_cards("VIEWMAKER_EMULATOR", "off");
    let said = "skipped on emulator: the kernel emulator is switched off";
    assert!(passed && words.contains(said), "{words}");
}

#[test]
fn a_missing_card_is_an_error_that_names_it() {
    match Device::cuda(0) {
        Ok(device) => {
            println!("card 0: {} {:?}", device.name(), device.capability());
            let error = Device::cuda(9999).expect_err("card 9999").to_string();
            assert!(error.contains("no CUDA device 9999"), "{error}");
            let (_, total) = device.memory().unwrap();
            let error = device
                .alloc(total / 4 + 1)
                .expect_err("more memory than there is");
            assert!(matches!(error, DeviceError::OutOfMemory { .. }), "{error}");
        }
        Err(error @ DeviceError::NoDriver { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains("libcuda.so") && text.contains("install the NVIDIA driver"),
                "{text}"
            );
        }
        // A driver without a card, or a card without NVRTC.
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.contains("no CUDA device 0") || text.contains("NVRTC"),
                "{text}"
            );
        }
    }
}
