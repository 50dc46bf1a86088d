//! What the checking emulator finds in kernels that happen to give the right result.

use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Source, Span};

static HAZARDS: Source = Source {
    name: "hazards.cu",
    text: include_str!("kernels/hazards.cu"),
};

/// The outcome of a kernel on the checking emulator; nothing without a compiler.
fn launch(
    function: &'static str,
    launch: Launch,
    args: impl Fn(Args, &Span) -> Args,
) -> Option<Result<(), DeviceError>> {
    let device = match Device::checked() {
        Ok(device) => device,
        Err(reason) => {
            println!("skipped: {reason}");
            return None;
        }
    };
    let memory = device.alloc(256).unwrap();
    let args = args(Args::new(), &memory.all());
    // SAFETY: the emulator survives these mistakes: that is the test.
    Some(unsafe { device.launch(&Kernel::new(&HAZARDS, function), launch, args) })
}

fn is_fine(function: &'static str, shape: Launch, args: impl Fn(Args, &Span) -> Args) {
    if let Some(outcome) = launch(function, shape, args) {
        outcome.unwrap();
    }
}

fn complains(
    function: &'static str,
    shape: Launch,
    args: impl Fn(Args, &Span) -> Args,
    words: &[&str],
) {
    if let Some(outcome) = launch(function, shape, args) {
        let text = outcome.expect_err("the mistake was not found").to_string();
        println!("{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[test]
fn threads_that_do_not_wait_for_each_other_race() {
    let waits = |wait| move |args: Args, out: &Span| args.span(out).i32(wait);
    let block = Launch::linear(2, 64).with_shared(256);
    // Both blocks write the same words: only one is started.
    let block = Launch {
        grid: [1, 1, 1],
        ..block
    };
    let words = [
        "hazards.cu:neighbour",
        "a race",
        "hazards.cu:7",
        "hazards.cu:9",
    ];
    complains("neighbour", block, waits(0), &words);
    is_fine("neighbour", block, waits(1));
    let words = [
        "a race",
        "dynamic shared memory",
        "hazards.cu:17",
        "hazards.cu:19",
    ];
    complains("rounds", block, waits(0), &words);
    is_fine("rounds", block, waits(1));
    let warp = Launch::linear(1, 32);
    let words = ["nobody has written", "hazards.cu:30"];
    complains("lanes", warp, waits(0), &words);
    is_fine("lanes", warp, waits(1));
    complains("passed_on", warp, waits(0), &["a race", "thread 16"]);
    is_fine("passed_on", warp, waits(1));
    let plain = |args: Args, out: &Span| args.span(out);
    complains("shuffled", warp, plain, &["a race"]);
}

#[test]
fn blocks_that_write_what_others_use_race() {
    let plain = |args: Args, out: &Span| args.span(out);
    let words = ["a race", "another block", "hazards.cu:54"];
    complains("blocks", Launch::linear(2, 32), plain, &words);
    is_fine("blocks", Launch::linear(1, 32), plain);
    is_fine("counted", Launch::linear(3, 64), plain);
    let words = ["nobody has written", "block (1, 0, 0)"];
    complains("unwritten", Launch::linear(2, 32), plain, &words);
    is_fine("unwritten", Launch::linear(1, 32), plain);
}

#[test]
fn reads_outside_of_spans_are_found_inside_of_buffers() {
    let copy = |n: i32| {
        move |args: Args, memory: &Span| {
            let (from, to) = (memory.slice(16..48), memory.slice(128..256));
            args.span(&from).span(&to).i32(n)
        }
    };
    is_fine("past", Launch::linear(1, 1), copy(32));
    let words = [
        "out of range",
        "128 bytes from the start of a span",
        "hazards.cu:70",
    ];
    complains("past", Launch::linear(1, 1), copy(33), &words);
}

#[test]
fn addresses_indices_and_sums_are_looked_at() {
    let fours = |first: usize| {
        move |args: Args, memory: &Span| {
            let from = memory.slice(first..first + 4);
            args.span(&from).span(&memory.slice(64..65))
        }
    };
    let one = Launch::linear(1, 1);
    is_fine("fours", one, fours(8));
    complains(
        "fours",
        one,
        fours(9),
        &["no multiple of 16", "4 over", "hazards.cu:75"],
    );
    let with = |i: i32| move |args: Args, out: &Span| args.span(out).i32(i);
    is_fine("outside", Launch::linear(1, 8), with(0));
    let words = ["outside of its array", "hazards.cu:84"];
    complains("outside", Launch::linear(1, 8), with(1), &words);
    is_fine("overflow", one, with(i32::MAX - 1));
    complains(
        "overflow",
        one,
        with(i32::MAX),
        &["overflow of a sum", "hazards.cu:88"],
    );
}
