/*
 * spc_emu.h - runs CUDA kernels on the host: the execution model, not the speed. Included by spc_cuda.h where the compiler is
 * not nvcc, so that the very source that goes to the GPU can be tested anywhere.
 *
 * Blocks run one after the other. Each CUDA thread that has to wait gets a fiber of its own; a warp runs until all of its lanes
 * wait for something outside it. Barriers and warp collectives are rendezvous of fibers. What real hardware leaves to chance is
 * left to chance here too, from a seed (environment variable SPC_EMU_SEED; 0, the default, is program order): the order of
 * blocks, of warps in a block and of lanes in a warp. A correct kernel gives the same bits for every seed.
 *
 * Detected, with the block and thread where it happened: a barrier that not all threads reach, threads that wait at different
 * barriers, lanes of a warp in different collectives or gone. Shared and device memory start as NaN, so that reading what was
 * never written (or not yet: a missing barrier) shows in the results. Works under AddressSanitizer.
 *
 * What a captured stream is given is recorded and replayed (spc_timing.h); waiting and allocating meanwhile spoil the capture, as on a device.
 *
 * With SPC_EMU_STATISTICS in the environment, every launch tells how often tensor cores multiplied and banks of shared memory conflicted.
 *
 * Not modelled: time, caches, the weak memory order of global memory.
 */
#ifndef SPC_EMU_H
#define SPC_EMU_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define SPC_EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPC_EMU_ASAN 1
#endif
#endif
#if defined(SPC_EMU_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

namespace spc_emu {

constexpr unsigned kWarpSize = 32;
constexpr size_t kStackBytes = 64 * 1024;
/* Operands and results that one lane may bring to a warp collective, in 32-bit words. */
constexpr int kCollectiveWords = 16;

struct Fiber;

/* 16 bytes on the way to shared memory. */
struct Copy {
  unsigned char *to;
  unsigned char bytes[16];
};

struct Thread {
  dim3 index;
  unsigned lane = 0, warp = 0;
  Fiber *fiber = nullptr; /* set while the thread is suspended in one */
  bool done = false;
  /* The thread waits until *generation differs from `seen`. */
  const unsigned *generation = nullptr;
  unsigned seen = 0;
  const char *waits_for = "";
  int line = 0;
  std::vector<Copy> copies;              /* begun since the last group */
  std::vector<std::vector<Copy>> groups; /* not yet waited for, the oldest first */
  std::vector<unsigned char *> written;  /* 16 bytes of shared memory each, since the last fence.proxy.async */
};

/* A stack on which threads run: one after the other as long as none of them waits. */
struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
};

/* Where lanes meet, again and again. */
struct Rendezvous {
  unsigned arrived = 0, generation = 0;
  int operation = 0;
};

struct Warp : Rendezvous {
  unsigned alive = 0;
  uint32_t in[kWarpSize][kCollectiveWords], out[kWarpSize][kCollectiveWords];
  std::vector<unsigned> start_order; /* threads not yet started, last first */
};

/* A product of four warps that is under way: what its lanes brought, and what it will have read when it is waited for. */
struct Product {
  int n = 0;
  uint64_t descriptor = 0;
  std::vector<unsigned char> b; /* n rows of B */
  struct Lane {
    float *sums;
    const uint4 *a;
    const uint32_t *e;
    uint4 a_then;
    uint32_t e_then;
    std::vector<float> results;
  } lanes[4 * kWarpSize] = {};
};

/* Four consecutive warps that multiply together (spc_emu_wgmma.h). */
struct Warpgroup : Rendezvous {
  bool fenced = false;
  Product next;
  std::vector<Product> open;                /* begun since the last group */
  std::vector<std::vector<Product>> groups; /* not yet waited for, the oldest first */
};

struct Statistics {
  uint64_t barriers = 0, collectives = 0, switches = 0;
  uint64_t products = 0; /* of tensor cores */
  uint64_t replays = 0;  /* of shared memory accesses, by bank conflicts */
};

/* All state of the launch in progress. */
struct Launch {
  dim3 grid_size, block_size, block_index;
  std::function<void()> kernel;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<Warpgroup> warpgroups;
  unsigned alive = 0, barrier_arrived = 0, barrier_generation = 0;
  int barrier_line = 0;
  unsigned char *shared = nullptr;
  size_t shared_bytes = 0;
  std::vector<unsigned char> shared_async; /* as the asynchronous proxy sees it: what fences have published */
  Thread *current = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber *> idle;
  Fiber *running = nullptr;
  ucontext_t scheduler;
  const void *scheduler_stack = nullptr; /* for AddressSanitizer only */
  size_t scheduler_stack_bytes = 0;
};

inline Launch *&current_launch() {
  static thread_local Launch *launch = nullptr;
  return launch;
}
inline Statistics &statistics() {
  static thread_local Statistics s;
  return s;
}
/* Seed of the schedule; assign to it, or set SPC_EMU_SEED. */
inline unsigned &seed() {
  static thread_local unsigned s = getenv("SPC_EMU_SEED") ? (unsigned)strtoul(getenv("SPC_EMU_SEED"), nullptr, 10) : 0u;
  return s;
}

