// Kernels that show what the emulator and a card must agree on.
#include "common.cuh"

// sums[b], maxima[b] = sum and maximum of the `per` elements of block b, taken in strides of the
// block; every thread writes the result, so that all must agree.
extern "C" __global__ void reduce(const float* x, float* sums, float* maxima, int per) {
    const float* mine = x + u64(blockIdx.x) * u64(per);
    float sum = 0.0f, largest = Max::identity();
    for (int i = int(threadIdx.x); i < per; i += int(blockDim.x)) {
        sum += mine[i];
        largest = fmaxf(largest, mine[i]);
    }
    sum = block_sum(sum);
    largest = block_max(largest);
    sums[thread_number()] = sum;
    maxima[thread_number()] = largest;
}

// The four shuffles and a ballot in halves of a warp; 5 results for each thread.
extern "C" __global__ void shuffles(const int* x, int* out) {
    int i = int(threadIdx.x);
    out[5 * i] = __shfl_sync(FULL_WARP, x[i], 5, 16);
    out[5 * i + 1] = __shfl_up_sync(FULL_WARP, x[i], 3, 16);
    out[5 * i + 2] = __shfl_down_sync(FULL_WARP, x[i], 3, 16);
    out[5 * i + 3] = __shfl_xor_sync(FULL_WARP, x[i], 9);
    out[5 * i + 4] = int(__ballot_sync(FULL_WARP, x[i] & 1));
}

// Two halves of a warp that shuffle on their own, and differently often.
extern "C" __global__ void halves(int* out) {
    int i = int(threadIdx.x), value = i;
    if (i < 16) {
        value += __shfl_xor_sync(0x0000ffffu, value, 1);
    } else {
        value += __shfl_xor_sync(0xffff0000u, value, 1);
        value += __shfl_xor_sync(0xffff0000u, value, 2);
    }
    out[i] = value;
}

// Reverses a block through dynamic shared memory and counts the threads.
extern "C" __global__ void reverse(const float* x, float* out, unsigned* count) {
    SHARED_MEMORY(float, held);
    held[threadIdx.x] = x[thread_number()];
    __syncthreads();
    out[thread_number()] = held[blockDim.x - 1 - threadIdx.x];
    atomicAdd(count, 1u);
}

// Three-dimensional indices: out[linear] = x + 10 y + 100 z, plus 1000 · the block's.
extern "C" __global__ void indices(int* out) {
    unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    unsigned inner = threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z;
    unsigned outer = blockIdx.x + 10 * blockIdx.y + 100 * blockIdx.z;
    out[threads * block + thread] = int(inner + 1000 * outer);
}

// out = x rounded to bfloat16.
extern "C" __global__ void round_bf16(const float* x, float* out, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) out[i] = bf16_to_float(float_to_bf16(x[i]));
}
