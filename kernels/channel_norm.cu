// Batch and instance normalisation with what follows them: y = rectifier((x − mean)/√(variance + ε) · weight
// + bias + summand), and the gradients (formulas: crates/ops/src/channel_norm/mod.rs).
//
// A group is a rows × channels matrix that is normalised together: the whole batch, or one example. Sums
// over rows are made of partial sums of `share` rows each, which are combined in order.
#include "common.cuh"

constexpr int LANES = 32;  // channels of a block
constexpr int LINES = 8;   // rows that a block reads at a time

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
// shares of rows.
struct Part {
    int group, channel, first, last;
    u64 place;  // of the part's sums, two for each channel

    __device__ __forceinline__ Part(int rows, int channels, int share) {
        int tiles = ceil_div(channels, LANES), chunk = int(blockIdx.y);
        group = int(blockIdx.x) / tiles;
        channel = int(blockIdx.x) % tiles * LANES + int(threadIdx.x) % LANES;
        first = chunk * share;
        last = first + share < rows ? first + share : rows;
        place = (u64(group) * gridDim.y + u64(chunk)) * 2 * u64(channels);
    }
};

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
};

// partials = mean and sum of squared deviations of every channel over a share of rows. A thread sums
// differences from its first number, so that a large mean costs no digits.
extern "C" __global__ void __launch_bounds__(LANES * LINES)
    moments(const float* x, float* partials, int rows, int channels, int share) {
    __shared__ Moments parts[LINES][LANES];
    Part part(rows, channels, share);
    int lane = int(threadIdx.x) % LANES, line = int(threadIdx.x) / LANES;
    Moments own = {0.0f, 0.0f, 0.0f};
    if (part.channel < channels && part.first + line < part.last) {
        const float* from = x + u64(part.group) * u64(rows) * u64(channels) + u64(part.channel);
        float shift = from[u64(part.first + line) * u64(channels)], sum = 0.0f, squares = 0.0f;
        for (int row = part.first + line; row < part.last; row += LINES) {
            float off = from[u64(row) * u64(channels)] - shift;
            sum += off;
            squares += off * off;
            own.count += 1.0f;
        }
        float mean = sum / own.count;
        own.mean = shift + mean;
        own.squares = fmaxf(squares - sum * mean, 0.0f);
    }
    parts[line][lane] = own;
    __syncthreads();
    if (line == 0 && part.channel < channels) {
        for (int i = 1; i < LINES; ++i) own = Moments::combine(own, parts[i][lane]);
        partials[part.place + u64(part.channel)] = own.mean;
        partials[part.place + u64(channels + part.channel)] = own.squares;
    }
}

// Moves a running statistic towards the batch's; a value beyond the range does not make it infinite.
__device__ __forceinline__ float blend(float running, double batch, double momentum) {
    double moved = (1.0 - momentum) * double(running) + momentum * batch;
    return moved > 3.4028234663852886e38 ? 3.4028234663852886e38f : float(moved);
}

