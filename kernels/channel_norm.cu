// Batch and instance normalisation with what follows them: y = rectifier((x − mean)/√(variance + ε) · weight
// + bias + summand), and the gradients (formulas: crates/ops/src/channel_norm/mod.rs).
//
// A group is a rows × channels matrix that is normalised together: the whole batch, or one example. Sums
// over rows are made of partial sums of `share` rows each, which are combined in order.
//
//   v1  a thread reads one channel
//   v2  a thread reads four neighbouring channels at once: channels are a multiple of four, and every
//       pointer to elements or to channels is one of 16 bytes
#include "common.cuh"

constexpr int LANES = 32;  // channels of a block that sums
constexpr int WARPS = 8;   // and its warps
constexpr int FINISHERS = 16;  // most warps of a block that adds up what those left

// W neighbours in memory.
template <int W>
struct Channels {
    float at[W];

    __device__ __forceinline__ static Channels read(const float* from) {
        if constexpr (W == 4) {
            float4 all = *reinterpret_cast<const float4*>(from);
            return {{all.x, all.y, all.z, all.w}};
        } else {
            return {{*from}};
        }
    }
    __device__ __forceinline__ void write(float* to) const {
        if constexpr (W == 4) {
            *reinterpret_cast<float4*>(to) = {at[0], at[1], at[2], at[3]};
        } else {
            *to = at[0];
        }
    }
};

// The rectifier: 0 none, 1 max(x, 0), 2 `slope` · x where negative.
__device__ __forceinline__ float rectified(float x, int kind, float slope) {
    if (kind == 1) return x <= 0.0f ? 0.0f : x;
    return kind == 2 && !(x > 0.0f) ? slope * x : x;
}

// The gradient of its argument; `x` is the argument or the result, which have one sign.
__device__ __forceinline__ float through_rectifier(float x, float grad, int kind, float slope) {
    if (kind == 1) return x <= 0.0f ? 0.0f : grad;
    return kind == 2 && !(x > 0.0f) ? slope * grad : grad;
}

// Which part of which group a block computes: grid.x are tiles of channels of all groups, grid.y are
// shares of rows. A thread takes W channels of every LINES-th row.
template <int W>
struct Part {
    static constexpr int LINES = WARPS * W;
    int group, channel, first, last;
    u64 place;  // of the part's sums, two for each channel

    __device__ __forceinline__ Part(int rows, int channels, int share) {
        int tiles = ceil_div(channels, LANES), chunk = int(blockIdx.y);
        group = int(blockIdx.x) / tiles;
        channel = int(blockIdx.x) % tiles * LANES + int(threadIdx.x) % (LANES / W) * W;
        first = chunk * share + int(threadIdx.x) / (LANES / W);
        last = chunk * share + share < rows ? chunk * share + share : rows;
        place = (u64(group) * gridDim.y + u64(chunk)) * 2 * u64(channels);
    }
};

// Combines what the threads of a block found for their W channels, line after line as a tree within a warp
// and then warp after warp: thread c < 32 returns the result of the block's channel c. All threads must
// call it.
template <int W, class T>
__device__ __forceinline__ T combined(T (&own)[W]) {
    __shared__ T parts[WARPS][LANES];
    int lane = lane_index();
#pragma unroll
    for (int w = 0; w < W; ++w) {
#pragma unroll
        for (int distance = LANES / W; distance < WARP_SIZE; distance *= 2) {
            own[w] = T::combine(own[w], own[w].from_lane(distance));
        }
        if (lane < LANES / W) parts[warp_index()][lane * W + w] = own[w];
    }
    __syncthreads();
    T all = parts[0][lane];
    if (warp_index() == 0) {
        for (int warp = 1; warp < WARPS; ++warp) all = T::combine(all, parts[warp][lane]);
    }
    return all;
}

// Mean and sum of squared deviations of some numbers.
struct Moments {
    float count, mean, squares;

