/*
 * spc_runtime.h - what a compiled model needs at run time on a CPU: its context, a thread pool, a clock for profiles.
 * Everything is static: two models in one program do not meet. Included by <name>.c only.
 */
#ifndef SPC_RUNTIME_H
#define SPC_RUNTIME_H

#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "spc.h"
#if !defined(SPC_NO_THREADS)
#include <pthread.h>
#include <sched.h>
#endif

#define SPC_MAX_THREADS 64

#if !defined(SPC_NO_THREADS)
typedef struct spc_worker {
  struct spc_context *context;
  int index;
  pthread_t thread;
} spc_worker;
#endif

struct spc_context {
  const struct spc_path *path;  /* of a model with several (spc_dispatch.h): whose functions work on this; kept first */
  unsigned char *arena;         /* working memory of all steps */
  const unsigned char *weights; /* packed constants */
  void *owned;                  /* allocation to free, if create made it */
  double *profile;
  double step_start;
  int threads;
  spc_parallel_for parallel_for;
  void *parallel_user;
#if !defined(SPC_NO_THREADS)
  /*
   * The pool: a worker waits for `generation` to change, first spinning (layers follow each other within microseconds, waking a
   * thread costs ten), then asleep; it runs its share of `task` and counts down `pending`. Accessed with __atomic_ functions:
   * generation, pending, sleeping, stopping.
   */
  pthread_mutex_t lock;
  pthread_cond_t start;
  unsigned long generation;
  int pending, sleeping, stopping, started;
  spc_task task;
  void *argument;
  long extent;
  spc_worker workers[SPC_MAX_THREADS];
#endif
};

static inline double spc_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void spc_step_begin(struct spc_context *c) {
  if (c->profile) c->step_start = spc_seconds();
}
static inline void spc_step_end(struct spc_context *c, int step) {
  if (c->profile) c->profile[step] += spc_seconds() - c->step_start;
}

#if !defined(SPC_NO_THREADS)
/* Share `part` of `parts` of 0..extent: the same split every time, so results do not depend on timing. */
static inline long spc_share(long extent, int part, int parts) {
  return extent * part / parts;
}

/* Times to look before sleeping: some tens of microseconds. */
#define SPC_SPINS 4000

static inline void spc_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Waits until the generation is no longer `seen`. */
static inline void spc_await_work(struct spc_context *c, unsigned long seen) {
  for (int i = 0; i < SPC_SPINS; ++i) {
    if (__atomic_load_n(&c->generation, __ATOMIC_ACQUIRE) != seen) return;
    spc_pause();
  }
  pthread_mutex_lock(&c->lock);
  /* sequentially consistent with spc_publish: either it sees the sleeper or the sleeper sees its work */
  __atomic_add_fetch(&c->sleeping, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&c->generation, __ATOMIC_SEQ_CST) == seen) pthread_cond_wait(&c->start, &c->lock);
  __atomic_sub_fetch(&c->sleeping, 1, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&c->lock);
}

static inline void spc_publish(struct spc_context *c) {
  __atomic_add_fetch(&c->generation, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&c->sleeping, __ATOMIC_SEQ_CST) == 0) return;
  pthread_mutex_lock(&c->lock);
  pthread_cond_broadcast(&c->start);
  pthread_mutex_unlock(&c->lock);
}

static void *spc_worker_main(void *argument) {
  const spc_worker *self = (const spc_worker *)argument;
  struct spc_context *c = self->context;
  for (unsigned long seen = 0;; ++seen) {
    spc_await_work(c, seen);
    if (__atomic_load_n(&c->stopping, __ATOMIC_ACQUIRE)) return NULL;
    const long begin = spc_share(c->extent, self->index, c->threads), end = spc_share(c->extent, self->index + 1, c->threads);
    if (begin < end) c->task(c->argument, begin, end);
    __atomic_sub_fetch(&c->pending, 1, __ATOMIC_RELEASE);
  }
}

static inline void spc_pool_stop(struct spc_context *c) {
  if (c->started == 0) return;
  __atomic_store_n(&c->stopping, 1, __ATOMIC_RELEASE);
  spc_publish(c);
  for (int i = 0; i < c->started; ++i) pthread_join(c->workers[i].thread, NULL);
  pthread_mutex_destroy(&c->lock);
  pthread_cond_destroy(&c->start);
  c->started = 0;
}

