// Convolutions as matrix products: Y[row, n] = sum over k of X[row, k] * W[n, k]. The scalar twin is `product` in
// src/tests/reference.rs.
//
// k is (tap, channel), in this order. A block computes 128 rows by 64 columns of one group. 16-bit types use tensor
// cores, f32 its own multiply-adds. Results go through shared memory, so that a thread writes 8 channels at once.
struct Product {
    Read x;
    const void* w; // [groups, n, k]
    Write out;
    Windows windows;
    int rows, n, k, channels; // of one group; k is taps * channels
};

#define BM 128
#define BN 64
#if STORAGE == 0
#define BK 16
#else
#define BK 32
#endif
#define VECTORS (BK / 8)
#define ROWS_A (BM * VECTORS / 128)
#define ROWS_B (BN * VECTORS / 128)
#define STEP (128 / VECTORS)
#define TILE_LD (BN + 4) // of the results

#if STORAGE == 0
// Tiles lie as [k][row], so that a thread loads adjacent rows at once.
#define LD_A (BM + 4)
#define LD_B (BN + 4)
#define TILE_BYTES (2 * BK * (LD_A + LD_B) * 4)
#else
// Rows are padded, so that ldmatrix meets no bank twice.
#define LD (BK + 8)
#define TILE_BYTES (2 * (BM + BN) * LD * 2)
#endif
#define SHARED_BYTES (BM * TILE_LD * 4 > TILE_BYTES ? BM * TILE_LD * 4 : TILE_BYTES)

