// The gradient of a convolution's weights: dW[n, k] = sum over rows of D[row, n] * X[row, k]. The scalar twin is
// `weight` in src/tests/reference.rs.
//
// A block computes 64 by 64 entries from some of the rows. Their sums are added in order by `gather_weight`, so that the
// result has the same bits in every run.
struct Weight {
    Read d;
    Read x;
    float* out; // [splits, groups, n, k]
    Windows windows;
    int rows, n, k, channels, rows_per_split;
};

#if STORAGE == 0
#define CHUNK 16
#else
#define CHUNK 32
#endif
#define LD_W 72
#define LOADS (CHUNK / 16)

template <bool WINDOWED>
DEV void weight(const Weight& p) {
    __shared__ __align__(16) T ds[CHUNK * LD_W];
    __shared__ __align__(16) T xs[CHUNK * LD_W];
    int thread = threadIdx.x, across = (p.k + 63) / 64, group = blockIdx.y;
    int n0 = blockIdx.x / across * 64, k0 = blockIdx.x % across * 64;
    int vector = thread % 8 * 8, lane = thread / 8;
    int n = n0 + vector, k = k0 + vector;
    int tap = WINDOWED ? k / p.channels : 0;
    int d_channel = group * p.n + n, x_channel = group * p.channels + k - tap * p.channels;
    bool has_d = n < p.n, has_x = k < p.k;
    Coefficients cd, cx;
    if (has_d) load_coefficients(p.d, d_channel, cd);
    if (has_x) load_coefficients(p.x, x_channel, cx);
    int first = blockIdx.z * p.rows_per_split, last = first + p.rows_per_split;
    if (last > p.rows) last = p.rows;
    Operand d_next[LOADS], x_next[LOADS];
    int x_row[LOADS];
    auto load = [&](int row0) {
#pragma unroll
        for (int i = 0; i < LOADS; i++) {
            int row = row0 + lane + i * 16;
            x_row[i] = -1;
            if (row >= last) continue;
            if (has_d) fetch(p.d, row, d_channel, d_next[i]);
            if (has_x) x_row[i] = WINDOWED ? tap_row(p.windows, pixel_of(p.windows, row), tap) : row;
            if (x_row[i] >= 0) fetch(p.x, x_row[i], x_channel, x_next[i]);
        }
    };
    auto put = [&](int row0) {
#pragma unroll
        for (int i = 0; i < LOADS; i++) {
            int row = row0 + lane + i * 16, at = (lane + i * 16) * LD_W + vector;
            float v[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
            if (row < last && has_d) finish_read(p.d, cd, d_next[i], row, d_channel, v);
            store8(ds, at, narrow(v));
            float u[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
            if (x_row[i] >= 0) finish_read(p.x, cx, x_next[i], x_row[i], x_channel, u);
            store8(xs, at, narrow(u));
        }
    };
#if STORAGE == 0
    int tn = thread / 16 * 8, tk = thread % 16 * 4;
    float acc[8][4] = {};
#else
    int warp = thread / 32, l = thread % 32, wn = warp / 2 * 32, wk = warp % 2 * 32;
    float acc[2][4][4] = {};
#endif
    if (first < last) load(first);
    for (int row0 = first; row0 < last; row0 += CHUNK) {
        put(row0);
        __syncthreads();
        if (row0 + CHUNK < last) load(row0 + CHUNK);
#if STORAGE == 0
#pragma unroll 4
        for (int r = 0; r < CHUNK; r++) {
            float a[8], b[4];
#pragma unroll
            for (int i = 0; i < 8; i++) a[i] = ds[r * LD_W + tn + i];
#pragma unroll
            for (int j = 0; j < 4; j++) b[j] = xs[r * LD_W + tk + j];
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) acc[i][j] += a[i] * b[j];
        }
#else
#pragma unroll
        for (int r = 0; r < CHUNK; r += 16) {
            u32 a[2][4];
#pragma unroll
            for (int i = 0; i < 2; i++)
                ldmatrix4_transposed(a[i], ds + (r + l / 16 * 8 + l % 8) * LD_W + wn + i * 16 + l / 8 % 2 * 8);
#pragma unroll
            for (int j = 0; j < 2; j++) {
                u32 b[4];
                ldmatrix4_transposed(b, xs + (r + l / 8 % 2 * 8 + l % 8) * LD_W + wk + j * 16 + l / 16 * 8);
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    mma(acc[i][2 * j], a[i], b[0], b[1]);
                    mma(acc[i][2 * j + 1], a[i], b[2], b[3]);
                }
            }
        }
#endif
        __syncthreads();
    }
    float* out = p.out + ((size_t)blockIdx.z * gridDim.y + group) * p.n * p.k;
    auto write = [&](int row, int column, float value) {
        if (n0 + row < p.n && k0 + column < p.k) out[(size_t)(n0 + row) * p.k + k0 + column] = value;
    };
#if STORAGE == 0
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) write(tn + i, tk + j, acc[i][j]);
#else
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                write(wn + i * 16 + e / 2 * 8 + l / 4, wk + j * 8 + l % 4 * 2 + e % 2, acc[i][j][e]);
#endif
}

