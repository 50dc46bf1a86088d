// Contrastive losses and their gradients without the matrix of all similarities.
//
// crates/ops/src/contrastive says what is computed. All embeddings lie in one matrix z of rows × dim;
// the first `queries` rows are queries. Those below `split` look at the keys first_key .. last_key, the others
// at second_first .. second_last. positives[i] is the key of query i; it is NO_POSITIVE where positives do
// not meet their queries in a tile, for which there is positives.cu. `excluded` says what a query does not
// look at: 0 nothing, 1 itself, 2 itself and its positive. Gradients are for the first `trained` rows.
// The positive is kept apart from the other keys: softmax − 1 is all round-off when it is far ahead.
//
// Every output has one owner and every sum a fixed order: the same inputs give the same bits. Where there are too few
// rows to fill a card, versions 2 and 3 cut their columns into splits, which are added in order.
//
// Versions, each the measure of the next one:
//   v1  one block for a row; whole rows are read for every similarity
//   v2  tiles of 64 × 64 similarities in registers, operands through shared memory
//   v3  tiles on tensor cores: operands in bfloat16, sums in single precision
#include "common.cuh"
#include "contrastive.cuh"
#include "contrastive_v3.cuh"
#include "mma.cuh"

// The derivative of a query's loss with respect to its logit with a key.
__device__ __forceinline__ float weight(int query, int key, float logit, const unsigned* positives,
                                        const float* log_sums, const float* positive_weights, int excluded) {
    int positive = int(positives[query]);
    if (key == positive) return positive_weights[query];
    if (!is_other(query, key, positive, excluded)) return 0.0f;
    return expf(logit - log_sums[query]);
}

// The larger of two absolute values; not a number is above all, where fmaxf would lose it.
struct LargestOrNan {
    __device__ __forceinline__ static float combine(float a, float b) { return b > a || b != b ? b : a; }
};

// unit = z/|z| and 1/|z|, both 0 for rows without a direction (largest component below the square root
// of the smallest normal number), and both NaN for a row with a component that is. One warp for a row.
// Scaled by the largest component, no square overflows.
extern "C" __global__ void normalise(const float* z, float* unit, float* inverse_lengths, int rows, int dim) {
    int row = int(thread_number() / WARP_SIZE);
    if (row >= rows) return;
    const float* from = z + u64(row) * u64(dim);
    float* to = unit + u64(row) * u64(dim);
    float largest = 0.0f;
    for (int d = lane_index(); d < dim; d += WARP_SIZE) {
        largest = LargestOrNan::combine(largest, fabsf(from[d]));
    }
    largest = warp_reduce<LargestOrNan>(largest);
    bool has_direction = !(largest < 1.0842022e-19f);
    float squares = 0.0f;
    for (int d = lane_index(); d < dim; d += WARP_SIZE) {
        float x = has_direction ? from[d] / largest : 0.0f;
        squares += x * x;
    }
    squares = warp_sum(squares);
    float scale = has_direction ? 1.0f / sqrtf(squares) : 0.0f;
    for (int d = lane_index(); d < dim; d += WARP_SIZE) to[d] = has_direction ? from[d] / largest * scale : 0.0f;
    if (lane_index() == 0) inverse_lengths[row] = has_direction ? scale / largest : 0.0f;
}

