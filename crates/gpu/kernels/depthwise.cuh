// Depthwise convolutions, channels last. The scalar twins are `depthwise` and `depthwise_weight` in
// src/tests/reference.rs.
//
// A block takes a tile of 8×8 results of one image, and some channels; a thread, 4 channels. The operand's part that the
// tile needs goes to shared memory, with its normalisation and activation.
struct Depthwise {
    Read x;
    const float* w; // [channels, kernel * kernel], in the arena
    Write out;
    float* gradient; // [blocks, channels, kernel * kernel]
    Read d;
    Windows windows;
    int images, channels, width8; // `width8`: channels in memory
};

#define SIDE_TILE 8
#if STORAGE == 0
#define SLICE 32
#else
#define SLICE 64
#endif
#define QUADS (SLICE / 4)
#define LANES (128 / QUADS)

DEV void widen4(const T* from, float (&v)[4]) {
#if STORAGE == 0
    Number4 raw = *(const Number4*)from;
    v[0] = raw.x; v[1] = raw.y; v[2] = raw.z; v[3] = raw.w;
#else
    struct alignas(8) Two { u32 x, y; };
    Two raw = *(const Two*)from;
    v[0] = lower(raw.x); v[1] = upper(raw.x); v[2] = lower(raw.y); v[3] = upper(raw.y);
#endif
}

