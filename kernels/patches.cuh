// Convolutions as products of matrices that are never stored: which elements of a map a row of such a
// matrix consists of, and where results go. A row belongs to a position of the result, its depth is
// (tap, channel).
#pragma once
#include "common.cuh"

constexpr int THREADS = 256;
constexpr int ROWS = 128;
constexpr int DEPTH = 32;

// How positions of a result look at the map that patches are taken from.
enum class Look {
    FORWARD,     // of an output at an input
    TRANSPOSED,  // of an input at an output, through every tap: with a stride, most find nothing
    PHASE,       // the same for the positions of one phase, through its taps
};

// The map that patches are taken from, and the positions that they belong to. It begins at a multiple of 16
// bytes and its channels are a multiple of 4 (conv2d.cu's pad_channels): four neighbours in depth are
// channels of one tap, and lie at a multiple of 16 bytes.
struct Patches {
    const float* map;
    int height, width, channels;
    int rows_height, rows_width, rows;
    int taps_y, taps_x, stride, pad_y, pad_x, reflect;

    __device__ __forceinline__ int depth() const { return taps_y * taps_x * channels; }
};

// How many strides lie in `distance` that is not negative; the usual ones without a division.
__device__ __forceinline__ int strides(int distance, int stride) {
    if (stride == 1) return distance;
    return stride == 2 ? distance >> 1 : distance / stride;
}

// The row (or column) of the map that `tap` of position `at` looks at; -1 for none.
template <Look LOOK>
__device__ __forceinline__ int source(const Patches& p, int at, int tap, int pad, int extent) {
    if (LOOK == Look::FORWARD) {
        int from = at * p.stride + tap - pad, mirror = from < 0 ? -from : 2 * (extent - 1) - from;
        bool inside = unsigned(from) < unsigned(extent);
        from = inside || p.reflect == 0 ? from : mirror;
        return unsigned(from) < unsigned(extent) ? from : -1;
    }
    int padded = at + pad - tap;
    if (LOOK == Look::PHASE) return unsigned(padded) < unsigned(extent) ? padded : -1;
    int from = strides(padded, p.stride);
    return padded >= 0 && from * p.stride == padded && from < extent ? from : -1;
}

struct Position {
    int example, y, x;  // example -1: beyond the last one
};

__device__ __forceinline__ Position position(const Patches& p, int row) {
    if (row >= p.rows) return {-1, 0, 0};
    int line = row / p.rows_width;
    return {line / p.rows_height, line % p.rows_height, row % p.rows_width};
}

struct Tap {
    int y, x, channel;  // channel -1: beyond the last one
};

__device__ __forceinline__ Tap tap_of(const Patches& p, int k) {
    if (k >= p.depth()) return {0, 0, -1};
    if (p.taps_y == 1 && p.taps_x == 1) return {0, 0, k};
    int tap = k / p.channels;
    return {tap / p.taps_x, tap % p.taps_x, k - tap * p.channels};
}

// The position of the map that a tap of a position looks at, counted from the first example's; -1 for none.
template <Look LOOK>
__device__ __forceinline__ int place(const Patches& p, Position at, int tap_y, int tap_x) {
    if (at.example < 0) return -1;
    int y = source<LOOK>(p, at.y, tap_y, p.pad_y, p.height), x = source<LOOK>(p, at.x, tap_x, p.pad_x, p.width);
    return y < 0 || x < 0 ? -1 : (at.example * p.height + y) * p.width + x;
}

// Taps of `kernel` in a row that leave `remainder` when their number is divided by the stride, and those that leave
// less. Packed weights have the taps of a phase side by side, and one phase behind the other.
__device__ __forceinline__ int taps_of(int kernel, int stride, int remainder) {
    return remainder < kernel ? ceil_div(kernel - remainder, stride) : 0;
}
__device__ __forceinline__ int taps_before(int kernel, int stride, int remainder) {
    int more = kernel % stride;
    return kernel / stride * remainder + (remainder < more ? remainder : more);
}

// Which row of a result a row of a product is: the same one.
struct InOrder {
    __device__ __forceinline__ explicit InOrder(const Patches&) {}
    __device__ __forceinline__ int operator()(int row) const { return row; }
};

// A number that the compiler does not know: what follows from it is computed when it is needed, instead of being kept
// in registers from its first use on.
__device__ __forceinline__ int hidden(int x) {
    asm volatile("" : "+r"(x));
    return x;
}

// Where the positions of a phase lie: every stride-th row and column of `height` × `width`, from (y, x) on.
struct EveryStride {
    int stride, height, width, y, x;
    int rows_height, rows_width;  // of the phase

