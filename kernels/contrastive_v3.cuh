// The passes of contrastive.cu over tiles on tensor cores (contrastive_tiles.cuh).
//
//   - Where all rows of a block and all columns of a tile ask each other and no positive is among them, which is
//     nearly everywhere, no element is looked at on its own.
//   - Temperatures from 0.025 on have a fixed shift (crates/ops/src/contrastive/fixed.rs): with logits of at most 1/t
//     the weights e^(l − L_i) + e^(l − L_j) of a pair are e^(l − 1/t) · (e^(1/t − L_i) + e^(1/t − L_j)): one
//     exponential instead of two.
#pragma once
#include "contrastive_tiles.cuh"

namespace v3 {

// What a lane knows of one of its queries while keys pass by: the largest similarity, and the sum of
// exponentials of the differences to it.
struct Running {
    float largest = Max::identity();
    float sum = 0.0f;

    // Adds so many similarities, −∞ for keys that do not count; scale is log2(e)/t.
    template <int COUNT>
    __device__ __forceinline__ void add(const float (&similarities)[COUNT], float scale) {
        float top = largest;
#pragma unroll
        for (int i = 0; i < COUNT; ++i) top = fmaxf(top, similarities[i]);
        // Without any, differences are −∞ all the same. Both products are rounded before they are compared: where the
        // largest stays, the factor must be 1, and a fused difference would be the rounding error of the product, once
        // for every tile.
        float shift = top == Max::identity() ? 0.0f : __fmul_rn(top, scale);
        sum *= exp2_fast(__fmul_rn(largest, scale) - shift);
#pragma unroll
        for (int i = 0; i < COUNT; ++i) sum += exp2_fast(similarities[i] * scale - shift);
        largest = top;
    }
    __device__ __forceinline__ LogSum logits(float inverse_temperature) const {
        return {__fmul_rn(largest, inverse_temperature), sum};
    }
};

// Whether row0 .. row0 + rows and column0 .. column0 + columns have a row in common.
__device__ __forceinline__ bool overlap(int row0, int rows, int column0, int columns) {
    return row0 < column0 + columns && column0 < row0 + rows;
}

__device__ __forceinline__ bool is_within(int row, int row0, int rows) {
    return unsigned(row - row0) < unsigned(rows);
}

// The sums of a warp's 32 queries over tiles of keys.
template <int ROWS>
struct Queries {
    static constexpr int N = PART * Place<ROWS>::PARTS;
    Running others[4];
    int positive[4];

