// Random numbers that equal the CPU's bit for bit.
#include "common.cuh"
#include "philox.cuh"

// out[i] = the uniform number in [0, 1) with index i at (seed, stream, step), for i < n. One thread
// computes a Philox block, which is four neighbouring numbers.
extern "C" __global__ void fill_uniform(float* out, u64 n, u64 seed, unsigned stream, unsigned step) {
    u64 blocks = (n + 3) / 4;
    for (u64 block = thread_number(); block < blocks; block += thread_count()) {
        uint4 words = philox(seed, stream, step, block);
        float values[4] = {unit_float(words.x), unit_float(words.y), unit_float(words.z), unit_float(words.w)};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (4 * block + i < n) out[4 * block + i] = values[i];
        }
    }
}
