// Products of small matrices by a whole warp, on tensor cores where there are some.
//
// Matrices are spread over the lanes of a warp. With group = lane / 4 and pair = lane % 4, and words of two
// bfloat16 whose lower half comes first:
//   A (16 × 16)  a[0]: row group,     columns 2·pair, 2·pair + 1;   a[2]: the same row, columns + 8
//                a[1]: row group + 8, the same columns;             a[3]: that row, columns + 8
//   B (16 × 8)   b[0]: rows 2·pair, 2·pair + 1 of column group;     b[1]: rows + 8
//   D (16 × 8)   d[0], d[1]: row group, columns 2·pair, 2·pair + 1; d[2], d[3]: row group + 8
// In TF32 a word is one number, and depth is 8:
//   A (16 × 8)   a[0]: row group, column pair;     a[2]: the same row, column + 4;   a[1], a[3]: row group + 8
//   B (8 × 8)    b[0]: row pair of column group;   b[1]: row + 4
// Sources of the layouts: NVIDIA, PTX ISA, "Matrix fragments for mma.m16n8k16" and "… mma.m16n8k8".
#pragma once
#include "common.cuh"

__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    // One instruction for both; not a number loses its payload.
    unsigned word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
#else
    return unsigned(float_to_bf16(low)) | unsigned(float_to_bf16(high)) << 16;
#endif
}

// Four 8 × 8 matrices of bfloat16 from shared memory, a word of each for every lane. Lane 8i + r says where
// row r of matrix i begins: 8 elements, at a multiple of 16 bytes. A lane gets columns 2·pair and 2·pair + 1
// of row `group` of each matrix, or TRANSPOSED those rows of column `group`. All 32 lanes must call it. Needs
// compute capability 7.5.
// Source of the layout: NVIDIA, PTX ISA, "ldmatrix".
template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* row) {
#if defined(VIEWMAKER_EMULATOR)
    // Every lane lays its address down and picks its words up where the others' rows are.
    if (reinterpret_cast<u64>(row) % 16 != 0) {
        ::emulator::current->fail("lane %d loads a matrix from an address that is no multiple of 16", lane_index());
    }
    __shared__ const void* starts[MAX_WARPS][WARP_SIZE];
    const void** of = starts[warp_index()];
    of[lane_index()] = row;
    __syncwarp();
    int group = lane_index() / 4, pair = lane_index() % 4;
    for (int i = 0; i < 4; ++i) {
        if (TRANSPOSED) {
            bf16 low = static_cast<const bf16*>(of[8 * i + 2 * pair])[group];
            bf16 high = static_cast<const bf16*>(of[8 * i + 2 * pair + 1])[group];
            to[i] = unsigned(low) | unsigned(high) << 16;
        } else {
            to[i] = static_cast<const unsigned*>(of[8 * i + group])[pair];
        }
    }
    __syncwarp();
#elif __CUDA_ARCH__ >= 750
    unsigned from = unsigned(__cvta_generic_to_shared(row));
    if (TRANSPOSED) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(from)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(from)
                     : "memory");
    }
#else
    // Launchers refuse older cards.
    (void)to;
    (void)row;
    __trap();
#endif
}

#if defined(VIEWMAKER_EMULATOR)
// A lane's words of A, then those of B.
struct Words {
    unsigned word[6];
};

// All lanes' words, until the next barrier of the warp.
__device__ __forceinline__ const Words* lay_down(const unsigned (&a)[4], const unsigned (&b)[2]) {
    __shared__ Words words[MAX_WARPS][WARP_SIZE];
    Words* of = words[warp_index()];
    of[lane_index()] = {{a[0], a[1], a[2], a[3], b[0], b[1]}};
    __syncwarp();
    return of;
}
#endif

// D += A · B with sums in single precision. All 32 lanes must call it. Needs compute capability 8.0.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(VIEWMAKER_EMULATOR)
    // Every lane picks up the two rows and the two columns that its results need.
    const Words* of = lay_down(a, b);
    int group = lane_index() / 4, pair = lane_index() % 4;
    float rows[2][16], columns[2][16];
    for (int from = 0; from < 4; ++from) {
        for (int i = 0; i < 4; ++i) {
            unsigned word = of[group * 4 + from].word[i];
            float* to = rows[i % 2] + i / 2 * 8 + 2 * from;
            to[0] = bf16_to_float(bf16(word & 0xffffu));
            to[1] = bf16_to_float(bf16(word >> 16));
        }
        for (int column = 0; column < 2; ++column) {
            for (int i = 0; i < 2; ++i) {
                unsigned word = of[(2 * pair + column) * 4 + from].word[4 + i];
                float* to = columns[column] + i * 8 + 2 * from;
                to[0] = bf16_to_float(bf16(word & 0xffffu));
                to[1] = bf16_to_float(bf16(word >> 16));
            }
        }
    }
    __syncwarp();
    for (int i = 0; i < 4; ++i) {
        for (int k = 0; k < 16; ++k) d[i] += rows[i / 2][k] * columns[i % 2][k];
    }
#elif __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    // Launchers refuse older cards.
    (void)d;
    (void)a;
    (void)b;
    __trap();
#endif
}

// The nearest number with 10 bits behind the point (TF32), ties away from zero, as the word of a fragment.
__device__ __forceinline__ unsigned round_tf32(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    unsigned word;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
    return word;
#else
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
    return (bits + 0x1000u) & ~0x1fffu;
#endif
}

// D += A · B in TF32 with sums in single precision. All 32 lanes must call it. Needs compute capability 8.0.
__device__ __forceinline__ void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(VIEWMAKER_EMULATOR)
    // Every lane picks up the two rows and the two columns that its results need.
    const Words* of = lay_down(a, b);
    int group = lane_index() / 4, pair = lane_index() % 4;
    float rows[2][8], columns[2][8];
    for (int from = 0; from < 4; ++from) {
        for (int i = 0; i < 4; ++i) rows[i % 2][i / 2 * 4 + from] = __uint_as_float(of[group * 4 + from].word[i]);
        for (int column = 0; column < 2; ++column) {
            for (int i = 0; i < 2; ++i) {
                columns[column][i * 4 + from] = __uint_as_float(of[(2 * pair + column) * 4 + from].word[4 + i]);
            }
        }
    }
    __syncwarp();
    for (int i = 0; i < 4; ++i) {
        for (int k = 0; k < 8; ++k) d[i] += rows[i / 2][k] * columns[i % 2][k];
    }
#elif __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    // Launchers refuse older cards.
    (void)d;
    (void)a;
    (void)b;
    __trap();
#endif
}
