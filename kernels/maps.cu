// Operations that look at an element, or at a few, of a map: rectifiers, limits, fixed normalisation,
// concatenation, pooling, resizing. Maps are NHWC. One thread computes one element of the result at a time;
// results have fewer than 2³¹ elements.
#include "common.cuh"

// The place of an element in a map.
struct Place {
    int n, y, x, c;

    __device__ __forceinline__ Place(u64 at, int height, int width, int channels) {
        int i = int(at), position = i / channels, line = position / width;
        c = i - position * channels;
        x = position - line * width;
        n = line / height;
        y = line - n * height;
    }
};

__device__ __forceinline__ u64 index(int n, int y, int x, int c, int height, int width, int channels) {
    return ((u64(n) * u64(height) + u64(y)) * u64(width) + u64(x)) * u64(channels) + u64(c);
}

// out = x where positive, slope · x elsewhere. Not a number stays not a number.
extern "C" __global__ void rectify(const float* x, float* out, float slope, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        out[i] = x[i] <= 0.0f ? (slope == 0.0f ? 0.0f : slope * x[i]) : x[i];
    }
}

extern "C" __global__ void rectify_gradient(const float* x, const float* grad, float* out, float slope, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        out[i] = x[i] > 0.0f ? grad[i] : (slope == 0.0f ? 0.0f : slope * grad[i]);
    }
}

// out = x, at least `low` and at most `high`. Not a number stays not a number.
extern "C" __global__ void clamp(const float* x, float* out, float low, float high, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) out[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}

extern "C" __global__ void clamp_gradient(const float* x, const float* grad, float* out, float low, float high, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        out[i] = x[i] >= low && x[i] <= high ? grad[i] : 0.0f;
    }
}

// out = (x − mean)/deviation for one channel of `channels`, at `n` positions.
extern "C" __global__ void normalise_channel(const float* x, float* out, float mean, float deviation, int channel,
                                             int channels, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        u64 at = i * u64(channels) + u64(channel);
        out[at] = (x[at] - mean) / deviation;
    }
}

// Copies `count` channels, from `from` on, of every position to the channels from `to` on.
extern "C" __global__ void copy_channels(const float* x, float* out, int count, int from, int from_channels, int to,
                                         int to_channels, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        u64 position = u64(unsigned(i) / unsigned(count));
        u64 channel = i - position * u64(count);
        out[position * u64(to_channels) + u64(to) + channel] = x[position * u64(from_channels) + u64(from) + channel];
    }
}

// out = means over windows of rows × columns that do not overlap.
extern "C" __global__ void average(const float* x, float* out, int height, int width, int channels, int rows,
                                   int columns, u64 n) {
    int high = height / rows, wide = width / columns;
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        Place to(i, high, wide, channels);
        float sum = 0.0f;
        for (int y = 0; y < rows; ++y) {
            for (int column = 0; column < columns; ++column) {
                sum += x[index(to.n, to.y * rows + y, to.x * columns + column, to.c, height, width, channels)];
            }
        }
        out[i] = sum / float(rows * columns);
    }
}

extern "C" __global__ void average_gradient(const float* grad, float* out, int height, int width, int channels,
                                            int rows, int columns, u64 n) {
    int high = height / rows, wide = width / columns;
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        Place at(i, height, width, channels);
        int y = at.y / rows, x = at.x / columns;
        bool used = y < high && x < wide;
        out[i] = used ? grad[index(at.n, y, x, at.c, high, wide, channels)] / float(rows * columns) : 0.0f;
    }
}

// out = the largest of each window of kernel × kernel positions; padding never wins, not a number always.
extern "C" __global__ void maximum(const float* x, float* out, int height, int width, int channels, int high, int wide,
                                   int kernel, int stride, int pad, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        Place to(i, high, wide, channels);
        float best = Max::identity();
        for (int ky = 0; ky < kernel; ++ky) {
            int y = to.y * stride + ky - pad;
            if (y < 0 || y >= height) continue;
            for (int kx = 0; kx < kernel; ++kx) {
                int column = to.x * stride + kx - pad;
                if (column < 0 || column >= width) continue;
                float value = x[index(to.n, y, column, to.c, height, width, channels)];
                best = value > best || isnan(value) ? value : best;
            }
        }
        out[i] = best;
    }
}

