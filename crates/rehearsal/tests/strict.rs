//! What the stand-in refuses.

mod support;

use std::ffi::{CStr, c_void};
use std::process::Command;

use cudarc::driver::sys::{CUfunction, CUresult};
use support::{Answer, Card, card};

const RELAXED: u32 = 2;
/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
const SHARED: i32 = 8;

/// A kernel that writes one word where it is told to.
const WRITE: &str = "extern \"C\" __global__ void strict_write(unsigned* x, int at, unsigned value) {\n    \
                     x[at] = value;\n}\n";
const WRITE_NAME: &CStr = c"strict_write";

fn launch(card: &Card, function: CUfunction, x: u64, at: i32, value: u32) -> Answer {
    let (mut x, mut at, mut value) = (x, at, value);
    let mut list: [*mut c_void; 3] = [
        (&raw mut x).cast(),
        (&raw mut at).cast(),
        (&raw mut value).cast(),
    ];
    let none = std::ptr::null_mut();
    card.launch_kernel(
        function,
        1,
        1,
        1,
        1,
        1,
        1,
        0,
        card.stream,
        list.as_mut_ptr(),
        none,
    )
}

#[test]
fn a_thread_needs_a_living_context() {
    let Some(card) = card() else { return };
    let context = card.context as usize;
    std::thread::scope(|scope| {
        let card = Shared(&card);
        let other = scope.spawn(move || {
            let card = card.get();
            let without = card.alloc(4);
            card.set_current(context as _).unwrap();
            (without, card.alloc(4).map(|a| card.free(a)))
        });
        let (without, with) = other.join().unwrap();
        assert_eq!(without, Err(CUresult::CUDA_ERROR_INVALID_CONTEXT));
        assert_eq!(with, Ok(Ok(())));
    });
    // Retained twice, it lives until it is released twice.
    assert_eq!(card.retain(), Ok(card.context));
    card.release();
    card.free(card.alloc(4).unwrap()).unwrap();
    card.stream_destroy(card.stream).unwrap();
    card.release();
    assert_eq!(card.alloc(4), Err(CUresult::CUDA_ERROR_INVALID_CONTEXT));
    let late = card.set_current(card.context);
    assert_eq!(late, Err(CUresult::CUDA_ERROR_INVALID_CONTEXT));
    assert_ne!(card.retain(), Ok(card.context), "a context comes back");
}

/// Functions of the driver may be called from any thread.
#[derive(Clone, Copy)]
struct Shared<'a>(&'a Card);
// SAFETY: the functions may, and handles are numbers.
unsafe impl Send for Shared<'_> {}
impl<'a> Shared<'a> {
    fn get(self) -> &'a Card {
        self.0
    }
}

#[test]
fn handles_have_a_kind_and_an_end() {
    let Some(card) = card() else { return };
    let invalid = Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    let event = card.event_create(0).unwrap();
    assert_eq!(card.synchronize(event.cast()), invalid);
    card.event_destroy(event).unwrap();
    assert_eq!(card.event_destroy(event), invalid);
    assert_eq!(card.event_record(event, card.stream), invalid);
    let stream = card.stream_create().unwrap();
    card.stream_destroy(stream).unwrap();
    assert_eq!(card.synchronize(stream), invalid);
    assert_eq!(card.synchronize(std::ptr::null_mut()), invalid);
    let name = card.error_name(CUresult::CUDA_ERROR_INVALID_HANDLE);
    assert_eq!(name, "CUDA_ERROR_INVALID_HANDLE");
}

