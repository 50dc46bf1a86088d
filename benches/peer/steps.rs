//! The training steps that are compared, and the networks behind them.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use viewmaker::config::{Config, Layer, Update, resolve, schema};
use viewmaker::error::Result;
use viewmaker::model::Networks;
use viewmaker_data::ChannelStats;

/// Examples of a batch, in steps and in layers.
pub const BATCH: usize = 64;

/// Kind of data a step trains on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// 3×32×32 with `resnet18-small`.
    Image,
    /// 52×32×32 with the ResNet-18 of torchvision.
    Sensor,
    /// 1×64×64 with the ResNet-18 of torchvision.
    Speech,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Image, Self::Sensor, Self::Speech];

    /// Its name in items.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Sensor => "sensor",
            Self::Speech => "speech",
        }
    }

    /// Channels, height and width of an example.
    pub const fn input(self) -> [usize; 3] {
        match self {
            Self::Image => [3, 32, 32],
            Self::Sensor => [52, 32, 32],
            Self::Speech => [1, 64, 64],
        }
    }

    /// The paper's configuration, which the step takes over except for what is stated here.
    const fn file(self) -> &'static str {
        match self {
            Self::Image => "cifar10.toml",
            Self::Sensor => "pamap2.toml",
            Self::Speech => "librispeech100.toml",
        }
    }

    const fn encoder(self) -> &'static str {
        match self {
            Self::Image => "resnet18-small",
            Self::Sensor | Self::Speech => "resnet18",
        }
    }

    /// Normalisation between viewmaker and encoder: CIFAR-10's for pictures, none for spectrograms,
    /// which arrive normalised.
    pub fn after_view(self) -> Option<ChannelStats> {
        (self == Self::Image).then(|| ChannelStats {
            mean: vec![0.491, 0.482, 0.446],
            std: vec![0.247, 0.243, 0.261],
        })
    }

    /// The configuration of the step.
    ///
    /// # Errors
    /// When the file in `configs/` cannot be read.
    pub fn config(self, update: Update) -> Result<Config> {
        let path = repository().join("configs").join(self.file());
        let mut set = Layer::default();
        for assignment in [
            format!("train.batch_size={BATCH}"),
            format!("train.update={}", update.word()),
            format!("encoder.name={}", self.encoder()),
        ] {
            set.add_assignment(&assignment, schema())?;
        }
        Ok(resolve(&[Layer::from_file(&path, schema())?, set])?)
    }

    /// The two networks of the step.
    ///
    /// # Errors
    /// As [`Task::config`].
    pub fn networks(self) -> Result<Networks> {
        let config = self.config(Update::Simultaneous)?;
        Networks::build(&config, self.input(), self.after_view().as_ref())
    }
}

/// Root of the working copy that this benchmark was built from.
pub fn repository() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    package
        .ancestors()
        .nth(2)
        .map_or(package.clone(), PathBuf::from)
}
