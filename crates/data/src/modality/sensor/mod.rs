//! The modality `sensor`: windows of a multichannel stream as log power spectrograms, one channel
//! of the example for every channel of the stream.

mod config;
mod corpus;
mod format;
mod partition;
mod simulate;
mod spectrogram;
mod windows;

pub use config::{HeldOut, SensorConfig};
pub use spectrogram::{LogPowerSpectrogram, POWER_OFFSET, normalize};

use super::{Modality, Rendering, SpectrogramAxes};
use crate::files::classes;
use crate::stats::channel_stats;
use crate::{ChannelStats, DataConfig, DataError, Dataset, Splits};
use config::Geometry;
use corpus::{Corpus, Stretch};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use windows::{Slot, WindowSet};

/// Training windows that the normalisation is estimated from.
const STATS_SAMPLE: usize = 1024;

/// Wearable sensors.
#[derive(Clone, Copy, Debug)]
pub struct Sensor;

impl Modality for Sensor {
    fn name(&self) -> &'static str {
        "sensor"
    }

    fn about(&self) -> &'static str {
        "Wearable sensors as spectrograms: PAMAP2 (.dat), HAPT, UCI HAR, or tables (.csv)"
    }

    fn open(
        &self,
        path: Option<&Path>,
        config: &DataConfig,
        seed: u64,
    ) -> Result<Splits, DataError> {
        config.validate()?;
        let limit = config.limit.unwrap_or(usize::MAX);
        let Some(path) = path else {
            let counts = [config.embedded_train, config.embedded_test];
            let corpus = simulate::corpus(counts[0], counts[1]);
            let source = Path::new("embedded data");
            // The embedded data are the same for every seed.
            return build(
                source,
                corpus,
                config,
                0,
                counts.map(|count| count.min(limit)),
            );
        };
        let corpus = format::read(path, &config.sensor)?;
        build(path, corpus, config, seed, [limit; 2])
    }

    fn open_files(
        &self,
        files: &[PathBuf],
        config: &DataConfig,
        shape: [usize; 3],
        before_view: Option<&ChannelStats>,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let mut stretches = Vec::new();
        let mut slots = Vec::new();
        let mut chosen = None;
        let mut axes = Arc::default();
        for file in files {
            let corpus = format::read(file, &config.sensor)?;
            let geometry = config.sensor.geometry(&corpus.defaults)?;
            let found = [corpus.channels.len(), geometry.rows(), geometry.frames()];
            if found != shape {
                let place = "spectrogram of a window (channels × rows × columns)";
                let [expected, found] = [shape, found].map(|s| format!("{s:?}"));
                return Err(DataError::format(file, place, expected, found));
            }
            axes = triads(&corpus.channels);
            slots.push(Slot {
                stretch: stretches.len(),
                start: 0,
            });
            stretches.push(longest_middle(file, corpus, &geometry)?);
            chosen = Some(geometry);
        }
        let Some(geometry) = chosen else {
            return Err(DataError::unusable(Path::new("."), "no files were given"));
        };
        let set = WindowSet::new(stretches.into(), slots, shape[0], geometry).with_triads(axes);
        Ok(Arc::new(match before_view {
            Some(stats) => set.normalized(stats.clone()),
            None => set,
        }))
    }

    fn rendering(&self, config: &DataConfig) -> Rendering {
        let sensor = &config.sensor;
        let defaults = simulate::DEFAULTS;
        let rate = sensor.rate_hz.unwrap_or(defaults.rate_hz);
        let hop = match sensor.geometry(&defaults) {
            Ok(geometry) => geometry.hop,
            Err(_) => sensor.hop_length.unwrap_or(1),
        };
        let row_hz = |row| row as f32 * rate / sensor.n_fft.max(1) as f32;
        Rendering::Spectrogram(SpectrogramAxes {
            seconds_per_column: hop as f32 / rate,
            row_hz: (0..sensor.n_fft / 2 + 1).map(row_hz).collect(),
            value: "log power, standard deviations",
            channel_names: sensor.columns.clone(),
        })
    }
}

