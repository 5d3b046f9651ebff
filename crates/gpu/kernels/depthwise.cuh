// Depthwise convolutions, channels last. The scalar twins are in src/tests/depthwise.rs.
//
// A block takes a tile of 8×8 results of one image, and some channels; a thread, a few of them. The operand's part that
// the tile needs goes to shared memory, with its normalisation and activation.
struct Depthwise {
    Read x;
    const float* w; // [channels, kernel * kernel], in the arena
    Write out;
    float* gradient; // of w: [blocks, channels, kernel * kernel]
    Read d; // the gradient of the result
    Windows windows;
    int images, channels, width8; // `width8`: channels in memory
};

#define SIDE_TILE 8
#if STORAGE == 0
#define SLICE 32
#else
#define SLICE 64
#endif
// Blocks that fit on a multiprocessor without spilled registers.
#if STORAGE != 0 && __CUDA_ARCH__ == 900
#define BLOCKS_K5 3
#else
#define BLOCKS_K5 2
#endif
#define VECTORS_OF_SLICE (SLICE / 8)
#define WRITERS (128 / VECTORS_OF_SLICE)
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

DEV void put8(T* to, const float (&v)[8]) { store8(to, 0, narrow(v)); }
#if STORAGE != 0
DEV void put8(float* to, const float (&v)[8]) {
    ((Number4*)to)[0] = {v[0], v[1], v[2], v[3]};
    ((Number4*)to)[1] = {v[4], v[5], v[6], v[7]};
}
#endif