    // Of both sets together (Chan, Golub & LeVeque 1983).
    __device__ __forceinline__ static Moments combine(Moments a, Moments b) {
        float count = a.count + b.count;
        if (count == 0.0f) return a;
        float off = b.mean - a.mean, share = b.count / count;
        return {count, a.mean + off * share, a.squares + b.squares + off * off * a.count * share};
    }
    // Those of the lane so far behind.
    __device__ __forceinline__ Moments from_lane(int distance) const {
        return {__shfl_xor_sync(FULL_WARP, count, distance), __shfl_xor_sync(FULL_WARP, mean, distance),
                __shfl_xor_sync(FULL_WARP, squares, distance)};
    }
};

// partials = mean and sum of squared deviations of every channel over a share of rows. A thread sums
// differences from its first numbers, so that a large mean costs no digits.
template <int W>
__device__ __forceinline__ void partial_moments(const float* x, float* partials, int rows, int channels, int share) {
    Part<W> part(rows, channels, share);
    Moments own[W] = {};
    if (part.channel < channels && part.first < part.last) {
        const float* from = x + u64(part.group) * u64(rows) * u64(channels) + u64(part.channel);
        Channels<W> shift = Channels<W>::read(from + u64(part.first) * u64(channels));
        for (int row = part.first; row < part.last; row += Part<W>::LINES) {
            Channels<W> value = Channels<W>::read(from + u64(row) * u64(channels));
#pragma unroll
            for (int w = 0; w < W; ++w) {
                float off = value.at[w] - shift.at[w];
                own[w].mean += off;
                own[w].squares += off * off;
                own[w].count += 1.0f;
            }
        }
        // The sums become moments.
#pragma unroll
        for (int w = 0; w < W; ++w) {
            float sum = own[w].mean, mean = sum / own[w].count;
            own[w].mean = shift.at[w] + mean;
            own[w].squares = fmaxf(own[w].squares - sum * mean, 0.0f);
        }
    }
    Moments all = combined<W>(own);
    int channel = int(blockIdx.x) % ceil_div(channels, LANES) * LANES + int(threadIdx.x);
    if (threadIdx.x < LANES && channel < channels) {
        partials[part.place + u64(channel)] = all.mean;
        partials[part.place + u64(channels + channel)] = all.squares;
    }
}

extern "C" __global__ void __launch_bounds__(WARPS * WARP_SIZE)
    moments(const float* x, float* partials, int rows, int channels, int share) {
    partial_moments<1>(x, partials, rows, channels, share);
}

extern "C" __global__ void __launch_bounds__(WARPS * WARP_SIZE)
    moments_v2(const float* x, float* partials, int rows, int channels, int share) {
    partial_moments<4>(x, partials, rows, channels, share);
}

// Moves a running statistic towards the batch's; a value beyond the range does not make it infinite.
__device__ __forceinline__ float blend(float running, double batch, double momentum) {
    double moved = (1.0 - momentum) * double(running) + momentum * batch;
    return moved > 3.4028234663852886e38 ? 3.4028234663852886e38f : float(moved);
}

// A block that adds up partial sums of a tile of channels of a group: lanes are channels, warps take turns
// with the chunks, as many as there are of either, so that no chain of sums is long.
struct Finish {
    int group, channel, warp, warps;
    bool inside;

    __device__ __forceinline__ explicit Finish(int channels) {
        int tiles = ceil_div(channels, LANES);
        group = int(blockIdx.x) / tiles;
        channel = int(blockIdx.x) % tiles * LANES + lane_index();
        warp = warp_index();
        warps = int(blockDim.x) / WARP_SIZE;
        inside = channel < channels;
    }
    // Where the first of the chunk's two numbers of this channel lies.
    __device__ __forceinline__ u64 place(int chunk, int chunks, int channels) const {
        return (u64(group) * u64(chunks) + u64(chunk)) * 2 * u64(channels) + u64(channel);
    }
    // The sum of all warps' values for this channel, warp after warp; the same for every warp. All threads
    // must call it.
    __device__ __forceinline__ double sum(double value) const {
        __shared__ double parts[FINISHERS][LANES];
        __syncthreads();  // an earlier call's values have been read
        parts[warp][lane_index()] = value;
        __syncthreads();
        double all = 0.0;
        for (int w = 0; w < warps; ++w) all += parts[w][lane_index()];
        return all;
    }
    // The sums over all chunks of both numbers of this channel. All threads must call it.
    __device__ __forceinline__ void sums(const float* numbers, int chunks, int channels, double& first,
                                         double& second) const {
        first = second = 0.0;
        for (int chunk = warp; inside && chunk < chunks; chunk += warps) {
            const float* part = numbers + place(chunk, chunks, channels);
            first += double(part[0]);
            second += double(part[channels]);
        }
        first = sum(first);
        second = sum(second);
    }
};