    __device__ __forceinline__ Queries(const unsigned* positives, int query0, int queries) {
#pragma unroll
        for (int half = 0; half < 4; ++half) {
            int query = query0 + 8 * half + lane_index() / 4;
            positive[half] = query < queries ? int(positives[query]) : NO_POSITIVE;
        }
    }
    // Looks at keys key0 .. key0 + N. Unless the tile is `plain`, some are none or must be left out, and a
    // query may find its positive, whose logit goes to positive_logits.
    __device__ __forceinline__ void look_at(const Loss& loss, Tile<N>& tile, int query0, int key0, bool plain,
                                            float* positive_logits) {
        if (!plain) {
            tile.each([&](int half, int row, int column, float& similarity) {
                int query = query0 + row, key = key0 + column;
                bool asks = loss.look.asks(query, key);
                if (asks && key == positive[half]) positive_logits[row] = similarity * loss.inverse_temperature;
                if (!asks || !is_other(query, key, positive[half], loss.excluded)) similarity = Max::identity();
            });
            __syncwarp();
        }
#pragma unroll
        for (int half = 0; half < 4; ++half) {
            float similarities[N / 4];
#pragma unroll
            for (int i = 0; i < N / 4; ++i) similarities[i] = tile.at[half / 2][i / 2][half % 2 * 2 + i % 2];
            others[half].add(similarities, loss.inverse_temperature * LOG2_E);
        }
    }
    __device__ __forceinline__ bool meet_positives(int key0) const {
        bool met = false;
#pragma unroll
        for (int half = 0; half < 4; ++half) met |= is_within(positive[half], key0, N);
        return __any_sync(FULL_WARP, met);
    }
};

// Combines what the four lanes of a query know, in the order of lanes.
__device__ __forceinline__ LogSum of_four_lanes(LogSum own) {
#pragma unroll
    for (int distance = 2; distance > 0; distance /= 2) {
        LogSum other = {__shfl_xor_sync(FULL_WARP, own.largest, distance),
                        __shfl_xor_sync(FULL_WARP, own.sum, distance)};
        own = (lane_index() & distance) == 0 ? LogSum::combine(own, other) : LogSum::combine(other, own);
    }
    return own;
}

// One block for ROWS queries (grid.x) and a split of their keys (grid.y).
template <int ROWS>
__device__ __forceinline__ void forward(const Loss& loss, const unsigned* positives, const Results& results) {
    using Of = Queries<ROWS>;
    SHARED_MEMORY(Memory<ROWS>, memory);
    __shared__ float positive_logits[ROWS];
    __shared__ LogSum of_second_half[ROWS];
    const Look& look = loss.look;
    int row0 = int(blockIdx.x) * ROWS, last = loss.chunks - 1;
    Place<ROWS> place;
    Of queries(positives, row0 + place.row, look.queries);
    Tile<Of::N> tile;
    auto visit = [&](const Panel<ROWS>& rows, const Panel<COLUMNS>& columns, int column0, int chunk, int) {
        if (chunk == loss.chunk_behind(last)) tile.clear();
        tile.multiply(rows, columns, place.row, place.column, loss.words_of(chunk));
        if (chunk != last) return;
        bool itself = loss.excluded != 0 && overlap(row0, ROWS, column0, COLUMNS);
        bool plain = look.all_ask(row0, ROWS, column0, COLUMNS) && !itself;
        plain = !queries.meet_positives(column0 + place.column) && plain;
        queries.look_at(loss, tile, row0 + place.row, column0 + place.column, plain, positive_logits + place.row);
    };
    auto next = [](int column) { return column; };
    Range keys = look.keys_of(row0, ROWS).split(int(blockIdx.y), int(gridDim.y), COLUMNS);
    walk(loss, *memory, row0, last, keys.first, keys.last, next, visit);

    LogSum rest[4];
    bool first_half = place.column == 0, writes = lane_index() % 4 == 0;
#pragma unroll
    for (int half = 0; half < 4; ++half) {
        rest[half] = of_four_lanes(queries.others[half].logits(loss.inverse_temperature));
        if (!first_half && writes) of_second_half[place.row + 8 * half + lane_index() / 4] = rest[half];
    }
    __syncthreads();  // the logits of the positives are there, and what the other warps have summed
    if (!first_half || !writes) return;
#pragma unroll
    for (int half = 0; half < 4; ++half) {
        int row = place.row + 8 * half + lane_index() / 4, query = row0 + row;
        if (query >= look.queries) continue;
        if (Place<ROWS>::PARTS == 1) rest[half] = LogSum::combine(rest[half], of_second_half[row]);
        results.put(query, look.queries, queries.positive[half], rest[half], keys, positive_logits[row], loss.excluded);
    }
}

// What a backward pass reads of queries.
struct Outcomes {
    const unsigned* positives;
    const float* log_sums;
    const float* positive_weights;
};

// That of one query, on its way from global to shared memory.
struct Fact {
    float share = 0.0f, positive_weight = 0.0f;
    int positive = NO_POSITIVE;

    // All loads at once, and nothing that waits for them: `share` is still L.
    __device__ __forceinline__ static Fact fetch(const Loss& loss, const Outcomes& of, int query) {
        Fact fact;
        fact.share = -Max::identity();
        if (query < loss.look.queries) {
            fact.share = of.log_sums[query];
            fact.positive_weight = of.positive_weights[query];
            fact.positive = int(of.positives[query]);
        }
        return fact;
    }
    template <int N>
    __device__ __forceinline__ void put(const Loss& loss, Facts<N>& to, int at) const {
        bool fixed = loss.has_fixed_shift();
        to.share[at] = fixed ? exp2_fast((loss.inverse_temperature - share) * LOG2_E) : share * LOG2_E;
        to.positive_weight[at] = positive_weight;
        to.positive[at] = positive;
    }
};

// Turns similarities into weights: of row0 .. as queries and as keys of column0 .. .
template <int ROWS>
struct Weights {
    const Loss& loss;
    const Facts<ROWS>& rows;
    const Facts<COLUMNS>& columns;
    int row0, column0;  // of the block and of the tile