[[noreturn]] inline void fail(const char *message, const Thread *t) {
  fprintf(stderr, "spc_emu: %s", message);
  if (t) {
    const dim3 b = current_launch()->block_index;
    fprintf(stderr, " (block %u,%u,%u thread %u,%u,%u", b.x, b.y, b.z, t->index.x, t->index.y, t->index.z);
    if (t->line) fprintf(stderr, ", line %d", t->line);
    fprintf(stderr, ")");
  }
  fprintf(stderr, "\n");
  abort();
}

/* ---- switching stacks ---- */

inline void switch_stack(ucontext_t *from, ucontext_t *to, const void *to_stack, size_t to_bytes) {
  statistics().switches++;
#if defined(SPC_EMU_ASAN)
  void *fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, to_stack, to_bytes);
  swapcontext(from, to);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
  (void)to_stack;
  (void)to_bytes;
  swapcontext(from, to);
#endif
}
inline void resume(Launch *l, Fiber *f) {
  l->running = f;
  switch_stack(&l->scheduler, &f->context, f->stack.get(), kStackBytes);
}
inline void suspend(Launch *l) { switch_stack(&l->running->context, &l->scheduler, l->scheduler_stack, l->scheduler_stack_bytes); }

/* ---- waiting ---- */

inline void release_barrier(Launch *l) {
  l->barrier_arrived = 0;
  l->barrier_generation++;
}
inline void wait_for(const unsigned *generation, unsigned seen, const char *what, int line) {
  Launch *l = current_launch();
  Thread *t = l->current;
  t->generation = generation;
  t->seen = seen;
  t->waits_for = what;
  t->line = line;
  t->fiber = l->running;
  suspend(l);
}
inline void barrier(int line) {
  Launch *l = current_launch();
  statistics().barriers++;
  l->current->line = line;
  if (l->barrier_arrived == 0) l->barrier_line = line;
  else if (l->barrier_line != line) fail("threads of one block wait at different barriers", l->current);
  const unsigned seen = l->barrier_generation;
  if (++l->barrier_arrived == l->alive) release_barrier(l);
  else wait_for(&l->barrier_generation, seen, "__syncthreads", line);
}

/* Waits for `lanes` lanes, of which the last runs compute(). `operation` names what they meet for: lanes that meet for different things have diverged. */
template <class Compute> inline void meet(Rendezvous &r, unsigned lanes, int operation, const char *what, int line, Compute compute) {
  Thread *t = current_launch()->current;
  t->line = line;
  if (r.arrived == 0) r.operation = operation;
  else if (r.operation != operation) fail("lanes of one warp are in different collectives", t);
  const unsigned seen = r.generation;
  if (++r.arrived == lanes) {
    statistics().collectives++;
    r.arrived = 0;
    r.generation++;
    compute();
  } else {
    wait_for(&r.generation, seen, what, line);
  }
}

/*
 * Rendezvous of all 32 lanes of a warp. Each brings `in_words` words; the last to arrive runs compute(warp), which fills
 * warp.out from warp.in.
 */
template <class Compute>
inline void collective(int operation, const uint32_t *in, int in_words, uint32_t *out, int out_words, int line, Compute compute) {
  Launch *l = current_launch();
  Thread *t = l->current;
  Warp &w = l->warps[t->warp];
  if (w.alive != kWarpSize) fail("warp collective with lanes missing", t);
  for (int i = 0; i < in_words; i++) w.in[t->lane][i] = in[i];
  meet(w, kWarpSize, operation, "warp collective", line, [&] { compute(w); });
  for (int i = 0; i < out_words; i++) out[i] = w.out[t->lane][i];
}

/* ---- running ---- */

/* Starts the next lane of the warp; null when all have been started. */
inline Thread *next_to_start(Launch *l, Warp &w) {
  if (w.start_order.empty()) return nullptr;
  Thread *t = &l->threads[w.start_order.back()];
  w.start_order.pop_back();
  return t;
}

/* A fiber's life: run threads of the warp it was resumed for, report back when there are no more, wait to be used again. */
inline void fiber_main() {
  Launch *l = current_launch();
#if defined(SPC_EMU_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &l->scheduler_stack, &l->scheduler_stack_bytes);
#endif
  for (;;) {
    for (Thread *t = l->current; t; t = next_to_start(l, l->warps[t->warp])) {
      l->current = t;
      l->kernel();
      t->done = true;
      l->alive--;
      l->warps[t->warp].alive--;
      /* a thread that has ended counts as arrived, as on hardware since Volta */
      if (l->alive > 0 && l->barrier_arrived == l->alive) release_barrier(l);
    }
    l->idle.push_back(l->running);
    suspend(l);
  }
}

inline Fiber *take_fiber(Launch *l) {
  if (l->idle.empty()) {
    std::unique_ptr<Fiber> f(new Fiber);
    f->stack.reset(new char[kStackBytes]);
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack.get();
    f->context.uc_stack.ss_size = kStackBytes;
    f->context.uc_link = nullptr;
    makecontext(&f->context, fiber_main, 0);
    l->idle.push_back(f.get());
    l->fibers.push_back(std::move(f));
  }
  Fiber *f = l->idle.back();
  l->idle.pop_back();
  return f;
}