// saved = mean and 1/√(variance + ε) of every channel of every group, from the partial moments: first their
// mean, then squares around it, which needs no division on the way. Unless null, running statistics move.
extern "C" __global__ void __launch_bounds__(FINISHERS * WARP_SIZE)
    finish_moments(const float* partials, float* saved, int rows, int channels, int share, float epsilon,
                   float* running_mean, float* running_variance, float* batches, float momentum) {
    Finish at(channels);
    int chunks = ceil_div(rows, share);
    if (thread_number() == 0 && batches != nullptr) batches[0] += 1.0f;
    double sum = 0.0, squares = 0.0;
    for (int chunk = at.warp; at.inside && chunk < chunks; chunk += at.warps) {
        int left = rows - chunk * share;
        sum += double(left < share ? left : share) * double(partials[at.place(chunk, chunks, channels)]);
    }
    double mean = at.sum(sum) / rows;
    for (int chunk = at.warp; at.inside && chunk < chunks; chunk += at.warps) {
        int left = rows - chunk * share;
        const float* part = partials + at.place(chunk, chunks, channels);
        double off = double(part[0]) - mean;
        squares += double(part[channels]) + off * off * double(left < share ? left : share);
    }
    squares = at.sum(squares);
    if (!at.inside || at.warp != 0) return;
    double variance = squares / rows;
    u64 to = u64(at.group) * 2 * u64(channels) + u64(at.channel);
    saved[to] = float(mean);
    saved[to + u64(channels)] = float(1.0 / sqrt(variance + double(epsilon)));
    if (running_mean != nullptr) {
        double unbiased = rows > 1 ? squares / (rows - 1) : variance;
        running_mean[at.channel] = blend(running_mean[at.channel], mean, double(momentum));
        running_variance[at.channel] = blend(running_variance[at.channel], unbiased, double(momentum));
    }
}

// saved = the running statistics, in the same form. One thread a channel.
extern "C" __global__ void running_moments(const float* running_mean, const float* running_variance, float* saved,
                                           int channels, float epsilon) {
    int channel = int(thread_number());
    if (channel >= channels) return;
    saved[channel] = running_mean[channel];
    saved[channels + channel] = float(1.0 / sqrt(double(running_variance[channel]) + double(epsilon)));
}

// What normalises W neighbouring channels of a group.
template <int W>
struct Normal {
    Channels<W> mean, inverse, weight, bias;

    // `saved` are the group's statistics.
    __device__ __forceinline__ Normal(const float* saved, const float* weights, const float* biases, unsigned channel,
                                      unsigned channels)
        : mean(Channels<W>::read(saved + channel)),
          inverse(Channels<W>::read(saved + channels + channel)),
          weight(Channels<W>::read(weights + channel)),
          bias(Channels<W>::read(biases + channel)) {}
    __device__ __forceinline__ float normalised(int w, float x) const { return (x - mean.at[w]) * inverse.at[w]; }
    __device__ __forceinline__ float value(int w, float x) const {
        return normalised(w, x) * weight.at[w] + bias.at[w];
    }
};

// y = the result for every element. One thread for W elements; below 2³² of them.
template <int W>
__device__ __forceinline__ void apply_to(const float* x, const float* summand, const float* saved, const float* weight,
                                         const float* bias, float* y, unsigned count, unsigned group_size,
                                         unsigned channels, int kind, float slope) {
    for (u64 i = thread_number() * W; i < count; i += thread_count() * W) {
        unsigned group = unsigned(i) / group_size, channel = unsigned(i) % channels;
        Normal<W> normal(saved + u64(group) * 2 * channels, weight, bias, channel, channels);
        Channels<W> value = Channels<W>::read(x + i);
#pragma unroll
        for (int w = 0; w < W; ++w) value.at[w] = normal.value(w, value.at[w]);
        if (summand != nullptr) {
            Channels<W> more = Channels<W>::read(summand + i);
#pragma unroll
            for (int w = 0; w < W; ++w) value.at[w] += more.at[w];
        }
#pragma unroll
        for (int w = 0; w < W; ++w) value.at[w] = rectified(value.at[w], kind, slope);
        value.write(y + i);
    }
}

