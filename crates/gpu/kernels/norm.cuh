// Batch normalisation from sums, and sums of rows. The scalar twins are in src/tests/reference.rs.

// out[chunk, j] = sum of rows[i, j] over the rows i of a chunk, in order.
struct Rows {
    const float* rows;
    float* out;
    int count, width, chunk, stride, add, unused; // rows lie `stride` numbers apart; `add` to what is there
};

KERNEL(sum_rows, Rows, 256, {
    int j = blockIdx.x * 256 + threadIdx.x, first = blockIdx.y * p.chunk, last = first + p.chunk;
    if (last > p.count) last = p.count;
    if (j >= p.width) return;
    float total = 0.f;
    for (int i = first; i < last; i++) total += p.rows[(size_t)i * p.stride + j];
    size_t to = (size_t)blockIdx.y * p.width + j;
    p.out[to] = p.add ? p.out[to] + total : total;
})

// A batch normalisation of `rows` values a channel. `sums` is [blocks, 2, width8].
struct Norm {
    const float* sums;
    const float* weight;
    const float* bias;
    float* running_mean;
    float* running_variance;
    const float* momentum; // one number
    float* scale; // [width8] each: the coefficients of the forward pass
    float* shift;
    float* mean;
    float* deviation; // 1 / sqrt(variance + epsilon)
    float* a; // [width8] each: the coefficients of the backward pass
    float* b;
    float* c;
    float* weight_gradient;
    float* bias_gradient;
    const float* before; // the bias of the convolution before, for inference, or null
    int blocks, channels, width8;
    float rows, epsilon;
    int unused;
};

DEV void totals(const Norm& p, int channel, double& first, double& second) {
    first = 0.;
    second = 0.;
    for (int i = 0; i < p.blocks; i++) {
        first += p.sums[((size_t)i * 2) * p.width8 + channel];
        second += p.sums[((size_t)i * 2 + 1) * p.width8 + channel];
    }
}

// From the sums of z and of z². Updates the running statistics.
KERNEL(norm_forward, Norm, 64, {
    int channel = blockIdx.x * 64 + threadIdx.x;
    if (channel >= p.width8) return;
    float scale = 0.f;
    float shift = 0.f;
    if (channel < p.channels) {
        double sum;
        double square;
        totals(p, channel, sum, square);
        double mean = sum / p.rows;
        double variance = square / p.rows - mean * mean;
        variance = variance < 0. ? 0. : variance;
        float deviation = (float)(1. / sqrt(variance + p.epsilon));
        p.mean[channel] = (float)mean;
        p.deviation[channel] = deviation;
        scale = p.weight[channel] * deviation;
        shift = (float)(p.bias[channel] - mean * scale);
        float m = p.momentum[0];
        p.running_mean[channel] += m * ((float)mean - p.running_mean[channel]);
        float unbiased = (float)(variance * p.rows / (p.rows - 1.f));
        p.running_variance[channel] += m * (unbiased - p.running_variance[channel]);
    }
    p.scale[channel] = scale;
    p.shift[channel] = shift;
})

// From the running statistics, for inference.
KERNEL(norm_fixed, Norm, 64, {
    int channel = blockIdx.x * 64 + threadIdx.x;
    if (channel >= p.width8) return;
    bool has = channel < p.channels;
    double deviation = has ? 1. / sqrt((double)p.running_variance[channel] + p.epsilon) : 0.;
    float scale = has ? (float)(p.weight[channel] * deviation) : 0.f;
    p.scale[channel] = scale;
    float before = has && p.before ? p.before[channel] : 0.f;
    p.shift[channel] = has ? p.bias[channel] + (before - p.running_mean[channel]) * scale : 0.f;
})

// From the sums of the output's gradient d and of d * z: the gradients of weight and bias, and the coefficients of
// the gradient of z, which is a * d + b * z + c.
KERNEL(norm_backward, Norm, 64, {
    int channel = blockIdx.x * 64 + threadIdx.x;
    if (channel >= p.width8) return;
    float a = 0.f;
    float b = 0.f;
    float c = 0.f;
    if (channel < p.channels) {
        double sum;
        double product;
        totals(p, channel, sum, product);
        double mean = p.mean[channel];
        double deviation = p.deviation[channel];
        double weight = (product - mean * sum) * deviation;
        p.weight_gradient[channel] = (float)weight;
        p.bias_gradient[channel] = (float)sum;
        double scale = p.weight[channel] * deviation;
        double slope = -scale * deviation * weight / p.rows;
        a = (float)scale;
        b = (float)slope;
        c = (float)(-scale * sum / p.rows - slope * mean);
    }
    p.a[channel] = a;
    p.b[channel] = b;
    p.c[channel] = c;
})

// Sets numbers to 0.
struct Clear {
    float* at;
    size_t count;
};

KERNEL(clear, Clear, 256, {
    size_t i = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (i < p.count) p.at[i] = 0.f;
})
