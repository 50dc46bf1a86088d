//! Events: moments of a stream.

use std::ffi::c_uint;
use std::time::Instant;

use cudarc::driver::sys::{CUevent, CUevent_flags, CUstream};

use crate::errors::{CUresult, Out, answer};
use crate::state::{find, in_context};
use crate::work::Work;

const NO_TIMING: c_uint = CUevent_flags::CU_EVENT_DISABLE_TIMING as c_uint;

/// An event with its latest record.
pub(crate) struct Event {
    pub(crate) context: usize,
    timing: bool,
    /// How often it was recorded.
    records: u64,
    moment: Moment,
}

#[derive(Clone, Copy)]
enum Moment {
    /// Not recorded.
    Never,
    /// Queued in a stream.
    Later(usize),
    /// Executed.
    At(Instant),
    /// Part of a graph.
    Captured,
}

impl Event {
    /// The record with this number is executed; an older one than the latest says nothing.
    pub(crate) fn came(&mut self, number: u64, moment: Instant) {
        if number == self.records {
            self.moment = Moment::At(moment);
        }
    }
}

/// A new event, not recorded yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: Out<CUevent>, flags: c_uint) -> CUresult {
    answer("cuEventCreate", || {
        in_context(|state, context| {
            if flags > 3 {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            let handle = state.handle();
            let made = Event {
                context,
                timing: flags & NO_TIMING == 0,
                records: 0,
                moment: Moment::Never,
            };
            state.events.insert(handle, made);
            event.put(handle as CUevent)
        })
    })
}

/// Queues the moment behind everything that the stream has been given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: CUevent, stream: CUstream) -> CUresult {
    answer("cuEventRecord", || {
        in_context(|state, context| {
            let (event, handle) = (event as usize, stream as usize);
            let number = find(&mut state.events, event, context)?.records + 1;
            let capturing = find(&mut state.streams, handle, context)?.capture.is_some();
            state.submit(context, stream, Work::Record(event, number))?;
            let found = find(&mut state.events, event, context)?;
            found.records = number;
            found.moment = if capturing {
                Moment::Captured
            } else {
                Moment::Later(handle)
            };
            Ok(())
        })
    })
}

/// Waits for the latest record; one that was never recorded has come.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: CUevent) -> CUresult {
    answer("cuEventSynchronize", || {
        in_context(|state, context| {
            let handle = event as usize;
            let event = find(&mut state.events, handle, context)?;
            let (moment, number) = (event.moment, event.records);
            state.outside_capture(context, "waiting for an event", true)?;
            match moment {
                Moment::Never | Moment::At(_) => Ok(()),
                Moment::Captured => Err(CUresult::CUDA_ERROR_CAPTURED_EVENT),
                Moment::Later(stream) => state.run(stream, Some((handle, number))),
            }
        })
    })
}

/// Ends an event, recorded or not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: CUevent) -> CUresult {
    answer("cuEventDestroy", || {
        in_context(|state, context| {
            find(&mut state.events, event as usize, context)?;
            state.events.remove(&(event as usize));
            Ok(())
        })
    })
}

/// Milliseconds between two moments that have come.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(
    milliseconds: Out<f32>,
    start: CUevent,
    end: CUevent,
) -> CUresult {
    answer("cuEventElapsedTime", || {
        in_context(|state, context| {
            let mut moment = |event: CUevent| {
                let event = find(&mut state.events, event as usize, context)?;
                match event.moment {
                    _ if !event.timing => Err(CUresult::CUDA_ERROR_INVALID_HANDLE),
                    Moment::Never => Err(CUresult::CUDA_ERROR_INVALID_HANDLE),
                    Moment::Captured => Err(CUresult::CUDA_ERROR_CAPTURED_EVENT),
                    Moment::Later(_) => Err(CUresult::CUDA_ERROR_NOT_READY),
                    Moment::At(moment) => Ok(moment),
                }
            };
            let (start, end) = (moment(start)?, moment(end)?);
            let seconds = if end >= start {
                (end - start).as_secs_f64()
            } else {
                -(start - end).as_secs_f64()
            };
            milliseconds.put((1e3 * seconds) as f32)
        })
    })
}
