//! Options of the modality `image`.

use super::decode::Frame;
use crate::DataError;
use serde::{Deserialize, Serialize};

/// Options of the modality `image`: the section `data.image`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageConfig {
    /// Height and width that pictures are brought to, in pixels: scaled until they cover the
    /// square, then cut to it on both sides alike.
    pub size: usize,
    /// Channels: 3 (RGB; grey pictures are repeated, so that one network can be tried on many data
    /// sets), 1 (grey), or 0 for those of the data.
    pub channels: usize,
    /// Whether a folder of pictures is a video: its files, sorted by name, are frames in the order of
    /// time, and the folders above it are the classes.
    pub frames: bool,
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self {
            size: 32,
            channels: 3,
            frames: false,
        }
    }
}

impl ImageConfig {
    /// Largest accepted [`ImageConfig::size`].
    pub const MAX_SIZE: usize = 1024;

    /// The form pictures are brought to, if those of the data have `native` channels.
    pub(super) fn frame(&self, native: usize) -> Frame {
        let channels = if self.channels == 0 {
            native
        } else {
            self.channels
        };
        Frame::square(channels, self.size)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key whose value cannot work.
    pub fn validate(&self) -> Result<(), DataError> {
        if !(4..=Self::MAX_SIZE).contains(&self.size) {
            let why = format!("must lie between 4 and {} pixels", Self::MAX_SIZE);
            return Err(DataError::option("data.image.size", self.size, why));
        }
        if ![0, 1, 3].contains(&self.channels) {
            let why = "must be 3 (RGB), 1 (grey) or 0 (as the data)";
            return Err(DataError::option("data.image.channels", self.channels, why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_name_their_key() {
        let size = ImageConfig {
            size: 2,
            ..Default::default()
        };
        let message = size.validate().unwrap_err().to_string();
        assert!(message.starts_with("data.image.size = 2"), "{message}");
        let channels = ImageConfig {
            channels: 2,
            ..Default::default()
        };
        let message = channels.validate().unwrap_err().to_string();
        assert!(message.starts_with("data.image.channels = 2"), "{message}");
    }
}
