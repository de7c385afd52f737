/** Rows in slices as they are packed, and what sparse tensor cores are given of a matrix. */
import { describe, expect, test } from 'vitest';
import { newArray, storedValue, tensorOf } from '../../compiler/ir/tensor.js';
import { weightMatrix, type WeightMatrix } from '../../compiler/layouts/index.js';
import { graphOf, randomNumbers } from '../../test/support/graphs.js';
import { requestFor } from '../../compiler/plan/kernel-request.js';
import { gpus } from './gpu.js';
import { tensorCoreRule } from './kernels/gemm.js';
import { featuresOf, largestOfGroups, packSlices, rowCounts, sliceSteps } from './slices.js';

function matrixOf(type: 'f16' | 'f32', rows: number, cols: number, density: number): WeightMatrix {
  const values = randomNumbers(rows * cols, 1), chance = randomNumbers(rows * cols, 2), data = newArray(type, rows * cols);
  for (let i = 0; i < data.length; i++) data[i] = storedValue(type, (chance[i]! + 1) / 2 < density ? values[i]! : 0) as never;
  return weightMatrix(type, rows, cols, data);
}

describe.each(['f16', 'f32'] as const)('%s', (type) => {
  const m = matrixOf(type, 300, 700, 0.05), size = type === 'f32' ? 4 : 2, packed = packSlices(m), steps = sliceSteps(rowCounts(m)), table = Math.ceil((steps.length + 1) / 32) * 128;
  const ends = new Uint32Array(packed.buffer, 0, steps.length + 1), view = new DataView(packed.buffer);
  const at = (step: number, lane: number): { place: number; bits: number } => {
    const start = table + step * 32 * (size + 2);
    return { place: view.getUint16(start + 32 * size + lane * 2, true), bits: size === 4 ? view.getUint32(start + lane * 4, true) : view.getUint16(start + lane * 2, true) };
  };

  test('every weight is there once, and nothing else', () => {
    const found = newArray(type, m.data.length), raw = size === 4 ? new Uint32Array(found.buffer) : new Uint16Array(found.buffer);
    expect(packed.length).toBe(table + ends.at(-1)! * 32 * (size + 2));
    steps.forEach((count, part) => {
      expect(ends[part + 1]! - ends[part]!).toBe(count);
      for (let step = ends[part]!; step < ends[part + 1]!; step++) for (let lane = 0; lane < 32; lane++) {
        const { place, bits } = at(step, lane), row = Math.floor(part / 4) * 128 + lane * 4 + part % 4, k = place ^ ((place >> 3) & 7);
        if (place >= featuresOf(m)) { expect(place).toBeLessThan(featuresOf(m) + 8); expect(bits).toBe(0); continue; }
        expect(raw[row * m.cols + k]).toBe(0);
        raw[row * m.cols + k] = bits;
      }
    });
    expect(found).toEqual(m.data);
  });

  test('eight lanes hardly ever meet in a bank', () => {
    let meet = 0;
    for (let step = 0; step < ends.at(-1)!; step++) for (let first = 0; first < 32; first += 8) {
      const places = new Set(Array.from({ length: 8 }, (_, i) => at(step, first + i).place));
      meet += Math.max(...Array.from({ length: 8 }, (_, bank) => [...places].filter((p) => p % 8 === bank).length)) - 1;
    }
    // in any order, most of eight in a bank are 2.6 on average
    expect(meet / (ends.at(-1)! * 4)).toBeLessThan(0.1);
  });
});

test('the largest of a group, the first of equal ones, what is no number before all', () => {
  const f16 = (values: number[]): WeightMatrix => weightMatrix('f16', 1, values.length, Uint16Array.from(values, (v) => Number(storedValue('f16', v))));
  const { largest, others } = largestOfGroups(f16([1, -3, 2, 0, 1, 1, -1, 1, Infinity, NaN, -Infinity, 5, 0, 7]), { keep: 2, of: 4 });
  expect(largest).toEqual(f16([0, -3, 2, 0, 1, 1, 0, 0, Infinity, NaN, 0, 0, 0, 7]));
  expect(others).toEqual(f16([1, 0, 0, 0, 0, 0, -1, 1, 0, 0, -Infinity, 5, 0, 0]));
});

test('beyond the pattern are as many as the formula has', () => {
  // of a random matrix with share p, (p^3 + 2 p^4 - ...) / p: three of four leave one, four leave two
  const p = 0.3, m = matrixOf('f16', 512, 1024, p), all = rowCounts(m).reduce((a, b) => a + b, 0), beyond = rowCounts(m, { keep: 2, of: 4 }).reduce((a, b) => a + b, 0);
  const three = 4 * p ** 3 * (1 - p), four = p ** 4;
  expect(beyond / all).toBeCloseTo((three + 2 * four) / (4 * p), 2);
});

/** What the rule says of y[columns][rows] = x w with a share of weights: kernels offered by their time, but for those that gather, and refusals. */
function offers(columns: number, depth: number, rows: number, share: number): { readonly kernels: readonly string[]; readonly refusals: readonly string[] } {
  const chance = randomNumbers(depth * rows, 1), w = tensorOf('f32', [depth, rows], chance.map((v) => ((v + 1) / 2 < share ? 1 : 0)));
  const graph = graphOf((g) => g.op('matmul', [g.input('x', { dtype: 'f32', shape: [columns, depth] }), g.constant(w)], { transA: false, transB: false, out: 'f32' })[0]!);
  const rule = tensorCoreRule(gpus.sm_80, 'f16'), request = requestFor(graph, graph.nodes[0]!);
  return {
    kernels: [...rule.candidates(request)].sort((a, b) => a.nanoseconds - b.nanoseconds).map((c) => c.choice.kernel).filter((k) => !k.includes('gather')), refusals: rule.refusals!(request).map((r) => `${r.kernel}: ${r.reason}`),
  };
}

test('what is predicted to be fastest', () => {
  expect(offers(8192, 1024, 1024, 0.1).kernels[0]).toMatch(/^2:4 gemm .* and rows in slices$/);
  expect(offers(8192, 1024, 1024, 0.005).kernels[0]).toMatch(/^rows in slices/);
  expect(offers(8192, 1024, 1024, 0.4).kernels[0]).toMatch(/^gemm/);
  expect(offers(64, 64, 64, 0.1).kernels[0]).toMatch(/^gemm/);
  expect(offers(8, 1024, 1024, 0.2).kernels[0]).toMatch(/^bitmap decode/);
  expect(offers(8, 1024, 1024, 0.98).kernels.some((k) => k.startsWith('bitmap'))).toBe(false);
});

test('what does not apply says why', () => {
  expect(offers(8, 64, 64, 0.98).refusals).toContainEqual(expect.stringMatching(/^bitmap decode: 9[678] % of its weights are not zero/));
  expect(offers(64, 64, 64, 0.6).refusals).toContainEqual(expect.stringMatching(/^rows in slices: \d+ % of its weights are not zero: it gains where at most 50 % are not$/));
  expect(offers(20, 20000, 4, 0.1).refusals).toContainEqual(expect.stringMatching(/^rows in slices: a few columns of 20000 elements are \d+ bytes: a block of threads can share \d+$/));
});