/* Runs a warp until every lane has ended or waits for another warp. Returns whether anything ran. */
inline bool run_warp(Launch *l, unsigned warp) {
  const unsigned first = warp * kWarpSize, last = std::min<unsigned>(first + kWarpSize, (unsigned)l->threads.size());
  bool any = false;
  for (bool again = true; again;) {
    again = false;
    for (unsigned i = first; i < last; i++) {
      Thread &t = l->threads[i];
      if (t.done || !t.fiber || *t.generation == t.seen) continue;
      Fiber *f = t.fiber;
      t.fiber = nullptr;
      l->current = &t;
      resume(l, f);
      any = again = true;
    }
    if (Thread *t = next_to_start(l, l->warps[warp])) {
      l->current = t;
      resume(l, take_fiber(l));
      any = again = true;
    }
  }
  return any;
}

inline void run_block(Launch *l, std::mt19937 &random) {
  const unsigned count = l->block_size.x * l->block_size.y * l->block_size.z, warps = (count + kWarpSize - 1) / kWarpSize;
  l->threads.assign(count, Thread());
  l->warps.assign(warps, Warp());
  l->warpgroups.clear();
  l->warpgroups.resize(warps / 4);
  l->alive = count;
  l->barrier_arrived = 0;
  if (l->shared_bytes) memset(l->shared, 0xFF, l->shared_bytes);
  l->shared_async.assign(l->shared_bytes, 0xFF);
  for (unsigned i = count; i-- > 0;) {
    Thread &t = l->threads[i];
    t.index = dim3(i % l->block_size.x, i / l->block_size.x % l->block_size.y, i / (l->block_size.x * l->block_size.y));
    t.lane = i % kWarpSize;
    t.warp = i / kWarpSize;
    l->warps[t.warp].alive++;
    l->warps[t.warp].start_order.push_back(i);
  }
  std::vector<unsigned> order(warps);
  for (unsigned i = 0; i < warps; i++) order[i] = i;
  if (seed()) for (Warp &w : l->warps) std::shuffle(w.start_order.begin(), w.start_order.end(), random);
  while (l->alive > 0) {
    if (seed()) std::shuffle(order.begin(), order.end(), random);
    bool progress = false;
    for (unsigned w : order) progress |= run_warp(l, w);
    if (progress || l->alive == 0) continue;
    for (const Thread &t : l->threads) {
      if (t.done) continue;
      fprintf(stderr, "spc_emu: thread %u waits for %s\n", t.index.x, t.waits_for);
      fail("deadlock: not all threads reach the rendezvous", &t);
    }
  }
}

inline void launch(dim3 grid, dim3 block, size_t shared_bytes, std::function<void()> kernel) {
  Launch l;
  l.grid_size = grid;
  l.block_size = block;
  l.kernel = std::move(kernel);
  l.shared_bytes = shared_bytes;
  if (block.x * block.y * block.z > 1024) fail("more than 1024 threads in a block", nullptr);
  std::vector<unsigned char> memory(shared_bytes + 1024);
  l.shared = (unsigned char *)(((uintptr_t)memory.data() + 1023) & ~(uintptr_t)1023);
  std::mt19937 random(seed());
  std::vector<unsigned> order((size_t)grid.x * grid.y * grid.z);
  for (size_t i = 0; i < order.size(); i++) order[i] = (unsigned)i;
  if (seed()) std::shuffle(order.begin(), order.end(), random);
  current_launch() = &l;
  for (unsigned i : order) {
    l.block_index = dim3(i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y));
    run_block(&l, random);
  }
  current_launch() = nullptr;
  if (getenv("SPC_EMU_STATISTICS")) fprintf(stderr, "spc_emu: %llu products, %llu replays so far\n", (unsigned long long)statistics().products, (unsigned long long)statistics().replays);
}

/* ---- streams ---- */

/* Work is done at once; while a stream is captured, what it is given is recorded instead, as in a CUDA graph. */
struct Stream {
  std::vector<std::function<void()>> recorded;
  bool broken = false; /* something happened that cannot be part of a graph */
};
/* The stream that is captured. */
inline Stream *&captured() {
  static thread_local Stream *stream = nullptr;
  return stream;
}
/* Whether a call that no graph can have is allowed. */
inline bool allowed() {
  if (captured()) captured()->broken = true;
  return !captured();
}

/* A kernel with its arguments, which have the values of now. */
template <class Kernel, class... Arguments> std::function<void()> bound(Kernel kernel, Arguments... arguments) {
  return [=] { kernel(arguments...); };
}
inline void submit(Stream *stream, std::function<void()> work) {
  if (stream && captured() == stream) stream->recorded.push_back(std::move(work));
  else work();
}

} /* namespace spc_emu */

#define threadIdx (spc_emu::current_launch()->current->index)
#define blockIdx (spc_emu::current_launch()->block_index)
#define blockDim (spc_emu::current_launch()->block_size)
#define gridDim (spc_emu::current_launch()->grid_size)
#define __syncthreads() spc_emu::barrier(__LINE__)

#endif
