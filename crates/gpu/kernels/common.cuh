// What all kernels share: the storage type, how operands are read, how results are written.
//
// No header is included, since NVRTC comes without any. STORAGE chooses the type of activations in memory: 0 is f32,
// 1 bf16, 2 f16. Sums and coefficients are always f32. The structs have twins in src/args.rs.
//
// The number of channels of every value in memory is a multiple of 8, and a thread handles 8 at a time. Channels beyond
// a layer's own hold finite numbers, which weights of 0 multiply.
#ifndef HOST_SHIM
typedef unsigned int u32;
typedef unsigned short u16;
#define DEV static __device__ __forceinline__
#define CALLED static __device__ __noinline__
// The threads of a kernel of which this many blocks must fit on a multiprocessor.
#define RESIDENT(THREADS, BLOCKS) THREADS, BLOCKS
#define KERNEL(NAME, ARGS, THREADS, ...) \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME(const ARGS p) { __VA_ARGS__; }
DEV float bits_to_f32(u32 x) { return __uint_as_float(x); }
DEV u32 pack_bf16(float lo, float hi) {
    u32 d;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(hi), "f"(lo));
    return d;
}
DEV u32 pack_f16(float lo, float hi) {
    u32 d;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(hi), "f"(lo));
    return d;
}
DEV float f16_to_f32(u32 x) {
    float d;
    asm("cvt.f32.f16 %0, %1;" : "=f"(d) : "h"((u16)x));
    return d;
}
DEV float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
#define LDMATRIX(NAME, KIND) \
    DEV void NAME(u32 (&d)[4], const void* row) { \
        u32 at = (u32)__cvta_generic_to_shared(row); \
        asm volatile("ldmatrix.sync.aligned.m8n8.x4" KIND ".shared.b16 {%0,%1,%2,%3}, [%4];" \
                     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(at)); \
    }
