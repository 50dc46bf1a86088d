// Kernels with mistakes that a card may or may not forgive; the emulator must report them.
#include "common.cuh"

// Threads of one block wait at two different barriers.
extern "C" __global__ void divergent(float* out) {
    if (threadIdx.x < 20) {
        __syncthreads();
        out[0] = 1.0f;
    } else {
        __syncthreads();
        out[1] = 1.0f;
    }
}

// Half of the threads wait for their warp, the other half for the block.
extern "C" __global__ void crossed(float* out) {
    if (threadIdx.x < 16) {
        out[threadIdx.x] = warp_sum(1.0f);
    } else {
        __syncthreads();
    }
}

// A lane takes a value from a lane that has left.
extern "C" __global__ void departed(float* out) {
    if (threadIdx.x == 31) return;
    out[threadIdx.x] = __shfl_sync(FULL_WARP, 1.0f, 31);
}

// Writes one element too far.
extern "C" __global__ void beyond(float* out, int n) {
    out[n] = 1.0f;
}
