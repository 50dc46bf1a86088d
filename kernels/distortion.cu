// How far views are from their examples: the mean of |a − b| over two arrays, in two launches.
#include "common.cuh"

constexpr int THREADS = 256;

// partials[block] = Σ |a − b| over elements block · share … of n. A thread sums every 256th of them, so that
// neighbours read neighbours.
extern "C" __global__ void __launch_bounds__(THREADS)
    absolute_differences(const float* a, const float* b, float* partials, u64 n, u64 share) {
    u64 first = u64(blockIdx.x) * share, last = first + share < n ? first + share : n;
    float sum = 0.0f;
    for (u64 i = first + threadIdx.x; i < last; i += THREADS) sum += fabsf(a[i] - b[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// out[0] = Σ partials · scale, in double precision and in a fixed order. One warp.
extern "C" __global__ void __launch_bounds__(WARP_SIZE)
    finish_differences(const float* partials, int count, float scale, float* out) {
    __shared__ double sums[WARP_SIZE];
    double sum = 0.0;
    for (int i = lane_index(); i < count; i += WARP_SIZE) sum += double(partials[i]);
    sums[lane_index()] = sum;
    __syncthreads();
    if (lane_index() != 0) return;
    for (int lane = 1; lane < WARP_SIZE; ++lane) sum += sums[lane];
    out[0] = float(sum * double(scale));
}