/// The window in the middle of the longest stretch, without its label.
fn longest_middle(file: &Path, corpus: Corpus, geometry: &Geometry) -> Result<Stretch, DataError> {
    let longest = corpus
        .stretches
        .into_iter()
        .max_by_key(|stretch| stretch.len);
    let Some(longest) = longest.filter(|stretch| stretch.len >= geometry.window) else {
        let why = format!(
            "has no stretch of one activity with {} steps",
            geometry.window
        );
        return Err(DataError::unusable(file, why));
    };
    let start = (longest.len - geometry.window) / 2;
    Ok(Stretch {
        label: None,
        ..longest.part(start, start + geometry.window)
    })
}

/// Windows, normalisation and description of a corpus; at most `limits` examples to train on and
/// held out.
fn build(
    source: &Path,
    mut corpus: Corpus,
    config: &DataConfig,
    seed: u64,
    limits: [usize; 2],
) -> Result<Splits, DataError> {
    let geometry = config.sensor.geometry(&corpus.defaults)?;
    let parts = partition::divide(source, &mut corpus, config, geometry.window, seed)?;
    let channels = corpus.channels.len();
    let (train, held_out): (Arc<[Stretch]>, Arc<[Stretch]>) =
        (parts.train.into(), parts.held_out.into());
    let slots = match config
        .sensor
        .train_examples
        .or(corpus.defaults.train_examples)
    {
        Some(count) => windows::sampled(&train, &geometry, count, seed),
        None => windows::strided(&train, &geometry),
    };
    let triads = triads(&corpus.channels);
    let train = WindowSet::new(train, slots, channels, geometry)
        .limited(limits[0])
        .with_triads(Arc::clone(&triads))
        .moving();
    let slots = windows::strided(&held_out, &geometry);
    let test = WindowSet::new(held_out, slots, channels, geometry)
        .limited(limits[1])
        .with_triads(triads);
    let stats = channel_stats(&train, STATS_SAMPLE)?;
    let description = describe(&corpus, &geometry, &parts.how, &train, &test);
    Ok(Splits {
        train: Arc::new(train.normalized(stats.clone())),
        test: Arc::new(test.normalized(stats.clone())),
        class_names: corpus.classes,
        before_view: Some(stats),
        after_view: None,
        description,
    })
}

/// First channel of every three whose names differ in the axis alone: `acc_x`, `acc_y`, `acc_z`.
fn triads(channels: &[String]) -> Arc<[usize]> {
    let stem = |name: &str, axis: char| {
        let lower = name.to_lowercase();
        lower.strip_suffix(axis).map(str::to_owned)
    };
    let is_triad = |names: &[String]| {
        let [x, y, z] = [0, 1, 2].map(|i| stem(&names[i], ['x', 'y', 'z'][i]));
        x.is_some() && x == y && y == z
    };
    let starts = channels.windows(3).enumerate();
    starts
        .filter(|(_, names)| is_triad(names))
        .map(|(first, _)| first)
        .collect()
}

fn describe(
    corpus: &Corpus,
    geometry: &Geometry,
    how: &str,
    train: &dyn Dataset,
    test: &dyn Dataset,
) -> String {
    let [channels, rows, frames] = train.shape();
    let remark = match corpus.remark.as_str() {
        "" => String::new(),
        remark => format!("; {remark}"),
    };
    format!(
        "{}: {} training windows, {} held out, {}, {channels}×{rows}×{frames} \
         ({} steps at {} Hz); {how}{remark}",
        corpus.format,
        train.len(),
        test.len(),
        classes(corpus.classes.len()),
        geometry.window,
        geometry.rate_hz,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triads_are_found_by_the_names_of_their_axes() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let found = |text: &str| triads(&names(text)).to_vec();
        assert_eq!(found("acc_x acc_y acc_z gyro_x gyro_y gyro_z"), [0, 3]);
        assert_eq!(found("heart temp acc_X acc_Y acc_Z q0"), [2]);
        assert_eq!(found("acc_x acc_y gyro_z x y z"), [3]);
        assert!(found("a b c").is_empty() && found("x").is_empty());
    }
}