// out[0] = Σ values / counted + offset, summed in double precision by one block of 256 threads.
extern "C" __global__ void __launch_bounds__(256)
    mean(const float* values, int count, int counted, float offset, float* out) {
    __shared__ double partial[256];
    double sum = 0.0;
    for (int i = int(threadIdx.x); i < count; i += int(blockDim.x)) sum += double(values[i]);
    partial[threadIdx.x] = sum;
    for (int half = int(blockDim.x) / 2; half > 0; half /= 2) {
        __syncthreads();
        if (int(threadIdx.x) < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    }
    if (threadIdx.x == 0) out[0] = float(partial[0] / double(counted) + double(offset));
}

// From gradients with respect to unit rows to those with respect to z, in place:
// grad = scale · (g − u (u·g)) / |z|. Where scale_terms is not null it gets scale · (u·g) of every row: half
// of their sum is the derivative with respect to the logarithm of the inverse temperature. One warp for a row.
extern "C" __global__ void project(const float* unit, const float* inverse_lengths, float scale, float* grad,
                                   float* scale_terms, int rows, int dim) {
    int row = int(thread_number() / WARP_SIZE);
    if (row >= rows) return;
    const float* u = unit + u64(row) * u64(dim);
    float* g = grad + u64(row) * u64(dim);
    float along = 0.0f;
    for (int d = lane_index(); d < dim; d += WARP_SIZE) along += u[d] * g[d];
    along = warp_sum(along);
    if (scale_terms && lane_index() == 0) scale_terms[row] = scale * along;
    float factor = scale * inverse_lengths[row];
    for (int d = lane_index(); d < dim; d += WARP_SIZE) g[d] = factor * (g[d] - u[d] * along);
}

// Splits --------------------------------------------------------------------------------------------

// What the splits of a forward pass left becomes what is known of a query, in their order. One thread a query.
extern "C" __global__ void combine_splits(const float* partials, const float* positive_logits,
                                          const unsigned* positives, float* losses, float* log_sums,
                                          float* positive_weights, int queries, int splits, int excluded) {
    int query = int(thread_number());
    if (query >= queries) return;
    LogSum all = LogSum::none();
    for (int split = 0; split < splits; ++split) {
        const float* part = partials + u64(split) * 2 * u64(queries) + u64(query);
        all = LogSum::combine(all, {part[0], part[queries]});
    }
    Results results = {losses, log_sums, positive_weights, nullptr, nullptr};
    results.finish(query, int(positives[query]), all, positive_logits[query], excluded);
}

// grad[i] = Σ parts[split][i] over the splits of a backward pass, in their order. One thread an element.
extern "C" __global__ void add_splits(const float* parts, float* grad, int splits, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        float sum = parts[i];
        for (int split = 1; split < splits; ++split) sum += parts[u64(split) * n + i];
        grad[i] = sum;
    }
}

// v1 ------------------------------------------------------------------------------------------------

__device__ __forceinline__ float dot(const float* a, const float* b, int dim) {
    float sum = 0.0f;
    for (int d = 0; d < dim; ++d) sum += a[d] * b[d];
    return sum;
}

// One block for a query, whose row lies in shared memory; a thread takes every blockDim-th key.
extern "C" __global__ void forward_v1(const float* unit, const unsigned* positives, float* losses, float* log_sums,
                                      float* positive_weights, int dim, int queries, int split, int first_key,
                                      int last_key, int second_first, int second_last, int excluded,
                                      float inverse_temperature) {
    SHARED_MEMORY(float, own);
    Look look = {queries, split, first_key, last_key, second_first, second_last};
    int query = int(blockIdx.x), positive = int(positives[query]);
    int last = look.last(query);
    for (int d = int(threadIdx.x); d < dim; d += int(blockDim.x)) own[d] = unit[u64(query) * u64(dim) + u64(d)];
    __syncthreads();
    LogSum others = LogSum::none();
    for (int key = look.first(query) + int(threadIdx.x); key < last; key += int(blockDim.x)) {
        if (is_other(query, key, positive, excluded)) {
            others.add(dot(own, unit + u64(key) * u64(dim), dim) * inverse_temperature);
        }
    }
    float top = block_max(others.largest);
    float scaled = others.is_empty() ? 0.0f : others.sum * expf(others.largest - top);
    float sum = block_sum(scaled);
    if (threadIdx.x == 0) {
        LogSum all = {top, sum};
        if (positive == NO_POSITIVE) {
            log_sums[query] = all.value();
        } else {
            float logit = dot(own, unit + u64(positive) * u64(dim), dim) * inverse_temperature;
            finish_query(query, logit, all.value(), excluded, losses, log_sums, positive_weights);
        }
    }
}

