// Normalisation over the channels of each pixel. A warp takes a row.
struct LayerNorm {
    Read x; // without coefficients
    Read d; // the gradient of the result, for the backward pass
    Write out;
    const float* weight;
    const float* bias;
    float* moments; // [rows, 2]: mean, 1 / sqrt(variance + epsilon)
    float* sums; // [blocks, 2, width8], for the gradients of weight and bias
    int rows, channels, width8, rows_per_block;
    float epsilon;
    int unused;
};

DEV float warp_sum(float x) {
    for (int mask = 16; mask; mask /= 2) x += shuffle_xor(x, mask);
    return x;
}

DEV bool has(const LayerNorm& p, int channel, int i) { return channel + i < p.channels; }

KERNEL(layer_norm, LayerNorm, 128, {
    int lane = threadIdx.x % 32;
    int row = blockIdx.x * 4 + threadIdx.x / 32;
    bool real = row < p.rows;
    float sum = 0.f;
    float v[8];
    for (int c = lane * 8; real && c < p.width8; c += 256) {
        read8(p.x, row, c, v);
        for (int i = 0; i < 8; i++) sum += has(p, c, i) ? v[i] : 0.f;
    }
    float mean = warp_sum(sum) / p.channels;
    float squares = 0.f;
    for (int c = lane * 8; real && c < p.width8; c += 256) {
        read8(p.x, row, c, v);
        for (int i = 0; i < 8; i++) squares += has(p, c, i) ? (v[i] - mean) * (v[i] - mean) : 0.f;
    }
    float deviation = 1.f / sqrtf(warp_sum(squares) / p.channels + p.epsilon);
    if (real && lane == 0 && p.moments) {
        p.moments[row * 2] = mean;
        p.moments[row * 2 + 1] = deviation;
    }
    Sums sums = {};
    for (int c = lane * 8; real && c < p.width8; c += 256) {
        read8(p.x, row, c, v);
        for (int i = 0; i < 8; i++)
            v[i] = has(p, c, i) ? (v[i] - mean) * deviation * p.weight[c + i] + p.bias[c + i] : 0.f;
        finish_write(p.out, row, c, v, sums);
    }
})

KERNEL(layer_norm_input, LayerNorm, 128, {
    int lane = threadIdx.x % 32;
    int row = blockIdx.x * 4 + threadIdx.x / 32;
    bool real = row < p.rows;
    float mean = real ? p.moments[row * 2] : 0.f;
    float deviation = real ? p.moments[row * 2 + 1] : 0.f;
    float sum = 0.f;
    float product = 0.f;
    float v[8];
    float d[8];
    for (int c = lane * 8; real && c < p.width8; c += 256) {
        read8(p.x, row, c, v);
        read8(p.d, row, c, d);
        for (int i = 0; i < 8; i++) {
            float g = has(p, c, i) ? d[i] * p.weight[c + i] : 0.f;
            sum += g;
            product += g * (v[i] - mean) * deviation;
        }
    }
    sum = warp_sum(sum) / p.channels;
    product = warp_sum(product) / p.channels;
    Sums sums = {};
    for (int c = lane * 8; real && c < p.width8; c += 256) {
        read8(p.x, row, c, v);
        read8(p.d, row, c, d);
        for (int i = 0; i < 8; i++) {
            float g = has(p, c, i) ? d[i] * p.weight[c + i] : 0.f;
            v[i] = has(p, c, i) ? deviation * (g - sum - (v[i] - mean) * deviation * product) : 0.f;
        }
        finish_write(p.out, row, c, v, sums);
    }
})

// The sums of d and of d * (x - mean) * deviation over the rows of a block.
KERNEL(layer_norm_weight, LayerNorm, 128, {
    __shared__ float partial[16 * 64];
    Share share = share_of(p.rows, p.rows_per_block);
    int channel = share.channel;
    Sums sums = {};
    if (channel < p.width8) {
        for (int row = share.first; row < share.last; row += 16) {
            float v[8];
            float d[8];
            read8(p.x, row, channel, v);
            read8(p.d, row, channel, d);
            for (int i = 0; i < 8; i++) {
                sums.s[i] += d[i];
                sums.q[i] += d[i] * (v[i] - p.moments[row * 2]) * p.moments[row * 2 + 1];
            }
        }
    }
    Write out = {};
    out.sums = p.sums;
    write_sums(out, blockIdx.x, p.width8, blockIdx.y * 64, p.width8, sums, partial);
})

// Swin's patch merging: each 2×2 square becomes one pixel, column by column. Transposed, rows are those of the input.
struct Merge {
    Read x;
    Write out;
    int height, width; // of the input
    int rows, channels, transposed, unused; // `channels`: of the input, a multiple of 8
};

KERNEL(merge, Merge, 128, {
    int down = (p.height + 1) / 2;
    int across = (p.width + 1) / 2;
    int vectors = p.channels / 8 * (p.transposed ? 1 : 4);
    size_t at = (size_t)blockIdx.x * 128 + threadIdx.x;
    if (at >= (size_t)p.rows * vectors) return;
    int row = at / vectors;
    int channel = at % vectors * 8;
    float v[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
    if (p.transposed) {
        int image = row / (p.height * p.width);
        int y = row / p.width % p.height;
        int x = row % p.width;
        int part = y % 2 + x % 2 * 2;
        size_t from = ((size_t)image * down + y / 2) * across + x / 2;
        read8(p.x, from, part * p.channels + channel, v);
    } else {
        int image = row / (down * across);
        int part = channel / p.channels;
        int y = row / across % down * 2 + part % 2;
        int x = row % across * 2 + part / 2;
        if (y < p.height && x < p.width) {
            size_t from = ((size_t)image * p.height + y) * p.width + x;
            read8(p.x, from, channel % p.channels, v);
        }
    }
    Sums sums = {};
    finish_write(p.out, row, channel, v, sums);
})
