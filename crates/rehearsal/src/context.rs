//! Cards and their primary contexts.

use std::ffi::{c_char, c_int, c_uint};

use cudarc::driver::sys::{CUcontext, CUdevice, CUdevice_attribute as Attribute};

use crate::errors::{Answer, CUresult, Out, answer, complain};
use crate::state::{State, anywhere, in_context, initialised, set_current};

/// A card's memory unless the environment says otherwise.
const MEMORY: usize = 2 << 30;

/// A primary context.
pub(crate) struct Context {
    card: CUdevice,
    retained: usize,
    /// The answer to every further call.
    pub(crate) failure: Option<CUresult>,
    /// Executed so far.
    pub(crate) kernels: u64,
    pub(crate) graphs: u64,
    pub(crate) copies: u64,
}

fn setting(name: &str) -> Option<String> {
    std::env::var(format!("VIEWMAKER_REHEARSAL_{name}")).ok()
}

fn number(name: &str, without: usize) -> usize {
    let given = setting(name).and_then(|text| text.parse().ok());
    given.unwrap_or(without)
}

fn cards() -> usize {
    number("CARDS", 1)
}

/// Bytes of a card.
pub(crate) fn total_memory() -> usize {
    number("MEMORY", MEMORY)
}

/// `VIEWMAKER_REHEARSAL_CAPABILITY`, 9.0 without it.
pub(crate) fn capability() -> (c_int, c_int) {
    let text = setting("CAPABILITY").unwrap_or_default();
    let parts = text.split_once('.');
    let given = parts.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    given.unwrap_or((9, 0))
}

/// Before everything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(flags: c_uint) -> CUresult {
    answer("cuInit", || {
        if flags != 0 {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        if cards() == 0 {
            return Err(CUresult::CUDA_ERROR_NO_DEVICE);
        }
        anywhere(|state| {
            state.initialised = true;
            Ok(())
        })
    })
}

/// How many cards there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: Out<c_int>) -> CUresult {
    answer("cuDeviceGetCount", || {
        initialised(|_| count.put(cards() as c_int))
    })
}

fn on_card(card: c_int, work: impl FnOnce(&mut State) -> Answer) -> Answer {
    initialised(|state| match usize::try_from(card) {
        Ok(number) if number < cards() => work(state),
        _ => Err(CUresult::CUDA_ERROR_INVALID_DEVICE),
    })
}

/// The card with a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: Out<CUdevice>, ordinal: c_int) -> CUresult {
    answer("cuDeviceGet", || on_card(ordinal, |_| device.put(ordinal)))
}

/// A card's name, in `room` characters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(
    name: Out<c_char>,
    room: c_int,
    device: CUdevice,
) -> CUresult {
    let room = usize::try_from(room).unwrap_or(0);
    answer("cuDeviceGetName", || {
        on_card(device, |_| name.put_text(b"rehearsal", room))
    })
}

/// The compute capability; nothing else is known of this card.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(
    value: Out<c_int>,
    attribute: c_int,
    device: CUdevice,
) -> CUresult {
    const MAJOR: c_int = Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as c_int;
    const MINOR: c_int = Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as c_int;
    answer("cuDeviceGetAttribute", || {
        on_card(device, |_| match attribute {
            MAJOR => value.put(capability().0),
            MINOR => value.put(capability().1),
            other => {
                complain(&format!(
                    "attribute {other} of a card is not known: add it to context.rs"
                ));
                Err(CUresult::CUDA_ERROR_INVALID_VALUE)
            }
        })
    })
}

/// One more user of a card's primary context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(
    context: Out<CUcontext>,
    device: CUdevice,
) -> CUresult {
    answer("cuDevicePrimaryCtxRetain", || {
        on_card(device, |state| {
            let mut contexts = state.contexts.iter_mut();
            if let Some((handle, present)) = contexts.find(|(_, c)| c.card == device) {
                present.retained += 1;
                return context.put(*handle as CUcontext);
            }
            let handle = state.handle();
            let made = Context {
                card: device,
                retained: 1,
                failure: None,
                kernels: 0,
                graphs: 0,
                copies: 0,
            };
            state.contexts.insert(handle, made);
            context.put(handle as CUcontext)
        })
    })
}

/// One user less; with the last one the context goes, and says what was still alive in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(device: CUdevice) -> CUresult {
    answer("cuDevicePrimaryCtxRelease", || {
        on_card(device, |state| {
            let mut contexts = state.contexts.iter_mut();
            let Some((&handle, context)) = contexts.find(|(_, c)| c.card == device) else {
                return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT);
            };
            context.retained -= 1;
            if context.retained == 0 {
                state.destroy(handle);
            }
            Ok(())
        })
    })
}

/// Makes a context current in this thread; null for none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: CUcontext) -> CUresult {
    answer("cuCtxSetCurrent", || {
        initialised(|state| {
            let handle = context as usize;
            if handle != 0 {
                let found = state.contexts.get(&handle);
                let found = found.ok_or(CUresult::CUDA_ERROR_INVALID_CONTEXT)?;
                found.failure.map_or(Ok(()), Err)?;
            }
            set_current(handle);
            Ok(())
        })
    })
}

/// Free and all memory of the card.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> CUresult {
    answer("cuMemGetInfo", || {
        in_context(|state, context| {
            let used = state.memory.used(context);
            free.put(total_memory().saturating_sub(used))?;
            total.put(total_memory())
        })
    })
}

impl State {
    /// Ends a context with everything in it.
    fn destroy(&mut self, context: usize) {
        let streams: Vec<usize> = self.streams.keys().copied().collect();
        for stream in streams {
            if self.streams[&stream].context == context {
                // A failure is said by `fail`, and nobody is left to be told.
                let _ = self.run(stream, None);
            }
        }
        let alive = self.remove_all(context);
        if !alive.is_empty() {
            complain(&format!("still alive: {}", alive.join(", ")));
        }
        let gone = self.contexts.remove(&context);
        if let (Some(gone), Some(_)) = (gone, setting("REPORT")) {
            complain(&format!(
                "executed {} kernels, {} graphs, {} copies",
                gone.kernels, gone.graphs, gone.copies
            ));
        }
    }

    /// Takes all objects of a context out of the tables, and names the kinds of which there were some.
    fn remove_all(&mut self, context: usize) -> Vec<String> {
        let [buffers, host] = self.memory.remove_all(context);
        let mut counts = vec![(buffers, "allocations"), (host, "page-locked allocations")];
        macro_rules! remove {
            ($($table:ident),*) => {$(
                let before = self.$table.len();
                self.$table.retain(|_, o| o.context != context);
                counts.push((before - self.$table.len(), stringify!($table)));
            )*};
        }
        // Functions go with their modules and are not destroyed by anybody.
        self.functions.retain(|_, f| f.context != context);
        remove!(streams, events, graphs, instances, modules);
        let some = counts.into_iter().filter(|(count, _)| *count > 0);
        some.map(|(count, what)| format!("{count} {what}"))
            .collect()
    }
}