// The gradient with respect to a unit row: Σ_j w_j u_j over all rows j, as a query from its keys and as a
// key from the queries. One block for a row.
extern "C" __global__ void __launch_bounds__(128)
    backward_v1(const float* unit, const unsigned* positives, const float* log_sums, const float* positive_weights,
                float* grad, int rows, int trained, int dim, int queries, int split, int first_key, int last_key,
                int second_first, int second_last, int excluded, float inverse_temperature) {
    __shared__ float weights[128];
    SHARED_MEMORY(float, own);
    Look look = {queries, split, first_key, last_key, second_first, second_last};
    int row = int(blockIdx.x);
    if (row >= trained) return;
    float* to = grad + u64(row) * u64(dim);
    for (int d = int(threadIdx.x); d < dim; d += int(blockDim.x)) {
        own[d] = unit[u64(row) * u64(dim) + u64(d)];
        to[d] = 0.0f;
    }
    for (int first = 0; first < rows; first += int(blockDim.x)) {
        __syncthreads();
        int other = first + int(threadIdx.x);
        bool as_query = other < rows && look.asks(row, other), as_key = look.asks(other, row);
        float sum = 0.0f;
        if (as_query || as_key) {
            float logit = dot(own, unit + u64(other) * u64(dim), dim) * inverse_temperature;
            if (as_query) sum += weight(row, other, logit, positives, log_sums, positive_weights, excluded);
            if (as_key) sum += weight(other, row, logit, positives, log_sums, positive_weights, excluded);
        }
        weights[threadIdx.x] = sum;
        __syncthreads();
        int count = min(int(blockDim.x), rows - first);
        for (int d = int(threadIdx.x); d < dim; d += int(blockDim.x)) {
            float part = 0.0f;
            for (int k = 0; k < count; ++k) part += weights[k] * unit[u64(first + k) * u64(dim) + u64(d)];
            to[d] += part;
        }
    }
}

// v2 ------------------------------------------------------------------------------------------------

constexpr int TILE = 64;           // rows and columns of a tile of similarities
constexpr int SIDE = 16;           // a block has SIDE × SIDE threads
constexpr int EACH = TILE / SIDE;  // rows and columns of a thread
constexpr int CHUNK = 16;          // components of the embeddings that are in shared memory at a time
constexpr int WIDTH = 128;         // components of the gradient that a block computes
constexpr int WIDE = WIDTH / SIDE;

// The rows and the columns of a tile, transposed, one chunk of their components.
struct Operands {
    float rows[CHUNK][TILE + 4];
    float columns[CHUNK][TILE + 4];
};

__device__ __forceinline__ void load_chunk(const float* unit, int first, int count, int dim, int chunk,
                                           float (*to)[TILE + 4]) {
    for (int i = int(threadIdx.x); i < TILE * CHUNK; i += SIDE * SIDE) {
        int row = i / CHUNK, k = i % CHUNK;
        bool inside = first + row < count && chunk + k < dim;
        to[k][row] = inside ? unit[u64(first + row) * u64(dim) + u64(chunk + k)] : 0.0f;
    }
}

// similarities[i][j] of row row0 + EACH·(thread / SIDE) + i and column column0 + EACH·(thread % SIDE) + j.
// All threads of the block must call it.
__device__ __forceinline__ void similarities_of_tile(const float* unit, int count, int dim, int row0, int column0,
                                                     Operands& operands, float (&similarities)[EACH][EACH]) {
    int y = int(threadIdx.x) / SIDE * EACH, x = int(threadIdx.x) % SIDE * EACH;
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
#pragma unroll
        for (int j = 0; j < EACH; ++j) similarities[i][j] = 0.0f;
    }
    for (int chunk = 0; chunk < dim; chunk += CHUNK) {
        __syncthreads();
        load_chunk(unit, row0, count, dim, chunk, operands.rows);
        load_chunk(unit, column0, count, dim, chunk, operands.columns);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < CHUNK; ++k) {
            float a[EACH], b[EACH];
#pragma unroll
            for (int i = 0; i < EACH; ++i) {
                a[i] = operands.rows[k][y + i];
                b[i] = operands.columns[k][x + i];
            }
#pragma unroll
            for (int i = 0; i < EACH; ++i) {
#pragma unroll
                for (int j = 0; j < EACH; ++j) similarities[i][j] += a[i] * b[j];
            }
        }
    }
}

