//! Times by a device's own clock.

use viewmaker_device::{Device, DeviceError};

/// Seconds that are timed at once, at least: launching a graph takes the host some microseconds, and the
/// clock ticks in half ones.
const STRETCH: f64 = 1e-3;
/// Calls in one graph, at most.
const MOST_CALLS: f64 = 64.0;

/// Seconds of `work` by the clock of `device`, `repeats` times.
///
/// It is captured as a graph, as training does with it, because between single launches a card waits for
/// the host. A graph of short work holds several calls, which share its time. All graphs are launched before
/// any is waited for.
///
/// # Errors
/// Those of `work`; when the device fails.
pub(super) fn seconds(
    device: &Device,
    repeats: usize,
    work: impl Fn() -> Result<(), DeviceError>,
) -> Result<Vec<f64>, DeviceError> {
    // Compiles and loads the kernels.
    work()?;
    let start = device.event()?;
    work()?;
    let calls = calls(device.event()?.since(&start)?.as_secs_f64());
    let mut graph = device.capture(|| (0..calls).try_for_each(|_| work()))?;
    // The first launch takes the graph to the card.
    graph.launch()?;
    let mut moments = vec![device.event()?];
    for _ in 0..repeats {
        graph.launch()?;
        moments.push(device.event()?);
    }
    let stretches = moments.windows(2);
    stretches
        .map(|ends| Ok(ends[1].since(&ends[0])?.as_secs_f64() / calls as f64))
        .collect()
}

/// Calls that make a stretch long enough, when one takes so many seconds.
fn calls(seconds: f64) -> usize {
    (STRETCH / seconds).ceil().clamp(1.0, MOST_CALLS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn short_work_is_called_often() {
        let expected = [
            (1.0, 1),
            (1e-3, 1),
            (0.9e-3, 2),
            (1e-4, 10),
            (1e-6, 64),
            (0.0, 64),
        ];
        for (seconds, want) in expected {
            assert_eq!(calls(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn cuda_times_are_those_of_one_call() {
        for device in Device::present() {
            let span = device.alloc(1000).unwrap().all();
            let called = Cell::new(0);
            let work = || {
                called.set(called.get() + 1);
                device.fill_zero(&span)
            };
            let times = seconds(&device, 5, work).unwrap();
            assert_eq!(times.len(), 5);
            // Two alone, and those of the graph.
            assert!(called.get() > 3, "{} calls", called.get());
            // Clearing 4 kB takes microseconds; a graph of all calls would take several times as long.
            assert!(times.iter().all(|t| (0.0..1e-2).contains(t)), "{times:?}");
            let failed = seconds(&device, 1, || device.synchronize());
            assert!(matches!(failed, Err(DeviceError::Capturing { .. })));
        }
    }
}
