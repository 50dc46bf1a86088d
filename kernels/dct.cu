// Cosine transforms over height and width of every channel, NHWC, as products with the matrices that define
// them (formulas: crates/ops/src/dct/mod.rs).
#include "common.cuh"

constexpr double PI = 3.14159265358979323846;

// table[out][in]: the matrix of a transform of `size` numbers; kind 0 forward, 1 inverse, 2 and 3 their
// transposes. One thread an element.
extern "C" __global__ void cosine_table(float* table, int size, int kind) {
    for (u64 at = thread_number(); at < u64(size) * u64(size); at += thread_count()) {
        int out = int(at) / size, in = int(at) % size;
        bool frequency_first = kind == 0 || kind == 3;
        int k = frequency_first ? out : in, n = frequency_first ? in : out;
        // The angle modulo a whole turn, exactly.
        int turn = 4 * size, angle = k * (2 * n + 1) % turn;
        double value = cos(PI * double(angle) / double(2 * size));
        bool inverse = kind == 1 || kind == 3;
        table[at] = float(inverse ? value * (k == 0 ? 0.5 : 1.0) / double(size) : 2.0 * value);
    }
}

// out[outer][i][inner] = Σ table[i][j] · x[outer][j][inner] for j < size. One thread an element.
extern "C" __global__ void transform_axis(const float* x, const float* table, float* out, int size, int inner, u64 n) {
    for (u64 at = thread_number(); at < n; at += thread_count()) {
        unsigned line = unsigned(at) / unsigned(inner);
        int i = int(line % unsigned(size));
        const float* from = x + (at - u64(i) * u64(inner));
        const float* row = table + u64(i) * u64(size);
        float sum = 0.0f;
        for (int j = 0; j < size; ++j) sum += row[j] * from[u64(j) * u64(inner)];
        out[at] = sum;
    }
}
