// Convolutions as products of matrices that are never stored: which elements of a map a row of such a
// matrix consists of. A row belongs to a position of the result, its depth is (tap, channel).
#pragma once
#include "common.cuh"

constexpr int THREADS = 256;
constexpr int ROWS = 128;
constexpr int DEPTH = 32;

// The map that patches are taken from, and the positions that they belong to.
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
    int from = at * p.stride + tap - p.pad;
    if (from >= 0 && from < extent) return from;
    if (p.reflect == 0) return -1;
    from = from < 0 ? -from : 2 * (extent - 1) - from;
    return from >= 0 && from < extent ? from : -1;
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

// The tap of the next element of depth.
__device__ __forceinline__ Tap following(const Patches& p, Tap tap) {
    if (tap.channel < 0 || ++tap.channel < p.channels) return tap;
    tap.channel = 0;
    if (++tap.x < p.kernel) return tap;
    tap.x = 0;
    if (++tap.y == p.kernel) tap.channel = -1;
    return tap;
}

// The position of the map that a tap of a position looks at, counted from the first example's; -1 for none.
template <bool TRANSPOSED>
__device__ __forceinline__ int place(const Patches& p, Position at, int tap_y, int tap_x) {
    if (at.example < 0) return -1;
    int y = source<TRANSPOSED>(p, at.y, tap_y, p.height), x = source<TRANSPOSED>(p, at.x, tap_x, p.width);
    return y < 0 || x < 0 ? -1 : (at.example * p.height + y) * p.width + x;
}

// Where the element of a patch lies in the map, or null.
template <bool TRANSPOSED>
__device__ __forceinline__ const float* element(const Patches& p, Position at, Tap tap) {
    if (tap.channel < 0) return nullptr;
    int from = place<TRANSPOSED>(p, at, tap.y, tap.x);
    return from < 0 ? nullptr : p.map + u64(from) * u64(p.channels) + u64(tap.channel);
}

// Four neighbours at a multiple of 16 bytes, or zeros.
__device__ __forceinline__ float4 four_if(bool there, const float* from) {
    float4 value = {0.0f, 0.0f, 0.0f, 0.0f};
    if (there) value = *reinterpret_cast<const float4*>(from);
    return value;
}

// Four neighbours in the depth of a patch, of which `tap` is the first: channels are a multiple of 4.
template <bool TRANSPOSED>
__device__ __forceinline__ float4 aligned_four(const Patches& p, Position at, Tap tap) {
    const float* from = element<TRANSPOSED>(p, at, tap);
    return four_if(from != nullptr, from);
}

// The same for any channels.
template <bool TRANSPOSED>
__device__ __forceinline__ float4 four(const Patches& p, Position at, Tap tap) {
    if (p.channels % 4 == 0) return aligned_four<TRANSPOSED>(p, at, tap);
    float value[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        const float* from = element<TRANSPOSED>(p, at, tap);
        value[j] = from != nullptr ? *from : 0.0f;
        tap = following(p, tap);
    }
    return {value[0], value[1], value[2], value[3]};
}

// Four neighbours in a row of a matrix with `columns` columns.
__device__ __forceinline__ float4 four(const float* matrix, int row, int rows, int column, int columns) {
    if (row >= rows || column >= columns) return {0.0f, 0.0f, 0.0f, 0.0f};
    const float* from = matrix + u64(row) * u64(columns) + u64(column);
    if (columns % 4 == 0) return *reinterpret_cast<const float4*>(from);
    float value[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) value[j] = column + j < columns ? from[j] : 0.0f;
    return {value[0], value[1], value[2], value[3]};
}