// The gradient goes to the first element of a window that equals its maximum.
extern "C" __global__ void maximum_gradient(const float* x, const float* out, const float* grad, float* dx, int height,
                                            int width, int channels, int high, int wide, int kernel, int stride,
                                            int pad, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        Place at(i, height, width, channels);
        float own = x[i], sum = 0.0f;
        int first_y = at.y + pad - kernel + 1, first_x = at.x + pad - kernel + 1;
        first_y = first_y > 0 ? ceil_div(first_y, stride) : 0;
        first_x = first_x > 0 ? ceil_div(first_x, stride) : 0;
        for (int oy = first_y; oy < high && oy * stride - pad <= at.y; ++oy) {
            for (int ox = first_x; ox < wide && ox * stride - pad <= at.x; ++ox) {
                u64 window = index(at.n, oy, ox, at.c, high, wide, channels);
                bool wins = own == out[window] || (isnan(own) && isnan(out[window]));
                // An earlier element of the window that is as large goes first.
                for (int y = oy * stride - pad; wins && y <= at.y; ++y) {
                    int end = y < at.y ? ox * stride - pad + kernel : at.x;
                    for (int column = ox * stride - pad; wins && column < end; ++column) {
                        if (y < 0 || column < 0 || column >= width) continue;
                        float other = x[index(at.n, y, column, at.c, height, width, channels)];
                        wins = !(other == own || (isnan(own) && isnan(other)));
                    }
                }
                if (wins) sum += grad[window];
            }
        }
        dx[i] = sum;
    }
}

// out = every element four times, in rows and columns cut to high × wide.
extern "C" __global__ void upsample(const float* x, float* out, int height, int width, int channels, int high,
                                    int wide, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        Place to(i, high, wide, channels);
        out[i] = x[index(to.n, to.y / 2, to.x / 2, to.c, height, width, channels)];
    }
}

extern "C" __global__ void upsample_gradient(const float* grad, float* dx, int height, int width, int channels,
                                             int high, int wide, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        Place at(i, height, width, channels);
        float sum = 0.0f;
        for (int y = 2 * at.y; y < 2 * at.y + 2 && y < high; ++y) {
            for (int x = 2 * at.x; x < 2 * at.x + 2 && x < wide; ++x) {
                sum += grad[index(at.n, y, x, at.c, high, wide, channels)];
            }
        }
        dx[i] = sum;
    }
}

// The two elements of an axis of `from` that element `at` of an axis of `to` lies between.
struct Between {
    int low, high;
    float part;  // of the second

    __device__ __forceinline__ Between(int at, int from, int to) {
        double place = (double(at) + 0.5) * double(from) / double(to) - 0.5;
        place = place > 0.0 ? place : 0.0;
        low = int(place);
        high = low + 1 < from ? low + 1 : from - 1;
        part = float(place - double(low));
    }
    // The share of element `i` in it.
    __device__ __forceinline__ float share(int i) const {
        return (i == low ? 1.0f - part : 0.0f) + (i == high ? part : 0.0f);
    }
};

// out = x resized bilinearly to high × wide.
extern "C" __global__ void resize(const float* x, float* out, int height, int width, int channels, int high, int wide,
                                  u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        Place to(i, high, wide, channels);
        Between y(to.y, height, high), column(to.x, width, wide);
        float low = (1.0f - column.part) * x[index(to.n, y.low, column.low, to.c, height, width, channels)] +
                    column.part * x[index(to.n, y.low, column.high, to.c, height, width, channels)];
        float up = (1.0f - column.part) * x[index(to.n, y.high, column.low, to.c, height, width, channels)] +
                   column.part * x[index(to.n, y.high, column.high, to.c, height, width, channels)];
        out[i] = (1.0f - y.part) * low + y.part * up;
    }
}

// The elements of an axis of `to` that may look at element `i` of an axis of `from`: one more on each side
// than needed.
__device__ __forceinline__ int first_reader(int i, int from, int to) {
    int first = int((double(i) - 0.5) * double(to) / double(from) - 0.5) - 1;
    return i == 0 || first < 0 ? 0 : first;
}
__device__ __forceinline__ int last_reader(int i, int from, int to) {
    int last = int((double(i) + 1.5) * double(to) / double(from) - 0.5) + 1;
    return i == from - 1 || last >= to ? to - 1 : last;
}

extern "C" __global__ void resize_gradient(const float* grad, float* dx, int height, int width, int channels, int high,
                                           int wide, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        Place at(i, height, width, channels);
        int first = first_reader(at.x, width, wide), last = last_reader(at.x, width, wide);
        float sum = 0.0f;
        for (int y = first_reader(at.y, height, high); y <= last_reader(at.y, height, high); ++y) {
            float row = Between(y, height, high).share(at.y);
            if (row == 0.0f) continue;
            for (int x = first; x <= last; ++x) {
                float column = Between(x, width, wide).share(at.x);
                if (column != 0.0f) sum += row * column * grad[index(at.n, y, x, at.c, high, wide, channels)];
            }
        }
        dx[i] = sum;
    }
}
