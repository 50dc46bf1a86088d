//! Which kernels of `kernels/conv2d.cu` compute a convolution on a device, and into how many blocks they cut
//! it.

use super::Geometry;
use crate::device::Precision;
use std::fmt;
use std::str::FromStr;
use viewmaker_device::Device;

/// Rows of the result that a block computes.
pub(super) const ROWS: usize = 128;
/// Elements of depth that a block multiplies at a time.
pub(super) const DEPTH: usize = 32;
/// With a multiple of so many channels, every position of a map begins at a multiple of 16 bytes.
const ALIGNED: usize = 4;
/// Blocks that fill a card; a function of the shapes alone cuts long sums into as many.
const BLOCKS: usize = 264;
/// Fewer blocks leave some multiprocessors of a card without any.
const FEW: usize = BLOCKS / 2;
/// Positions below which a sum over them is not cut any further.
const SHORTEST: usize = 256;
/// Elements of partial results, at most.
const PARTIALS: usize = 32 << 20;

/// Kernels that compute the same; each is tested against the double-precision reference, and the third
/// version also against the bits of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Plain products in single precision: tiles of 128 × 64 results, narrow ones for few last columns.
    V1,
    /// Tensor cores, operands in bfloat16: tiles of 128 × 64 results, also at the last column.
    V2,
    /// The same in TF32.
    V2Tf32,
    /// Tensor cores with fragments loaded eight rows at once and two steps in shared memory: tiles of
    /// 128 × 64 results.
    V3Narrow,
    /// The same with tiles of 128 × 128, where the channels of the map that patches are taken from are, or
    /// can be made, a multiple of 16; narrow tiles elsewhere.
    V3Wide,
}

impl Version {
    /// Every version, the plainest first.
    pub const ALL: [Self; 5] = [
        Self::V1,
        Self::V2,
        Self::V2Tf32,
        Self::V3Narrow,
        Self::V3Wide,
    ];

    /// The name on the command line: `v1`, `v2`, `v2-tf32`, `v3-64` or `v3-128`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V2Tf32 => "v2-tf32",
            Self::V3Narrow => "v3-64",
            Self::V3Wide => "v3-128",
        }
    }

    /// How it multiplies.
    pub const fn precision(self) -> Precision {
        match self {
            Self::V1 => Precision::F32,
            Self::V2Tf32 => Precision::Tf32,
            Self::V2 | Self::V3Narrow | Self::V3Wide => Precision::Bf16,
        }
    }

    /// Whether `device` can execute it. The emulator can.
    pub fn runs_on(self, device: &Device) -> bool {
        self.precision().runs_on(device)
    }

    /// Columns of the result that a block computes, where there are so many.
    pub(super) const fn columns(self) -> usize {
        match self {
            Self::V1 | Self::V2 | Self::V2Tf32 | Self::V3Narrow => 64,
            Self::V3Wide => 128,
        }
    }

    /// Blocks for a result of rows × columns, without those for fewer columns than a tile has.
    const fn tiles(self, rows: usize, columns: usize) -> usize {
        let across = columns / self.columns();
        rows.div_ceil(ROWS) * if across == 0 { 1 } else { across }
    }

    /// What computes `channels` of a map at so many positions.
    pub(super) fn of_maps(precision: Precision, positions: usize, channels: usize) -> Self {
        Self::of(precision, channels, Self::V3Wide.tiles(positions, channels))
    }

    /// What computes the gradient of the weights.
    pub(super) fn of_weights(precision: Precision, geometry: &Geometry) -> Self {
        let (tiles, cuts) = geometry.cuts(Self::V3Wide);
        Self::of(precision, geometry.output.c, tiles * cuts)
    }

    /// On tensor cores, wide tiles read their operands half as often. They must be enough for a card; what
    /// is left at the last column is cut into narrower ones in any case.
    const fn of(precision: Precision, columns: usize, wide_blocks: usize) -> Self {
        match precision {
            Precision::F32 => Self::V1,
            Precision::Tf32 => Self::V2Tf32,
            Precision::Bf16 if columns > Self::V3Narrow.columns() && wide_blocks >= FEW => {
                Self::V3Wide
            }
            Precision::Bf16 => Self::V3Narrow,
        }
    }
}

impl Geometry {
    /// Channels of a map on its way to the products, zeros behind those that it has: four neighbours in
    /// depth are then channels of one position, and begin at a multiple of 16 bytes.
    ///
    /// With `halves`, at most an eighth more makes half a step of depth lie within one tap, so that
    /// positions are looked up once a tap. Maps of one tap gain nothing by that.
    pub(super) const fn padded_channels(&self, channels: usize, halves: bool) -> usize {
        let aligned = channels.next_multiple_of(ALIGNED);
        let whole = channels.next_multiple_of(DEPTH / 2);
        let one_tap = self.kernel == 1 && aligned == channels;
        match halves && !one_tap && whole - channels <= channels / 8 {
            true => whole,
            false => aligned,
        }
    }

