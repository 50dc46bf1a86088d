//! How a loss is cut into blocks: by rows, for kernels on tensor cores (`kernels/contrastive_tiles.cuh`) in two
//! sizes, and where these are few by columns as well.

use super::{CONTRASTIVE, Contrast, Version};
use viewmaker_device::{Kernel, Launch};

static FORWARD: Kernel = Kernel::new(&CONTRASTIVE, "forward_v3");
static FORWARD_WIDE: Kernel = Kernel::new(&CONTRASTIVE, "forward_v3_wide");
static BACKWARD: Kernel = Kernel::new(&CONTRASTIVE, "backward_v3");
static BACKWARD_WIDE: Kernel = Kernel::new(&CONTRASTIVE, "backward_v3_wide");

/// Threads of a block: four warps.
const THREADS: u32 = 128;
/// Components that are multiplied from one piece of shared memory, and that a block of a backward pass computes.
const CHUNK: usize = 128;
/// Columns of a tile.
const COLUMNS: usize = 64;
/// Blocks that fill a card: two for each of the 132 multiprocessors of the largest ones. With fewer, some would have
/// nothing to do. A constant, so that results do not depend on the card.
const MANY_BLOCKS: usize = 264;
/// Tiles of a split at the least: each reads its rows again, and has results that must be added.
const TILES_OF_SPLIT: usize = 4;

/// How the kernels of both passes are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::contrastive) struct Cut {
    pub forward: Blocks,
    pub backward: Blocks,
}

impl Cut {
    /// What serves a loss best. Each pass goes by its own rows: the queries of the one, the trained rows of the
    /// other.
    pub(in crate::contrastive) fn of(contrast: &Contrast, version: Version) -> Self {
        let keys = contrast.groups.iter().map(|group| group.keys.len());
        let (keys, dim) = (keys.max().unwrap_or(0), contrast.dim);
        let parts = dim.div_ceil(CHUNK);
        Self {
            forward: Blocks::of(version, (contrast.queries(), keys), (dim, 1)),
            backward: Blocks::of(version, (contrast.trained, contrast.rows), (dim, parts)),
        }
    }
}

/// How the kernel of one pass is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::contrastive) struct Blocks {
    /// Rows of a block; 64 in versions that know no other.
    pub block: Block,
    /// Shares of the columns.
    pub splits: usize,
}

impl Blocks {
    /// For so many rows and columns of similarities, of rows of `dim` components, of which a block computes one of
    /// `parts`.
    fn of(version: Version, (rows, columns): (usize, usize), (dim, parts): (usize, usize)) -> Self {
        let block = match version {
            Version::V1 | Version::V2 => Block::Narrow,
            Version::V3 => Block::of(rows, dim),
        };
        let splits = match version {
            Version::V1 => 1,
            Version::V2 | Version::V3 => splits(rows.div_ceil(block.rows()) * parts, columns),
        };
        Self { block, splits }
    }

    /// The kernel on tensor cores of the forward pass of `queries`, and its launch.
    pub(super) fn forward(self, queries: usize, dim: usize) -> (&'static Kernel, Launch) {
        let kernel = match self.block {
            Block::Narrow => &FORWARD,
            Block::Wide => &FORWARD_WIDE,
        };
        let grid = [queries.div_ceil(self.block.rows()), self.splits, 1];
        (kernel, self.block.launch(grid, dim))
    }

    /// The kernel on tensor cores of the backward pass to `trained` rows, and its launch.
    pub(super) fn backward(self, trained: usize, dim: usize) -> (&'static Kernel, Launch) {
        let kernel = match self.block {
            Block::Narrow => &BACKWARD,
            Block::Wide => &BACKWARD_WIDE,
        };
        let rows = trained.div_ceil(self.block.rows());
        let grid = [rows, dim.div_ceil(CHUNK), self.splits];
        (kernel, self.block.launch(grid, dim))
    }
}

/// Shares of whole tiles that `columns` are cut into where there are so many blocks without.
fn splits(blocks: usize, columns: usize) -> usize {
    let tiles = columns.div_ceil(COLUMNS);
    let wanted = (MANY_BLOCKS / blocks.max(1))
        .min(tiles / TILES_OF_SPLIT)
        .max(1);
    // As many as have something to do where each takes as many tiles.
    let share = tiles.div_ceil(wanted).max(1);
    tiles.div_ceil(share).max(1)
}

/// How many rows a block computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::contrastive) enum Block {
    /// 64.
    Narrow,
    /// 128, for rows of at most one chunk: half of the traffic from memory for each of them.
    Wide,
}

