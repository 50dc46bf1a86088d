// The products of conv2d.cu, third version. What it does otherwise than the second:
//
//   - Fragments come from shared memory by load_matrices: 6 loads for 16 products of a warp (4 for 8 in narrow
//     tiles) instead of 16 for 8. A tile lies there as it lies in memory, neighbours in depth or neighbours among rows side by
//     side (the loads transpose), and pieces of 16 bytes change places within a line, so that neither the
//     loads nor the stores meet in a bank.
//   - Shared memory has room for two steps of 32 elements of depth. One barrier a step: while a step is
//     multiplied, the next one is put beside it. In wide tiles its two operands are on their way one after
//     the other, each during half of the products, so that registers for one suffice.
//   - Where channels are a multiple of 32, a step lies within one tap, and positions are looked up when the
//     tap changes instead of for every element: for kernels of one tap once. Positions of a weight gradient
//     advance without divisions.
//
// Sums run over depth in the order of the second version. A map begins at a multiple of 16 bytes.
#pragma once
#include "common.cuh"
#include "mma.cuh"
#include "patches.cuh"

namespace v3 {

__device__ __forceinline__ uint2 four_bf16(float4 x) { return {pack_bf16(x.x, x.y), pack_bf16(x.z, x.w)}; }

// Operands in shared memory, two stages of N rows × one step of depth, as pieces of 8 elements. `first` is the
// first row of a warp's part, `i` counts its 16 rows. Where pieces have changed places is an exclusive or with
// the last bits of a piece's number: one register serves all of a thread's pieces.

// Neighbours in depth side by side: four pieces a row. Two rows fill the 32 banks; pieces change places from
// pair to pair so that equal pieces of eight rows lie apart, and so do the four rows × two pieces that half a
// warp stores.
template <int N>
struct AlongDepth {
    static constexpr int PIECES = N * DEPTH / 8;
    uint4 piece[2 * PIECES];

    // What a thread takes to a stage: four elements at two depths of every 64th row.
    struct Share {
        float4 value[N / 64][2];
    };
    __device__ __forceinline__ static int row() { return int(threadIdx.x) / 4; }
    __device__ __forceinline__ static int depth() { return int(threadIdx.x) % 4 * 4; }
    __device__ __forceinline__ static int swap(int row) { return row / 4 % 2 | row / 2 % 2 * 2; }

    __device__ __forceinline__ void put(int stage, const Share& share) {
        int at = stage * PIECES + 4 * row() + (depth() / 8 ^ swap(row()));
#pragma unroll
        for (int j = 0; j < N / 64; ++j) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                uint2* to = reinterpret_cast<uint2*>(&piece[(at ^ 2 * half) + 256 * j]);
                to[depth() / 4 % 2] = four_bf16(share.value[j][half]);
            }
        }
    }
    // Words of A (mma.cuh) for 16 rows × half a step.
    __device__ __forceinline__ void left(unsigned (&to)[4], int stage, int first, int i, int half) const {
        int lane = lane_index() % 8, matrix = lane_index() / 8;
        int at = stage * PIECES + 4 * (first + matrix % 2 * 8 + lane) + (matrix / 2 ^ swap(lane));
        load_matrices<false>(to, &piece[(at ^ 2 * half) + 64 * i]);
    }
    // Words of B for 8 columns, and for the next 8.
    __device__ __forceinline__ void right(unsigned (&to)[4], int stage, int first, int i, int half) const {
        int lane = lane_index() % 8, matrix = lane_index() / 8;
        int at = stage * PIECES + 4 * (first + matrix / 2 * 8 + lane) + (matrix % 2 ^ swap(lane));
        load_matrices<false>(to, &piece[(at ^ 2 * half) + 64 * i]);
    }
};

// Neighbours among rows side by side: a line for each element of depth.
template <int N>
struct AlongRows {
    static constexpr int LINE = N / 8;
    static constexpr int PIECES = DEPTH * LINE;
    static constexpr int STRIDE = THREADS / (N / 4);
    uint4 piece[2 * PIECES];

    // What a thread takes to a stage: four rows at every STRIDE-th depth.
    struct Share {
        float4 value[DEPTH / STRIDE];
    };
    __device__ __forceinline__ static int row() { return int(threadIdx.x) % (N / 4) * 4; }
    __device__ __forceinline__ static int depth() { return int(threadIdx.x) / (N / 4); }

