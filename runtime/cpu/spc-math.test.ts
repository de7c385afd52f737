import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16 } from '../../compiler/ir/tensor.js';

const here = dirname(fileURLToPath(import.meta.url)), work = mkdtempSync(join(tmpdir(), 'spc-math-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Prints `name worst-ulp wrong-specials` for every function, scalar and vector, over floats spread through all bit patterns. */
const accuracy = `
#include <stdio.h>
#include "spc_vector.h"
static double ulp(float x) { int e; x = fabsf(x); if (!(x > 0x1p-126f)) return 0x1p-149; frexp(x, &e); return ldexp(1, e - 24); }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double worst; static long wrong;
static void check(double truth, float got) {
  const float want = (float)truth;
  if (isnan(want) || isinf(want) || isnan(got) || isinf(got)) { wrong += !((isnan(want) && isnan(got)) || want == got); return; }
  if (want == 0 && truth == 0) wrong += signbit(want) != signbit(got);
  const double e = fabs(got - truth) / ulp(want);
  if (e > worst) worst = e;
}
/* sigmoid rounds results below the normal numbers to 0 */
static int skip(int small, float x) { return small && x < -87.0f; }
#define SCALAR(f, reference, small) { worst = 0; wrong = 0; \\
  for (uint64_t u = 0; u < 0x100000000u; u += STEP) { const float x = spc_from_bits_f32((uint32_t)u); if (!skip(small, x)) check(reference((double)x), spc_##f##_f32(x)); } \\
  printf("%s %.3f %ld\\n", #f, worst, wrong); }
#define VECTOR(f, reference, small, N) { worst = 0; wrong = 0; \\
  for (uint64_t u = 0; u < 0x100000000u; u += STEP * N) { float x[N]; \\
    for (int i = 0; i < N; ++i) x[i] = spc_from_bits_f32((uint32_t)(u + (uint64_t)i * STEP)); \\
    const spc_f32x##N y = spc_##f##_f32x##N(spc_load_f32x##N(x)); \\
    for (int i = 0; i < N; ++i) if (!skip(small, x[i])) check(reference((double)x[i]), y[i]); } \\
  printf("%s_x%d %.3f %ld\\n", #f, N, worst, wrong); }
#define VECTORS(f, reference, small) VECTOR(f, reference, small, 4) VECTOR(f, reference, small, 8) VECTOR(f, reference, small, 16)
#define ALL(f, reference, small) SCALAR(f, reference, small) VECTORS(f, reference, small)
int main(void) {
  ALL(exp, exp, 0) ALL(log, log, 0) ALL(tanh, tanh, 0) ALL(erf, erf, 0) ALL(sigmoid, sigmoid, 1) ALL(round, nearbyint, 0)
  VECTORS(floor, floor, 0) VECTORS(ceil, ceil, 0) VECTORS(trunc, trunc, 0) VECTORS(sqrt, sqrt, 0) VECTORS(abs, fabs, 0)
  return 0;
}`;

/** Writes what helpers make of every half and of the floats given, and checks the small ones by itself. */
const conversions = `
#include <assert.h>
#include <stdio.h>
#include "spc_vector.h"
#define EXPECT(x) do { if (!(x)) { fprintf(stderr, "line %d: %s\\n", __LINE__, #x); return 1; } } while (0)
int main(int argc, char **argv) {
  if (argc < 3) return 1;
  static float in[1 << 16]; static uint16_t out[2][1 << 16];
  FILE *f = fopen(argv[1], "rb");
  if (!f || fread(in, sizeof in, 1, f) != 1) return 1;
  fclose(f);
  for (long i = 0; i < 1 << 16; ++i) { out[0][i] = spc_f32_to_f16(in[i]); out[1][i] = spc_f32_to_bf16(in[i]); }
  static float back[2][1 << 16];
  for (long i = 0; i < 1 << 16; ++i) { back[0][i] = spc_f16_to_f32((uint16_t)i); back[1][i] = spc_bf16_to_f32((uint16_t)i); }
  f = fopen(argv[2], "wb");
  if (!f || fwrite(out, sizeof out, 1, f) != 1 || fwrite(back, sizeof back, 1, f) != 1) return 1;
  fclose(f);
  const volatile int zero = 0, minus = -1, low = INT32_MIN;
  EXPECT(spc_idiv(7, zero) == 0 && spc_imod(7, zero) == 0 && spc_idiv(low, minus) == INT32_MIN && spc_imod(low, minus) == 0);
  EXPECT(spc_idiv(-7, 2) == -3 && spc_imod(-7, 2) == -1 && spc_iabs(low) == INT32_MIN && spc_iabs(INT64_C(-5)) == 5);
  EXPECT(spc_ipow_i32(-3, 3) == -27 && spc_ipow_i32(2, -1) == 0 && spc_ipow_i64(-1, -3) == -1 && spc_ipow_u8(2, 9) == 0);
  EXPECT(isnan(spc_max(NAN, 1.0f)) && spc_max(1.0f, NAN) == 1.0f && spc_min(2.0, 1.0) == 1.0 && spc_min(UINT64_MAX, UINT64_C(3)) == 3);
  EXPECT(spc_to_u8(-1.5f) == 255 && spc_to_i8(200.0f) == -56 && spc_to_i32(-2.9) == -2 && spc_to_u32(4294967295.0) == 4294967295u);
  EXPECT(spc_to_i64(1e30) == INT64_MIN && spc_to_i32((double)NAN) == 0 && spc_to_u64(0x1p63) == UINT64_C(1) << 63);
  float x[16], y[16]; int32_t k[16];
  for (int i = 0; i < 16; ++i) { x[i] = (float)i - 3.5f; y[i] = -1; k[i] = i; }
  for (int n = 1; n < 16; ++n) {
    const spc_f32x16 v = spc_loadn_f32x16(x, n < 16 ? n : 15);
    float sum = 0;
    for (int i = 0; i < 16; ++i) { EXPECT(v[i] == (i < n ? x[i] : 0)); sum += v[i]; }
    EXPECT(spc_hsum_f32x16(v) == sum);
    spc_storen_f32x16(y, v, n);
    EXPECT(y[n - 1] == x[n - 1] && y[n < 15 ? n + 1 : 15] == -1);
    EXPECT(spc_loadn_i32x8(k, n < 8 ? n : 7)[n < 8 ? n - 1 : 6] == k[n < 8 ? n - 1 : 6]);
  }
  const spc_f32x8 odd = {NAN, 1, -0.0f, INFINITY, 3e9f, -3e9f, 2.5f, -7.9f};
  const spc_i32x8 whole = spc_to_i32x8(odd);
  EXPECT(whole[0] == INT32_MIN && whole[3] == INT32_MIN && whole[4] == INT32_MIN && whole[6] == 2 && whole[7] == -7);
  EXPECT(isnan(spc_max_f32x8(odd, spc_splat_f32x8(0))[0]) && spc_max_f32x8(spc_splat_f32x8(0), odd)[0] == 0 && signbit(spc_splat_f32x8(-0.0f)[7]));
  return 0;
}`;

function build(compiler: string, flags: readonly string[], name: string, source: string): string {
  writeFileSync(join(work, `${name}.c`), source);
  execFileSync(compiler, ['-std=c11', '-ffp-contract=fast', '-fno-math-errno', '-fno-trapping-math', '-fwrapv', '-Wno-psabi', '-Wall', '-Wextra', '-Werror', ...flags,
    '-I', here, '-o', join(work, name), join(work, `${name}.c`), '-lm'], { stdio: 'pipe' });
  return join(work, name);
}

const has = (compiler: string): boolean => spawnSync(compiler, ['--version']).status === 0;
const flags = spawnSync('grep', ['-c', 'avx512vl', '/proc/cpuinfo']).status === 0 ? ['-march=x86-64-v4'] : [];
const builds: [string, string[]][] = [['gcc', ['-O3', ...flags]], ['gcc', ['-O1', '-fsanitize=undefined', '-fno-sanitize-recover=all']], ['clang', ['-O2', ...flags]]];

for (const [compiler, options] of builds) test.skipIf(!has(compiler))(`functions are within a few ulp: ${compiler} ${options.join(' ')}`, () => {
  const program = build(compiler, [...options, '-DSTEP=60013'], 'accuracy', accuracy);
  const rows = execFileSync(program, { encoding: 'utf8' }).trim().split('\n').map((l) => l.split(' '));
  expect(rows.length).toBe(6 * 4 + 5 * 3);
  for (const [name, worst, wrong] of rows) {
    const exact = /^(round|floor|ceil|trunc|abs)/.test(name!);
    expect(Number(worst), name).toBeLessThanOrEqual(exact ? 0 : 2.6);
    expect(Number(wrong), name).toBe(0);
  }
}, 60_000);

for (const [compiler, options] of builds) test.skipIf(!has(compiler))(`conversions, integers and partial vectors: ${compiler} ${options.join(' ')}`, () => {
  const program = build(compiler, options, 'conversions', conversions);
  const n = 1 << 16, input = new Float32Array(n), bits = new Uint32Array(input.buffer);
  // every exponent, and numbers between and beside neighbouring halves
  for (let i = 0; i < n; i++) bits[i] = i < n / 2 ? Math.imul(i, 131071) >>> 0 : ((i & 1 ? 0x38000000 : 0x33000000) + (i << 11) + [0xfff, 0x1000, 0x1001, 0][(i >> 1) & 3]!) >>> 0;
  writeFileSync(join(work, 'floats'), new Uint8Array(input.buffer));
  execFileSync(program, [join(work, 'floats'), join(work, 'out')], { stdio: 'pipe' });
  const raw = readFileSync(join(work, 'out')), bytes = raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length);
  const halves = new Uint16Array(bytes, 0, n), bfloats = new Uint16Array(bytes, 2 * n, n);
  const fromHalf = new Float32Array(bytes, 4 * n, n), fromBfloat = new Float32Array(bytes, 8 * n, n);
  const differs = (a: number, b: number, nan: boolean): boolean => (nan ? !Number.isNaN(a) : !Object.is(a, b));
  const wrong: number[] = [];
  for (let i = 0; i < n; i++) {
    const x = input[i]!, nan = Number.isNaN(x);
    if (differs(f16ToNumber(halves[i]!), f16ToNumber(numberToF16(x)), nan) || differs(bf16ToNumber(bfloats[i]!), bf16ToNumber(numberToBf16(x)), nan)) wrong.push(x);
    if (differs(fromHalf[i]!, f16ToNumber(i), Number.isNaN(f16ToNumber(i))) || differs(fromBfloat[i]!, bf16ToNumber(i), Number.isNaN(bf16ToNumber(i)))) wrong.push(i);
  }
  expect(wrong).toEqual([]);
}, 60_000);