template <bool WINDOWED>
DEV void product(const Product& p) {
    __shared__ __align__(16) char shared[SHARED_BYTES];
    __shared__ float partial[16 * 64];
    int thread = threadIdx.x;
    int across = (p.n + BN - 1) / BN, group = blockIdx.y;
    // Blocks of the same rows run together, so that these rows are read from memory once.
    int m0 = blockIdx.x / across * BM, n0 = blockIdx.x % across * BN;
    int base = group * p.channels;
    const T* w = (const T*)p.w + (size_t)group * p.n * p.k;
    int column = thread % VECTORS * 8, lane = thread / VECTORS;
    Operand x_next[ROWS_A];
    int row_next[ROWS_A];
    Raw w_next[ROWS_B];
    Pixel pixel[ROWS_A];
    if (WINDOWED) {
#pragma unroll
        for (int i = 0; i < ROWS_A; i++) pixel[i] = pixel_of(p.windows, m0 + lane + i * STEP);
    }
    auto load = [&](int k0) {
        int k = k0 + column;
        int tap = WINDOWED ? k / p.channels : 0, channel = base + k - tap * p.channels;
#pragma unroll
        for (int i = 0; i < ROWS_A; i++) {
            int row = m0 + lane + i * STEP;
            row_next[i] = row < p.rows && k < p.k ? (WINDOWED ? tap_row(p.windows, pixel[i], tap) : row) : -1;
            if (row_next[i] >= 0) fetch(p.x, row_next[i], channel, x_next[i]);
        }
#pragma unroll
        for (int i = 0; i < ROWS_B; i++) {
            int n = n0 + lane + i * STEP;
            w_next[i] = n < p.n && k < p.k ? load8(w, (size_t)n * p.k + k) : zeros();
        }
    };
    auto put = [&](int stage, int k0) {
        int k = k0 + column;
        int tap = WINDOWED ? k / p.channels : 0, channel = base + k - tap * p.channels;
        Coefficients c;
        if (k < p.k) load_coefficients(p.x, channel, c);
#pragma unroll
        for (int i = 0; i < ROWS_A; i++) {
            float v[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
            if (row_next[i] >= 0) finish_read(p.x, c, x_next[i], row_next[i], channel, v);
#if STORAGE == 0
            float* to = (float*)shared + stage * BK * LD_A + column * LD_A + lane + i * STEP;
            for (int j = 0; j < 8; j++) to[j * LD_A] = v[j];
#else
            store8(shared, stage * BM * LD + (lane + i * STEP) * LD + column, narrow(v));
#endif
        }
#pragma unroll
        for (int i = 0; i < ROWS_B; i++) {
#if STORAGE == 0
            float v[8];
            widen(w_next[i], v);
            float* to = (float*)shared + 2 * BK * LD_A + stage * BK * LD_B + column * LD_B + lane + i * STEP;
            for (int j = 0; j < 8; j++) to[j * LD_B] = v[j];
#else
            store8(shared, 2 * BM * LD + stage * BN * LD + (lane + i * STEP) * LD + column, w_next[i]);
#endif
        }
    };
#if STORAGE == 0
    int tm = thread / 8 * 8, tn = thread % 8 * 8;
    float acc[8][8] = {};
#else
    int warp = thread / 32, l = thread % 32;
    float acc[2][8][4] = {};
#endif
    load(0);
    put(0, 0);
    __syncthreads();
    int stage = 0;
    for (int k0 = 0; k0 < p.k; k0 += BK, stage ^= 1) {
        bool more = k0 + BK < p.k;
        if (more) load(k0 + BK);
#if STORAGE == 0
        const float* xs = (const float*)shared + stage * BK * LD_A + tm;
        const float* ws = (const float*)shared + 2 * BK * LD_A + stage * BK * LD_B + tn;
#pragma unroll 4
        for (int kk = 0; kk < BK; kk++) {
            float a[8], b[8];
#pragma unroll
            for (int i = 0; i < 8; i++) { a[i] = xs[kk * LD_A + i]; b[i] = ws[kk * LD_B + i]; }
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) acc[i][j] += a[i] * b[j];
        }
#else
        const T* xs = (const T*)shared + stage * BM * LD;
        const T* ws = (const T*)shared + 2 * BM * LD + stage * BN * LD;
#pragma unroll
        for (int kk = 0; kk < BK; kk += 16) {
            u32 a[2][4];
#pragma unroll
            for (int i = 0; i < 2; i++)
                ldmatrix4(a[i], xs + (warp * 32 + i * 16 + l % 16) * LD + kk + l / 16 * 8);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                u32 b[4]; // columns j*16..+8 (low k, high k), then +8..+16
                ldmatrix4(b, ws + (j * 16 + l / 16 * 8 + l % 8) * LD + kk + l / 8 % 2 * 8);
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    mma(acc[i][2 * j], a[i], b[0], b[1]);
                    mma(acc[i][2 * j + 1], a[i], b[2], b[3]);
                }
            }
        }
#endif
        if (more) put(stage ^ 1, k0 + BK);
        __syncthreads();
    }
    float* tile = (float*)shared;
#if STORAGE == 0
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) tile[(tm + i) * TILE_LD + tn + j] = acc[i][j];
#else
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int row = warp * 32 + i * 16 + e / 2 * 8 + l / 4;
                tile[row * TILE_LD + j * 8 + l % 4 * 2 + e % 2] = acc[i][j][e];
            }
#endif
    __syncthreads();
    Sums sums = {};
    int vector = thread % 8 * 8;
    if (n0 + vector < p.n) {
        for (int r = thread / 8; r < BM && m0 + r < p.rows; r += 16) {
            float v[8];
#pragma unroll
            for (int i = 0; i < 8; i++) v[i] = tile[r * TILE_LD + vector + i];
            finish_write(p.out, m0 + r, group * p.n + n0 + vector, v, sums);
        }
    }
    // Columns beyond the group belong to the next one.
    int width = gridDim.y * p.n, end = group * p.n + p.n;
    write_sums(p.out, blockIdx.x / across, width, group * p.n + n0, end, sums, partial);
}

KERNEL(product_pointwise, Product, 128, product<false>(p))
KERNEL(product_windowed, Product, 128, product<true>(p))
#undef STEP
