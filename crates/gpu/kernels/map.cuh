// Passes over maps: element-wise operations, means over pixels, moved channels, pooling.

// out = x + y, where y may be missing. Blocks of 128 threads take `rows_per_block` rows of 64 channels.
struct Map {
    Read x;
    Read y;
    Write out;
    int rows, width8, rows_per_block, unused;
};

KERNEL(map, Map, 128, {
    __shared__ float partial[16 * 64];
    Share share = share_of(p.rows, p.rows_per_block);
    int channel = share.channel;
    Sums sums = {};
    if (channel < p.width8) {
        for (int row = share.first; row < share.last; row += 16) {
            float v[8];
            read8(p.x, row, channel, v);
            if (p.y.x) {
                float u[8];
                read8(p.y, row, channel, u);
                for (int i = 0; i < 8; i++) v[i] += u[i];
            }
            finish_write(p.out, row, channel, v, sums);
        }
    }
    write_sums(p.out, blockIdx.x, p.width8, blockIdx.y * 64, p.width8, sums, partial);
})

// out[image] = alpha * sum over the image's rows of x * y, where y may be missing.
struct Pixels {
    Read x;
    Read y;
    Write out;
    int pixels, width8;
    float alpha;
    int unused;
};

KERNEL(pixels, Pixels, 128, {
    __shared__ float partial[16 * 64];
    int vector = threadIdx.x % 8 * 8;
    int channel = blockIdx.y * 64 + vector;
    int lane = threadIdx.x / 8;
    int image = blockIdx.x;
    float total[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
    if (channel < p.width8) {
        for (int i = lane; i < p.pixels; i += 16) {
            size_t row = (size_t)image * p.pixels + i;
            float v[8];
            read8(p.x, row, channel, v);
            if (p.y.x) {
                float u[8];
                read8(p.y, row, channel, u);
                for (int c = 0; c < 8; c++) v[c] *= u[c];
            }
            for (int c = 0; c < 8; c++) total[c] += v[c];
        }
    }
    for (int c = 0; c < 8; c++) partial[lane * 64 + vector + c] = total[c];
    __syncthreads();
    if (lane == 0 && channel < p.width8) {
        Sums sums = {};
        float v[8];
        for (int c = 0; c < 8; c++) {
            v[c] = 0.f;
            for (int r = 0; r < 16; r++) v[c] += partial[r * 64 + vector + c];
            v[c] *= p.alpha;
        }
        finish_write(p.out, image, channel, v, sums);
    }
})

// out[row, c] = x[row, channels[c]], or 0 where that is negative.
struct Gather {
    Read x;
    Write out;
    const int* channels;
    int rows, width8, rows_per_block, unused;
};

DEV float read1(const Read& r, size_t row, int channel) {
    float v[8];
    read8(r, row, channel / 8 * 8, v);
    float found = v[0];
    for (int i = 1; i < 8; i++) found = channel % 8 == i ? v[i] : found;
    return found;
}

KERNEL(gather, Gather, 128, {
    __shared__ float partial[16 * 64];
    Share share = share_of(p.rows, p.rows_per_block);
    int channel = share.channel;
    Sums sums = {};
    if (channel < p.width8) {
        for (int row = share.first; row < share.last; row += 16) {
            float v[8];
            for (int i = 0; i < 8; i++) {
                int from = p.channels[channel + i];
                v[i] = from < 0 ? 0.f : read1(p.x, row, from);
            }
            finish_write(p.out, row, channel, v, sums);
        }
    }
    write_sums(p.out, blockIdx.x, p.width8, blockIdx.y * 64, p.width8, sums, partial);
})

// The largest value or the mean of each window. For the backward pass, `d` is the gradient of the result.
struct Pool {
    Read x;
    Read d;
    Write out;
    Windows windows;
    int rows, width8, largest, rows_per_block;
};

// For each channel the tap of the first largest value, as in torch. NaN is the largest.
DEV void largest8(const Pool& p, const Windows& g, const Pixel& at, int channel, float (&best)[8], int (&where)[8]) {
    bool any = false;
    for (int tap = 0; tap < g.kernel * g.kernel; tap++) {
        int row = tap_row(g, at, tap);
        if (row < 0) continue;
        float v[8];
        read8(p.x, row, channel, v);
        for (int i = 0; i < 8; i++) {
            if (!any || v[i] > best[i] || (v[i] != v[i] && best[i] == best[i])) {
                best[i] = v[i];
                where[i] = tap;
            }
        }
        any = true;
    }
}

DEV int taps_inside(const Windows& g, const Pixel& at) {
    int count = 0;
    for (int tap = 0; tap < g.kernel * g.kernel; tap++) count += tap_row(g, at, tap) >= 0;
    return count;
}

KERNEL(pool, Pool, 128, {
    __shared__ float partial[16 * 64];
    Share share = share_of(p.rows, p.rows_per_block);
    int channel = share.channel;
    Sums sums = {};
    const Windows& g = p.windows;
    if (channel < p.width8) {
        for (int row = share.first; row < share.last; row += 16) {
            Pixel at = pixel_of(g, row);
            float v[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
            if (p.largest) {
                int where[8];
                largest8(p, g, at, channel, v, where);
            } else {
                int count = 0;
                for (int tap = 0; tap < g.kernel * g.kernel; tap++) {
                    int from = tap_row(g, at, tap);
                    if (from < 0) continue;
                    count++;
                    float u[8];
                    read8(p.x, from, channel, u);
                    for (int i = 0; i < 8; i++) v[i] += u[i];
                }
                for (int i = 0; i < 8; i++) v[i] *= 1.f / count;
            }
            finish_write(p.out, row, channel, v, sums);
        }
    }
    write_sums(p.out, blockIdx.x, p.width8, blockIdx.y * 64, p.width8, sums, partial);
})

// `windows` is transposed: rows are pixels of the input.
KERNEL(pool_input, Pool, 128, {
    __shared__ float partial[16 * 64];
    Share share = share_of(p.rows, p.rows_per_block);
    int channel = share.channel;
    Sums sums = {};
    const Windows& g = p.windows;
    Windows forward = g;
    forward.height = g.ih;
    forward.width = g.iw;
    forward.ih = g.height;
    forward.iw = g.width;
    forward.transposed = 0;
    if (channel < p.width8) {
        for (int row = share.first; row < share.last; row += 16) {
            Pixel at = pixel_of(g, row);
            float v[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
            for (int tap = 0; tap < g.kernel * g.kernel; tap++) {
                int from = tap_row(g, at, tap);
                if (from < 0) continue;
                Pixel window = pixel_of(forward, from);
                float d[8];
                read8(p.d, from, channel, d);
                if (p.largest) {
                    float best[8];
                    int where[8];
                    largest8(p, forward, window, channel, best, where);
                    for (int i = 0; i < 8; i++) v[i] += where[i] == tap ? d[i] : 0.f;
                } else {
                    float share = 1.f / taps_inside(forward, window);
                    for (int i = 0; i < 8; i++) v[i] += d[i] * share;
                }
            }
            finish_write(p.out, row, channel, v, sums);
        }
    }
    write_sums(p.out, blockIdx.x, p.width8, blockIdx.y * 64, p.width8, sums, partial);
})

// Images become the first value, [rows, 8], where channels beyond the third are 0: bytes through a table [3, 256], or
// numbers as they are.
struct Image {
    const void* pixels;
    const float* table;
    void* out;
    int rows, unused;
};

KERNEL(image, Image, 128, {
    int row = blockIdx.x * 128 + threadIdx.x;
    if (row >= p.rows) return;
    float v[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
    for (int c = 0; c < 3; c++) {
        v[c] = p.table ? p.table[c * 256 + ((const unsigned char*)p.pixels)[(size_t)row * 3 + c]]
                       : ((const float*)p.pixels)[(size_t)row * 3 + c];
    }
    store8(p.out, (size_t)row * 8, narrow(v));
})
