// Optimiser updates over a span of parameters (formulas: crates/exec/src/optim). One thread an element.
#include "common.cuh"

// buffer = momentum · buffer + (grad + decay · param); param −= rate · buffer
extern "C" __global__ void sgd(float* param, const float* grad, float* buffer, float rate, float momentum, float decay,
                               u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        buffer[i] = momentum * buffer[i] + (grad[i] + decay * param[i]);
        param[i] -= rate * buffer[i];
    }
}

// Adam, and with `shrink` below 1 AdamW; `rate` is divided by the first bias correction, `correction` is the
// root of the second.
extern "C" __global__ void adam(float* param, const float* grad, float* first, float* second, float rate, float beta1,
                                float beta2, float correction, float epsilon, float decay, float shrink, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        float g = grad[i] + decay * param[i];
        first[i] = beta1 * first[i] + (1.0f - beta1) * g;
        second[i] = beta2 * second[i] + (1.0f - beta2) * g * g;
        param[i] = shrink * param[i] - rate * first[i] / (sqrtf(second[i]) / correction + epsilon);
    }
}

// param = momentum · param + (1 − momentum) · other
extern "C" __global__ void follow(float* param, const float* other, float momentum, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) {
        param[i] = momentum * param[i] + (1.0f - momentum) * other[i];
    }
}