// One block for 64 queries (grid.x) and a split of their keys (grid.y). A thread keeps the sums of four queries over
// its columns; the 16 threads that share these queries are neighbours in a warp and combine their sums at the end.
extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
    forward_v2(const float* unit, const unsigned* positives, float* losses, float* log_sums, float* positive_weights,
               float* partials, float* positive_logit_of, int rows, int dim, int queries, int split, int first_key,
               int last_key, int second_first, int second_last, int excluded, float inverse_temperature) {
    __shared__ Operands operands;
    __shared__ float positive_logits[TILE];
    Look look = {queries, split, first_key, last_key, second_first, second_last};
    int row0 = int(blockIdx.x) * TILE;
    int y = int(threadIdx.x) / SIDE * EACH, x = int(threadIdx.x) % SIDE * EACH;
    LogSum others[EACH];
    int positive[EACH];
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        others[i] = LogSum::none();
        positive[i] = row0 + y + i < queries ? int(positives[row0 + y + i]) : NO_POSITIVE;
    }
    Range keys = look.keys_of(row0, TILE).split(int(blockIdx.y), int(gridDim.y), TILE);
    for (int column0 = keys.first; column0 < keys.last; column0 += TILE) {
        float logits[EACH][EACH];
        similarities_of_tile(unit, rows, dim, row0, column0, operands, logits);
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
#pragma unroll
            for (int j = 0; j < EACH; ++j) {
                int query = row0 + y + i, key = column0 + x + j;
                float logit = logits[i][j] * inverse_temperature;
                bool asks = look.asks(query, key);
                if (asks && key == positive[i]) positive_logits[y + i] = logit;
                if (asks && is_other(query, key, positive[i], excluded)) others[i].add(logit);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        for (int distance = SIDE / 2; distance > 0; distance /= 2) {
            LogSum other = {__shfl_xor_sync(FULL_WARP, others[i].largest, distance),
                            __shfl_xor_sync(FULL_WARP, others[i].sum, distance)};
            // The lower lane comes first on both sides, so that all 16 threads get the same bits.
            bool lower = (int(threadIdx.x) & distance) == 0;
            others[i] = lower ? LogSum::combine(others[i], other) : LogSum::combine(other, others[i]);
        }
    }
    __syncthreads();  // the logits of the positives are there
    Results results = {losses, log_sums, positive_weights, partials, positive_logit_of};
    for (int i = 0; x == 0 && i < EACH; ++i) {
        int query = row0 + y + i;
        if (query >= queries) break;
        results.put(query, queries, positive[i], others[i], keys, positive_logits[y + i], excluded);
    }
}

// The weights of a tile, in shared memory.
struct Weights {
    float at[TILE][TILE + 1];
};

// grad[split][rows row0 .. row0 + 64][WIDTH components] = Σ_j w_j u_j over a split of all rows. One block for 64 rows
// (grid.x), 128 components (grid.y) and a split (grid.z); it computes all tiles of these.
extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
    backward_v2(const float* unit, const unsigned* positives, const float* log_sums, const float* positive_weights,
                float* grad, int rows, int trained, int dim, int queries, int split, int first_key, int last_key,
                int second_first, int second_last, int excluded, float inverse_temperature) {
    __shared__ Operands operands;
    __shared__ Weights weights;
    __shared__ float values[CHUNK][WIDTH];
    Look look = {queries, split, first_key, last_key, second_first, second_last};
    int row0 = int(blockIdx.x) * TILE, component0 = int(blockIdx.y) * WIDTH;
    int y = int(threadIdx.x) / SIDE * EACH, x = int(threadIdx.x) % SIDE;
    float sums[EACH][WIDE];
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
#pragma unroll
        for (int j = 0; j < WIDE; ++j) sums[i][j] = 0.0f;
    }
    Range all = {0, rows}, columns = all.split(int(blockIdx.z), int(gridDim.z), TILE);
    for (int column0 = columns.first; column0 < columns.last; column0 += TILE) {
        if (!look.meets(row0, TILE, column0, TILE) && !look.meets(column0, TILE, row0, TILE)) continue;
        float logits[EACH][EACH];
        similarities_of_tile(unit, rows, dim, row0, column0, operands, logits);
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
#pragma unroll
            for (int j = 0; j < EACH; ++j) {
                int row = row0 + y + i, column = column0 + x * EACH + j;
                float logit = logits[i][j] * inverse_temperature, sum = 0.0f;
                if (look.asks(row, column)) {
                    sum += weight(row, column, logit, positives, log_sums, positive_weights, excluded);
                }
                if (look.asks(column, row)) {
                    sum += weight(column, row, logit, positives, log_sums, positive_weights, excluded);
                }
                weights.at[y + i][x * EACH + j] = sum;
            }
        }
        for (int chunk = 0; chunk < TILE; chunk += CHUNK) {
            __syncthreads();
            for (int i = int(threadIdx.x); i < CHUNK * WIDTH; i += SIDE * SIDE) {
                int row = column0 + chunk + i / WIDTH, component = component0 + i % WIDTH;
                bool inside = row < rows && component < dim;
                values[i / WIDTH][i % WIDTH] = inside ? unit[u64(row) * u64(dim) + u64(component)] : 0.0f;
            }
            __syncthreads();
#pragma unroll
            for (int k = 0; k < CHUNK; ++k) {
                float a[EACH], b[WIDE];
#pragma unroll
                for (int i = 0; i < EACH; ++i) a[i] = weights.at[y + i][chunk + k];
#pragma unroll
                for (int j = 0; j < WIDE; ++j) b[j] = values[k][x + j * SIDE];
#pragma unroll
                for (int i = 0; i < EACH; ++i) {
#pragma unroll
                    for (int j = 0; j < WIDE; ++j) sums[i][j] += a[i] * b[j];
                }
            }
        }
    }
    grad += u64(blockIdx.z) * u64(trained) * u64(dim);
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
#pragma unroll
        for (int j = 0; j < WIDE; ++j) {
            int row = row0 + y + i, component = component0 + x + j * SIDE;
            if (row < trained && component < dim) grad[u64(row) * u64(dim) + u64(component)] = sums[i][j];
        }
    }
}