static inline spc_status spc_pool_start(struct spc_context *c) {
  if (c->threads <= 1 || c->parallel_for) return SPC_OK;
  pthread_mutex_init(&c->lock, NULL);
  pthread_cond_init(&c->start, NULL);
  for (int i = 0; i < c->threads - 1; ++i) {
    c->workers[i].context = c;
    c->workers[i].index = i + 1;
    if (pthread_create(&c->workers[i].thread, NULL, spc_worker_main, &c->workers[i]) != 0) {
      spc_pool_stop(c);
      return SPC_ERROR_THREADS;
    }
    c->started = i + 1;
  }
  return SPC_OK;
}
#else
static inline void spc_pool_stop(struct spc_context *c) { (void)c; }
static inline spc_status spc_pool_start(struct spc_context *c) { return c->threads > 1 && !c->parallel_for ? SPC_ERROR_THREADS : SPC_OK; }
#endif

/* Runs task over 0..extent, on the caller's scheduler, the pool, or here. */
static inline void spc_for(struct spc_context *c, spc_task task, void *argument, long extent) {
  if (c->threads <= 1) {
    task(argument, 0, extent);
  } else if (c->parallel_for) {
    c->parallel_for(c->parallel_user, task, argument, extent);
  }
#if !defined(SPC_NO_THREADS)
  else {
    c->task = task;
    c->argument = argument;
    c->extent = extent;
    __atomic_store_n(&c->pending, c->threads - 1, __ATOMIC_RELAXED);
    spc_publish(c);
    task(argument, 0, spc_share(extent, 1, c->threads));
    for (int i = 0; __atomic_load_n(&c->pending, __ATOMIC_ACQUIRE) != 0; ++i) {
      if (i < SPC_SPINS) spc_pause();
      else sched_yield(); /* more threads than processors: let them work */
    }
  }
#endif
}

static inline size_t spc_align(size_t bytes, size_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

/* Shared part of <name>_create. `embedded` are weights that are part of the code (NULL: they come with the options). */
static inline spc_status spc_context_create(const spc_model_info *info, const unsigned char *embedded, const spc_options *options,
                                            void *memory, spc_context **context) {
  static const spc_options defaults = {0};
  if (!context) return SPC_ERROR_ARGUMENT;
  *context = NULL;
  if (!options) options = &defaults;
  if (options->threads < 0 || options->threads > SPC_MAX_THREADS) return SPC_ERROR_ARGUMENT;
  if ((uintptr_t)memory % info->alignment != 0) return SPC_ERROR_ARGUMENT;
  if (info->weights_bytes > 0 && (!options->weights || options->weights_bytes != info->weights_bytes ||
                                  (uintptr_t)options->weights % info->alignment != 0)) {
    return SPC_ERROR_WEIGHTS;
  }
  void *owned = NULL;
  if (!memory) {
    /* malloc and a hand-made alignment: aligned_alloc is missing on some systems */
    owned = malloc(info->context_bytes + info->alignment);
    if (!owned) return SPC_ERROR_MEMORY;
    memory = (void *)spc_align((uintptr_t)owned, info->alignment);
  }
  struct spc_context *c = (struct spc_context *)memory;
  memset(c, 0, sizeof *c);
  c->owned = owned;
  c->arena = (unsigned char *)memory + spc_align(sizeof *c, info->alignment);
  c->weights = info->weights_bytes > 0 ? (const unsigned char *)options->weights : embedded;
  c->profile = options->profile;
  c->threads = options->threads > 1 ? options->threads : 1;
  c->parallel_for = options->parallel_for;
  c->parallel_user = options->parallel_user;
  const spc_status status = spc_pool_start(c);
  if (status != SPC_OK) {
    free(owned);
    return status;
  }
  *context = c;
  return SPC_OK;
}

static inline void spc_context_destroy(spc_context *c) {
  if (!c) return;
  spc_pool_stop(c);
  free(c->owned);
}
#endif