    __device__ __forceinline__ EveryStride(const Patches& all, int phase)
        : stride(all.stride), height(all.rows_height), width(all.rows_width) {
        y = (phase / stride + stride - all.pad_y % stride) % stride;
        x = (phase % stride + stride - all.pad_x % stride) % stride;
        rows_height = y < height ? ceil_div(height - y, stride) : 0;
        rows_width = x < width ? ceil_div(width - x, stride) : 0;
    }
    __device__ __forceinline__ explicit EveryStride(const Patches& all) : EveryStride(all, hidden(int(blockIdx.z))) {}
    __device__ __forceinline__ int operator()(int row) const {
        if (stride == 1) return row;
        int line = row / rows_width, column = row % rows_width;
        int example = line / rows_height, at = line % rows_height;
        return (example * height + y + at * stride) * width + x + column * stride;
    }
};

// Rows of patches that blocks compute: all positions of a result.
struct AllPositions {
    using Order = InOrder;
    Patches patches;
    int before = 0;

    __device__ __forceinline__ explicit AllPositions(const Patches& all) : patches(all) {}
};

// One of stride × stride phases of an input, which blockIdx.z counts: the positions whose distances from the first
// padded row and column leave the same remainders when they are divided by the stride. They have reached the output
// through the taps that leave these remainders and through no others, and through these as in a convolution of stride
// 1. Phases with the most taps come first.
struct Phase {
    using Order = EveryStride;
    Patches patches;
    int before;  // taps of the phases before it

    __device__ __forceinline__ explicit Phase(const Patches& all) : patches(all) {
        int stride = all.stride, phase = int(blockIdx.z);
        EveryStride at(all, phase);
        patches.taps_y = taps_of(all.taps_y, stride, phase / stride);
        patches.taps_x = taps_of(all.taps_x, stride, phase % stride);
        before = taps_before(all.taps_y, stride, phase / stride) * all.taps_x +
                 patches.taps_y * taps_before(all.taps_x, stride, phase % stride);
        patches.rows_height = at.rows_height;
        patches.rows_width = at.rows_width;
        patches.rows = all.rows / (at.height * at.width) * at.rows_height * at.rows_width;
        patches.pad_y = (at.y + all.pad_y) / stride;
        patches.pad_x = (at.x + all.pad_x) / stride;
        patches.stride = 1;
    }
};

template <Look LOOK>
struct Positions {
    using Of = AllPositions;
};
template <>
struct Positions<Look::PHASE> {
    using Of = Phase;
};

// Four neighbours at a multiple of 16 bytes, or zeros.
__device__ __forceinline__ float4 four_if(bool there, const float* from) {
    float4 value = {0.0f, 0.0f, 0.0f, 0.0f};
    if (there) value = *reinterpret_cast<const float4*>(from);
    return value;
}

// Four neighbours in the depth of a patch, of which `tap` is the first.
template <Look LOOK>
__device__ __forceinline__ float4 four(const Patches& p, Position at, Tap tap) {
    int from = tap.channel < 0 ? -1 : place<LOOK>(p, at, tap.y, tap.x);
    return four_if(from >= 0, p.map + u64(from) * u64(p.channels) + u64(tap.channel));
}

// Four neighbours in a row of a matrix, whose columns are a multiple of 4.
__device__ __forceinline__ float4 four(const float* matrix, int row, int rows, int column, int columns) {
    return four_if(row < rows && column < columns, matrix + u64(row) * u64(columns) + u64(column));
}

// The matrix of results, which begins at a multiple of 16 bytes, and the tile of it that a block computes; `order` says
// which row of the matrix a row is.
template <class Order>
struct Results {
    float* matrix;
    const float* offsets;  // of the columns, or null
    int rows, columns, row0, column0;
    Order order;

    // Writes N neighbours of row `row` of the tile as far as they exist; `column` is a multiple of N.
    template <int N>
    __device__ __forceinline__ void put(int row, int column, const float (&sum)[N]) const {
        row += row0;
        column += column0;
        if (row >= rows || column >= columns) return;
        float value[N];
#pragma unroll
        for (int j = 0; j < N; ++j) {
            bool more = offsets != nullptr && column + j < columns;
            value[j] = more ? sum[j] + offsets[column + j] : sum[j];
        }
        float* to = matrix + u64(order(row)) * u64(columns) + u64(column);
        if (columns % N == 0) {
            store(to, value);
            return;
        }
#pragma unroll
        for (int j = 0; j < N; ++j) {
            if (column + j < columns) to[j] = value[j];
        }
    }
    __device__ __forceinline__ static void store(float* to, const float (&value)[2]) {
        *reinterpret_cast<float2*>(to) = {value[0], value[1]};
    }
    __device__ __forceinline__ static void store(float* to, const float (&value)[4]) {
        *reinterpret_cast<float4*>(to) = {value[0], value[1], value[2], value[3]};
    }
};
