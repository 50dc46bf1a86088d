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
/// Blocks that are on a card at the same time, a wave: two on each of 132 multiprocessors. Sums are cut to fill
/// waves by a function of the shapes alone, so that they are the same on every card.
const BLOCKS: usize = 264;
/// Fewer blocks leave some multiprocessors of a card without any.
const FEW: usize = BLOCKS / 2;
/// What a partial result costs, in positions that its block could sum in that time: it is written and read again,
/// 8 bytes an element, and a position takes 2 operations an element. Of a card that does 64 operations in the time
/// of a byte (bfloat16; fewer in single precision) these are 256 positions. Shorter sums are not cut.
const CUT: usize = 256;
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

    /// Into how many phases in a row the gradient of an input is cut: positions that lie a stride apart have reached
    /// the output through the same taps, a stride apart, too. The plain version goes through all taps of all
    /// positions, which is (stride)² times the work, and is the measure of the others.
    pub(super) const fn phases(self, stride: usize) -> usize {
        match self {
            Self::V1 => 1,
            Self::V2 | Self::V2Tf32 | Self::V3Narrow | Self::V3Wide => stride,
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
        let most = self.positions().div_ceil(CUT).min(fitting);
        (
            version.tiles(self.padded_fan_in(), self.output.c),
            most.max(1),
        )
    }

    /// Positions that a block of the weight gradient sums, in whole steps of depth: the share of as many sums as
    /// cost the least, the fewest of them.
    pub(super) fn share(&self, version: Version) -> usize {
        let (tiles, most) = self.cuts(version);
        let mut best = (self.cost(tiles, 1), 1);
        for shares in 2..=most {
            // No number of shares from here on can be cheaper, not even in full waves.
            if tiles * (self.positions() + shares * CUT) >= best.0 {
                break;
            }
            best = best.min((self.cost(tiles, shares), shares));
        }
        self.share_of(best.1)
    }

    fn share_of(&self, shares: usize) -> usize {
        self.positions().div_ceil(shares).next_multiple_of(DEPTH)
    }

    /// What sums in so many shares of so many tiles cost, in positions of a block: a wave, full or not, takes as
    /// long as each of its blocks sums, and every block's partial result goes through memory.
    fn cost(&self, tiles: usize, shares: usize) -> usize {
        let share = self.share_of(shares);
        let blocks = tiles * self.positions().div_ceil(share);
        blocks.next_multiple_of(BLOCKS) * share + blocks * CUT
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

    /// ResNet-18's layers on 256 pictures of 32 × 32.
    fn resnet18() -> Vec<Geometry> {
        let layer = |size, channels, out, kernel, stride| {
            let input = Dims::new(256, size, size, channels);
            Geometry::new(input, out, kernel, stride, Padding::Zero(kernel / 2))
        };
        let mut layers = vec![layer(32, 3, 64, 3, 1), layer(32, 64, 64, 3, 1)];
        for (size, channels) in [(32, 64), (16, 128), (8, 256)] {
            layers.extend([
                layer(size, channels, 2 * channels, 3, 2),
                layer(size, channels, 2 * channels, 1, 2),
                layer(size / 2, 2 * channels, 2 * channels, 3, 1),
            ]);
        }
        layers
    }

    #[test]
    fn weight_gradients_fill_their_waves() {
        // Tiles of 128 × 64, and the shares into which their sums are cut.
        let want = [
            (1, 256),
            (5, 52),
            (10, 26),
            (2, 128),
            (18, 14),
            (36, 7),
            (4, 64),
            (72, 7),
            (144, 3),
            (16, 16),
            (288, 4),
        ];
        for (g, want) in resnet18().into_iter().zip(want) {
            let (tiles, most) = g.cuts(Version::V3Narrow);
            let shares = g.shares(Version::V3Narrow);
            assert_eq!((tiles, shares), want, "{}→{}", g.input, g.output);
            let summed = tiles * g.positions();
            let waves = (tiles * shares).next_multiple_of(BLOCKS) * g.share(Version::V3Narrow);
            // Where sums are long, hardly any room of a wave stays empty.
            let room = if most > 16 { 1.07 } else { 1.25 };
            assert!(
                waves as f64 <= room * summed as f64,
                "{}→{}",
                g.input,
                g.output
            );
        }
    }

    #[test]
    fn no_other_number_of_shares_is_cheaper() {
        let odd = Geometry::new(Dims::new(7, 61, 43, 19), 131, 3, 1, Padding::Zero(1));
        let few = same_size(Dims::new(1, 3, 3, 64), 64, 1);
        for g in resnet18().into_iter().chain([odd, few]) {
            for version in Version::ALL {
                let (tiles, most) = g.cuts(version);
                let chosen = g.cost(tiles, g.shares(version));
                let cheapest = (1..=most).map(|shares| g.cost(tiles, shares)).min();
                assert_eq!(Some(chosen), cheapest, "{version} {}→{}", g.input, g.output);
            }
        }
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