extern "C" __global__ void apply(const float* x, const float* summand, const float* saved, const float* weight,
                                 const float* bias, float* y, unsigned count, unsigned group_size, unsigned channels,
                                 int kind, float slope) {
    apply_to<1>(x, summand, saved, weight, bias, y, count, group_size, channels, kind, slope);
}

extern "C" __global__ void apply_v2(const float* x, const float* summand, const float* saved, const float* weight,
                                    const float* bias, float* y, unsigned count, unsigned group_size,
                                    unsigned channels, int kind, float slope) {
    apply_to<4>(x, summand, saved, weight, bias, y, count, group_size, channels, kind, slope);
}

// The gradients of the normalisation's results at W elements, of which `x` are the first's: behind the
// rectifier, whose sign is that of `y`, or where `y` is null of the values computed again.
template <int W>
__device__ __forceinline__ Channels<W> behind_rectifier(const Normal<W>& normal, const Channels<W>& x, const float* y,
                                                        const float* grad, u64 at, int kind, float slope) {
    Channels<W> g = Channels<W>::read(grad + at);
    if (kind == 0) return g;
    Channels<W> sign;
    if (y != nullptr) {
        sign = Channels<W>::read(y + at);
    } else {
#pragma unroll
        for (int w = 0; w < W; ++w) sign.at[w] = normal.value(w, x.at[w]);
    }
#pragma unroll
    for (int w = 0; w < W; ++w) g.at[w] = through_rectifier(sign.at[w], g.at[w], kind, slope);
    return g;
}

// The sums of g and of g · x̂ over some rows.
struct GradientSums {
    float sum, along;

    __device__ __forceinline__ static GradientSums combine(GradientSums a, GradientSums b) {
        return {a.sum + b.sum, a.along + b.along};
    }
    __device__ __forceinline__ GradientSums from_lane(int distance) const {
        return {__shfl_xor_sync(FULL_WARP, sum, distance), __shfl_xor_sync(FULL_WARP, along, distance)};
    }
};

// partials = the sums of g and of g · x̂ of every channel over a share of rows.
template <int W>
__device__ __forceinline__ void partial_gradient_sums(const float* x, const float* y, const float* grad,
                                                      const float* saved, const float* weight, const float* bias,
                                                      float* partials, int rows, int channels, int share, int kind,
                                                      float slope) {
    Part<W> part(rows, channels, share);
    GradientSums own[W] = {};
    if (part.channel < channels) {
        u64 base = u64(part.group) * u64(rows) * u64(channels) + u64(part.channel);
        Normal<W> normal(saved + u64(part.group) * 2 * u64(channels), weight, bias, unsigned(part.channel),
                         unsigned(channels));
        for (int row = part.first; row < part.last; row += Part<W>::LINES) {
            u64 at = base + u64(row) * u64(channels);
            Channels<W> value = Channels<W>::read(x + at);
            Channels<W> g = behind_rectifier<W>(normal, value, y, grad, at, kind, slope);
#pragma unroll
            for (int w = 0; w < W; ++w) {
                own[w].sum += g.at[w];
                own[w].along += g.at[w] * normal.normalised(w, value.at[w]);
            }
        }
    }
    GradientSums all = combined<W>(own);
    int channel = int(blockIdx.x) % ceil_div(channels, LANES) * LANES + int(threadIdx.x);
    if (threadIdx.x < LANES && channel < channels) {
        partials[part.place + u64(channel)] = all.sum;
        partials[part.place + u64(channels + channel)] = all.along;
    }
}

extern "C" __global__ void __launch_bounds__(WARPS * WARP_SIZE)
    gradient_sums(const float* x, const float* y, const float* grad, const float* saved, const float* weight,
                  const float* bias, float* partials, int rows, int channels, int share, int kind, float slope) {
    partial_gradient_sums<1>(x, y, grad, saved, weight, bias, partials, rows, channels, share, kind, slope);
}

