//! The modality `image`: photographs and drawings, values in [0, 1].

mod blob;
mod cifar;
mod config;
mod decode;
mod folder;
mod idx;
mod layout;
mod pictures;
mod shapes;
mod source;
mod video;

pub use config::ImageConfig;

use super::{Modality, Rendering};
use crate::stats::{DEFAULT_SAMPLE, channel_stats};
use crate::{ChannelStats, DataConfig, DataError, Dataset, Splits, Subset, files, split};
use decode::Frame;
use shapes::Shapes;
use source::Parts;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The modality `image`.
pub(super) struct Image;

impl Modality for Image {
    fn name(&self) -> &'static str {
        "image"
    }

    fn about(&self) -> &'static str {
        "CIFAR-10/100 binary, MNIST-style idx (.gz), PNG/JPEG in a folder per class (.tar.gz too); \
         embedded: textured shapes in 10 classes"
    }

    fn open(
        &self,
        path: Option<&Path>,
        config: &DataConfig,
        seed: u64,
    ) -> Result<Splits, DataError> {
        config.validate()?;
        match path {
            None => embedded(config),
            Some(path) => from_files(path, config, seed),
        }
    }

    fn open_files(
        &self,
        files: &[PathBuf],
        _config: &DataConfig,
        shape: [usize; 3],
        _before_view: Option<&ChannelStats>,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let [channels, height, width] = shape;
        let frame = Frame {
            channels,
            height,
            width,
        };
        Ok(Arc::new(folder::open_files(files, frame)?))
    }

    fn rendering(&self, _config: &DataConfig) -> Rendering {
        Rendering::Image
    }
}

fn embedded(config: &DataConfig) -> Result<Splits, DataError> {
    let frame = config.image.frame(3);
    let count = |wanted: usize| config.limit.map_or(wanted, |limit| wanted.min(limit));
    let train = Shapes::training(frame, count(config.embedded_train));
    let test = Shapes::held_out(frame, count(config.embedded_test));
    let names = shapes::CLASS_NAMES.map(str::to_owned).to_vec();
    finish(
        "embedded shapes",
        Arc::new(train),
        Arc::new(test),
        names,
        None,
    )
}

fn from_files(path: &Path, config: &DataConfig, seed: u64) -> Result<Splits, DataError> {
    let Parts {
        train,
        test,
        class_names,
        format,
        stats,
    } = source::open(path, &config.image)?;
    let (train, test): (Arc<dyn Dataset>, Arc<dyn Dataset>) = match (train, test) {
        (Some(train), Some(test)) => (Arc::new(train), Arc::new(test)),
        (Some(all), None) | (None, Some(all)) => {
            let fraction = config.validation_fraction;
            // Frames of one video are much alike: held out are whole videos.
            let division = match all.video_of_each() {
                Some(videos) => split::by_group(path, &videos, fraction, seed)?,
                None => split::by_class(path, all.labels(), fraction, seed)?,
            };
            let all = Arc::new(all);
            let held_out = Subset::new(all.clone(), division.held_out);
            (
                Arc::new(Subset::new(all, division.train)),
                Arc::new(held_out),
            )
        }
        (None, None) => {
            let why = format!("holds no pictures to train on: {}", files::describe(path));
            return Err(DataError::unusable(path, why));
        }
    };
    let train = Subset::limited(train, config.limit);
    let test = Subset::limited(test, config.limit);
    finish(&format, train, test, class_names, stats)
}

fn finish(
    format: &str,
    train: Arc<dyn Dataset>,
    test: Arc<dyn Dataset>,
    class_names: Vec<String>,
    stats: Option<ChannelStats>,
) -> Result<Splits, DataError> {
    let stats = match stats {
        Some(stats) => stats,
        None => channel_stats(&*train, DEFAULT_SAMPLE)?,
    };
    let [c, h, w] = train.shape();
    let classes = files::classes(class_names.len());
    let description = format!(
        "{format}: {} training and {} held-out pictures of {c}×{h}×{w}, {classes}",
        train.len(),
        test.len()
    );
    Ok(Splits {
        train,
        test,
        class_names,
        before_view: None,
        after_view: Some(stats),
        description,
    })
}

#[cfg(test)]
mod tests;