    // What a pair with this similarity weighs for a query with this share; with a fixed shift without its factor.
    __device__ __forceinline__ float exponential(bool fixed, float similarity, float share) const {
        float scale = loss.inverse_temperature * LOG2_E;
        return exp2_fast(similarity * scale - (fixed ? scale : share));
    }
    // Where all pairs are alike: rows ask columns, columns ask rows, or both.
    template <bool FIXED>
    __device__ __forceinline__ void plain(Tile<PART>& tile, Place<ROWS> at, bool rows_ask, bool columns_ask) const {
        int group = lane_index() / 4, pair = lane_index() % 4;
        float none = FIXED ? 0.0f : -Max::identity();
        float of_row[4];
#pragma unroll
        for (int half = 0; half < 4; ++half) of_row[half] = rows_ask ? rows.share[at.row + 8 * half + group] : none;
#pragma unroll
        for (int n = 0; n < PART / 8; ++n) {
            float2 of_pair = *reinterpret_cast<const float2*>(&columns.share[at.column + 8 * n + 2 * pair]);
            float of_column[2] = {columns_ask ? of_pair.x : none, columns_ask ? of_pair.y : none};
#pragma unroll
            for (int half = 0; half < 4; ++half) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float& weight = tile.at[half / 2][n][half % 2 * 2 + i];
                    float first = exponential(FIXED, weight, of_row[half]);
                    weight = FIXED ? first * (of_row[half] + of_column[i])
                                   : first + exponential(FIXED, weight, of_column[i]);
                }
            }
        }
    }
    // Pair by pair.
    __device__ __forceinline__ void mixed(Tile<PART>& tile, Place<ROWS> at) const {
        bool fixed = loss.has_fixed_shift();
        tile.each([&](int, int row_of_warp, int column_of_warp, float& weight) {
            int row = at.row + row_of_warp, column = at.column + column_of_warp;
            float as_query = one_way(fixed, weight, row0 + row, column0 + column, rows, row);
            weight = as_query + one_way(fixed, weight, column0 + column, row0 + row, columns, column);
        });
    }
    template <int N>
    __device__ __forceinline__ float one_way(bool fixed, float similarity, int query, int key, const Facts<N>& of,
                                             int at) const {
        if (!loss.look.asks(query, key)) return 0.0f;
        if (key == of.positive[at]) return of.positive_weight[at];
        if (loss.excluded != 0 && key == query) return 0.0f;
        float share = of.share[at], other = exponential(fixed, similarity, share);
        return fixed ? other * share : other;
    }
    // has_positives: whether one of them may be in the tile.
    __device__ __forceinline__ void of(Tile<PART>& tile, Place<ROWS> at, bool has_positives) const {
        const Look& look = loss.look;
        bool rows_ask = look.all_ask(row0, ROWS, column0, COLUMNS);
        bool columns_ask = look.all_ask(column0, COLUMNS, row0, ROWS);
        bool alike = (rows_ask || !look.meets(row0, ROWS, column0, COLUMNS)) &&
                     (columns_ask || !look.meets(column0, COLUMNS, row0, ROWS));
        bool itself = loss.excluded != 0 && overlap(row0, ROWS, column0, COLUMNS);
        if (alike && !itself && !has_positives) {
            if (loss.has_fixed_shift()) plain<true>(tile, at, rows_ask, columns_ask);
            else plain<false>(tile, at, rows_ask, columns_ask);
        } else {
            mixed(tile, at);
            __syncwarp();  // products follow, which need all lanes
        }
    }
};

// A warp's 32 rows of the gradient, CHUNK components.
struct Gradient : Tile<CHUNK> {
    __device__ __forceinline__ Gradient() { clear(); }
    // Adds weights · values, whose rows begin at `column` of the panel and of which so many words are not 0. The
    // weights never leave the registers: as results of one product they lie where the next one wants its left side.
    __device__ __forceinline__ void multiply(const Tile<PART>& weights, const Panel<COLUMNS>& values, int column,
                                             int words) {
        int place = Panel<COLUMNS>::template place<true>(column);
#pragma unroll
        for (int k = 0; k < PART / 16; ++k) {
            unsigned a[2][4];
#pragma unroll
            for (int m = 0; m < 2; ++m) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const float(&from)[4] = weights.at[m][2 * k + i / 2];
                    a[m][i] = pack_bf16(from[i % 2 * 2], from[i % 2 * 2 + 1]);
                }
            }
#pragma unroll
            for (int n = 0; n < CHUNK / 16; ++n) {
                if (n == CHUNK / 32 && words <= CHUNK / 4) break;
                unsigned b[4];
                values.load_values(b, place, 16 * k, n);
                unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    mma_bf16(at[m][2 * n], a[m], low);
                    mma_bf16(at[m][2 * n + 1], a[m], high);
                }
            }
        }
    }
};

