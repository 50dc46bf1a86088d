//! Streams. They are lazy: nothing is done before somebody waits for it, which is the latest moment that
//! a card may choose. Whoever reuses memory too early then always sees it.

use std::collections::VecDeque;
use std::ffi::c_uint;

use cudarc::driver::sys::CUstream;

use crate::capture::Capture;
use crate::errors::{Answer, CUresult, Out, answer, complain};
use crate::state::{State, find, in_context};
use crate::work::Work;

/// A queue of work.
pub(crate) struct Stream {
    pub(crate) context: usize,
    pub(crate) queue: VecDeque<Work>,
    pub(crate) capture: Option<Capture>,
}

impl State {
    /// Queues work, or records it where the stream is capturing.
    pub(crate) fn submit(&mut self, context: usize, stream: CUstream, work: Work) -> Answer {
        let handle = stream as usize;
        if handle == 0 {
            complain("the default stream is not used here, and is not rehearsed");
        }
        let stream = find(&mut self.streams, handle, context)?;
        if let Some(capture) = &mut stream.capture {
            return capture.record(work);
        }
        if let Err(code) = self.check(context, &work) {
            return Err(self.fail(context, code));
        }
        find(&mut self.streams, handle, context)?
            .queue
            .push_back(work);
        Ok(())
    }

    /// Executes what a stream has queued: everything, or up to an event's record with this number.
    pub(crate) fn run(&mut self, stream: usize, until: Option<(usize, u64)>) -> Answer {
        loop {
            let Some(found) = self.streams.get_mut(&stream) else {
                return Ok(());
            };
            let context = found.context;
            let Some(work) = found.queue.pop_front() else {
                return Ok(());
            };
            if let Err(code) = self.execute(context, &work) {
                return Err(self.fail(context, code));
            }
            if matches!(work, Work::Record(event, number) if until == Some((event, number))) {
                return Ok(());
            }
        }
    }

    /// Executes what all streams of a context have queued.
    pub(crate) fn run_all(&mut self, context: usize) -> Answer {
        let streams: Vec<usize> = self.streams.keys().copied().collect();
        let mut own = streams
            .into_iter()
            .filter(|s| find(&mut self.streams, *s, context).is_ok())
            .collect::<Vec<_>>();
        // Streams are independent: any order is one that a card may choose.
        own.sort_unstable();
        own.into_iter().try_for_each(|s| self.run(s, None))
    }
}

/// A new stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: Out<CUstream>, flags: c_uint) -> CUresult {
    answer("cuStreamCreate", || {
        in_context(|state, context| {
            if flags > 1 {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            let handle = state.handle();
            let made = Stream {
                context,
                queue: VecDeque::new(),
                capture: None,
            };
            state.streams.insert(handle, made);
            stream.put(handle as CUstream)
        })
    })
}

/// Executes everything that is queued.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: CUstream) -> CUresult {
    answer("cuStreamSynchronize", || {
        in_context(|state, context| {
            let found = find(&mut state.streams, stream as usize, context)?;
            if let Some(capture) = &mut found.capture {
                return Err(capture.refuse("waiting for the stream"));
            }
            state.run(stream as usize, None)
        })
    })
}

/// Ends a stream when it has done its work.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: CUstream) -> CUresult {
    answer("cuStreamDestroy", || {
        in_context(|state, context| {
            let found = find(&mut state.streams, stream as usize, context)?;
            if found.capture.is_some() {
                complain("a stream is destroyed that is capturing");
            }
            let done = state.run(stream as usize, None);
            state.streams.remove(&(stream as usize));
            done
        })
    })
}