    __device__ __forceinline__ void put(int stage, const Share& share) {
        int at = stage * PIECES + LINE * depth() + (row() / 8 ^ depth() % 8);
#pragma unroll
        for (int j = 0; j < DEPTH / STRIDE; ++j) {
            uint2* to = reinterpret_cast<uint2*>(&piece[at + LINE * STRIDE * j]);
            to[row() / 4 % 2] = four_bf16(share.value[j]);
        }
    }
    __device__ __forceinline__ void left(unsigned (&to)[4], int stage, int first, int i, int half) const {
        int lane = lane_index() % 8, matrix = lane_index() / 8;
        int at = stage * PIECES + LINE * (matrix / 2 * 8 + lane) + (first / 8 ^ matrix % 2 ^ lane);
        load_matrices<true>(to, &piece[(at ^ 2 * i) + 16 * LINE * half]);
    }
    __device__ __forceinline__ void right(unsigned (&to)[4], int stage, int first, int i, int half) const {
        int lane = lane_index() % 8, matrix = lane_index() / 8;
        int at = stage * PIECES + LINE * (matrix % 2 * 8 + lane) + (first / 8 ^ matrix / 2 ^ lane);
        load_matrices<true>(to, &piece[(at ^ 2 * i) + 16 * LINE * half]);
    }
};

// Operands: `fetch` takes this thread's share of the next step into registers; `begun` is the depth before it.

// Rows are positions, the depth is (tap, channel).
template <bool TRANSPOSED>
struct PatchRows {
    using Panel = AlongDepth<ROWS>;
    Patches patches;
    Position at[ROWS / 64];

    __device__ __forceinline__ PatchRows(const Patches& p, int row0) : patches(p) {
#pragma unroll
        for (int j = 0; j < ROWS / 64; ++j) at[j] = position(p, row0 + Panel::row() + 64 * j);
    }
    __device__ __forceinline__ Panel::Share fetch(int begun) const {
        Panel::Share share;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            Tap tap = tap_of(patches, begun + Panel::depth() + 16 * half);
#pragma unroll
            for (int j = 0; j < ROWS / 64; ++j) share.value[j][half] = four<TRANSPOSED>(patches, at[j], tap);
        }
        return share;
    }
};

// The same where a step lies within one tap.
template <bool TRANSPOSED>
struct TapRows {
    using Panel = AlongDepth<ROWS>;
    Patches patches;
    Position at[ROWS / 64];
    int from[ROWS / 64];  // the position of the map that the tap looks at, -1 for none
    int tap_y = 0, tap_x = 0, channel = 0;

    __device__ __forceinline__ TapRows(const Patches& p, int row0) : patches(p) {
#pragma unroll
        for (int j = 0; j < ROWS / 64; ++j) at[j] = position(p, row0 + Panel::row() + 64 * j);
        look();
    }
    __device__ __forceinline__ void look() {
#pragma unroll
        for (int j = 0; j < ROWS / 64; ++j) from[j] = place<TRANSPOSED>(patches, at[j], tap_y, tap_x);
    }
    __device__ __forceinline__ Panel::Share fetch(int) {
        if (channel == patches.channels) next_tap();
        Panel::Share share;
#pragma unroll
        for (int j = 0; j < ROWS / 64; ++j) {
            u64 first = u64(from[j]) * u64(patches.channels) + u64(channel + Panel::depth());
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                share.value[j][half] = four_if(from[j] >= 0, patches.map + first + 16 * half);
            }
        }
        channel += DEPTH;
        return share;
    }
    __device__ __forceinline__ void next_tap() {
        channel = 0;
        if (++tap_x == patches.kernel) {
            tap_x = 0;
            ++tap_y;
        }
        look();
    }
};

template <bool WHOLE, bool TRANSPOSED>
struct Rows {
    using Of = PatchRows<TRANSPOSED>;
};
template <bool TRANSPOSED>
struct Rows<true, TRANSPOSED> {
    using Of = TapRows<TRANSPOSED>;
};

// Rows of a matrix whose columns are the depth; WHOLE: they are a multiple of a step.
template <int N, bool WHOLE>
struct MatrixRows {
    using Panel = AlongDepth<N>;
    const float* matrix;
    const float* start;  // of the thread's first row, at its first depth
    int row, rows, columns;

    __device__ __forceinline__ MatrixRows(const float* of, int row0, int count, int depth)
        : matrix(of), row(row0 + Panel::row()), rows(count), columns(depth) {
        start = matrix + u64(row) * u64(columns) + u64(Panel::depth());
    }
    __device__ __forceinline__ typename Panel::Share fetch(int begun) const {
        typename Panel::Share share;
#pragma unroll
        for (int j = 0; j < N / 64; ++j) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                int at = row + 64 * j;
                if (WHOLE) {
                    const float* from = start + u64(64 * j) * u64(columns) + u64(begun + 16 * half);
                    share.value[j][half] = four_if(at < rows, from);
                } else {
                    share.value[j][half] = four(matrix, at, rows, begun + Panel::depth() + 16 * half, columns);
                }
            }
        }
        return share;
    }
};

