// Convolutions as products of matrices that are never stored: which elements of a map a row of such a
// matrix consists of, and where results go. A row belongs to a position of the result, its depth is
// (tap, channel).
#pragma once
#include "common.cuh"

constexpr int THREADS = 256;
constexpr int ROWS = 128;
constexpr int DEPTH = 32;

// The map that patches are taken from, and the positions that they belong to. It begins at a multiple of 16
// bytes and its channels are a multiple of 4 (conv2d.cu's pad_channels): four neighbours in depth are
// channels of one tap, and lie at a multiple of 16 bytes.
struct Patches {
    const float* map;
    int height, width, channels;
    int rows_height, rows_width, rows;
    int kernel, stride, pad, reflect;

    __device__ __forceinline__ int depth() const { return kernel * kernel * channels; }
};

// How many strides lie in `distance` that is not negative; the usual ones without a division.
__device__ __forceinline__ int strides(int distance, int stride) {
    if (stride == 1) return distance;
    return stride == 2 ? distance >> 1 : distance / stride;
}

// The row (or column) of the map that `tap` of position `at` looks at; -1 for none.
template <bool TRANSPOSED>
__device__ __forceinline__ int source(const Patches& p, int at, int tap, int extent) {
    if (TRANSPOSED) {
        int padded = at + p.pad - tap, from = strides(padded, p.stride);
        return padded >= 0 && from * p.stride == padded && from < extent ? from : -1;
    }
    int from = at * p.stride + tap - p.pad, mirror = from < 0 ? -from : 2 * (extent - 1) - from;
    bool inside = unsigned(from) < unsigned(extent);
    from = inside || p.reflect == 0 ? from : mirror;
    return unsigned(from) < unsigned(extent) ? from : -1;
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
    if (p.kernel == 1) return {0, 0, k};
    int tap = k / p.channels;
    return {tap / p.kernel, tap % p.kernel, k - tap * p.channels};
}

// The position of the map that a tap of a position looks at, counted from the first example's; -1 for none.
template <bool TRANSPOSED>
__device__ __forceinline__ int place(const Patches& p, Position at, int tap_y, int tap_x) {
    if (at.example < 0) return -1;
    int y = source<TRANSPOSED>(p, at.y, tap_y, p.height), x = source<TRANSPOSED>(p, at.x, tap_x, p.width);
    return y < 0 || x < 0 ? -1 : (at.example * p.height + y) * p.width + x;
}

// Four neighbours at a multiple of 16 bytes, or zeros.
__device__ __forceinline__ float4 four_if(bool there, const float* from) {
    float4 value = {0.0f, 0.0f, 0.0f, 0.0f};
    if (there) value = *reinterpret_cast<const float4*>(from);
    return value;
}

// Four neighbours in the depth of a patch, of which `tap` is the first.
template <bool TRANSPOSED>
__device__ __forceinline__ float4 four(const Patches& p, Position at, Tap tap) {
    int from = tap.channel < 0 ? -1 : place<TRANSPOSED>(p, at, tap.y, tap.x);
    return four_if(from >= 0, p.map + u64(from) * u64(p.channels) + u64(tap.channel));
}

// Four neighbours in a row of a matrix, whose columns are a multiple of 4.
__device__ __forceinline__ float4 four(const float* matrix, int row, int rows, int column, int columns) {
    return four_if(row < rows && column < columns, matrix + u64(row) * u64(columns) + u64(column));
}

// The matrix of results, which begins at a multiple of 16 bytes, and the tile of it that a block computes.
struct Results {
    float* matrix;
    const float* offsets;  // of the columns, or null
    int rows, columns, row0, column0;

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
        float* to = matrix + u64(row) * u64(columns) + u64(column);
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
