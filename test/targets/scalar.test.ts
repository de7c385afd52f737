/** runtime/include/spc_scalar.hpp against the compiler's own arithmetic, which is checked elsewhere. */
import { expect, test } from 'vitest';
import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16 } from '../../compiler/ir/tensor.js';
import { buildProgram, hasGxx, includeFlags, mustExec, strictWarnings, temporaryFolder } from './support.js';

function runLines(body: string): string[] {
  const folder = temporaryFolder();
  try {
    const source = `#include <cstdio>\n#include "spc_scalar.hpp"\nint main() {\n${body}\nreturn 0;\n}\n`;
    const flags = [...strictWarnings, '-Wno-unused-function', '-fwrapv', '-fsanitize=undefined', '-fno-sanitize-recover=all', ...includeFlags('include')];
    return mustExec(buildProgram(folder.path, source, flags), []).trim().split('\n');
  } finally {
    folder.dispose();
  }
}

/** A value as the bits of a binary32, NaNs all the same. */
const bits = (x: number): number => (Number.isNaN(x) ? 0x7fc00000 : new Uint32Array(new Float32Array([x]).buffer)[0]!);

test.skipIf(!hasGxx)('binary16 and bfloat16: every value to binary32, and binary32 back with rounding', () => {
  // bit patterns near every rounding boundary: all upper halves of a binary32 with lower halves around a tie
  const lower = [0, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff];
  const lines = runLines(`
    for (unsigned h = 0; h < 65536; h++) {
      const float a = spc_f16_to_f32((uint16_t)h), b = spc_bf16_to_f32((uint16_t)h);
      std::printf("%u %u\\n", a != a ? 0x7fc00000u : spc_f32_to_bits(a), b != b ? 0x7fc00000u : spc_f32_to_bits(b));
    }
    const unsigned lower[] = {${lower.join(', ')}};
    for (unsigned u = 0; u < 65536; u += 3) for (unsigned l : lower) {
      const float x = spc_bits_to_f32(u << 16 | l);
      std::printf("%u %u\\n", spc_f32_to_f16(x), spc_f32_to_bf16(x));
    }`);
  let line = 0;
  let wrong = 0;
  for (let h = 0; h < 65536; h++) if (lines[line++] !== `${bits(f16ToNumber(h))} ${bits(bf16ToNumber(h))}`) wrong++;
  const view = new DataView(new ArrayBuffer(4));
  for (let u = 0; u < 65536; u += 3) {
    for (const l of lower) {
      view.setUint32(0, u * 65536 + l);
      const x = view.getFloat32(0);
      const [f16, bf16] = lines[line++]!.split(' ').map(Number);
      if (Number.isNaN(x)) { if ((f16! & 0x7fff) !== 0x7e00 || bf16 !== 0x7fc0) wrong++; }
      else if (f16 !== numberToF16(x) || bf16 !== numberToBf16(x)) wrong++;
    }
  }
  expect(line).toBe(lines.length);
  expect(wrong).toBe(0);
});

test.skipIf(!hasGxx)('integer helpers: wrapping, division by zero, powers, conversions', () => {
  const cases: [string, string][] = [
    ['(long)spc_idiv(7, -2)', '-3'], ['(long)spc_idiv(7, 0)', '0'], ['(long)spc_idiv(INT32_MIN, -1)', '-2147483648'],
    ['(long)spc_idiv(INT64_MIN, INT64_C(-1))', '-9223372036854775808'], ['(long)spc_idiv(7u, 2u)', '3'],
    ['(long)spc_imod(-7, 3)', '-1'], ['(long)spc_imod(7, 0)', '0'], ['(long)spc_imod(INT32_MIN, -1)', '0'],
    ['(long)spc_iabs(INT32_MIN)', '-2147483648'], ['(long)spc_iabs(-5)', '5'],
    ['(long)spc_ipow_i32(3, 4)', '81'], ['(long)spc_ipow_i32(-1, -3)', '-1'], ['(long)spc_ipow_i32(2, -1)', '0'], ['(long)spc_ipow_i32(1, -5)', '1'],
    ['(long)spc_ipow_i64(3, 39)', '4052555153018976267'], ['(long)spc_ipow_u8(2, 9)', '0'], ['(long)spc_ipow_i8(-2, 7)', '-128'],
    ['(long)spc_to_i32(-2.9f)', '-2'], ['(long)spc_to_u8(300.7f)', '44'], ['(long)spc_to_i8(-129.0f)', '127'], ['(long)spc_to_i32(NAN)', '0'],
    ['(long)spc_to_i64(-1e30f)', '-9223372036854775808'], ['(long)(spc_to_u64(1.5e19) == UINT64_C(15000000000000000000))', '1'],
    ['(long)isnan(spc_max(NAN, 1.0f))', '1'], ['(long)spc_max(1.0f, (float)NAN)', '1'], ['(long)spc_min(-3, 2)', '-3'],
    ['(long)spc_round_f32(2.5f)', '2'], ['(long)spc_round_f32(3.5f)', '4'],
    ['(long)(spc_sigmoid_f32(-200.0f) == 0.0f)', '1'], ['(long)(spc_sigmoid_f32(200.0f) == 1.0f)', '1'], ['(long)(spc_sigmoid_f64(0.0) == 0.5)', '1'],
  ];
  const lines = runLines(cases.map(([e]) => `std::printf("%ld\\n", ${e});`).join('\n'));
  expect(cases.map(([e], i) => `${e} = ${lines[i]}`)).toEqual(cases.map(([e, want]) => `${e} = ${want}`));
});