// Rows are (tap, channel), the depth are positions from `first` to `last`. WHOLE: the map's channels are a
// multiple of 4.
template <bool WHOLE>
struct PatchColumns {
    using Panel = AlongRows<ROWS>;
    Patches patches;
    int first, last;  // no positions beyond the last tap
    Tap tap;
    Position at, by;  // the next position, and the distance to the one after it

    __device__ __forceinline__ PatchColumns(const Patches& p, int row0, int from, int to, Position apart)
        : patches(p), first(from + Panel::depth()), tap(tap_of(p, row0 + Panel::row())), by(apart) {
        last = tap.channel < 0 ? 0 : to;
        int line = first / p.rows_width;
        at = {line / p.rows_height, line % p.rows_height, first % p.rows_width};
    }
    __device__ __forceinline__ Panel::Share fetch(int begun) {
        Panel::Share share;
#pragma unroll
        for (int j = 0; j < DEPTH / Panel::STRIDE; ++j) {
            bool there = first + begun + Panel::STRIDE * j < last;
            if (WHOLE) {
                int from = place<false>(patches, at, tap.y, tap.x);
                u64 begin = u64(from) * u64(patches.channels) + u64(tap.channel);
                share.value[j] = four_if(there && from >= 0, patches.map + begin);
            } else {
                share.value[j] = four<false>(patches, there ? at : Position{-1, 0, 0}, tap);
            }
            advance();
        }
        return share;
    }
    __device__ __forceinline__ void advance() {
        at.x += by.x;
        bool line = at.x >= patches.rows_width;
        at.x -= line ? patches.rows_width : 0;
        at.y += by.y + (line ? 1 : 0);
        bool example = at.y >= patches.rows_height;
        at.y -= example ? patches.rows_height : 0;
        at.example += by.example + (example ? 1 : 0);
    }
};

// Rows are the columns of a matrix, the depth its rows from `first` to `last`. WHOLE: the columns are a multiple
// of 4.
template <int N, bool WHOLE>
struct MatrixColumns {
    using Panel = AlongRows<N>;
    const float* matrix;
    const float* start;               // of the thread's first depth, at its first row
    int column, columns, first, last;  // no depth beyond the last column

    __device__ __forceinline__ MatrixColumns(const float* of, int column0, int count, int from, int to)
        : matrix(of), column(column0 + Panel::row()), columns(count), first(from + Panel::depth()) {
        last = column < columns ? to : 0;
        start = matrix + u64(first) * u64(columns) + u64(column);
    }
    __device__ __forceinline__ typename Panel::Share fetch(int begun) const {
        typename Panel::Share share;
#pragma unroll
        for (int j = 0; j < DEPTH / Panel::STRIDE; ++j) {
            int row = first + begun + Panel::STRIDE * j;
            if (WHOLE) {
                const float* from = start + u64(begun + Panel::STRIDE * j) * u64(columns);
                share.value[j] = four_if(row < last, from);
            } else {
                share.value[j] = four(matrix, row, last, column, columns);
            }
        }
        return share;
    }
};

// A tile of 128 rows × WIDTH columns: each of 8 warps computes HEIGHT rows × 32 columns.
template <int WIDTH>
struct Tile {
    static constexpr int ACROSS = WIDTH / 32;
    static constexpr int HEIGHT = ROWS / (THREADS / WARP_SIZE / ACROSS);
    // Whether a thread's registers have room for its share of both operands beside the sums.
    static constexpr bool ROOM = WIDTH <= 64;
    float sum[HEIGHT / 16][4][4];

    __device__ __forceinline__ Tile() {
#pragma unroll
        for (int i = 0; i < HEIGHT / 16; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
#pragma unroll
                for (int e = 0; e < 4; ++e) sum[i][j][e] = 0.0f;
            }
        }
    }
    __device__ __forceinline__ static int row() { return warp_index() / ACROSS * HEIGHT; }
    __device__ __forceinline__ static int column() { return warp_index() % ACROSS * 32; }

    // Adds the products of half a step.
    template <class Left, class Right>
    __device__ __forceinline__ void multiply(const Left& a, const Right& b, int stage, int half) {
        unsigned right[2][4];
#pragma unroll
        for (int j = 0; j < 2; ++j) b.right(right[j], stage, column(), j, half);
#pragma unroll
        for (int i = 0; i < HEIGHT / 16; ++i) {
            unsigned left[4];
            a.left(left, stage, row(), i, half);
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                unsigned pair[2] = {right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]};
                mma_bf16(sum[i][j], left, pair);
            }
        }
    }
    // Calls out(row, column, value, the value of the next column) for every second element.
    template <class Out>
    __device__ __forceinline__ void each(const Out& out) const {
        int group = lane_index() / 4, pair = lane_index() % 4;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
#pragma unroll
            for (int i = 0; i < HEIGHT / 16; ++i) {
#pragma unroll
                for (int e = 0; e < 4; e += 2) {
                    out(row() + 16 * i + group + 4 * e, column() + 8 * j + 2 * pair, sum[i][j][e], sum[i][j][e + 1]);
                }
            }
        }
    }
};

