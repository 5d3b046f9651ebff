#include "shim.h"
#include <vector>
#if !defined(__x86_64__) || defined(__SANITIZE_ADDRESS__)
#define UCONTEXT
#include <ucontext.h>
#endif

#ifdef SHARED_SECTION
// The linker's names for the ends of the section.
extern "C" char __start_gpu_shared[], __stop_gpu_shared[];
#endif

namespace shim {
Index thread, block, grid;
static Entry* entries[3];
static u32 alive, warp_alive[32];
struct Barrier { u32 arrived, generation; };
static Barrier block_barrier, warp_barrier[32];
static Slot slots[1024];
static u32 current;
static bool moved; // whether a barrier was passed or a thread ended

struct Fiber {
#ifdef UCONTEXT
    ucontext_t context;
#else
    void* stack_pointer;
#endif
    char* stack;
    bool done;
};
static std::vector<Fiber> fibers;
static const size_t STACK = 64 << 10;
static void (*body)(const void*);
static const void* arguments;

void add(int storage, Entry* entry) {
    entry->next = entries[storage];
    entries[storage] = entry;
}
u32 lane() { return current % 32; }
Slot& slot(u32 lane) { return slots[current / 32 * 32 + lane]; }

#ifdef UCONTEXT
static ucontext_t scheduler;
static void enter() {
    body(arguments);
    fibers[current].done = true;
    swapcontext(&fibers[current].context, &scheduler);
}
static void prepare(Fiber& fiber) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, enter, 0);
}
static void resume(Fiber& fiber) { swapcontext(&scheduler, &fiber.context); }
static void yield() { swapcontext(&fibers[current].context, &scheduler); }
#else
// Saves the registers that a call keeps, and continues on another stack.
extern "C" void shim_switch(void** from, void* to);
asm(R"(
.text
.globl shim_switch
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
static void* scheduler;
static void enter() {
    body(arguments);
    fibers[current].done = true;
    shim_switch(&fibers[current].stack_pointer, scheduler);
    abort();
}
static void prepare(Fiber& fiber) {
    void** top = (void**)(fiber.stack + STACK);
    *--top = nullptr; // keeps the stack aligned as after a call
    *--top = (void*)enter;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber.stack_pointer = top;
}
static void resume(Fiber& fiber) { shim_switch(&scheduler, fiber.stack_pointer); }
static void yield() { shim_switch(&fibers[current].stack_pointer, scheduler); }
#endif

static void wait(Barrier& barrier, u32 count) {
    u32 generation = barrier.generation, index = current;
    if (++barrier.arrived == count) {
        barrier.arrived = 0;
        barrier.generation++;
        moved = true;
        return;
    }
    Index own = thread;
    while (barrier.generation == generation) yield();
    thread = own;
    current = index;
}
void sync_block() { wait(block_barrier, alive); }
void sync_warp() { wait(warp_barrier[current / 32], warp_alive[current / 32]); }

static void run_block(u32 threads, bool reverse) {
    if (fibers.size() < threads) fibers.resize(threads);
#ifdef SHARED_SECTION
    memset(__start_gpu_shared, 0xff, __stop_gpu_shared - __start_gpu_shared);
#endif
    block_barrier = {};
    alive = threads;
    for (u32 w = 0; w < 32; w++) { warp_barrier[w] = {}; warp_alive[w] = 0; }
    for (u32 i = 0; i < threads; i++) {
        Fiber& fiber = fibers[i];
        if (!fiber.stack) fiber.stack = (char*)aligned_alloc(64, STACK);
        fiber.done = false;
        warp_alive[i / 32]++;
        prepare(fiber);
    }
    for (u32 left = threads; left;) {
        moved = false;
        for (u32 i = 0; i < threads; i++) {
            current = reverse ? threads - 1 - i : i;
            Fiber& fiber = fibers[current];
            if (fiber.done) continue;
            thread = {current, 0, 0};
            u32 index = current;
            resume(fiber);
            current = index;
            if (fibers[index].done) { left--; moved = true; }
        }
        if (!moved) {
            fprintf(stderr, "some threads of a block wait for others, which ended or wait elsewhere\n");
            abort();
        }
    }
}

float f16_to_f32(u32 h) {
    u32 sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 0) {
        float x = ldexpf((float)fraction, -24);
        return sign ? -x : x;
    }
    u32 bits = exponent == 31 ? sign | 0x7f800000u | fraction << 13 : sign | (exponent + 112) << 23 | fraction << 13;
    return bits_to_f32(bits);
}
u32 f32_to_f16(float x) {
    u32 b;
    memcpy(&b, &x, 4);
    u32 sign = b >> 16 & 0x8000u, magnitude = b & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0x7fff;
    if (magnitude >= 0x477ff000u) return sign | 0x7c00u; // rounds to infinity
    if (magnitude < 0x38800000u) return sign | (u32)rintf(ldexpf(bits_to_f32(magnitude), 24));
    return sign | ((magnitude + 0xfffu + (magnitude >> 13 & 1)) >> 13) - (112u << 10);
}
}

// Runs a kernel. Returns 1 for an unknown name, 2 for arguments of another size.
extern "C" int shim_launch(int storage, const char* name, const u32* grid, const void* args, size_t size, int reverse) {
    using namespace shim;
    for (Entry* entry = entries[storage]; entry; entry = entry->next) {
        if (strcmp(entry->name, name)) continue;
        if (entry->size != size) return 2;
        body = entry->run;
        arguments = args;
        shim::grid = {grid[0], grid[1], grid[2]};
        for (block.z = 0; block.z < grid[2]; block.z++)
            for (block.y = 0; block.y < grid[1]; block.y++)
                for (block.x = 0; block.x < grid[0]; block.x++) run_block(entry->threads, reverse);
        return 0;
    }
    return 1;
}