LDMATRIX(ldmatrix4, "")
LDMATRIX(ldmatrix4_transposed, ".trans")
#define MMA(NAME, KIND) \
    DEV void NAME(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." KIND "." KIND ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1)); \
    }
MMA(mma_bf16, "bf16")
MMA(mma_f16, "f16")
#endif

struct alignas(16) Four { u32 x, y, z, w; };
struct alignas(16) Number4 { float x, y, z, w; };

#if STORAGE == 0
typedef float T;
// 8 values as they lie in memory.
struct Raw { Number4 lo, hi; };
DEV void widen(const Raw& raw, float (&v)[8]) {
    v[0] = raw.lo.x; v[1] = raw.lo.y; v[2] = raw.lo.z; v[3] = raw.lo.w;
    v[4] = raw.hi.x; v[5] = raw.hi.y; v[6] = raw.hi.z; v[7] = raw.hi.w;
}
DEV Raw narrow(const float (&v)[8]) { return {{v[0], v[1], v[2], v[3]}, {v[4], v[5], v[6], v[7]}}; }
#else
typedef u16 T;
struct Raw { Four all; };
#if STORAGE == 1
DEV u32 pack2(float lo, float hi) { return pack_bf16(lo, hi); }
DEV float lower(u32 two) { return bits_to_f32(two << 16); }
DEV float upper(u32 two) { return bits_to_f32(two & 0xffff0000u); }
DEV void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { mma_bf16(c, a, b0, b1); }
#else
DEV u32 pack2(float lo, float hi) { return pack_f16(lo, hi); }
DEV float lower(u32 two) { return f16_to_f32(two & 0xffffu); }
DEV float upper(u32 two) { return f16_to_f32(two >> 16); }
DEV void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { mma_f16(c, a, b0, b1); }
#endif
DEV void widen(const Raw& raw, float (&v)[8]) {
    v[0] = lower(raw.all.x); v[1] = upper(raw.all.x); v[2] = lower(raw.all.y); v[3] = upper(raw.all.y);
    v[4] = lower(raw.all.z); v[5] = upper(raw.all.z); v[6] = lower(raw.all.w); v[7] = upper(raw.all.w);
}
DEV Raw narrow(const float (&v)[8]) {
    return {{pack2(v[0], v[1]), pack2(v[2], v[3]), pack2(v[4], v[5]), pack2(v[6], v[7])}};
}
#endif

DEV void store1(void* to, size_t at, float value) {
#if STORAGE == 0
    ((T*)to)[at] = value;
#else
    ((T*)to)[at] = (T)pack2(value, 0.f);
#endif
}

DEV float load1(const void* from, size_t at) {
#if STORAGE == 0
    return ((const T*)from)[at];
#else
    return lower(((const T*)from)[at]);
#endif
}

DEV Raw zeros() {
    float none[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
    return narrow(none);
}
DEV Raw load8(const void* from, size_t at) { return *(const Raw*)((const T*)from + at); }
DEV void store8(void* to, size_t at, const Raw& raw) { *(Raw*)((T*)to + at) = raw; }

DEV float limited(float x, float low, float high) {
    // NaN stays NaN.
    x = x < low ? low : x;
    return x > high ? high : x;
}
DEV float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

// Numbers of activations, as in src/args.rs.
enum { IDENTITY, RELU, RELU6, HARDSWISH, SILU, GELU, SIGMOID, HARDSIGMOID };

// Activations with exponentials are functions of their own, since copies of them in every kernel would be most of its
// code.
CALLED float smooth_activation(int kind, float x) {
    switch (kind) {
    case SILU: return x * sigmoid(x);
    case GELU: return 0.5f * x * (1.f + erff(x * 0.70710678f));
    case SIGMOID: return sigmoid(x);
    }
    return limited(x + 3.f, 0.f, 6.f) * (1.f / 6.f); // HARDSIGMOID
}

DEV float activation(int kind, float x) {
    switch (kind) {
    case IDENTITY: return x;
    case RELU: return x < 0.f ? 0.f : x;
    case RELU6: return limited(x, 0.f, 6.f);
    case HARDSWISH: return x * limited(x + 3.f, 0.f, 6.f) * (1.f / 6.f);
    }
    return smooth_activation(kind, x);
}

// The derivatives, as torch defines them at the corners.
CALLED float smooth_derivative(int kind, float x) {
    switch (kind) {
    case SILU: { float s = sigmoid(x); return s * (1.f + x * (1.f - s)); }
    case GELU: return 0.5f * (1.f + erff(x * 0.70710678f)) + x * 0.39894228f * expf(-0.5f * x * x);
    case SIGMOID: { float s = sigmoid(x); return s * (1.f - s); }
    }
    return x > -3.f && x < 3.f ? 1.f / 6.f : 0.f; // HARDSIGMOID
}

DEV float derivative(int kind, float x) {
    switch (kind) {
    case IDENTITY: return 1.f;
    case RELU: return x > 0.f ? 1.f : 0.f;
    case RELU6: return x > 0.f && x < 6.f ? 1.f : 0.f;
    case HARDSWISH: return x <= -3.f ? 0.f : x < 3.f ? x * (1.f / 3.f) + 0.5f : 1.f;
    }
    return smooth_derivative(kind, x);
}

DEV void activate8(int kind, float (&v)[8]) {
    if (kind == IDENTITY) return;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = activation(kind, v[i]);
}

// How an operand is read: alpha * factors * act(a * x + b * z + c). A value is x with the scale `a` and the shift `c`
// of its normalisation; the gradient of a normalisation's input also needs the input z. Without the pointers, a is 1
// and the others 0. Factors are [images, ldf], of `pixels` rows each. With `broadcast`, x has one row an image.
struct Read {
    const void* x;
    const void* z;
    const float* a;
    const float* b;
    const float* c;
    const void* factors;
    int ldx, ldz, ldf, pixels;
    float alpha;
    int act, broadcast, unused;
};

struct Coefficients { float a[8], b[8], c[8]; };

DEV void load_coefficients(const Read& r, int channel, Coefficients& k) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
        k.a[i] = r.a ? r.a[channel + i] : 1.f;
        k.b[i] = r.b ? r.b[channel + i] : 0.f;
        k.c[i] = r.c ? r.c[channel + i] : 0.f;
    }
}

struct Operand { Raw x, z; };

DEV void fetch(const Read& r, size_t row, int channel, Operand& o) {
    size_t from = r.broadcast ? row / r.pixels : row;
    o.x = load8(r.x, from * r.ldx + channel);
    if (r.b) o.z = load8(r.z, row * r.ldz + channel);
}

DEV void finish_read(const Read& r, const Coefficients& k, const Operand& o, size_t row, int channel, float (&v)[8]) {
    widen(o.x, v);
    if (r.a) {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = v[i] * k.a[i] + k.c[i];
    }
    if (r.b) {
        float z[8];
        widen(o.z, z);
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] += z[i] * k.b[i];
    }
    activate8(r.act, v);
    if (r.factors) {
        float f[8];
        widen(load8(r.factors, row / r.pixels * r.ldf + channel), f);
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] *= f[i];
    }
    if (r.alpha != 1.f) {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] *= r.alpha;
    }
}

