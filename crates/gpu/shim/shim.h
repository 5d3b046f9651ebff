// CUDA C++ on a CPU, for tests: a block's threads are fibers, so that barriers, shuffles and matrix instructions mean
// what they mean on a GPU. One block runs at a time.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

typedef uint32_t u32;
typedef uint16_t u16;
#define HOST_SHIM
#define DEV static inline
#define CALLED static
// Shared memory lies together, so that it is filled with NaN before each block: it starts undefined on a GPU.
// AddressSanitizer guards no variables in sections.
#if defined(__ELF__) && !defined(__SANITIZE_ADDRESS__)
#define SHARED_SECTION
#define __shared__ static __attribute__((section("gpu_shared")))
#else
#define __shared__ static
#endif
#define __launch_bounds__(...)
#define __align__(N) __attribute__((aligned(N)))

namespace shim {
struct Index { u32 x, y, z; };
struct Slot { u32 word[6]; float number; const void* pointer; };
extern Index thread, block, grid;
// The slots of the current thread's warp.
Slot& slot(u32 lane);
u32 lane();
void sync_block();
void sync_warp();
struct Entry {
    const char* name;
    u32 threads;
    size_t size;
    void (*run)(const void* args);
    Entry* next;
};
void add(int storage, Entry* entry);
struct Added {
    Entry entry;
    Added(int storage, Entry e) : entry(e) { add(storage, &entry); }
};
float f16_to_f32(u32 x);
u32 f32_to_f16(float x);
}
#define threadIdx (shim::thread)
#define blockIdx (shim::block)
#define gridDim (shim::grid)
#define __syncthreads() shim::sync_block()
#define RESIDENT(THREADS, BLOCKS) THREADS
#define KERNEL(NAME, ARGS, THREADS, ...) \
    static void NAME(const ARGS& p) { __VA_ARGS__; } \
    static shim::Added added_##NAME(STORAGE, {#NAME, THREADS, sizeof(ARGS), [](const void* args) { \
        ARGS copy; \
        memcpy((void*)&copy, args, sizeof copy); \
        NAME(copy); \
    }, nullptr});

DEV float bits_to_f32(u32 x) { float f; memcpy(&f, &x, 4); return f; }
DEV u32 round_bf16(float x) {
    u32 b;
    memcpy(&b, &x, 4);
    if ((b & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (b + 0x7fffu + ((b >> 16) & 1)) >> 16;
}
DEV u32 pack_bf16(float lo, float hi) { return round_bf16(lo) | round_bf16(hi) << 16; }
DEV u32 pack_f16(float lo, float hi) { return shim::f32_to_f16(lo) | shim::f32_to_f16(hi) << 16; }
DEV float f16_to_f32(u32 x) { return shim::f16_to_f32(x); }
DEV float shuffle_xor(float x, int mask) {
    shim::slot(shim::lane()).number = x;
    shim::sync_warp();
    float got = shim::slot(shim::lane() ^ mask).number;
    shim::sync_warp();
    return got;
}
static inline void ldmatrix(u32 (&d)[4], const void* row, bool transposed) {
    u32 l = shim::lane();
    if ((uintptr_t)row % 16) { fprintf(stderr, "ldmatrix: a row is not aligned to 16 bytes\n"); abort(); }
    shim::slot(l).pointer = row;
    shim::sync_warp();
    for (u32 j = 0; j < 4; j++) {
        for (u32 e = 0; e < 2; e++) {
            u32 r = transposed ? l % 4 * 2 + e : l / 4, c = transposed ? l / 4 : l % 4 * 2 + e;
            u32 x = ((const u16*)shim::slot(8 * j + r).pointer)[c];
            d[j] = e ? d[j] | x << 16 : x;
        }
    }
    shim::sync_warp();
}
DEV void ldmatrix4(u32 (&d)[4], const void* row) { ldmatrix(d, row, false); }
DEV void ldmatrix4_transposed(u32 (&d)[4], const void* row) { ldmatrix(d, row, true); }
template <class F> static inline void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, F wide) {
    u32 l = shim::lane(), group = l / 4, pair = l % 4;
    shim::Slot& mine = shim::slot(l);
    for (int i = 0; i < 4; i++) mine.word[i] = a[i];
    mine.word[4] = b0;
    mine.word[5] = b1;
    shim::sync_warp();
    for (u32 i = 0; i < 4; i++) {
        u32 row = group + (i >= 2 ? 8 : 0), column = pair * 2 + i % 2;
        float sum = c[i];
        for (u32 k = 0; k < 16; k++) {
            u32 x = shim::slot(row % 8 * 4 + k % 8 / 2).word[(row >= 8) + 2 * (k >= 8)];
            u32 y = shim::slot(column * 4 + k % 8 / 2).word[4 + (k >= 8)];
            sum += wide(k % 2 ? x >> 16 : x & 0xffffu) * wide(k % 2 ? y >> 16 : y & 0xffffu);
        }
        c[i] = sum;
    }
    shim::sync_warp();
}
DEV void mma_bf16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply(c, a, b0, b1, [](u32 x) { return bits_to_f32(x << 16); });
}
DEV void mma_f16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply(c, a, b0, b1, [](u32 x) { return shim::f16_to_f32(x); });
}
