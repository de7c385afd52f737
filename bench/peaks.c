/*
 * What one core of this machine can do at most: single-precision multiply-adds, and reading from each level of the memory
 * hierarchy. Prints one JSON object. Vector registers of the compiler's target are used at their full width, through GCC and
 * Clang's vector extensions, so the same source serves every processor.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512F__)
#define WIDTH 64
#define REGISTER "v"
#elif defined(__AVX__)
#define WIDTH 32
#define REGISTER "x"
#elif defined(__x86_64__)
#define WIDTH 16
#define REGISTER "x"
#else
#define WIDTH 16
#define REGISTER "w"
#endif
typedef float vector __attribute__((vector_size(WIDTH)));

/* The compiler must believe that the value is used, and changed. */
#define OPAQUE(x) __asm__ volatile("" : "+" REGISTER(x))

enum { SAMPLES = 7 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Multiply-adds on 12 independent registers: more than latency times units of any current core. Names, for an array would live in memory. */
#define EACH(use) use(a) use(b) use(c) use(d) use(e) use(f) use(g) use(h) use(i) use(j) use(k) use(l)
#define START(x) vector x = term;
#define STEP(x) x = x * factor + term; OPAQUE(x);
enum { ACCUMULATORS = 12, STEPS = 400000 };

static double multiply_adds(void) {
  double best = 0;
  vector factor, term;
  for (size_t n = 0; n < WIDTH / sizeof(float); ++n) factor[n] = 0.5f, term[n] = 0.25f;
  OPAQUE(factor);
  OPAQUE(term);
  for (int sample = 0; sample < SAMPLES; ++sample) {
    EACH(START)
    const double start = now();
    for (long step = 0; step < STEPS; ++step) { EACH(STEP) }
    const double rate = 2.0 * STEPS * ACCUMULATORS * (WIDTH / sizeof(float)) / (now() - start);
    if (rate > best) best = rate;
  }
  return best;
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median bytes a second of reading `bytes` again and again. */
static double read_rate(const vector *memory, size_t bytes) {
  double rates[SAMPLES];
  const size_t count = bytes / sizeof(vector) / 8 * 8;
  const long passes = bytes >= (16u << 20) ? 1 : (long)((16u << 20) / bytes);
  for (int sample = 0; sample < SAMPLES; ++sample) {
    const double start = now();
    for (long pass = 0; pass < passes; ++pass)
      for (size_t i = 0; i < count; i += 8)
#pragma GCC unroll 8
        for (size_t j = 0; j < 8; ++j) {
          vector x = memory[i + j];
          OPAQUE(x);
        }
    rates[sample] = (double)passes * (double)(count * sizeof(vector)) / (now() - start);
  }
  qsort(rates, SAMPLES, sizeof *rates, ascending);
  return rates[SAMPLES / 2];
}

/* As Linux tells it of the first core; the C library's sysconf may tell all cores' caches together. */
static size_t cache_bytes(int index, size_t otherwise) {
  char path[80];
  size_t kilobytes = 0;
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
  FILE *file = fopen(path, "r");
  if (!file) return otherwise;
  const int found = fscanf(file, "%zuK", &kilobytes);
  fclose(file);
  return found == 1 && kilobytes > 0 ? kilobytes << 10 : otherwise;
}

int main(void) {
  const size_t sizes[3] = {cache_bytes(0, 32u << 10), cache_bytes(2, 1u << 20), cache_bytes(3, 32u << 20)};
  /* A share of each cache that surely is there; of the last one, which others use too, a quarter. */
  const size_t reads[4] = {sizes[0] * 3 / 4, sizes[1] / 2, sizes[2] / 4, 256u << 20};
  vector *memory = aligned_alloc(4096, reads[3]);
  if (!memory) return 1;
  memset(memory, 0, reads[3]);
  printf("{\"vectorBytes\": %d, \"flops\": %.4g, \"cacheBytes\": [%zu, %zu, %zu], \"read\": [", WIDTH, multiply_adds(), sizes[0], sizes[1], sizes[2]);
  for (int i = 0; i < 4; ++i) printf("%s%.4g", i ? ", " : "", read_rate(memory, reads[i]));
  printf("]}\n");
  free(memory);
  return 0;
}
