//! Patches: each view is a random part of the picture or spectrogram, resized to the whole size.

use super::crop::{self, Region};
use crate::DataError;
use crate::random::Dice;
use serde::{Deserialize, Serialize};

/// Views by patch: the section `views.patch`.
///
/// Source: positives from two parts of one example, as in van den Oord et al., *Representation
/// learning with contrastive predictive coding* (2018), section 3.2, without their grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PatchConfig {
    /// Smallest and largest part of the area that a patch covers, in (0, 1].
    pub scale: [f32; 2],
}

impl Default for PatchConfig {
    fn default() -> Self {
        Self { scale: [0.2, 0.6] }
    }
}

impl PatchConfig {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        crop::check(
            ["views.patch.scale", "views.patch.ratio"],
            self.scale,
            [1.0, 1.0],
        )
    }

    /// Replaces the example by a random patch of it, which has the proportions of the whole.
    pub(super) fn apply(&self, example: &mut [f32], shape: [usize; 3], dice: &mut Dice) {
        let [_, height, width] = shape;
        let ratio = width as f32 / height as f32;
        let region = Region::random([height, width], self.scale, [ratio, ratio], dice);
        let whole = example.to_vec();
        region.enlarge(&whole, [height, width], example);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::dice_of;

    #[test]
    fn the_whole_is_the_identity_and_parts_keep_their_values() {
        let x: Vec<f32> = (0..3 * 16 * 24).map(|i| (i % 37) as f32).collect();
        let patch = |scale| {
            let mut y = x.clone();
            PatchConfig { scale }.apply(&mut y, [3, 16, 24], &mut dice_of(1, 2, 3, 4));
            y
        };
        assert_eq!(patch([1.0, 1.0]), x);
        let part = patch([0.3, 0.3]);
        assert_ne!(part, x);
        assert!(part.iter().all(|v| (0.0..=36.0).contains(v)));
    }

    #[test]
    fn bad_values_name_their_key() {
        for scale in [[0.0, 0.5], [0.5, 1.5], [0.6, 0.2], [f32::NAN, 0.5]] {
            let error = PatchConfig { scale }.validate().unwrap_err().to_string();
            assert!(error.starts_with("views.patch.scale = "), "{error}");
        }
    }
}