// saved = mean and 1/√(variance + ε) of every channel of every group, from the partial moments. Unless
// null, running statistics move. One thread a channel of a group.
extern "C" __global__ void finish_moments(const float* partials, float* saved, int groups, int rows, int channels,
                                          int share, float epsilon, float* running_mean, float* running_variance,
                                          float* batches, float momentum) {
    int at = int(thread_number());
    if (at == 0 && batches != nullptr) batches[0] += 1.0f;
    if (at >= groups * channels) return;
    int group = at / channels, channel = at % channels, chunks = ceil_div(rows, share);
    double count = 0.0, mean = 0.0, squares = 0.0;
    for (int chunk = 0; chunk < chunks; ++chunk) {
        u64 place = (u64(group) * u64(chunks) + u64(chunk)) * 2 * u64(channels) + u64(channel);
        int left = rows - chunk * share;
        double more = double(left < share ? left : share), off = double(partials[place]) - mean;
        double part = more / (count + more);
        squares += double(partials[place + u64(channels)]) + off * off * count * part;
        mean += off * part;
        count += more;
    }
    double variance = squares / count;
    u64 to = u64(group) * 2 * u64(channels) + u64(channel);
    saved[to] = float(mean);
    saved[to + u64(channels)] = float(1.0 / sqrt(variance + double(epsilon)));
    if (running_mean != nullptr) {
        double unbiased = count > 1.0 ? squares / (count - 1.0) : variance;
        running_mean[channel] = blend(running_mean[channel], mean, double(momentum));
        running_variance[channel] = blend(running_variance[channel], unbiased, double(momentum));
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

// What normalises an element.
struct Channel {
    float mean, inverse, weight, bias;

    __device__ __forceinline__ Channel(const float* saved, const float* weights, const float* biases, unsigned at,
                                       unsigned group_size, unsigned channels) {
        unsigned channel = at % channels;
        const float* own = saved + u64(at / group_size) * 2 * channels;
        mean = own[channel];
        inverse = own[channels + channel];
        weight = weights[channel];
        bias = biases[channel];
    }
    __device__ __forceinline__ float normalised(float x) const { return (x - mean) * inverse; }
    __device__ __forceinline__ float value(float x) const { return normalised(x) * weight + bias; }
};

// y = the result for every element. One thread an element; below 2³² of them.
extern "C" __global__ void apply(const float* x, const float* summand, const float* saved, const float* weight,
                                 const float* bias, float* y, unsigned count, unsigned group_size, unsigned channels,
                                 int kind, float slope) {
    for (u64 i = thread_number(); i < count; i += thread_count()) {
        Channel channel(saved, weight, bias, unsigned(i), group_size, channels);
        float value = channel.value(x[i]);
        if (summand != nullptr) value += summand[i];
        y[i] = rectified(value, kind, slope);
    }
}

// The gradient of the normalisation's result at an element: behind the rectifier, whose sign is that of
// `y`, or where `y` is null of the value computed again.
__device__ __forceinline__ float behind_rectifier(const Channel& channel, float x, const float* y, float grad, u64 at,
                                                  int kind, float slope) {
    if (kind == 0) return grad;
    return through_rectifier(y != nullptr ? y[at] : channel.value(x), grad, kind, slope);
}

// partials = the sums of g and of g · x̂ of every channel over a share of rows.
extern "C" __global__ void __launch_bounds__(LANES * LINES)
    gradient_sums(const float* x, const float* y, const float* grad, const float* saved, const float* weight,
                  const float* bias, float* partials, int rows, int channels, int share, int kind, float slope) {
    __shared__ float sums[LINES][2 * LANES];
    Part part(rows, channels, share);
    int lane = int(threadIdx.x) % LANES, line = int(threadIdx.x) / LANES;
    float sum = 0.0f, along = 0.0f;
    if (part.channel < channels) {
        u64 base = u64(part.group) * u64(rows) * u64(channels) + u64(part.channel);
        Channel channel(saved + u64(part.group) * 2 * u64(channels), weight, bias, unsigned(part.channel),
                        unsigned(channels), unsigned(channels));
        for (int row = part.first + line; row < part.last; row += LINES) {
            u64 at = base + u64(row) * u64(channels);
            float g = behind_rectifier(channel, x[at], y, grad[at], at, kind, slope);
            sum += g;
            along += g * channel.normalised(x[at]);
        }
    }
    sums[line][lane] = sum;
    sums[line][LANES + lane] = along;
    __syncthreads();
    if (line == 0 && part.channel < channels) {
        for (int i = 1; i < LINES; ++i) {
            sum += sums[i][lane];
            along += sums[i][LANES + lane];
        }
        partials[part.place + u64(part.channel)] = sum;
        partials[part.place + u64(channels + part.channel)] = along;
    }
}

// means = the means of g and of g · x̂ of every channel of every group. One thread a channel of a group.
extern "C" __global__ void finish_gradients(const float* partials, float* means, int groups, int rows, int channels,
                                            int share) {
    int at = int(thread_number());
    if (at >= groups * channels) return;
    int group = at / channels, channel = at % channels, chunks = ceil_div(rows, share);
    double sum = 0.0, along = 0.0;
    for (int chunk = 0; chunk < chunks; ++chunk) {
        u64 place = (u64(group) * u64(chunks) + u64(chunk)) * 2 * u64(channels) + u64(channel);
        sum += double(partials[place]);
        along += double(partials[place + u64(channels)]);
    }
    u64 to = u64(group) * 2 * u64(channels) + u64(channel);
    means[to] = float(sum / rows);
    means[to + u64(channels)] = float(along / rows);
}

// weight_grad += Σ g · x̂ and bias_grad += Σ g over all groups. One thread a channel.
extern "C" __global__ void parameter_gradients(const float* means, float* weight_grad, float* bias_grad, int groups,
                                               int rows, int channels) {
    int channel = int(thread_number());
    if (channel >= channels) return;
    double sum = 0.0, along = 0.0;
    for (int group = 0; group < groups; ++group) {
        const float* own = means + u64(group) * 2 * u64(channels);
        sum += double(own[channel]);
        along += double(own[channels + channel]);
    }
    weight_grad[channel] += float(along * rows);
    bias_grad[channel] += float(sum * rows);
}

// input_grad = weight/√(variance + ε) · (g − mean(g) − x̂ · mean(g · x̂)), without the means where they are
// null: constants normalised. summand_grad = g. Each unless null. One thread an element.
extern "C" __global__ void input_gradients(const float* x, const float* y, const float* grad, const float* saved,
                                           const float* weight, const float* bias, const float* means,
                                           float* input_grad, float* summand_grad, unsigned count, unsigned group_size,
                                           unsigned channels, int kind, float slope) {
    for (u64 i = thread_number(); i < count; i += thread_count()) {
        unsigned at = unsigned(i);
        Channel channel(saved, weight, bias, at, group_size, channels);
        float g = behind_rectifier(channel, x[i], y, grad[i], i, kind, slope);
        if (summand_grad != nullptr) summand_grad[i] = g;
        if (input_grad == nullptr) continue;
        float rest = g;
        if (means != nullptr) {
            const float* own = means + u64(at / group_size) * 2 * channels;
            unsigned c = at % channels;
            rest = g - own[c] - channel.normalised(x[i]) * own[channels + c];
        }
        input_grad[i] = channel.weight * channel.inverse * rest;
    }
}