KERNEL(weight_pointwise, Weight, 128, weight<false>(p))
KERNEL(weight_windowed, Weight, 128, weight<true>(p))

// Between the arena's weights [out, in / groups, kernel, kernel] and those of the matrix products,
// [groups / merged, n, taps * channels]. `merged` groups of the arena are one group of the product, whose other weights
// are 0. In the transposed form, for gradients of inputs, they are [groups / merged, channels, taps * n].
struct Packing {
    const float* from;
    void* to;
    const float* scale; // of each output channel, for folded normalisations
    int outputs, inputs, taps, merged, n, channels; // `outputs` and `inputs` of one group of the arena
    int groups, transposed, splits, unused; // `groups` of the arena
};

DEV size_t weight_index(const Packing& p, int output, int input, int tap) {
    return ((size_t)output * p.inputs + input) * p.taps + tap;
}

KERNEL(pack_weight, Packing, 256, {
    int packed = (p.groups + p.merged - 1) / p.merged;
    size_t at = (size_t)blockIdx.x * 256 + threadIdx.x, each = (size_t)p.n * p.taps * p.channels;
    if (at >= each * packed) return;
    int group = at / each, rest = at % each, n, tap, channel;
    if (p.transposed) {
        channel = rest / (p.taps * p.n);
        tap = rest / p.n % p.taps;
        n = rest % p.n;
    } else {
        n = rest / (p.taps * p.channels);
        tap = rest / p.channels % p.taps;
        channel = rest % p.channels;
    }
    int of_n = n / p.outputs, of_channel = channel / p.inputs;
    float value = 0.f;
    if (of_n == of_channel && of_n < p.merged && group * p.merged + of_n < p.groups) {
        int output = group * p.merged * p.outputs + n;
        value = p.from[weight_index(p, output, channel % p.inputs, tap)];
        if (p.scale) value *= p.scale[output];
    }
    store1(p.to, at, value);
})

KERNEL(gather_weight, Packing, 256, {
    int packed = (p.groups + p.merged - 1) / p.merged;
    size_t at = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (at >= (size_t)p.groups * p.outputs * p.inputs * p.taps) return;
    int tap = at % p.taps, input = at / p.taps % p.inputs, output = at / p.taps / p.inputs;
    int of = output / p.outputs, group = of / p.merged;
    int n = output - group * p.merged * p.outputs, channel = of % p.merged * p.inputs + input;
    size_t each = (size_t)p.n * p.taps * p.channels;
    const float* from = p.from + group * each + ((size_t)n * p.taps + tap) * p.channels + channel;
    float total = 0.f;
    for (int split = 0; split < p.splits; split++) total += from[split * packed * each];
    ((float*)p.to)[at] = total;
})