impl Block {
    /// What serves so many rows of `dim` components best.
    const fn of(rows: usize, dim: usize) -> Self {
        let many = rows >= MANY_BLOCKS * Self::Wide.rows();
        match many && Self::Wide.serves(dim) {
            true => Self::Wide,
            false => Self::Narrow,
        }
    }

    /// Whether such blocks can compute rows of `dim` components.
    pub(in crate::contrastive) const fn serves(self, dim: usize) -> bool {
        match self {
            Self::Narrow => true,
            Self::Wide => dim <= CHUNK,
        }
    }

    const fn rows(self) -> usize {
        match self {
            Self::Narrow => 64,
            Self::Wide => 128,
        }
    }

    fn launch(self, grid: [usize; 3], dim: usize) -> Launch {
        let launch = Launch {
            grid: grid.map(|side| side as u32),
            ..Launch::linear(1, THREADS)
        };
        launch.with_shared(self.shared_bytes(dim) as u32)
    }

    /// What `Memory` of the kernels takes: chunks of 128 components in two bytes each of two tiles' columns and of
    /// the block's rows, three numbers for each row and column, and eight marks.
    const fn shared_bytes(self, dim: usize) -> usize {
        let (numbers, marks) = (3 * 4, 8 * 4);
        let resident = if dim <= CHUNK { 1 } else { 2 };
        let columns = 2 * COLUMNS * (2 * CHUNK + numbers);
        let rows = self.rows() * (2 * CHUNK * resident + numbers);
        columns + rows + marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(contrast: Result<Contrast, crate::contrastive::ContrastError>, version: Version) -> Cut {
        Cut::of(&contrast.expect("a valid loss"), version)
    }

    #[test]
    fn each_pass_gets_the_blocks_that_serve_it() {
        let of = |pairs, dim| {
            let cut = cut(Contrast::infonce(pairs, dim, 0.1), Version::V3);
            (cut.forward.block, cut.backward.block)
        };
        assert_eq!(of(4096, 128), (Block::Narrow, Block::Narrow));
        // 33,792 rows are many: as trained rows, half of which are queries, and as queries.
        assert_eq!(of(16_896, 128), (Block::Narrow, Block::Wide));
        assert_eq!(of(33_792, 128), (Block::Wide, Block::Wide));
        assert_eq!(of(33_792, 129), (Block::Narrow, Block::Narrow));
    }

    #[test]
    fn few_rows_are_cut_by_columns() {
        let of = |queries, queue, dim, version| {
            let cut = cut(Contrast::moco(queries, queue, dim, 0.1), version);
            (cut.forward.splits, cut.backward.splits)
        };
        for version in [Version::V2, Version::V3] {
            // 1,024 tiles of keys and 8 of other rows for 4 blocks: shares of 16 tiles.
            assert_eq!(of(256, 65_536, 128, version), (64, 65), "{version:?}");
            // A backward pass in two parts has twice the blocks.
            assert_eq!(of(256, 65_536, 256, version), (64, 33), "{version:?}");
            // Never fewer than four tiles.
            assert_eq!(of(2, 7 * 64, 16, version), (1, 2), "{version:?}");
            assert_eq!(of(2, 8 * 64, 16, version), (2, 2), "{version:?}");
            assert_eq!(of(2, 1, 16, version), (1, 1), "{version:?}");
            // 133 blocks and more stay whole.
            assert_eq!(of(132 * 64 + 1, 65_536, 16, version), (1, 1), "{version:?}");
        }
        assert_eq!(of(256, 65_536, 128, Version::V1), (1, 1));
    }

    #[test]
    fn parts_of_gradients_take_little_memory() {
        // Of all sizes, those with the most splits times rows.
        for trained in [1, 64, 256, 4096, 8448, 100_000] {
            for dim in [16, 128, 1000] {
                let cut = cut(Contrast::moco(trained, 1 << 20, dim, 0.1), Version::V3);
                let rows = cut.backward.splits * trained;
                assert!(rows <= trained.max(MANY_BLOCKS * 64), "{trained} × {dim}");
            }
        }
    }

    #[test]
    fn shared_memory_is_what_small_cards_have() {
        // Compute capability 8.6 has 99 KiB for a block.
        for block in [Block::Narrow, Block::Wide] {
            for dim in [1, 128, 129, 4096]
                .into_iter()
                .filter(|dim| block.serves(*dim))
            {
                assert!(block.shared_bytes(dim) <= 99 * 1024, "{block:?} {dim}");
            }
        }
    }
}