#[test]
fn nothing_is_done_before_somebody_waits() {
    let Some(card) = card() else { return };
    let there = card.alloc(16).unwrap();
    assert_eq!(there % 256, 0);
    assert!(
        card.read(there, 4)
            .iter()
            .all(|&w| f32::from_bits(w).is_nan())
    );
    // Ordinary memory is taken at the call, page-locked memory is read by the card.
    let (mut plain, locked) = (vec![1u32], card.alloc_host(2));
    // SAFETY: two words were allocated.
    unsafe { locked.write(1) };
    card.upload(there, plain.as_ptr(), 1).unwrap();
    card.upload(there + 4, locked, 1).unwrap();
    plain.fill(2);
    // SAFETY: as above.
    unsafe { locked.write(2) };
    let mut back = [9u32; 2];
    card.download(back.as_mut_ptr(), there, 2).unwrap();
    assert_eq!(back, [9; 2], "before somebody waits");
    card.synchronize(card.stream).unwrap();
    assert_eq!(back, [1, 2]);
    // Freed while a copy from it is queued.
    card.upload(there, locked, 1).unwrap();
    card.free_host(locked.cast()).unwrap();
    let outcome = card.synchronize(card.stream);
    assert_eq!(outcome, Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
}

#[test]
fn ranges_lie_inside_one_living_allocation() {
    for mistake in 0..5 {
        let Some(card) = card() else { return };
        let (a, b) = (card.alloc(16).unwrap(), card.alloc(16).unwrap());
        // An empty range at the end is one.
        card.copy_on(a + 16, b, 0, card.stream).unwrap();
        let word = [0u32; 8];
        let outcome = match mistake {
            0 => card.upload(a + 4, word.as_ptr(), 4),
            1 => card.copy_on(a, b - 4, 8, card.stream),
            2 => card.fill_on(a + 16, 0, 1, card.stream),
            3 => {
                card.free(b).unwrap();
                card.copy_on(a, b, 16, card.stream)
            }
            _ => {
                let (_, write) = card.load(WRITE, WRITE_NAME);
                launch(&card, write, 4096, 0, 1)
            }
        };
        let illegal = CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
        assert_eq!(outcome, Err(illegal), "mistake {mistake}");
        // And it stays.
        assert_eq!(card.alloc(4), Err(illegal));
        assert_eq!(card.set_current(card.context), Err(illegal));
    }
    let Some(card) = card() else { return };
    let a = card.alloc(16).unwrap();
    assert_eq!(card.free(a + 4), Err(CUresult::CUDA_ERROR_INVALID_VALUE));
    card.free(a).unwrap();
    assert_eq!(card.free(a), Err(CUresult::CUDA_ERROR_INVALID_VALUE));
}

#[test]
fn memory_has_an_end() {
    let Some(card) = card() else { return };
    assert_eq!(card.alloc(3 << 30), Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY));
    assert_eq!(card.alloc(0), Err(CUresult::CUDA_ERROR_INVALID_VALUE));
    // An error that does not stay.
    card.free(card.alloc(1 << 20).unwrap()).unwrap();
}