// Fills a window of SIDE × SIDE pixels from (y0, x0) of the operand.
template <int SIDE>
DEV void load_window(const Read& r, T* window, int image, int y0, int x0, int height, int width, int c0, int width8) {
    int vector = threadIdx.x % (SLICE / 8) * 8, lane = threadIdx.x / (SLICE / 8);
    int channel = c0 + vector;
    Coefficients k;
    if (channel < width8) load_coefficients(r, channel, k);
    for (int i = lane; i < SIDE * SIDE; i += 128 / (SLICE / 8)) {
        int y = y0 + i / SIDE, x = x0 + i % SIDE;
        float v[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
        if (channel < width8 && y >= 0 && x >= 0 && y < height && x < width) {
            size_t row = ((size_t)image * height + y) * width + x;
            Operand o;
            fetch(r, row, channel, o);
            finish_read(r, k, o, row, channel, v);
        }
        store8(window, i * SLICE + vector, narrow(v));
    }
}

template <int K>
DEV void load_taps(const Depthwise& p, int channel, float (&w)[K * K][4]) {
#pragma unroll
    for (int t = 0; t < K * K; t++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            w[t][i] = channel + i < p.channels ? p.w[(size_t)(channel + i) * K * K + t] : 0.f;
}

// A thread's 4 channels of a result go to shared memory first, so that they are written 8 at a time.
template <int K, int S, bool TRANSPOSED>
DEV void depthwise(const Depthwise& p) {
    // The first operand row of a tile, and the number of rows, in both forms.
    const int SIDE = TRANSPOSED ? (SIDE_TILE - 1 + K - 1) / S + 2 : (SIDE_TILE - 1) * S + K;
    __shared__ __align__(16) T window[SIDE * SIDE * SLICE];
    __shared__ __align__(16) float results[LANES * SLICE];
    const Windows& g = p.windows;
    int across = (g.width + SIDE_TILE - 1) / SIDE_TILE, down = (g.height + SIDE_TILE - 1) / SIDE_TILE;
    int tile = blockIdx.x, image = tile / (across * down);
    int y0 = tile / across % down * SIDE_TILE, x0 = tile % across * SIDE_TILE, c0 = blockIdx.y * SLICE;
    int wy, wx;
    if (TRANSPOSED) {
        // Rounded down, also below 0.
        wy = (y0 + g.above - (K - 1) + S * K) / S - K;
        wx = (x0 + g.left - (K - 1) + S * K) / S - K;
    } else {
        wy = y0 * S - g.above;
        wx = x0 * S - g.left;
    }
    load_window<SIDE>(p.x, window, image, wy, wx, g.ih, g.iw, c0, p.width8);
    int quad = threadIdx.x % QUADS * 4, lane = threadIdx.x / QUADS;
    float w[K * K][4];
    load_taps<K>(p, c0 + quad, w);
    __syncthreads();
    Sums sums = {};
    int vector = threadIdx.x % (SLICE / 8) * 8, writer = threadIdx.x / (SLICE / 8);
    for (int i0 = 0; i0 < SIDE_TILE * SIDE_TILE; i0 += LANES) {
        int i = i0 + lane, r = i / SIDE_TILE, q = i % SIDE_TILE;
        float a[4] = {0.f, 0.f, 0.f, 0.f};
#pragma unroll
        for (int ky = 0; ky < K; ky++)
#pragma unroll
            for (int kx = 0; kx < K; kx++) {
                int wr, wq;
                if (TRANSPOSED) {
                    int ty = y0 + r + g.above - ky, tx = x0 + q + g.left - kx;
                    // The window has every row that a tap needs, with zeros outside of the operand.
                    int shifted_y = ty + S * K, shifted_x = tx + S * K;
                    if (S > 1 && (shifted_y % S != 0 || shifted_x % S != 0)) continue;
                    wr = shifted_y / S - K - wy;
                    wq = shifted_x / S - K - wx;
                } else {
                    wr = r * S + ky;
                    wq = q * S + kx;
                }
                float v[4];
                widen4(window + (wr * SIDE + wq) * SLICE + quad, v);
#pragma unroll
                for (int c = 0; c < 4; c++) a[c] += v[c] * w[ky * K + kx][c];
            }
#pragma unroll
        for (int c = 0; c < 4; c++) results[lane * SLICE + quad + c] = a[c];
        __syncthreads();
        if (writer < LANES && c0 + vector < p.width8) {
            int j = i0 + writer, y = y0 + j / SIDE_TILE, x = x0 + j % SIDE_TILE;
            if (y < g.height && x < g.width) {
                float v[8];
#pragma unroll
                for (int c = 0; c < 8; c++) v[c] = results[writer * SLICE + vector + c];
                finish_write(p.out, ((size_t)image * g.height + y) * g.width + x, c0 + vector, v, sums);
            }
        }
        __syncthreads();
    }
    if (!p.out.sums) return;
    for (int which = 0; which < 2; which++) {
        if (writer < LANES) {
#pragma unroll
            for (int c = 0; c < 8; c++) results[writer * SLICE + vector + c] = which ? sums.q[c] : sums.s[c];
        }
        __syncthreads();
        if (threadIdx.x < SLICE && c0 + threadIdx.x < p.width8) {
            float total = 0.f;
            for (int r = 0; r < LANES; r++) total += results[r * SLICE + threadIdx.x];
            p.out.sums[((size_t)tile * 2 + which) * p.width8 + c0 + threadIdx.x] = total;
        }
        __syncthreads();
    }
}

// The gradient of the weights, from the gradient d of the result. A block takes every gridDim.x-th tile, so that there
// are few sums to add.
template <int K, int S>
DEV void depthwise_weight(const Depthwise& p) {
    const int SIDE = (SIDE_TILE - 1) * S + K;
    __shared__ __align__(16) T window[SIDE * SIDE * SLICE];
    __shared__ float partial[LANES][SLICE];
    const Windows& g = p.windows;
    int across = (g.width + SIDE_TILE - 1) / SIDE_TILE, down = (g.height + SIDE_TILE - 1) / SIDE_TILE;
    int c0 = blockIdx.y * SLICE, quad = threadIdx.x % QUADS * 4, lane = threadIdx.x / QUADS;
    int channel = c0 + quad / 8 * 8, half = quad % 8;
    Coefficients k;
    if (channel < p.width8) load_coefficients(p.d, channel, k);
    float a[K * K][4] = {};
    for (int tile = blockIdx.x; tile < p.images * across * down; tile += gridDim.x) {
        int image = tile / (across * down), y0 = tile / across % down * SIDE_TILE, x0 = tile % across * SIDE_TILE;
        __syncthreads();
        load_window<SIDE>(p.x, window, image, y0 * S - g.above, x0 * S - g.left, g.ih, g.iw, c0, p.width8);
        __syncthreads();
        for (int i = lane; i < SIDE_TILE * SIDE_TILE; i += LANES) {
            int r = i / SIDE_TILE, q = i % SIDE_TILE;
            if (y0 + r >= g.height || x0 + q >= g.width || channel >= p.width8) continue;
            size_t row = ((size_t)image * g.height + y0 + r) * g.width + x0 + q;
            float v[8], d[4];
            Operand o;
            fetch(p.d, row, channel, o);
            finish_read(p.d, k, o, row, channel, v);
#pragma unroll
            for (int c = 0; c < 4; c++) d[c] = half ? v[4 + c] : v[c];
#pragma unroll
            for (int ky = 0; ky < K; ky++)
#pragma unroll
                for (int kx = 0; kx < K; kx++) {
                    float x[4];
                    widen4(window + ((r * S + ky) * SIDE + q * S + kx) * SLICE + quad, x);
#pragma unroll
                    for (int c = 0; c < 4; c++) a[ky * K + kx][c] += x[c] * d[c];
                }
        }
    }
#pragma unroll
    for (int t = 0; t < K * K; t++) {
        __syncthreads();
#pragma unroll
        for (int c = 0; c < 4; c++) partial[lane][quad + c] = a[t][c];
        __syncthreads();
        if (threadIdx.x < SLICE && c0 + threadIdx.x < p.channels) {
            float total = 0.f;
            for (int r = 0; r < LANES; r++) total += partial[r][threadIdx.x];
            p.gradient[((size_t)blockIdx.x * p.channels + c0 + threadIdx.x) * K * K + t] = total;
        }
    }
}

#define DEPTHWISE(K, S) \
    KERNEL(depthwise_k##K##_s##S, Depthwise, 128, (depthwise<K, S, false>(p))) \
    KERNEL(depthwise_input_k##K##_s##S, Depthwise, 128, (depthwise<K, S, true>(p))) \
    KERNEL(depthwise_weight_k##K##_s##S, Depthwise, 128, (depthwise_weight<K, S>(p)))
DEPTHWISE(3, 1)
DEPTHWISE(3, 2)
DEPTHWISE(5, 1)
DEPTHWISE(5, 2)
DEPTHWISE(7, 1)
