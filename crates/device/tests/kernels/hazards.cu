// Kernels that give the right result on some days. Only who looks at every access sees what is wrong.
#include "common.cuh"

// A thread reads what its neighbour wrote, and nobody waits. With `wait` it is right.
extern "C" __global__ void neighbour(float* out, int wait) {
    __shared__ float held[64];
    held[threadIdx.x] = float(threadIdx.x);
    if (wait) __syncthreads();
    out[threadIdx.x] = threadIdx.x == 0 ? 0.0f : held[threadIdx.x - 1];
}

// The second round overwrites what a slower thread still reads. With `wait` it is right.
extern "C" __global__ void rounds(float* out, int wait) {
    SHARED_MEMORY(float, held);
    float sum = 0.0f;
    for (int round = 0; round < 2; ++round) {
        held[threadIdx.x] = float(round);
        __syncthreads();
        sum += held[blockDim.x - 1 - threadIdx.x];
        if (wait) __syncthreads();
    }
    out[threadIdx.x] = sum;
}

// Lanes of one warp exchange values through memory. With `wait` it is right.
extern "C" __global__ void lanes(float* out, int wait) {
    __shared__ float held[32];
    held[threadIdx.x] = 1.0f;
    if (wait) __syncwarp();
    out[threadIdx.x] = held[threadIdx.x ^ 1];
}

// A shuffle moves a value and orders nothing else.
extern "C" __global__ void shuffled(float* out) {
    __shared__ float held[32];
    held[threadIdx.x] = 1.0f;
    float one = __shfl_xor_sync(FULL_WARP, 1.0f, 1);
    out[threadIdx.x] = held[threadIdx.x ^ 1] + one;
}

// Halves of a warp wait on their own: threads know of the others what those knew when they met. With
// `wait` it is right.
extern "C" __global__ void passed_on(float* out, int wait) {
    __shared__ float held[32];
    int i = int(threadIdx.x);
    if (i < 8) held[i] = 1.0f;
    if (i < 16) __syncwarp(0x0000ffffu);
    if (wait && i >= 8 && i < 24) __syncwarp(0x00ffff00u);
    if (i >= 16 && i < 24) out[i] = held[i - 16];
}

// Two blocks add to one word.
extern "C" __global__ void blocks(float* out) {
    if (threadIdx.x == 0) out[0] += 1.0f;
}

// Two blocks count in one word: atomics do not race with each other.
extern "C" __global__ void counted(unsigned* out) { atomicAdd(out, 1u); }

// Reads __shared__ memory that nobody wrote; another block may have.
extern "C" __global__ void unwritten(float* out) {
    __shared__ float held[32];
    if (blockIdx.x == 0) held[threadIdx.x] = 1.0f;
    __syncthreads();
    out[32 * blockIdx.x + threadIdx.x] = held[threadIdx.x];
}

// Reads past its span, in the middle of the buffer around it.
extern "C" __global__ void past(const float* x, float* out, int n) {
    for (int i = 0; i < n; ++i) out[i] = x[i];
}

// Four numbers at once from anywhere.
extern "C" __global__ void fours(const float* x, float* out) {
    float4 v = *reinterpret_cast<const float4*>(x);
    out[0] = v.x + v.y + v.z + v.w;
}

// An index leaves one array and arrives in another.
extern "C" __global__ void outside(float* out, int i) {
    __shared__ float rows[4][8];
    for (int j = 0; j < 4; ++j) rows[j][threadIdx.x] = 1.0f;
    __syncthreads();
    out[threadIdx.x] = rows[0][threadIdx.x + i];
}

// 2³¹ is one too many.
extern "C" __global__ void overflow(int* out, int n) { out[0] = n + 1; }