extern "C" __global__ void __launch_bounds__(WARPS * WARP_SIZE)
    gradient_sums_v2(const float* x, const float* y, const float* grad, const float* saved, const float* weight,
                     const float* bias, float* partials, int rows, int channels, int share, int kind, float slope) {
    partial_gradient_sums<4>(x, y, grad, saved, weight, bias, partials, rows, channels, share, kind, slope);
}

// means = the means of g and of g · x̂ of every channel of every group.
extern "C" __global__ void __launch_bounds__(FINISHERS * WARP_SIZE)
    finish_gradients(const float* partials, float* means, int rows, int channels, int share) {
    Finish at(channels);
    int chunks = ceil_div(rows, share);
    double sum, along;
    at.sums(partials, chunks, channels, sum, along);
    if (!at.inside || at.warp != 0) return;
    u64 to = u64(at.group) * 2 * u64(channels) + u64(at.channel);
    means[to] = float(sum / rows);
    means[to + u64(channels)] = float(along / rows);
}

// weight_grad += Σ g · x̂ and bias_grad += Σ g over all groups, which are the chunks here.
extern "C" __global__ void __launch_bounds__(FINISHERS * WARP_SIZE)
    parameter_gradients(const float* means, float* weight_grad, float* bias_grad, int groups, int rows,
                        int channels) {
    Finish at(channels);
    double sum, along;
    at.sums(means, groups, channels, sum, along);
    if (!at.inside || at.warp != 0) return;
    weight_grad[at.channel] += float(along * rows);
    bias_grad[at.channel] += float(sum * rows);
}

// input_grad = weight/√(variance + ε) · (g − mean(g) − x̂ · mean(g · x̂)), without the means where they are
// null: constants normalised. summand_grad = g. Each unless null. One thread for W elements.
template <int W>
__device__ __forceinline__ void gradients_of_inputs(const float* x, const float* y, const float* grad,
                                                    const float* saved, const float* weight, const float* bias,
                                                    const float* means, float* input_grad, float* summand_grad,
                                                    unsigned count, unsigned group_size, unsigned channels, int kind,
                                                    float slope) {
    for (u64 i = thread_number() * W; i < count; i += thread_count() * W) {
        unsigned group = unsigned(i) / group_size, channel = unsigned(i) % channels;
        Normal<W> normal(saved + u64(group) * 2 * channels, weight, bias, channel, channels);
        Channels<W> value = Channels<W>::read(x + i);
        Channels<W> g = behind_rectifier<W>(normal, value, y, grad, i, kind, slope);
        if (summand_grad != nullptr) g.write(summand_grad + i);
        if (input_grad == nullptr) continue;
        if (means != nullptr) {
            const float* own = means + u64(group) * 2 * channels + channel;
            Channels<W> mean = Channels<W>::read(own), along = Channels<W>::read(own + channels);
#pragma unroll
            for (int w = 0; w < W; ++w) {
                g.at[w] = g.at[w] - mean.at[w] - normal.normalised(w, value.at[w]) * along.at[w];
            }
        }
#pragma unroll
        for (int w = 0; w < W; ++w) g.at[w] = normal.weight.at[w] * normal.inverse.at[w] * g.at[w];
        g.write(input_grad + i);
    }
}

extern "C" __global__ void input_gradients(const float* x, const float* y, const float* grad, const float* saved,
                                           const float* weight, const float* bias, const float* means,
                                           float* input_grad, float* summand_grad, unsigned count, unsigned group_size,
                                           unsigned channels, int kind, float slope) {
    gradients_of_inputs<1>(x, y, grad, saved, weight, bias, means, input_grad, summand_grad, count, group_size,
                           channels, kind, slope);
}

extern "C" __global__ void input_gradients_v2(const float* x, const float* y, const float* grad, const float* saved,
                                              const float* weight, const float* bias, const float* means,
                                              float* input_grad, float* summand_grad, unsigned count,
                                              unsigned group_size, unsigned channels, int kind, float slope) {
    gradients_of_inputs<4>(x, y, grad, saved, weight, bias, means, input_grad, summand_grad, count, group_size,
                           channels, kind, slope);
}