// Fills a window of SIDE × SIDE pixels from (y0, x0) of the operand, with zeros outside of it.
template <int SIDE, class To>
DEV void load_window(const Read& r, To* window, int image, int y0, int x0, int height, int width, int c0, int width8) {
    int vector = threadIdx.x % VECTORS_OF_SLICE * 8, lane = threadIdx.x / VECTORS_OF_SLICE;
    int channel = c0 + vector;
    Coefficients k;
    if (channel < width8) load_coefficients(r, channel, k);
    for (int i = lane; i < SIDE * SIDE; i += WRITERS) {
        int y = y0 + i / SIDE, x = x0 + i % SIDE;
        float v[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
        if (channel < width8 && y >= 0 && x >= 0 && y < height && x < width) {
            size_t row = ((size_t)image * height + y) * width + x;
            Operand o;
            fetch(r, row, channel, o);
            finish_read(r, k, o, row, channel, v);
        }
        put8(window + i * SLICE + vector, v);
    }
}

// Adds the sums of a block's first ROWS writers, and writes them. `partial` is [ROWS][SLICE] of shared memory.
template <int ROWS>
DEV void write_sums_of_slice(const Depthwise& p, const Sums& sums, float* partial) {
    if (!p.out.sums) return;
    int vector = threadIdx.x % VECTORS_OF_SLICE * 8, writer = threadIdx.x / VECTORS_OF_SLICE;
    int channel = blockIdx.y * SLICE + threadIdx.x;
    for (int which = 0; which < 2; which++) {
        __syncthreads();
        if (writer < ROWS) {
#pragma unroll
            for (int c = 0; c < 8; c++) partial[writer * SLICE + vector + c] = which ? sums.q[c] : sums.s[c];
        }
        __syncthreads();
        if (threadIdx.x < SLICE && channel < p.width8) {
            float total = 0.f;
            for (int r = 0; r < ROWS; r++) total += partial[r * SLICE + threadIdx.x];
            p.out.sums[((size_t)blockIdx.x * 2 + which) * p.width8 + channel] = total;
        }
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
template <int K, int S>
DEV void depthwise(const Depthwise& p) {
    const int SIDE = (SIDE_TILE - 1) * S + K;
    __shared__ __align__(16) T window[SIDE * SIDE * SLICE];
    __shared__ __align__(16) float results[LANES * SLICE];
    const Windows& g = p.windows;
    int across = (g.width + SIDE_TILE - 1) / SIDE_TILE, down = (g.height + SIDE_TILE - 1) / SIDE_TILE;
    int tile = blockIdx.x, image = tile / (across * down);
    int y0 = tile / across % down * SIDE_TILE, x0 = tile % across * SIDE_TILE, c0 = blockIdx.y * SLICE;
    load_window<SIDE>(p.x, window, image, y0 * S - g.above, x0 * S - g.left, g.ih, g.iw, c0, p.width8);
    int quad = threadIdx.x % QUADS * 4, lane = threadIdx.x / QUADS;
    float w[K * K][4];
    load_taps<K>(p, c0 + quad, w);
    __syncthreads();
    Sums sums = {};
    int vector = threadIdx.x % VECTORS_OF_SLICE * 8, writer = threadIdx.x / VECTORS_OF_SLICE;
    for (int i0 = 0; i0 < SIDE_TILE * SIDE_TILE; i0 += LANES) {
        int i = i0 + lane, r = i / SIDE_TILE, q = i % SIDE_TILE;
        float a[4] = {0.f, 0.f, 0.f, 0.f};
#pragma unroll
        for (int ky = 0; ky < K; ky++)
#pragma unroll
            for (int kx = 0; kx < K; kx++) {
                float v[4];
                widen4(window + ((r * S + ky) * SIDE + q * S + kx) * SLICE + quad, v);
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
    write_sums_of_slice<LANES>(p, sums, results);
}

// Both gradients, of the input and of the weights. `windows` are transposed. A block takes every gridDim.x-th tile of
// the input, so that there are few sums to add. A thread has one channel of some pixels. What it loads of d serves both
// gradients, and its sums for the weights stay in registers.
template <int K, int S>
DEV void depthwise_back(const Depthwise& p) {
    const int SIDE = (SIDE_TILE + K - 2) / S + 1, PIXELS = 128 / SLICE;
    __shared__ __align__(16) T window[SIDE * SIDE * SLICE];
    __shared__ __align__(16) float tile[SIDE_TILE * SIDE_TILE * SLICE]; // x, then its gradient
    const Windows& g = p.windows;
    int across = (g.width + SIDE_TILE - 1) / SIDE_TILE, down = (g.height + SIDE_TILE - 1) / SIDE_TILE;
    int c0 = blockIdx.y * SLICE, own = threadIdx.x % SLICE, lane = threadIdx.x / SLICE, channel = c0 + own;
    int vector = threadIdx.x % VECTORS_OF_SLICE * 8, writer = threadIdx.x / VECTORS_OF_SLICE;
    float w[K * K], gradient[K * K] = {};
#pragma unroll
    for (int t = 0; t < K * K; t++) w[t] = channel < p.channels ? p.w[(size_t)channel * K * K + t] : 0.f;
    Sums sums = {};
    for (int index = blockIdx.x; index < p.images * across * down; index += gridDim.x) {
        int image = index / (across * down), y0 = index / across % down * SIDE_TILE, x0 = index % across * SIDE_TILE;
        // The first row of d that the tile's taps meet: the quotient is rounded up, also below 0.
        int wy = (y0 + g.above - (K - 1) + S * K + S - 1) / S - K;
        int wx = (x0 + g.left - (K - 1) + S * K + S - 1) / S - K;
        load_window<SIDE>(p.d, window, image, wy, wx, g.ih, g.iw, c0, p.width8);
        load_window<SIDE_TILE>(p.x, tile, image, y0, x0, g.height, g.width, c0, p.width8);
        __syncthreads();
        for (int i = lane; i < SIDE_TILE * SIDE_TILE; i += PIXELS) {
            int r = i / SIDE_TILE, q = i % SIDE_TILE;
            if (y0 + r >= g.height || x0 + q >= g.width || channel >= p.width8) continue;
            // Where tap 0 reads, in rows of the input from the window on.
            int ty = y0 + r + g.above - wy * S, tx = x0 + q + g.left - wx * S;
            const T* from = window + (ty / S * SIDE + tx / S) * SLICE + own;
            float x = tile[i * SLICE + own], a = 0.f;
#pragma unroll
            for (int ky = 0; ky < K; ky++)
#pragma unroll
                for (int kx = 0; kx < K; kx++) {
                    if ((ty - ky) % S != 0 || (tx - kx) % S != 0) continue;
                    float d = load1(from - (ky / S * SIDE + kx / S) * SLICE, 0);
                    a += d * w[ky * K + kx];
                    gradient[ky * K + kx] += d * x;
                }
            tile[i * SLICE + own] = a;
        }
        __syncthreads();
        for (int i = writer; i < SIDE_TILE * SIDE_TILE; i += WRITERS) {
            int y = y0 + i / SIDE_TILE, x = x0 + i % SIDE_TILE;
            if (y >= g.height || x >= g.width || c0 + vector >= p.width8) continue;
            float v[8];
#pragma unroll
            for (int c = 0; c < 8; c++) v[c] = tile[i * SLICE + vector + c];
            finish_write(p.out, ((size_t)image * g.height + y) * g.width + x, c0 + vector, v, sums);
        }
        __syncthreads();
    }
    write_sums_of_slice<WRITERS>(p, sums, tile);
#pragma unroll
    for (int t = 0; t < K * K; t++) {
        __syncthreads();
        tile[threadIdx.x] = gradient[t];
        __syncthreads();
        if (lane > 0 || channel >= p.channels) continue;
        float total = 0.f;
        for (int other = 0; other < PIXELS; other++) total += tile[other * SLICE + own];
        p.gradient[((size_t)blockIdx.x * p.channels + channel) * K * K + t] = total;
    }
}

#define DEPTHWISE(K, S, BLOCKS) \
    KERNEL(depthwise_k##K##_s##S, Depthwise, 128, (depthwise<K, S>(p))) \
    KERNEL(depthwise_back_k##K##_s##S, Depthwise, RESIDENT(128, BLOCKS), (depthwise_back<K, S>(p)))
DEPTHWISE(3, 1, 3)
DEPTHWISE(3, 2, 3)
DEPTHWISE(5, 1, BLOCKS_K5)
DEPTHWISE(5, 2, BLOCKS_K5)
DEPTHWISE(7, 1, 2)
