//! What the driver knows: one table for each kind of handle, behind one lock.
//!
//! Handles are numbers that are never given twice, so that a destroyed one, or one of another kind, is
//! found in no table.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::context::Context;
use crate::errors::{Answer, CUresult};
use crate::event::Event;
use crate::graph::Graph;
use crate::memory::Memory;
use crate::module::{Function, Module};
use crate::stream::Stream;

/// All of it.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) initialised: bool,
    last_handle: usize,
    pub(crate) contexts: HashMap<usize, Context>,
    pub(crate) memory: Memory,
    pub(crate) streams: HashMap<usize, Stream>,
    pub(crate) events: HashMap<usize, Event>,
    pub(crate) graphs: HashMap<usize, Graph>,
    pub(crate) instances: HashMap<usize, Graph>,
    pub(crate) modules: HashMap<usize, Module>,
    pub(crate) functions: HashMap<usize, Function>,
}

thread_local! {
    /// The context that is current in this thread; 0 is none.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// Makes `context` current in this thread.
pub(crate) fn set_current(context: usize) {
    CURRENT.set(context);
}

fn lock() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `work`, whether cuInit was called or not.
pub(crate) fn anywhere<T>(work: impl FnOnce(&mut State) -> Answer<T>) -> Answer<T> {
    work(lock().get_or_insert_default())
}

/// Calls `work` behind cuInit.
pub(crate) fn initialised<T>(work: impl FnOnce(&mut State) -> Answer<T>) -> Answer<T> {
    anywhere(|state| {
        if !state.initialised {
            return Err(CUresult::CUDA_ERROR_NOT_INITIALIZED);
        }
        work(state)
    })
}

/// Calls `work` with the context of this thread, if there is one and nothing in it has failed.
pub(crate) fn in_context<T>(work: impl FnOnce(&mut State, usize) -> Answer<T>) -> Answer<T> {
    initialised(|state| {
        let current = CURRENT.get();
        let context = state.contexts.get(&current);
        match context.ok_or(CUresult::CUDA_ERROR_INVALID_CONTEXT)?.failure {
            Some(code) => Err(code),
            None => work(state, current),
        }
    })
}

impl State {
    /// A handle that no other object ever had.
    pub(crate) fn handle(&mut self) -> usize {
        // Looks like no address of anything, and is no small number that somebody forgot to set.
        self.last_handle += 16;
        0x7e4e_0000_0000 + self.last_handle
    }

    /// From now on every call of the context answers with `code`; what is queued never runs.
    pub(crate) fn fail(&mut self, context: usize, code: CUresult) -> CUresult {
        if let Some(context) = self.contexts.get_mut(&context) {
            context.failure.get_or_insert(code);
        }
        let streams = self.streams.values_mut();
        for stream in streams.filter(|stream| stream.context == context) {
            stream.queue.clear();
        }
        code
    }
}

/// The object behind a handle, if it belongs to the context.
pub(crate) fn find<T: Owned>(
    table: &mut HashMap<usize, T>,
    handle: usize,
    context: usize,
) -> Answer<&mut T> {
    let found = table.get_mut(&handle).filter(|o| o.context() == context);
    found.ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
}

/// What belongs to a context.
pub(crate) trait Owned {
    /// The context's handle.
    fn context(&self) -> usize;
}

macro_rules! owned {
    ($($kind:ty),*) => {
        $(impl Owned for $kind {
            fn context(&self) -> usize {
                self.context
            }
        })*
    };
}
owned!(Stream, Event, Graph, Module, Function);
