// What a query of a contrastive loss knows of its keys.
#pragma once
#include "common.cuh"

// A query whose positives do not meet it in a tile.
constexpr int NO_POSITIVE = -1;

// A range of columns.
struct Range {
    int first, last;

    // What split `number` of `count` takes of it: whole tiles of so many columns, nothing where there are fewer tiles
    // than splits.
    __device__ __forceinline__ Range split(int number, int count, int tile) const {
        int share = ceil_div(ceil_div(last - first, tile), count) * tile;
        int begin = min(first + number * share, last);
        return {begin, min(begin + share, last)};
    }
    __device__ __forceinline__ bool has(int column) const { return first <= column && column < last; }
};

// Which queries look at which keys. Made of parameters, it stays where they are.
struct Look {
    int queries, split;
    int first_key, last_key, second_first, second_last;

    __device__ __forceinline__ int first(int query) const { return query < split ? first_key : second_first; }
    __device__ __forceinline__ int last(int query) const {
        return query < split ? last_key : query < queries ? second_last : 0;
    }
    __device__ __forceinline__ bool asks(int query, int key) const {
        return query < queries && first(query) <= key && key < last(query);
    }
    // The keys that some of count queries from query0 on look at, as one range.
    __device__ __forceinline__ Range keys_of(int query0, int count) const {
        bool both = query0 < split && split < queries && split < query0 + count;
        if (both) return {min(first_key, second_first), max(last_key, second_last)};
        return {first(query0), last(query0)};
    }
    // Whether one of so many rows from row0 on looks at one of so many from column0 on.
    __device__ __forceinline__ bool meets(int row0, int rows, int column0, int columns) const {
        bool early = row0 < split && first_key < column0 + columns && column0 < last_key;
        bool late = split < row0 + rows && row0 < queries && second_first < column0 + columns && column0 < second_last;
        return early || late;
    }
    // Whether each of them looks at all of those.
    __device__ __forceinline__ bool all_ask(int row0, int rows, int column0, int columns) const {
        bool alike = row0 + rows <= split || (split <= row0 && row0 + rows <= queries);
        return alike && first(row0) <= column0 && column0 + columns <= last(row0);
    }
};

// What a query does not look at, beside its positive.
__device__ __forceinline__ bool is_other(int query, int key, int positive, int excluded) {
    return key != positive && !(excluded != 0 && key == query);
}

// The logarithm of a sum of exponentials, while its terms arrive. A term that is not a number makes the sum
// one as well, whatever the largest term says: fmaxf forgets it.
struct LogSum {
    float largest;
    float sum;

    __device__ __forceinline__ static LogSum none() { return {Max::identity(), 0.0f}; }

    __device__ __forceinline__ void add(float logit) {
        if (logit <= largest) {
            sum += expf(logit - largest);
        } else {
            sum = sum * expf(largest - logit) + 1.0f;
            largest = logit;
        }
    }

    __device__ __forceinline__ static LogSum combine(LogSum a, LogSum b) {
        if (a.is_empty() && b.is_empty()) return none();
        float top = fmaxf(a.largest, b.largest);
        return {top, a.sum * expf(a.largest - top) + b.sum * expf(b.largest - top)};
    }

    // No term vanishes: the largest one adds 1.
    __device__ __forceinline__ bool is_empty() const { return sum == 0.0f; }

    __device__ __forceinline__ float value() const { return is_empty() ? Max::identity() : largest + logf(sum); }
};

// Writes what the forward pass knows of a query from the logit of its positive and the logarithm of the
// sum of the other keys: its loss, the logarithm of its denominator, and the weight softmax − 1 of its
// positive in the gradient.
__device__ __forceinline__ void finish_query(int query, float positive, float rest, int excluded, float* losses,
                                             float* log_sums, float* positive_weights) {
    float lead = positive - rest;
    if (excluded == 2) {
        losses[query] = -lead;
        log_sums[query] = rest;
        positive_weights[query] = -1.0f;
        return;
    }
    float loss = log1pf(expf(-fabsf(lead))) + fmaxf(-lead, 0.0f);
    losses[query] = loss;
    log_sums[query] = positive + loss;
    positive_weights[query] = -1.0f / (1.0f + expf(lead));
}

// Where a forward pass writes. One split of the keys finishes its queries; several leave what they know in
// partials[split][2][queries], largest logits and sums, and the logit of a positive where one of them finds it, for
// combine_splits.
struct Results {
    float* losses;
    float* log_sums;
    float* positive_weights;
    float* partials;
    float* positive_logits;

    // Of the block's split, whose keys are `keys` and sum up to `others` for this query; positive_logit is read where
    // the positive is one of them.
    __device__ __forceinline__ void put(int query, int queries, int positive, const LogSum& others, Range keys,
                                        const float& positive_logit, int excluded) const {
        if (gridDim.y > 1) {
            float* part = partials + u64(blockIdx.y) * 2 * u64(queries) + u64(query);
            part[0] = others.largest;
            part[queries] = others.sum;
            if (keys.has(positive)) positive_logits[query] = positive_logit;
        } else {
            finish(query, positive, others, positive_logit, excluded);
        }
    }
    __device__ __forceinline__ void finish(int query, int positive, const LogSum& others, const float& positive_logit,
                                           int excluded) const {
        float rest = others.value();
        if (positive == NO_POSITIVE) {
            log_sums[query] = rest;
        } else {
            finish_query(query, positive_logit, rest, excluded, losses, log_sums, positive_weights);
        }
    }
};
