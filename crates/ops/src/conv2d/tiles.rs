//! The kernels of `kernels/conv2d.cu`, and which of them compute which columns of a result.

use super::Version;
use super::version::ROWS;
use viewmaker_device::{Kernel, Launch, source::CONV2D};

/// The kernels of one pass.
pub(super) struct Pass {
    v1: [Tile; 2],
    v2: [Tile; 1],
    v2_tf32: [Tile; 2],
    v3: [Tile; 4],
    /// For maps whose channels are no multiple of half a step of depth; the gradient of the weights needs none.
    v3_any: Option<[Tile; 2]>,
}

/// A kernel, and the columns of the result that each of its blocks computes.
struct Tile {
    kernel: Kernel,
    columns: usize,
}

/// A launch of a kernel: so many tiles side by side, from column `first` of the result on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) kernel: &'static Kernel,
    pub(super) first: usize,
    tiles: usize,
}

macro_rules! tile {
    ($pass:literal, $name:literal, $columns:literal) => {
        Tile {
            kernel: Kernel::new(&CONV2D, concat!($pass, "_", $name)),
            columns: $columns,
        }
    };
}

macro_rules! any {
    ($pass:literal) => {
        Some([tile!($pass, "v3_any", 64), tile!($pass, "v3_any_32", 32)])
    };
}

macro_rules! pass {
    ($pass:literal, $any:expr) => {
        Pass {
            v1: [tile!($pass, "v1", 64), tile!($pass, "v1_16", 16)],
            v2: [tile!($pass, "v2", 64)],
            v2_tf32: [tile!($pass, "v2_tf32", 64), tile!($pass, "v2_tf32_16", 16)],
            v3: [
                tile!($pass, "v3_128", 128),
                tile!($pass, "v3_64", 64),
                tile!($pass, "v3_32", 32),
                tile!($pass, "v3_16", 16),
            ],
            v3_any: $any,
        }
    };
}

pub(super) static FORWARD: Pass = pass!("convolve", any!("convolve"));
pub(super) static INPUT_GRADIENT: Pass =
    pass!("convolve_input_gradient", any!("convolve_input_gradient"));
pub(super) static WEIGHT_GRADIENT: Pass = pass!("convolve_weight_gradient", None);

impl Pass {
    /// What computes `columns` of a result: as many tiles of the version as they fill, and for what is left
    /// one of the narrowest that has room for it. `halves`: the map's channels are a multiple of half a step of
    /// depth.
    pub(super) fn parts(
        &'static self,
        version: Version,
        columns: usize,
        halves: bool,
    ) -> Vec<Part> {
        let tiles = self.tiles(version, halves);
        let widest = &tiles[0];
        let (full, left) = (columns / widest.columns, columns % widest.columns);
        let narrowest = tiles.iter().rfind(|tile| tile.columns >= left);
        let last = narrowest.filter(|_| left > 0).map(|tile| (tile, 1));
        let mut parts: Vec<Part> = Vec::new();
        let mut first = 0;
        for (tile, tiles) in [(widest, full)].into_iter().chain(last) {
            match parts.last_mut() {
                Some(part) if std::ptr::eq(part.kernel, &tile.kernel) => part.tiles += tiles,
                _ if tiles > 0 => parts.push(Part {
                    kernel: &tile.kernel,
                    first,
                    tiles,
                }),
                _ => {}
            }
            first += tiles * tile.columns;
        }
        parts
    }

    /// The tiles of a version, the widest first.
    fn tiles(&'static self, version: Version, halves: bool) -> &'static [Tile] {
        match (version, &self.v3_any) {
            (Version::V1, _) => &self.v1,
            (Version::V2, _) => &self.v2,
            (Version::V2Tf32, _) => &self.v2_tf32,
            (_, Some(any)) if !halves => any,
            (Version::V3Narrow, _) => &self.v3[1..],
            (Version::V3Wide, _) => &self.v3,
        }
    }
}

impl Part {
    /// A block for each tile of a result of so many rows, `layers` times.
    pub(super) fn launch(&self, rows: usize, layers: usize) -> Launch {
        Launch {
            grid: [rows.div_ceil(ROWS) as u32, self.tiles as u32, layers as u32],
            ..Launch::linear(1, Launch::THREADS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kernels by the end of their names, first columns and tiles.
    fn parts(version: Version, columns: usize, halves: bool) -> Vec<(&'static str, usize, usize)> {
        let parts = FORWARD.parts(version, columns, halves);
        let name = |part: &Part| part.kernel.function.strip_prefix("convolve_").unwrap();
        parts.iter().map(|p| (name(p), p.first, p.tiles)).collect()
    }

    #[test]
    fn what_is_left_gets_the_narrowest_tile() {
        use Version::{V1, V2, V2Tf32, V3Narrow, V3Wide};
        assert_eq!(
            parts(V3Wide, 131, true),
            [("v3_128", 0, 1), ("v3_16", 128, 1)]
        );
        assert_eq!(
            parts(V3Wide, 192, true),
            [("v3_128", 0, 1), ("v3_64", 128, 1)]
        );
        assert_eq!(parts(V3Wide, 250, true), [("v3_128", 0, 2)]);
        assert_eq!(parts(V3Wide, 97, true), [("v3_128", 0, 1)]);
        assert_eq!(
            parts(V3Narrow, 131, true),
            [("v3_64", 0, 2), ("v3_16", 128, 1)]
        );
        assert_eq!(parts(V3Narrow, 17, true), [("v3_32", 0, 1)]);
        assert_eq!(parts(V3Narrow, 3, true), [("v3_16", 0, 1)]);
        assert_eq!(parts(V3Narrow, 3, false), [("v3_any_32", 0, 1)]);
        assert_eq!(parts(V3Narrow, 33, false), [("v3_any", 0, 1)]);
        assert_eq!(
            parts(V3Wide, 131, false),
            [("v3_any", 0, 2), ("v3_any_32", 128, 1)]
        );
        assert_eq!(parts(V2, 131, true), [("v2", 0, 3)]);
        assert_eq!(parts(V1, 64, true), [("v1", 0, 1)]);
        assert_eq!(parts(V1, 33, false), [("v1", 0, 1)]);
        assert_eq!(parts(V1, 80, false), [("v1", 0, 1), ("v1_16", 64, 1)]);
        assert_eq!(parts(V2Tf32, 10, false), [("v2_tf32_16", 0, 1)]);
    }

    #[test]
    fn parts_cover_every_column_once() {
        for version in Version::ALL {
            for columns in 1..300 {
                let mut next = 0;
                for part in WEIGHT_GRADIENT.parts(version, columns, false) {
                    assert_eq!(part.first, next, "{version} {columns}");
                    let tiles = WEIGHT_GRADIENT.tiles(version, false).iter();
                    let tile = tiles.clone().find(|t| std::ptr::eq(&t.kernel, part.kernel));
                    next += part.tiles * tile.unwrap().columns;
                }
                assert!(
                    (columns..columns + 64).contains(&next),
                    "{version} {columns}"
                );
            }
        }
    }
}
