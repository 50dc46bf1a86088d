//! Cutting work into pieces whose number depends on the geometry only.
//!
//! The same pieces in the same order of additions give the same bits, whichever thread happens to
//! compute which piece.

use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Runs `work` on every task; as many at once as there are threads, or as many as `scratch` has
/// pieces of `lane` elements when that is less.
///
/// A task takes its output along, typically as a piece of `chunks_mut`; the scratch it is given
/// holds what an earlier task left there. Tasks are handed out in order, to whoever is free.
/// Work that needs no scratch takes lanes of one element, one for each thread.
pub fn for_each_with_scratch<I, F>(tasks: I, scratch: &mut [f32], lane: usize, work: F)
where
    I: Iterator + Send,
    F: Fn(I::Item, &mut [f32]) + Sync,
{
    debug_assert!(
        0 < lane && lane <= scratch.len(),
        "no scratch for even one lane"
    );
    let tasks = Mutex::new(tasks);
    // A statement of its own, so that the lock is released before the work begins.
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
    scratch
        .par_chunks_exact_mut(lane)
        .take(rayon::current_num_threads())
        .with_max_len(1)
        .for_each(|lane| {
            while let Some(task) = next() {
                work(task, lane);
            }
        });
}

/// The `index`-th of `parts` consecutive ranges that cover `0..len`; their lengths differ by at
/// most one, and are zero for the last ones when `len < parts`.
pub const fn part(len: usize, parts: usize, index: usize) -> Range<usize> {
    let (each, longer) = (len / parts, len % parts);
    let start = index * each + if index < longer { index } else { longer };
    let end = start + each + (index < longer) as usize;
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once() {
        for (len, parts) in [(10, 3), (3, 5), (0, 2), (64, 8)] {
            let mut next = 0;
            for index in 0..parts {
                let range = part(len, parts, index);
                assert_eq!(range.start, next);
                assert!(range.len() <= len.div_ceil(parts));
                next = range.end;
            }
            assert_eq!(next, len);
        }
    }

    #[test]
    fn every_task_runs_once_with_its_own_scratch() {
        let mut out = vec![0.0f32; 1000];
        let mut scratch = vec![0.0; 3 * 7];
        for_each_with_scratch(
            out.chunks_mut(10).enumerate(),
            &mut scratch,
            7,
            |(t, out), lane| {
                lane.fill(t as f32);
                std::thread::yield_now();
                for (o, l) in out.iter_mut().zip(lane.iter().cycle()) {
                    *o += l + 1.0;
                }
            },
        );
        let want = (0..1000).map(|i| (i / 10) as f32 + 1.0);
        assert!(out.iter().copied().eq(want));
    }
}