// tile += a · bᵀ over so many steps of depth, at least one. All threads of the block must call it.
template <class Sums, class A, class B>
__device__ __forceinline__ void product(Sums& tile, typename A::Panel& left, typename B::Panel& right, A& a, B& b,
                                        int steps) {
    left.put(0, a.fetch(0));
    right.put(0, b.fetch(0));
    __syncthreads();
    for (int step = 1; step < steps; ++step) {
        int now = (step - 1) % 2, next = step % 2;
        typename A::Panel::Share of_a = a.fetch(DEPTH * step);
        typename B::Panel::Share of_b;
        if (Sums::ROOM) of_b = b.fetch(DEPTH * step);
        tile.multiply(left, right, now, 0);
        if (!Sums::ROOM) {
            left.put(next, of_a);
            of_b = b.fetch(DEPTH * step);
        }
        tile.multiply(left, right, now, 1);
        if (Sums::ROOM) left.put(next, of_a);
        right.put(next, of_b);
        __syncthreads();
    }
    int last = (steps - 1) % 2;
    tile.multiply(left, right, last, 0);
    tile.multiply(left, right, last, 1);
}

// Two neighbours in a row of a matrix, of which the second may be beyond the last column.
__device__ __forceinline__ void write_pair(float* matrix, int row, int column, int columns, float first, float second) {
    float* to = matrix + u64(row) * u64(columns) + u64(column);
    if (columns % 2 == 0) {
        *reinterpret_cast<float2*>(to) = {first, second};
        return;
    }
    to[0] = first;
    if (column + 1 < columns) to[1] = second;
}

// Rows are positions, columns are channels of the result; grid.x are tiles of rows, grid.y of columns. WHOLE:
// the map's channels are a multiple of a step.
template <int WIDTH, bool WHOLE, bool TRANSPOSED>
__device__ __forceinline__ void map_to_map(const Patches& patches, const float* weights, const float* bias, float* out,
                                           int channels) {
    __shared__ AlongDepth<ROWS> left;
    __shared__ AlongDepth<WIDTH> right;
    int row0 = int(blockIdx.x) * ROWS, column0 = int(blockIdx.y) * WIDTH, depth = patches.depth();
    typename Rows<WHOLE, TRANSPOSED>::Of a(patches, row0);
    MatrixRows<WIDTH, WHOLE> b(weights, column0, channels, depth);
    Tile<WIDTH> tile;
    product(tile, left, right, a, b, ceil_div(depth, DEPTH));
    tile.each([&](int row, int column, float first, float second) {
        row += row0;
        column += column0;
        if (row >= patches.rows || column >= channels) return;
        if (bias != nullptr) {
            first += bias[column];
            if (column + 1 < channels) second += bias[column + 1];
        }
        write_pair(out, row, column, channels, first, second);
    });
}

// Rows are (tap, channel), columns are channels of the output; block z sums positions z · share … and
// writes its own partial result. WHOLE: the map's channels are a multiple of a step, and those of the output of 4.
// `apart` is how far apart positions lie of which one is the eighth after the other.
template <int WIDTH, bool WHOLE>
__device__ __forceinline__ void maps_to_weights(const Patches& patches, const float* grad, float* partials,
                                                int channels, int share, Position apart) {
    __shared__ AlongRows<ROWS> left;
    __shared__ AlongRows<WIDTH> right;
    int row0 = int(blockIdx.x) * ROWS, column0 = int(blockIdx.y) * WIDTH, rows = patches.depth();
    int first = int(blockIdx.z) * share, last = first + share < patches.rows ? first + share : patches.rows;
    int steps = ceil_div(last - first, DEPTH);
    Tile<WIDTH> tile;
    PatchColumns<WHOLE> a(patches, row0, first, last, apart);
    MatrixColumns<WIDTH, WHOLE> b(grad, column0, channels, first, last);
    product(tile, left, right, a, b, steps);
    float* out = partials + u64(blockIdx.z) * u64(rows) * u64(channels);
    tile.each([&](int row, int column, float value, float next) {
        row += row0;
        column += column0;
        if (row < rows && column < channels) write_pair(out, row, column, channels, value, next);
    });
}

}  // namespace v3