DEV void read8(const Read& r, size_t row, int channel, float (&v)[8]) {
    Coefficients k;
    load_coefficients(r, channel, k);
    Operand o;
    fetch(r, row, channel, o);
    finish_read(r, k, o, row, channel, v);
}

// How a result v is written: act(v + bias + addend). In a backward pass v is the gradient of a value that was read as
// dact(scale * z + shift), and is multiplied by the derivative first. `sums` gets [blocks, 2, channels]: the sums of
// what was written, and of its product with itself, or with z in a backward pass.
struct Write {
    void* y;
    const void* addend;
    const float* bias;
    const void* z;
    const float* scale;
    const float* shift;
    float* sums;
    int ldy, lda, ldz, act, dact, wide;
};

struct Sums { float s[8], q[8]; };

DEV void finish_write(const Write& w, size_t row, int channel, float (&v)[8], Sums& sums) {
    if (w.bias) {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] += w.bias[channel + i];
    }
    float z[8];
    if (w.z) {
        widen(load8(w.z, row * w.ldz + channel), z);
        if (w.dact != IDENTITY) {
#pragma unroll
            for (int i = 0; i < 8; i++) {
                float u = w.scale ? z[i] * w.scale[channel + i] + w.shift[channel + i] : z[i];
                v[i] *= derivative(w.dact, u);
            }
        }
    }
    if (w.addend) {
        float other[8];
        widen(load8(w.addend, row * w.lda + channel), other);
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] += other[i];
    }
    activate8(w.act, v);
    if (w.wide) {
#pragma unroll
        for (int i = 0; i < 8; i++) ((float*)w.y)[row * w.ldy + channel + i] = v[i];
    } else if (w.y) {
        Raw raw = narrow(v);
        store8(w.y, row * w.ldy + channel, raw);
        widen(raw, v); // the sums are those of what readers see
    }
    if (w.sums) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            sums.s[i] += v[i];
            sums.q[i] += v[i] * (w.z ? z[i] : v[i]);
        }
    }
}

// A thread's part of a pass over a map: 8 channels of every 16th row. A block of 128 threads has 64 channels.
struct Share { int channel, first, last; };

DEV Share share_of(int rows, int rows_per_block) {
    int last = (blockIdx.x + 1) * rows_per_block;
    return {(int)(blockIdx.y * 64 + threadIdx.x % 8 * 8), (int)(blockIdx.x * rows_per_block + threadIdx.x / 8),
            last > rows ? rows : last};
}

// Adds the sums of a block of 128 threads and writes those of the channels from `first` to `end`: thread t has the
// channels t % 8 * 8 from the first on. `partial` is [16][64] of shared memory. All threads must call it.
DEV void write_sums(const Write& w, size_t block, int channels, int first, int end, const Sums& sums, float* partial) {
    if (!w.sums) return;
    int thread = threadIdx.x, vector = thread % 8, lane = thread / 8;
#pragma unroll
    for (int which = 0; which < 2; which++) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 8; i++) partial[lane * 64 + vector * 8 + i] = which ? sums.q[i] : sums.s[i];
        __syncthreads();
        if (thread < 64 && first + thread < end) {
            float total = 0.f;
            for (int r = 0; r < 16; r++) total += partial[r * 64 + thread];
            w.sums[(block * 2 + which) * channels + first + thread] = total;
        }
    }
}

// The geometry of a convolution or a pooling. Rows of the result are pixels (y, x) of `height` × `width`; the operand
// has `ih` × `iw`. In the transposed form, which gradients of inputs need, the result is the convolution's input.
struct Windows {
    int height, width, ih, iw, kernel, stride, above, left, transposed;
};

struct Pixel { int image, y, x; };

DEV Pixel pixel_of(const Windows& g, int row) {
    int image = row / (g.height * g.width), rest = row - image * g.height * g.width;
    int y = rest / g.width;
    return {image, y, rest - y * g.width};
}

// The operand's row for a tap, or -1 outside.
DEV int tap_row(const Windows& g, const Pixel& p, int tap) {
    int ky = tap / g.kernel, kx = tap - ky * g.kernel;
    int y, x;
    if (g.transposed) {
        int ty = p.y + g.above - ky, tx = p.x + g.left - kx;
        if (ty < 0 || tx < 0) return -1;
        y = ty / g.stride;
        x = tx / g.stride;
        if (y * g.stride != ty || x * g.stride != tx) return -1;
    } else {
        y = p.y * g.stride - g.above + ky;
        x = p.x * g.stride - g.left + kx;
    }
    if (y < 0 || x < 0 || y >= g.ih || x >= g.iw) return -1;
    return (p.image * g.ih + y) * g.iw + x;
}
