// Positives of contrastive losses that do not meet their queries in a tile of contrastive.cu.
//
// A query has either one positive, a constant row beside its keys (`classes` is 0), or all other rows of its
// class, which are keys as well (`classes` is 1). Both act through one row of the matrix `from`: the positive
// among the unit rows, or the sum of the class, from which the query's own row is taken away. index[i] is
// that row for query i, NO_POSITIVE for one that does not count; share[i] is 1 over the number of positives.
#include "common.cuh"
#include "contrastive.cuh"

// partials[piece] = Σ of the unit rows members[starts[piece]] .. members[starts[piece + 1] − 1], in double precision.
// One block for a piece of a class, so that large classes do not wait for one.
extern "C" __global__ void sum_pieces(const float* unit, const unsigned* members, const unsigned* starts,
                                      double* partials, int dim) {
    int piece = int(blockIdx.x);
    int first = int(starts[piece]), last = int(starts[piece + 1]);
    for (int d = int(threadIdx.x); d < dim; d += int(blockDim.x)) {
        double sum = 0.0;
        for (int i = first; i < last; ++i) sum += double(unit[u64(members[i]) * u64(dim) + u64(d)]);
        partials[u64(piece) * u64(dim) + u64(d)] = sum;
    }
}

// sums[class] = Σ partials[pieces[class]] .. partials[pieces[class + 1] − 1], in their order. One thread an element.
extern "C" __global__ void class_sums(const double* partials, const unsigned* pieces, float* sums, int dim, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        u64 number = i / u64(dim), d = i % u64(dim);
        double sum = 0.0;
        for (unsigned piece = pieces[number]; piece < pieces[number + 1]; ++piece) {
            sum += partials[u64(piece) * u64(dim) + d];
        }
        sums[i] = float(sum);
    }
}

// Turns the logarithms of the sums of keys into losses, logarithms of denominators and weights of
// `attract`. One warp for a query.
extern "C" __global__ void finish_positives(const float* unit, const float* from, const unsigned* index,
                                            const float* share, float* losses, float* log_sums,
                                            float* positive_weights, int queries, int dim, int classes,
                                            float inverse_temperature) {
    int query = int(thread_number() / WARP_SIZE);
    if (query >= queries) return;
    int row = int(index[query]);
    float along = 0.0f;
    if (row != NO_POSITIVE) {
        const float* u = unit + u64(query) * u64(dim);
        const float* positive = from + u64(row) * u64(dim);
        for (int d = lane_index(); d < dim; d += WARP_SIZE) along += u[d] * (classes ? positive[d] - u[d] : positive[d]);
    }
    along = warp_sum(along);
    if (lane_index() != 0) return;
    if (row == NO_POSITIVE) {
        // An infinite denominator: none of its keys gets a weight.
        losses[query] = 0.0f;
        log_sums[query] = -Max::identity();
        positive_weights[query] = 0.0f;
    } else if (classes) {
        losses[query] = log_sums[query] - along * share[query] * inverse_temperature;
        // As a query from its positives, and as theirs from them.
        positive_weights[query] = -2.0f * share[query];
    } else {
        finish_query(query, along * inverse_temperature, log_sums[query], 0, losses, log_sums, positive_weights);
    }
}

// Adds to the gradients of queries with respect to their unit rows what comes from these positives. One
// thread an element.
extern "C" __global__ void attract(const float* unit, const float* from, const unsigned* index,
                                   const float* positive_weights, float* grad, int queries, int dim, int classes) {
    u64 count = u64(queries) * u64(dim);
    for (u64 i = thread_number(); i < count; i += thread_count()) {
        u64 query = i / u64(dim), d = i % u64(dim);
        int row = int(index[query]);
        if (row == NO_POSITIVE) continue;
        float positive = from[u64(row) * u64(dim) + d];
        grad[i] += positive_weights[query] * (classes ? positive - unit[i] : positive);
    }
}