    /// (tap, channel) of the weight gradient, whose products read the input in fours.
    pub(super) const fn padded_fan_in(&self) -> usize {
        self.kernel * self.kernel * self.padded_channels(self.input.c, false)
    }

    /// Elements of a partial result of the weight gradient.
    pub(super) const fn partial(&self) -> usize {
        self.padded_fan_in() * self.output.c
    }

    /// Tiles of the weight gradient, and into how many sums each may be cut at most.
    fn cuts(&self, version: Version) -> (usize, usize) {
        let fitting = (PARTIALS / self.partial()).max(1);
        let most = self.positions().div_ceil(SHORTEST).min(fitting);
        (
            version.tiles(self.padded_fan_in(), self.output.c),
            most.max(1),
        )
    }

    /// Positions that a block of the weight gradient sums, in whole steps of depth.
    pub(super) fn share(&self, version: Version) -> usize {
        let (tiles, most) = self.cuts(version);
        let shares = BLOCKS.div_ceil(tiles).clamp(1, most);
        self.positions().div_ceil(shares).next_multiple_of(DEPTH)
    }

    /// Partial results of the weight gradient.
    pub(super) fn shares(&self, version: Version) -> usize {
        self.positions().div_ceil(self.share(version))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of the versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown version `{0}`: expected v1, v2, v2-tf32, v3-64 or v3-128")]
pub struct UnknownVersion(pub String);

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|v| v.name() == name);
        found.ok_or_else(|| UnknownVersion(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Padding;
    use super::*;
    use crate::Dims;

    fn same_size(input: Dims, out: usize, kernel: usize) -> Geometry {
        Geometry::new(input, out, kernel, 1, Padding::Zero(kernel / 2))
    }

    #[test]
    fn wide_tiles_fill_a_card() {
        use Version::{V3Narrow, V3Wide};
        for (input, out, kernel, want) in [
            // 512 · 64 positions are 256 rows of tiles.
            (Dims::new(512, 8, 8, 256), 128, 3, (V3Wide, V3Wide)),
            (Dims::new(512, 8, 8, 256), 64, 3, (V3Narrow, V3Narrow)),
            (Dims::new(512, 8, 8, 256), 129, 3, (V3Wide, V3Wide)),
            (Dims::new(512, 8, 8, 256), 65, 3, (V3Wide, V3Wide)),
            // 4 × 4 wide blocks of the output, 36 × 4 of the weight gradient.
            (Dims::new(32, 4, 4, 512), 512, 3, (V3Narrow, V3Wide)),
            (Dims::new(32, 1, 1, 512), 128, 1, (V3Narrow, V3Narrow)),
        ] {
            let g = same_size(input, out, kernel);
            let maps = Version::of_maps(Precision::Bf16, g.positions(), out);
            let weights = Version::of_weights(Precision::Bf16, &g);
            assert_eq!((maps, weights), want, "{input}→{out}");
            assert_eq!(
                Version::of_maps(Precision::F32, g.positions(), out),
                Version::V1
            );
            assert_eq!(Version::of_weights(Precision::F32, &g), Version::V1);
            assert_eq!(Version::of_weights(Precision::Tf32, &g), Version::V2Tf32);
        }
    }

    /// Memory that is planned once serves whichever version computes.
    #[test]
    fn working_memory_is_enough_for_every_version() {
        let g = same_size(Dims::new(64, 16, 16, 64), 128, 3);
        for version in Version::ALL {
            let partials = g.shares(version) * g.partial();
            assert!(partials <= g.device_scratch_len(), "{version}");
        }
        assert!(g.shares(Version::V3Wide) > g.shares(Version::V3Narrow));
    }

    #[test]
    fn maps_are_padded_to_fours_or_halves_of_a_step() {
        let input = Dims::new(1, 9, 9, 1);
        let padded = |kernel, channels, halves| {
            same_size(input, 1, kernel).padded_channels(channels, halves)
        };
        for channels in [1, 3, 4, 32, 129, 131, 132, 512] {
            assert_eq!(
                padded(3, channels, false),
                channels.next_multiple_of(4),
                "{channels}"
            );
        }
        // 30 channels would have to grow by more than 3, 100 by 12.
        let halves = [3, 30, 100, 129, 130, 131, 132, 144].map(|c| padded(3, c, true));
        assert_eq!(halves, [4, 32, 112, 144, 144, 144, 144, 144]);
        let one_tap = [30, 100, 131].map(|c| padded(1, c, true));
        assert_eq!(one_tap, [32, 100, 144]);
    }

    #[test]
    fn names_lead_back() {
        for version in Version::ALL {
            assert_eq!(version.name().parse(), Ok(version));
        }
        let unknown = "v4".parse::<Version>().unwrap_err().to_string();
        assert!(unknown.contains("`v4`"), "{unknown}");
        for version in Version::ALL {
            assert!(unknown.contains(version.name()), "{unknown}");
        }
    }
}