#[test]
fn a_capture_holds_launches_copies_and_fills() {
    let Some(card) = card() else { return };
    let (a, b) = (card.alloc(16).unwrap(), card.alloc(16).unwrap());
    let (module, write) = card.load(WRITE, WRITE_NAME);
    card.fill_on(a, 0, 16, card.stream).unwrap();
    card.begin_capture(card.stream, RELAXED).unwrap();
    let twice = card.begin_capture(card.stream, RELAXED);
    assert_eq!(twice, Err(CUresult::CUDA_ERROR_ILLEGAL_STATE));
    card.fill_on(b, 0, 16, card.stream).unwrap();
    launch(&card, write, a, 1, 7).unwrap();
    card.copy_on(b + 8, a + 4, 4, card.stream).unwrap();
    let graph = card.end_capture().unwrap();
    assert_eq!(card.end_capture(), Err(CUresult::CUDA_ERROR_ILLEGAL_STATE));
    let instance = card.instantiate(graph, 0).unwrap();
    card.graph_destroy(graph).unwrap();
    let invalid = CUresult::CUDA_ERROR_INVALID_HANDLE;
    assert_eq!(card.instantiate(graph, 0), Err(invalid));
    assert_eq!(card.read(a, 4), [0; 4], "capturing executes nothing");
    for _ in 0..2 {
        card.fill_on(a, 0, 16, card.stream).unwrap();
        card.graph_launch(instance, card.stream).unwrap();
        assert_eq!(card.read(a, 4), [0, 7, 0, 0]);
        assert_eq!(card.read(b, 4), [0, 0, 7, 0]);
    }
    card.free(b).unwrap();
    let outcome = card.graph_launch(instance, card.stream);
    assert_eq!(outcome, Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
    // After an error that stays, nothing can be ended any more.
    let ended = card.module_unload(module);
    assert_eq!(ended, Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
}

#[test]
fn a_capture_breaks_at_what_waits_or_allocates() {
    let Some(card) = card() else { return };
    let (a, words) = (card.alloc(16).unwrap(), [0u32; 4]);
    let (event, locked) = (card.event_create(0).unwrap(), card.alloc_host(1));
    for mistake in 0..6 {
        card.begin_capture(card.stream, RELAXED).unwrap();
        let outcome = match mistake {
            0 => card.synchronize(card.stream),
            1 => card.alloc(4).map(drop),
            2 => card.free(a),
            3 => card.upload(a, words.as_ptr(), 4),
            4 => card.download(words.as_ptr().cast_mut(), a, 4),
            _ => card.event_synchronize(event),
        };
        let unsupported = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        assert_eq!(outcome, Err(unsupported), "mistake {mistake}");
        let broken = CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        assert_eq!(card.fill_on(a, 0, 4, card.stream), Err(broken));
        assert_eq!(card.end_capture(), Err(broken));
        // The stream is as good as new.
        card.fill_on(a, 0, 4, card.stream).unwrap();
        card.synchronize(card.stream).unwrap();
    }
    // Kernels are loaded at their first launch, and page-locked memory is read at each replay.
    card.begin_capture(card.stream, RELAXED).unwrap();
    card.load(WRITE, WRITE_NAME);
    card.upload(a, locked, 1).unwrap();
    card.event_record(event, card.stream).unwrap();
    let graph = card.end_capture().unwrap();
    let instance = card.instantiate(graph, 0).unwrap();
    card.graph_destroy(graph).unwrap();
    card.instance_destroy(instance).unwrap();
    let invalid = Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    assert_eq!(card.instance_destroy(instance), invalid);
    assert_eq!(card.graph_launch(instance, card.stream), invalid);
    let captured = card.event_synchronize(event);
    assert_eq!(captured, Err(CUresult::CUDA_ERROR_CAPTURED_EVENT));
}

#[test]
fn launches_have_limits() {
    let Some(card) = card() else { return };
    let (_, write) = card.load(WRITE, WRITE_NAME);
    let shape_of = |function, grid: [u32; 3], block: [u32; 3], shared| {
        let (mut x, mut at, mut value) = (card.alloc(4096).unwrap(), 0i32, 0u32);
        let mut list: [*mut c_void; 3] = [
            (&raw mut x).cast(),
            (&raw mut at).cast(),
            (&raw mut value).cast(),
        ];
        let ([gx, gy, gz], [bx, by, bz]) = (grid, block);
        let (list, none) = (list.as_mut_ptr(), std::ptr::null_mut());
        card.launch_kernel(
            function,
            gx,
            gy,
            gz,
            bx,
            by,
            bz,
            shared,
            card.stream,
            list,
            none,
        )
    };
    let shape = |grid, block, shared| shape_of(write, grid, block, shared);
    let invalid = Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(shape([1, 1, 1], [1024, 1, 1], 48 << 10), Ok(()));
    for (grid, block, shared) in [
        ([1, 1, 1], [1025, 1, 1], 0),
        ([1, 1, 1], [1, 1, 65], 0),
        ([0, 1, 1], [1, 1, 1], 0),
        ([1 << 31, 1, 1], [1, 1, 1], 0),
        ([1, 65_536, 1], [1, 1, 1], 0),
        ([1, 1, 65_536], [1, 1, 1], 0),
        ([1, 1, 1], [1, 1, 1], (48 << 10) + 1),
    ] {
        assert_eq!(
            shape(grid, block, shared),
            invalid,
            "{grid:?} {block:?} {shared}"
        );
    }
    let bounded = format!(
        "constexpr int SIDE = 8;\n{}",
        WRITE.replace(
            "void strict_write",
            "void __launch_bounds__(SIDE * SIDE) strict_bounded"
        )
    );
    let (_, bounded) = card.load(&bounded, c"strict_bounded");
    assert_eq!(shape_of(bounded, [1, 1, 1], [8, 8, 1], 0), Ok(()));
    assert_eq!(shape_of(bounded, [1, 1, 1], [65, 1, 1], 0), invalid);
    assert_eq!(card.set_attribute(write, SHARED, (227 << 10) + 1), invalid);
    card.set_attribute(write, SHARED, 227 << 10).unwrap();
    assert_eq!(shape([1, 1, 1], [1, 1, 1], 227 << 10), Ok(()));
}

#[test]
fn a_kernel_that_writes_beside_its_memory_fails_when_somebody_waits() {
    let Some(card) = card() else { return };
    let (_, write) = card.load(WRITE, WRITE_NAME);
    let x = card.alloc(16).unwrap();
    launch(&card, write, x, 3, 5).unwrap();
    assert_eq!(card.read(x, 4)[3], 5);
    launch(&card, write, x, 4, 5).unwrap();
    let failed = CUresult::CUDA_ERROR_LAUNCH_FAILED;
    assert_eq!(card.synchronize(card.stream), Err(failed));
    assert_eq!(card.free(x), Err(failed));
}

#[test]
fn modules_must_be_known_and_stay_while_they_are_used() {
    let Some(card) = card() else { return };
    let no_binary = Err(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert_eq!(
        card.module_load(b"\x7fELF and more".as_ptr().cast()),
        no_binary
    );
    assert_eq!(card.module_load(c"".as_ptr().cast()), no_binary);
    let words = card.compile("extern \"C\" __global__ void broken() { missing; }\n");
    assert!(
        words.as_ref().is_err_and(|w| w.contains("missing")),
        "{words:?}"
    );
    let (module, write) = card.load(WRITE, WRITE_NAME);
    let none = card.get_function(module, c"nothing".as_ptr());
    assert_eq!(none, Err(CUresult::CUDA_ERROR_NOT_FOUND));
    let x = card.alloc(16).unwrap();
    launch(&card, write, x, 0, 5).unwrap();
    card.module_unload(module).unwrap();
    let outcome = card.synchronize(card.stream);
    assert_eq!(outcome, Err(CUresult::CUDA_ERROR_LAUNCH_FAILED));
}

#[test]
fn events_are_moments_of_execution() {
    let Some(card) = card() else { return };
    let [start, end, untimed] = [0, 0, 2].map(|flags| card.event_create(flags).unwrap());
    card.event_synchronize(start).unwrap();
    let invalid = Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    assert_eq!(card.elapsed(start, end), invalid, "never recorded");
    let x = card.alloc(64 << 20).unwrap();
    card.event_record(start, card.stream).unwrap();
    card.fill_on(x, 1, 64 << 20, card.stream).unwrap();
    card.event_record(end, card.stream).unwrap();
    card.fill_on(x, 2, 4, card.stream).unwrap();
    card.event_record(untimed, card.stream).unwrap();
    let early = card.elapsed(start, end);
    assert_eq!(early, Err(CUresult::CUDA_ERROR_NOT_READY));
    card.event_synchronize(end).unwrap();
    assert!(card.elapsed(start, end).unwrap() > 0.0);
    assert!(card.elapsed(end, start).unwrap() < 0.0);
    assert_eq!(card.elapsed(start, untimed), invalid);
    // What is behind the event still waits.
    card.event_record(start, card.stream).unwrap();
    let again = card.elapsed(start, end);
    assert_eq!(again, Err(CUresult::CUDA_ERROR_NOT_READY));
    assert_eq!(card.read(x, 2), [0x0202_0202, 0x0101_0101]);
    assert!(card.elapsed(start, end).is_ok());
}

#[test]
fn a_context_names_what_is_alive_when_it_goes() {
    const LEAK: &str = "VIEWMAKER_REHEARSAL_LEAK";
    let Some(card) = card() else { return };
    if std::env::var_os(LEAK).is_some() {
        card.alloc(4).unwrap();
        card.alloc_host(1);
        card.event_create(0).unwrap();
        return;
    }
    drop(card);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["what_is_alive", "--nocapture"]).env(LEAK, "1");
    let output = viewmaker_rehearsal::run(&mut child).unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let wanted = "still alive: 1 allocations, 1 page-locked allocations, 1 events";
    assert!(output.status.success() && words.contains(wanted), "{words}");
}
