// What a query of a contrastive loss knows of its keys.
#pragma once

// A query whose positives do not meet it in a tile.
constexpr int NO_POSITIVE = -1;

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
