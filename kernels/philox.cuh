// Philox4x32-10, bit for bit the generator of crates/ops/src/random.rs: a random number is a pure
// function of (seed, stream, step, element), the same on every device.
//
// Source: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011),
// section 3.3.
#pragma once

// The four random words of elements 4·block .. 4·block + 4.
__device__ __forceinline__ uint4 philox(u64 seed, unsigned stream, unsigned step, u64 block) {
    uint4 counter = make_uint4(unsigned(block), unsigned(block >> 32), step, stream);
    unsigned key0 = unsigned(seed), key1 = unsigned(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        unsigned high0 = __umulhi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
        unsigned high1 = __umulhi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
        counter = make_uint4(high1 ^ counter.y ^ key0, low1, high0 ^ counter.w ^ key1, low0);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// A uniform number in [0, 1) from the upper 24 bits of a word.
__device__ __forceinline__ float unit_float(unsigned word) { return float(word >> 8) * (1.0f / 16777216.0f); }
