import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';

const here = dirname(fileURLToPath(import.meta.url)), work = mkdtempSync(join(tmpdir(), 'spc-select-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/**
 * Selections of every form against a sort, on arrays that end where memory does (the sanitizers see what reads beyond). Prints selections, and how
 * many went wrong.
 */
const program = `
#include <stdio.h>
#include <stdlib.h>
#include "spc_select.h"
static uint32_t state = 1;
static uint32_t next(void) { state = state * 1664525u + 1013904223u; return state >> 8; }
static float uniform(void) { return (float)next() / 0x1p23f - 1.0f; }
static const float *sorted; static const uint32_t *rank_of;
static int order(const void *p, const void *q) {
  const int a = *(const int *)p, b = *(const int *)q; const float x = sorted[a], y = sorted[b];
  if ((x != x) != (y != y)) return x != x ? 1 : -1;
  return x > y ? -1 : x < y ? 1 : rank_of[a] < rank_of[b] ? -1 : 1;
}
/* what stays of x: the definition */
static void reference(float *y, const float *x, long n, long k, int all, const uint32_t *rank) {
  int *at = malloc((size_t)n * sizeof *at);
  for (long i = 0; i < n; ++i) { at[i] = (int)i; y[i] = 0; }
  sorted = x; rank_of = rank; qsort(at, (size_t)n, sizeof *at, order);
  const float kth = x[at[k - 1]];
  for (long i = 0; i < n; ++i) if (all ? x[at[i]] >= kth : i < k) y[at[i]] = x[at[i]];
  free(at);
}
static int same(float a, float b) { return a == b || (a != a && b != b); }
enum { KINDS = 12 };
static float element(int kind) {
  const float u = uniform();
  switch (kind) {
    case 0: return u;                                     /* positive and negative */
    case 1: return u > 0 ? u : 0;                         /* after a ReLU */
    case 2: return floorf(u * 3) / 3;                     /* ties, of both signs */
    case 3: return -1 - floorf((u + 1) * 2);              /* negative ties */
    case 4: return next() % 3 ? u : NAN;
    case 5: return next() % 4 == 0 ? INFINITY : next() % 4 == 0 ? -INFINITY : u;
    case 6: return 1.5f;
    case 7: return next() % 2 ? 0.0f : -0.0f;
    case 8: return u * u * u * u * 1e30f;                 /* far from normal */
    case 9: return next() % 5 ? NAN : u;
    case 10: return u * 0x1p-140f;                        /* subnormal */
    default: return u < 0 ? -expf(8 * u) : expf(8 * u);
  }
}
/* a new array of exactly n elements, so that a sanitizer sees its end */
__attribute__((noinline)) static void *array(int n) { return malloc(n < 1 ? 4 : (size_t)n * 4); }
static long tests, wrong;
static void global(long n, long k, int kind, int all, int permuted) {
  float *x = array((int)n), *want = array((int)n), *y = array((int)n), *values = array((int)n + SPC_LANES);
  int32_t *list = array(SPC_LIST + (int)n + SPC_LANES);
  uint32_t *rank = array((int)n), *logical = array((int)n);
  for (long i = 0; i < n; ++i) { x[i] = element(kind); rank[i] = (uint32_t)(permuted ? (i * 7 + 3) % n : i); }
  for (long i = 0; i < n; ++i) logical[rank[i]] = (uint32_t)i;
  reference(want, x, n, k, all, rank);
  spc_winners_list(list, values, x, n, k, all, 0.5f, permuted ? logical : NULL);
  int finite = 1, bad = 0; memset(y, 0, (size_t)n * 4);
  for (int i = 0; i < list[0]; ++i) { finite &= isfinite(values[i]) != 0; y[list[SPC_LIST + i]] = values[i]; bad |= !same(x[list[SPC_LIST + i]], values[i]); }
  for (long i = 0; i < n; ++i) bad |= !same(y[i], want[i]);
  bad |= finite != list[1];
  ++tests; wrong += bad;
  spc_winners_dense(x, list, values, x, n, k, all, 0.5f, permuted ? logical : NULL); /* in place */
  bad = 0; for (long i = 0; i < n; ++i) bad |= !same(x[i], want[i]);
  ++tests; wrong += bad;
  spc_list_nonzero(list, values, x, n);
  bad = 0; int active = 0; for (long i = 0; i < n; ++i) active += x[i] != 0;
  if (list[0] != active) bad = 1;
  for (int i = 0; i < list[0]; ++i) bad |= !same(x[list[SPC_LIST + i]], values[i]) || values[i] == 0 || (i && list[SPC_LIST + i] <= list[SPC_LIST + i - 1]);
  ++tests; wrong += bad;
  free(x); free(want); free(y); free(values); free(list); free(rank); free(logical);
}
static void local(long pixels, long channels, int k, int kind, int all) {
  float *x = array((int)(pixels * channels)), *want = array((int)(pixels * channels)), *values = array((int)channels + SPC_LANES);
  int32_t *list = array(SPC_LIST + (int)channels + SPC_LANES);
  uint32_t *rank = array((int)channels);
  for (long i = 0; i < channels; ++i) rank[i] = (uint32_t)i;
  for (long i = 0; i < pixels * channels; ++i) x[i] = element(kind == KINDS ? (int)(next() % KINDS) : kind);
  for (long p = 0; p < pixels; ++p) reference(want + p * channels, x + p * channels, channels, k, all, rank);
  spc_winners_pixels(x, list, values, x, pixels, channels, k, all, 0.5f);
  for (long p = 0; p < pixels; ++p) { int bad = 0; for (long c = 0; c < channels; ++c) bad |= !same(x[p * channels + c], want[p * channels + c]); ++tests; wrong += bad; }
  free(x); free(want); free(values); free(list); free(rank);
}
int main(void) {
  static const long sizes[] = {1, 2, 7, 15, 16, 17, 31, 64, 65, 100, 129, 257, 1000};
  for (int kind = 0; kind < KINDS; ++kind) for (int all = 0; all < 2; ++all) for (int repeat = 0; repeat < REPEATS; ++repeat) {
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; ++s) {
      const long n = sizes[s], ks[] = {1, n, n > 1 ? n - 1 : 1, 1 + (long)(next() % (uint32_t)n), (n + 9) / 10};
      for (int i = 0; i < 5; ++i) global(n, ks[i], kind, all, repeat % 2 && n % 7);
    }
  }
  for (int kind = 0; kind <= KINDS; ++kind) for (int all = 0; all < 2; ++all) for (int repeat = 0; repeat < REPEATS; ++repeat) for (int k = 1; k <= 8; ++k) {
    static const long channels[] = {8, 9, 16, 30, 64, 65};
    for (int c = 0; c < 6; ++c) local(1 + (long)(next() % 16), channels[c], k, kind, all);
  }
  global(12544, 1254, 0, 0, 0); global(12544, 1254, 1, 0, 1); global(1600, 160, 2, 0, 1);
  printf("%ld %ld\\n", tests, wrong);
  return 0;
}`;

const has = (command: string): boolean => spawnSync(command, ['--version']).status === 0;
const features = (() => { try { return execFileSync('grep', ['-m1', 'flags', '/proc/cpuinfo'], { encoding: 'utf8' }); } catch { return ''; } })();

const sanitizers = ['-O1', '-g1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'], wide = features.includes('avx512vl');

describe.each([
  { name: 'gcc, AVX-512', cc: 'gcc', flags: ['-march=x86-64-v4'], here: wide, repeats: 8 },
  { name: 'gcc, AVX2', cc: 'gcc', flags: ['-march=x86-64-v3'], here: features.includes('avx2'), repeats: 1 },
  { name: 'clang, AVX-512, sanitizers', cc: 'clang', flags: ['-march=x86-64-v4', ...sanitizers], here: wide, repeats: 1 },
  { name: 'clang, generic code, sanitizers', cc: 'clang', flags: sanitizers, here: true, repeats: 1 },
])('$name', ({ name, cc, flags, here: available, repeats }) => {
  test.skipIf(!has(cc) || !available)('selections are those of a sort', { timeout: 60_000 }, () => {
    const built = join(work, name.replace(/\W/g, '')), source = `${built}.c`;
    writeFileSync(source, program);
    execFileSync(cc, ['-std=c11', '-O2', `-DREPEATS=${repeats}`, '-ffp-contract=fast', '-fno-math-errno', '-fno-trapping-math', '-fwrapv', '-Wno-psabi', '-Wall', '-Wextra', '-Werror', ...flags,
      '-I', here, source, '-o', built, '-lm'], { stdio: 'pipe' });
    const [tests, wrong] = execFileSync(built, { encoding: 'utf8' }).split(' ').map(Number);
    expect(wrong).toBe(0);
    expect(tests).toBeGreaterThan(14_000 * repeats);
  });
});
