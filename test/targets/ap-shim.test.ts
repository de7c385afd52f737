/** The C simulation headers of runtime/fpga/ap_shim against exact integer arithmetic in BigInt. */
import { expect, test } from 'vitest';
import { buildProgram, exec, hasGxx, hexFloat, includeFlags, mustExec, strictWarnings, temporaryFolder } from './support.js';

function withProgram<T>(source: string, use: (program: string) => T): T {
  const folder = temporaryFolder();
  try {
    return use(buildProgram(folder.path, source, [...strictWarnings, ...includeFlags('fpga/ap_shim')]));
  } finally {
    folder.dispose();
  }
}

const roundings = ['AP_RND', 'AP_RND_ZERO', 'AP_RND_MIN_INF', 'AP_RND_INF', 'AP_RND_CONV', 'AP_TRN', 'AP_TRN_ZERO'] as const;
const overflows = ['AP_SAT', 'AP_SAT_ZERO', 'AP_SAT_SYM', 'AP_WRAP'] as const;

/** raw / 2^shift rounded to an integer, by the definition of each mode. */
function rounded(raw: bigint, shift: bigint, mode: (typeof roundings)[number]): bigint {
  const unit = 1n << shift, floor = raw >> shift, rest2 = 2n * (raw - floor * unit);
  const up = rest2 > unit, tie = rest2 === unit;
  switch (mode) {
    case 'AP_RND': return floor + (up || tie ? 1n : 0n);
    case 'AP_RND_ZERO': return floor + (up || (tie && raw < 0n) ? 1n : 0n);
    case 'AP_RND_MIN_INF': return floor + (up ? 1n : 0n);
    case 'AP_RND_INF': return floor + (up || (tie && raw > 0n) ? 1n : 0n);
    case 'AP_RND_CONV': return floor + (up || (tie && (floor & 1n) === 1n) ? 1n : 0n);
    case 'AP_TRN': return floor;
    case 'AP_TRN_ZERO': return floor + (raw < 0n && rest2 !== 0n ? 1n : 0n);
  }
}
function limited(x: bigint, width: number, signed: boolean, mode: (typeof overflows)[number]): bigint {
  const high = signed ? (1n << BigInt(width - 1)) - 1n : (1n << BigInt(width)) - 1n;
  const low = signed ? (mode === 'AP_SAT_SYM' ? -high : -high - 1n) : 0n;
  if (x >= low && x <= high) return x;
  if (mode === 'AP_SAT_ZERO') return 0n;
  if (mode === 'AP_WRAP') return signed ? BigInt.asIntN(width, x) : BigInt.asUintN(width, x);
  return x < low ? low : high;
}

test.skipIf(!hasGxx)('ap_fixed: every rounding and overflow mode, from fixed point and from double', () => {
  const combinations = roundings.flatMap((q) => overflows.flatMap((o) => [true, false].map((signed) => ({ q, o, signed }))));
  // source: 14 bits, 6 below the point; destination: 7 bits, 2 below the point
  const source = `#include <cstdio>
#include "ap_fixed.h"
typedef ap_fixed<14, 8> Source;
template <class D> void all() {
  for (int raw = -8192; raw < 8192; raw += 3) {
    const Source s = Source::from_bits(raw);
    const D fixed = s, real = s.to_double();
    std::printf("%ld %ld\\n", (long)fixed.raw(), (long)real.raw());
  }
}
int main() {
${combinations.map(({ q, o, signed }) => `  all<${signed ? 'ap_fixed' : 'ap_ufixed'}<7, 5, ${q}, ${o}> >();`).join('\n')}
  return 0;
}
`;
  const lines = withProgram(source, (p) => mustExec(p, []).trim().split('\n'));
  expect(lines.length).toBe(combinations.length * Math.ceil(16384 / 3));
  let line = 0;
  const wrong: string[] = [];
  for (const { q, o, signed } of combinations) {
    for (let raw = -8192n; raw < 8192n; raw += 3n) {
      const want = limited(rounded(raw, 4n, q), 7, signed, o);
      const got = lines[line++]!;
      if (got !== `${want} ${want}` && wrong.length < 5) wrong.push(`${q} ${o} ${signed ? 'signed' : 'unsigned'} raw ${raw}: ${got}, expected ${want}`);
    }
  }
  expect(wrong).toEqual([]);
});

test.skipIf(!hasGxx)('ap_fixed sums, differences, products and comparisons are exact; ap_int wraps; bit ranges', () => {
  const source = `#include <cstdio>
#include "ap_fixed.h"
int main() {
  for (int i = -128; i < 128; i += 5) for (int j = 0; j < 64; j += 3) {
    const ap_fixed<8, 3> a = ap_fixed<8, 3>::from_bits(i);
    const ap_ufixed<6, 4> b = ap_ufixed<6, 4>::from_bits(j);
    std::printf("%a %a %a %d %d\\n", (a + b).to_double(), (a - b).to_double(), (a * b).to_double(), a < b, a == b);
  }
  ap_int<5> s = 15;
  s += 3;
  ap_uint<5> u = 30;
  u += 3;
  ap_uint<12> r = 0xabc;
  const long middle = (long)r.range(7, 4);
  r.range(11, 8) = 5;
  r[0] = 1;
  std::printf("%ld %ld %ld %ld %ld\\n", (long)s, (long)u, middle, (long)r, (long)ap_int<63>(-1));
  return 0;
}
`;
  const lines = withProgram(source, (p) => mustExec(p, []).trim().split('\n'));
  let line = 0;
  for (let i = -128; i < 128; i += 5) {
    for (let j = 0; j < 64; j += 3) {
      const a = i / 32, b = j / 4;
      const [sum, difference, product, less, equal] = lines[line++]!.split(' ');
      expect([sum, difference, product].map((t) => hexFloat(t!))).toEqual([a + b, a - b, a * b + 0]);
      expect([less, equal]).toEqual([String(Number(a < b)), String(Number(a === b))]);
    }
  }
  expect(lines[line]).toBe(`${15 + 3 - 32} 1 11 ${0x5bd} -1`);
});

test.skipIf(!hasGxx)('hls::stream reports reads from an empty stream and elements left behind', () => {
  const source = `#include <cstdio>
#include "hls_stream.h"
int main(int, char **argv) {
  hls::stream<int> s("numbers");
  s.write(1);
  s.write(2);
  int sum = s.read();
  if (argv[1][0] != 'l') sum += s.read();
  if (argv[1][0] == 'e') sum += s.read();
  std::printf("%d %d\\n", sum, (int)s.empty());
  return 0;
}
`;
  withProgram(source, (p) => {
    expect(exec(p, ['good']).stdout).toBe('3 1\n');
    const empty = exec(p, ['empty']), left = exec(p, ['left']);
    expect(empty.signal).toBe('SIGABRT');
    expect(empty.stderr).toContain("hls::stream 'numbers' is read while empty");
    expect(left.signal).toBe('SIGABRT');
    expect(left.stderr).toContain("hls::stream 'numbers' is destroyed with elements left in it (1 elements)");
  });
});
