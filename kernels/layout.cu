// NCHW to NHWC and back: transposes the rows × columns matrix of every example (crates/exec/src/layout.rs
// is the CPU form). NCHW to NHWC has rows = channels and columns = area; the way back has them swapped.
#include "common.cuh"

constexpr int TILE = 32;
constexpr int TILE_ROWS = 8;

// to[e][column][row] = from[e][row][column] for `examples` matrices. A block of 32 × 8 threads takes
// tiles of 32 × 32 numbers through shared memory, so that both sides touch whole lines; grid.x are
// tiles of columns, grid.y tiles of rows, and blocks of grid.z share the examples.
extern "C" __global__ void __launch_bounds__(TILE * TILE_ROWS)
    transpose(const float* __restrict__ from, float* __restrict__ to, int examples, int rows, int columns) {
    // One column more than needed: the threads of a warp then read 32 different banks.
    __shared__ float tile[TILE][TILE + 1];
    int column0 = int(blockIdx.x) * TILE, row0 = int(blockIdx.y) * TILE;
    int x = int(threadIdx.x), y = int(threadIdx.y);
    for (int example = int(blockIdx.z); example < examples; example += int(gridDim.z)) {
        u64 base = u64(example) * u64(rows) * u64(columns);
        for (int i = y; i < TILE; i += TILE_ROWS) {
            if (row0 + i < rows && column0 + x < columns) {
                tile[i][x] = from[base + u64(row0 + i) * u64(columns) + u64(column0 + x)];
            }
        }
        __syncthreads();
        for (int i = y; i < TILE; i += TILE_ROWS) {
            if (column0 + i < columns && row0 + x < rows) {
                to[base + u64(column0 + i) * u64(rows) + u64(row0 + x)] = tile[x][i];
            }
        }
        __syncthreads();
    }
}