// v3 ------------------------------------------------------------------------------------------------
//
// contrastive_v3.cuh, in blocks of 64 rows, and of 128 for many rows of up to 128 components.

// words[row][i] = components 2i and 2i + 1 of a unit row. One thread a word.
extern "C" __global__ void round_rows(const float* unit, unsigned* halves, int rows, int dim, int words) {
    u64 count = u64(rows) * u64(words);
    for (u64 i = thread_number(); i < count; i += thread_count()) {
        const float* from = unit + i / u64(words) * u64(dim);
        int component = 2 * int(i % u64(words));
        float low = component < dim ? from[component] : 0.0f;
        float high = component + 1 < dim ? from[component + 1] : 0.0f;
        halves[i] = pack_bf16(low, high);
    }
}

// One block for 64 queries (grid.x) and a split of their keys (grid.y).
extern "C" __global__ void __launch_bounds__(v3::THREADS)
    forward_v3(const unsigned* halves, const unsigned* positives, float* losses, float* log_sums,
               float* positive_weights, float* partials, float* positive_logits, int rows, int words, int queries,
               int split, int first_key, int last_key, int second_first, int second_last, int excluded,
               float inverse_temperature) {
    Look look = {queries, split, first_key, last_key, second_first, second_last};
    v3::Loss loss = {halves, rows, words, ceil_div(2 * words, v3::CHUNK), look, excluded, inverse_temperature};
    v3::forward<64>(loss, positives, {losses, log_sums, positive_weights, partials, positive_logits});
}

// One block for 128 queries of up to 128 components (grid.x) and a split of their keys (grid.y).
extern "C" __global__ void __launch_bounds__(v3::THREADS)
    forward_v3_wide(const unsigned* halves, const unsigned* positives, float* losses, float* log_sums,
                    float* positive_weights, float* partials, float* positive_logits, int rows, int words, int queries,
                    int split, int first_key, int last_key, int second_first, int second_last, int excluded,
                    float inverse_temperature) {
    Look look = {queries, split, first_key, last_key, second_first, second_last};
    v3::Loss loss = {halves, rows, words, 1, look, excluded, inverse_temperature};
    v3::forward<128>(loss, positives, {losses, log_sums, positive_weights, partials, positive_logits});
}

// One block for 64 rows (grid.x), 128 components (grid.y) and a split of all rows (grid.z).
extern "C" __global__ void __launch_bounds__(v3::THREADS, 2)
    backward_v3(const unsigned* halves, const unsigned* positives, const float* log_sums,
                const float* positive_weights, float* grad, int rows, int trained, int dim, int words, int queries,
                int split, int first_key, int last_key, int second_first, int second_last, int excluded,
                float inverse_temperature) {
    Look look = {queries, split, first_key, last_key, second_first, second_last};
    v3::Loss loss = {halves, rows, words, ceil_div(2 * words, v3::CHUNK), look, excluded, inverse_temperature};
    v3::backward<64>(loss, {positives, log_sums, positive_weights}, grad, trained, dim);
}

// One block for 128 rows of up to 128 components (grid.x) and a split of all rows (grid.z).
extern "C" __global__ void __launch_bounds__(v3::THREADS, 2)
    backward_v3_wide(const unsigned* halves, const unsigned* positives, const float* log_sums,
                     const float* positive_weights, float* grad, int rows, int trained, int dim, int words, int queries,
                     int split, int first_key, int last_key, int second_first, int second_last, int excluded,
                     float inverse_temperature) {
    Look look = {queries, split, first_key, last_key, second_first, second_last};
    v3::Loss loss = {halves, rows, words, 1, look, excluded, inverse_temperature};
    v3::backward<128>(loss, {positives, log_sums, positive_weights}, grad, trained, dim);
}