// One block for ROWS rows (grid.x), 128 components (grid.y) and a split of all rows (grid.z), whose part of the
// gradient is grad[split]. With ROWS = 128 there is one chunk.
template <int ROWS>
__device__ __forceinline__ void backward(const Loss& loss, const Outcomes& outcomes, float* grad, int trained, int dim) {
    SHARED_MEMORY(Memory<ROWS>, memory);
    const Look& look = loss.look;
    int row0 = int(blockIdx.x) * ROWS, own_chunk = int(blockIdx.y), thread = int(threadIdx.x);
    Place<ROWS> place;
    Gradient sums;
    Tile<PART> tile;
    Range all = {0, loss.rows}, own = all.split(int(blockIdx.z), int(gridDim.z), COLUMNS);
    auto next = [&](int column) {
        while (column < own.last && !look.meets(row0, ROWS, column, COLUMNS) &&
               !look.meets(column, COLUMNS, row0, ROWS)) {
            column += COLUMNS;
        }
        return column;
    };
    int own_positive = NO_POSITIVE, tiles = 0;
    if (row0 + place.row + lane_index() < look.queries) {
        own_positive = int(outcomes.positives[row0 + place.row + lane_index()]);
    }
    auto put_columns = [&](const Fact& fact, int to) {
        if (thread >= COLUMNS) return;
        fact.put(loss, memory->of_columns[to], thread);
        bool any = __any_sync(FULL_WARP, is_within(fact.positive, row0, ROWS));
        if (lane_index() == 0) memory->has_positives[to][warp_index()] = any;
    };
    if (thread < ROWS) Fact::fetch(loss, outcomes, row0 + thread).put(loss, memory->of_rows, thread);
    int first = next(own.first);
    put_columns(Fact::fetch(loss, outcomes, first + thread), 0);
    auto visit = [&](const Panel<ROWS>& rows, const Panel<COLUMNS>& columns, int column0, int chunk, int following) {
        int now = tiles % 2;
        Fact fact;
        if (chunk == own_chunk && thread < COLUMNS) fact = Fact::fetch(loss, outcomes, following + thread);
        bool has_positives = __any_sync(FULL_WARP, is_within(own_positive, column0, COLUMNS));
        Weights<ROWS> weights = {loss, memory->of_rows, memory->of_columns[now], row0, column0};
#pragma unroll 1
        for (int part = 0; part < Place<ROWS>::PARTS; ++part) {
            Place<ROWS> at = place;
            at.column += PART * part;
            if (chunk == loss.chunk_behind(own_chunk)) tile.clear();
            tile.multiply(rows, columns, at.row, at.column, loss.words_of(chunk));
            if (chunk != own_chunk) continue;
            const int* of_columns = memory->has_positives[now];
            weights.of(tile, at, has_positives || of_columns[0] || of_columns[1]);
            sums.multiply(tile, columns, at.column, loss.words_of(chunk));
        }
        if (chunk != own_chunk) return;
        put_columns(fact, now ^ 1);
        ++tiles;
    };
    walk(loss, *memory, row0, own_chunk, first, own.last, next, visit);

    if (Place<ROWS>::PARTS == 1) {
        // The second half of the columns is added to the first, through memory that nobody reads any more.
        __syncthreads();
        float* of_second_half = reinterpret_cast<float*>(memory->columns);
        int at = warp_index() % 2 * (WARP_ROWS * CHUNK) + lane_index();
        bool gives = warp_index() >= 2;
        if (gives) sums.each([&](int, int, int, float& sum) { of_second_half[at] = sum, at += WARP_SIZE; });
        __syncthreads();
        if (gives) return;
        sums.each([&](int, int, int, float& sum) { sum += of_second_half[at], at += WARP_SIZE; });
    }
    grad += u64(blockIdx.z) * u64(trained) * u64(dim);
    sums.each([&](int, int row_of_warp, int column, float& sum) {
        int row = row0 + place.row + row_of_warp, component = CHUNK * own_chunk + column;
        if (row < trained && component < dim) grad[u64(row) * u64(dim) + u64(component)] = sum;
    });
}

}  // namespace v3
