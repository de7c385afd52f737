import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { xoshiro128 } from '../io/random.js';
import { dtypes, type DType } from '../ir/dtype.js';
import { newArray, numberAt, storedValue } from '../ir/tensor.js';
import { accepts, layoutLabel, layouts, multiplyPacked, packedBytes, packWeights, supportRowOrder, unpackWeights, visitStored, weightMatrix, type GraphFactor, type LayoutSpec, type WeightMatrix } from './index.js';

/** Whether a place of the matrix may hold a weight. */
type Allowed = (row: number, col: number) => boolean;

/** Small whole numbers (exact in every type), about `density` of them non-zero where a weight is allowed. */
function randomMatrix(seed: number, rows: number, cols: number, density: number, allowed: Allowed = () => true, dtype: DType = 'f32', zero = 0): WeightMatrix {
  const next = xoshiro128(seed), data = newArray(dtype, rows * cols);
  const range = dtypes[dtype].family === 'uint' ? [1, 15] as const : [-7, 7] as const;
  for (let i = 0; i < data.length; i++) {
    const drawn = range[0] + next() % (range[1] - range[0] + 1), present = next() / 2 ** 32 < density && allowed(Math.floor(i / cols), i % cols);
    data[i] = storedValue(dtype, present && drawn !== zero ? drawn : zero) as never;
  }
  return weightMatrix(dtype, rows, cols, data, zero);
}

const weightAt = (m: WeightMatrix, r: number, c: number): number => numberAt(m.dtype, m.data, r * m.cols + c) - m.zero;
const nnz = (m: WeightMatrix): number => m.bits.reduce((a, b) => a + b, 0);
const widthOf = (m: WeightMatrix): number => dtypes[m.dtype].bytes;
const log2 = (n: number): number => Math.ceil(Math.log2(Math.max(1, n)));

function denseProduct(m: WeightMatrix, x: ArrayLike<number>, n: number): Float64Array {
  const y = new Float64Array(m.rows * n);
  for (let r = 0; r < m.rows; r++) for (let c = 0; c < m.cols; c++) for (let j = 0; j < n; j++) y[r * n + j]! += weightAt(m, r, c) * x[c * n + j]!;
  return y;
}

const size = fc.oneof(fc.integer({ min: 0, max: 70 }), fc.constantFrom(0, 1, 31, 32, 33, 63, 64, 65));
const density = fc.constantFrom(0, 0.02, 0.1, 0.5, 0.9, 1);
const elements = fc.constantFrom<readonly [DType, number]>(['f32', 0], ['f64', 0], ['f16', 0], ['bf16', 0], ['i8', 3], ['u8', 5], ['i32', 0], ['i64', 0], ['i64', -2]);

interface Case {
  readonly m: WeightMatrix;
  readonly spec: LayoutSpec;
  /** What all arrays take, from the published size formulas (rows of bit fields in whole bytes). */
  readonly bytes: number;
}

/** A matrix of any size whose pattern may depend on the spec. */
function cases<P>(params: fc.Arbitrary<P>, allowed: (p: P) => Allowed, spec: (p: P) => LayoutSpec, bytes: (m: WeightMatrix, p: P) => number): fc.Arbitrary<Case> {
  return fc.tuple(params, size, size, density, elements, fc.integer()).map(([p, rows, cols, d, [dtype, zero], seed]) => {
    // Some rows and columns are empty as a whole.
    const empty = seed & 7, rule = allowed(p);
    const m = randomMatrix(seed, rows, cols, d, (r, c) => rule(r, c) && (empty === 0 || (r % 5 !== empty && c % 7 !== empty)), dtype, zero);
    return { m, spec: spec(p), bytes: bytes(m, p) };
  });
}

const anywhere = (): Allowed => () => true;

/** Block columns that the block row from row `top` needs. */
function occupiedBlocks(m: WeightMatrix, top: number, { by, bx }: { readonly by: number; readonly bx: number }): ReadonlySet<number> {
  const occupied = new Set<number>();
  for (let r = top; r < Math.min(m.rows, top + by); r++) for (let c = 0; c < m.cols; c++) if (weightAt(m, r, c) !== 0) occupied.add(Math.floor(c / bx));
  return occupied;
}

function bsrBytes(m: WeightMatrix, { by, bx, group, index }: { by: number; bx: number; group: number; index: 'u16' | 'u32' | undefined }): number {
  let blocks = 0;
  for (let top = 0; top < m.rows; top += by) blocks += Math.ceil(occupiedBlocks(m, top, { by, bx }).size / group) * group;
  return blocks * (by * bx * widthOf(m) + (index === 'u32' ? 4 : 2)) + (Math.ceil(m.rows / by) + 1) * 4;
}

/** A factor whose rows all have `degree` edges, somewhere. */
function regularFactor(rows: number, cols: number, degree: number, seed: number): GraphFactor {
  const next = xoshiro128(seed), bits = new Uint8Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    const order = Array.from({ length: cols }, (_, c) => c);
    for (let c = cols - 1; c > 0; c--) {
      const other = next() % (c + 1);
      [order[c], order[other]] = [order[other]!, order[c]!];
    }
    for (const c of order.slice(0, degree)) bits[r * cols + c] = 1;
  }
  return { rows, cols, bits };
}

const factor = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 5 }), fc.integer())
  .map(([rows, cols, degree, seed]) => regularFactor(rows, cols, Math.min(cols, degree), seed));
const pair = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }));

const graphCases: fc.Arbitrary<Case> = fc.tuple(factor, pair, factor, pair, density, elements, fc.integer()).map(([outer, repeat, inner, block, d, [dtype, zero], seed]) => {
  const rows = outer.rows * repeat[0] * inner.rows * block[0], cols = outer.cols * repeat[1] * inner.cols * block[1];
  const allowed: Allowed = (r, c) => {
    const [b, tr] = [block[0], Math.floor(r / block[0])], [bc, tc] = [block[1], Math.floor(c / block[1])];
    const o = Math.floor(r / (b * inner.rows * repeat[0])), oc = Math.floor(c / (bc * inner.cols * repeat[1]));
    return outer.bits[o * outer.cols + oc] === 1 && inner.bits[(tr % inner.rows) * inner.cols + tc % inner.cols] === 1;
  };
  const m = randomMatrix(seed, rows, cols, d, allowed, dtype, zero), edges = (f: GraphFactor): number => Array.from(f.bits).reduce((a, e) => a + e, 0);
  const support = edges(outer) * repeat[0] * repeat[1] * edges(inner) * block[0] * block[1];
  return { m, spec: { kind: 'graphProduct', params: { outer, repeat, inner, block } }, bytes: support * widthOf(m) + (edges(outer) + edges(inner)) * 2 };
});

const smallCount = fc.integer({ min: 1, max: 9 });

const perLayout: { readonly [K in keyof typeof layouts]: fc.Arbitrary<Case> } = {
  dense: cases(fc.constant({}), anywhere, () => ({ kind: 'dense', params: {} }), (m) => m.rows * m.cols * widthOf(m)),
  bitmap: cases(fc.constant({}), anywhere, () => ({ kind: 'bitmap', params: {} }), (m) => nnz(m) * widthOf(m) + m.rows * Math.ceil(m.cols / 64) * (8 + 4)),
  bsr: cases(
    fc.record({ by: fc.constantFrom(1, 1, 2, 4, 16, 70), bx: fc.constantFrom(1, 1, 3, 4), group: fc.constantFrom(1, 4, 3), index: fc.constantFrom(undefined, 'u16' as const, 'u32' as const) }),
    anywhere, (p) => ({ kind: 'bsr', params: p.index ? { ...p, index: p.index } : { by: p.by, bx: p.bx, group: p.group } }), bsrBytes,
  ),
  nm: cases(
    fc.tuple(smallCount, smallCount, fc.constantFrom(1, 16), fc.constantFrom(1, 64)).map(([a, b, rowMultiple, colMultiple]) => ({ keep: Math.min(a, b), of: Math.max(a, b), rowMultiple, colMultiple })),
    // Which places of a group may be occupied differs from row to row.
    ({ keep, of }) => (r, c) => ((c % of) * 7 + r * 3 + Math.floor(c / of)) % of < keep && gcd(7, of) === 1 || c % of < keep && gcd(7, of) !== 1,
    (params) => ({ kind: 'nm', params }),
    (m, { keep, of, rowMultiple, colMultiple }) => {
      const rows = Math.ceil(m.rows / rowMultiple) * rowMultiple, kept = Math.ceil(Math.ceil(m.cols / colMultiple) * colMultiple / of) * keep;
      return rows * (kept * widthOf(m) + Math.ceil(kept * log2(of) / 8));
    },
  ),
  complementary: cases(
    fc.record({ grouping: fc.constantFrom('exact', 'split', 'coloured' as const), size: fc.oneof(smallCount, fc.constant(100)) }),
    ({ grouping, size: p }) => (r, c) => grouping !== 'exact' || r % p === (c * 5 + (c >> 3)) % p,
    (params) => ({ kind: 'complementary', params }),
    (m, { grouping, size: p }) => {
      const bits = log2(Math.min(p, m.rows)), pack = m.cols * widthOf(m) + Math.ceil(m.cols * bits / 8), groups = Math.ceil(m.rows / p);
      if (grouping === 'exact') return groups * pack;
      if (grouping === 'coloured') {
        const packs = packWeights(m, { kind: 'complementary', params: { grouping, size: p } }).arrays.values.shape[0]!;
        return packs * pack + (packs + 1) * 4 + m.rows * 2;
      }
      let packs = 0;
      for (let g = 0; g < groups; g++) {
        const counts = Array.from({ length: m.cols }, (_, c) => Array.from({ length: p }, (_, i) => g * p + i).filter((r) => r < m.rows && weightAt(m, r, c) !== 0).length);
        packs += Math.max(0, ...counts);
      }
      return packs * pack + (groups + 1) * 4;
    },
  ),
  graphProduct: graphCases,
};

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

describe.each(Object.entries(perLayout))('%s', (kind, arbitrary) => {
  const settings = { seed: 5, numRuns: 100 };

  test('packs and unpacks to the same matrix, in the bytes of the formula', () => {
    fc.assert(fc.property(arbitrary, ({ m, spec, bytes }) => {
      expect(spec.kind).toBe(kind);
      expect(accepts(m, spec)).toEqual({ ok: true });
      const packed = packWeights(m, spec);
      expect(unpackWeights(packed)).toEqual(m);
      expect(packedBytes(packed)).toBe(bytes);
      expect(packed.arrays.values.dtype).toBe(m.dtype);
    }), settings);
  });

  test('stores every weight once, in slots of its own', () => {
    fc.assert(fc.property(arbitrary, ({ m, spec }) => {
      const packed = packWeights(m, spec), slots = new Set<number>(), weights = new Set<number>();
      const { values } = packed.arrays;
      let previous = -1, outside = 0;
      visitStored(packed, (row, col, slot) => {
        if (row < 0 || row >= m.rows || col < 0 || col >= m.cols || slot <= previous) outside++;
        previous = slot;
        slots.add(slot);
        if (numberAt(values.dtype, values.data, slot) !== m.zero) weights.add(row * m.cols + col);
      });
      expect(outside).toBe(0);
      expect(weights.size).toBe(nnz(m));
      // What is not visited lies outside of the matrix and does not contribute.
      for (let slot = 0; slot < values.data.length; slot++) if (!slots.has(slot)) expect(numberAt(values.dtype, values.data, slot)).toBe(m.zero);
    }), settings);
  });

  test('multiplies like the dense matrix', () => {
    fc.assert(fc.property(arbitrary, fc.integer({ min: 1, max: 3 }), ({ m, spec }, n) => {
      const next = xoshiro128(n), whole = Array.from({ length: m.cols * n }, () => (next() % 19) - 9), packed = packWeights(m, spec);
      expect(multiplyPacked(packed, whole, n)).toEqual(denseProduct(m, whole, n));
      const real = whole.map((x) => x + (next() / 2 ** 32)), expected = denseProduct(m, real, n);
      multiplyPacked(packed, real, n).forEach((y, i) => expect(Math.abs(y - expected[i]!)).toBeLessThan(1e-10));
    }), settings);
  });

  test('an infinite activation spoils no row that it does not spoil in the dense product', () => {
    fc.assert(fc.property(arbitrary, fc.nat(), ({ m, spec }, where) => {
      fc.pre(m.cols > 0);
      const x = Array.from({ length: m.cols }, (_, c) => (c === where % m.cols ? Infinity : 1)), y = multiplyPacked(packWeights(m, spec), x);
      for (let r = 0; r < m.rows; r++) {
        // Groups of blocks have nowhere to pad harmlessly where a block row has no empty block.
        if (spec.kind === 'bsr' && occupiedBlocks(m, r - r % spec.params.by, spec.params).size === Math.ceil(m.cols / spec.params.bx)) continue;
        const weight = weightAt(m, r, where % m.cols);
        if (weight !== 0) expect(y[r]).toBe(weight * Infinity);
      }
    }), settings);
  });
});

test('labels say the parameters', () => {
  const whole: GraphFactor = { rows: 2, cols: 4, bits: new Uint8Array(8).fill(1) };
  const specs: readonly LayoutSpec[] = [
    { kind: 'dense', params: {} }, { kind: 'bitmap', params: {} }, { kind: 'bsr', params: { by: 1, bx: 1 } }, { kind: 'bsr', params: { by: 1, bx: 1, group: 4 } }, { kind: 'bsr', params: { by: 16, bx: 1 } },
    { kind: 'nm', params: { keep: 2, of: 4 } }, { kind: 'complementary', params: { grouping: 'exact', size: 8 } },
    { kind: 'graphProduct', params: { outer: whole, repeat: [4, 1], inner: whole, block: [1, 1] } },
  ];
  expect(specs.map(layoutLabel)).toEqual(['dense', 'bitmap', 'csr', 'csr in groups of 4', 'bsr 16x1', '2:4', 'complementary 8 exact', 'graph 2x4 * 4x1 * 2x4 * 1x1']);
});

const ints = (rows: readonly (readonly number[])[]): WeightMatrix => weightMatrix('i32', rows.length, rows[0]?.length ?? 0, Int32Array.from(rows.flat()));
const contents = (t: { readonly data: ArrayLike<number | bigint> }): number[] => Array.from(t.data, Number);

describe('arrays as kernels read them', () => {
  test('csr', () => {
    const { arrays } = packWeights(ints([[0, 5, 0, 6], [0, 0, 0, 0], [7, 0, 0, 0]]), { kind: 'bsr', params: { by: 1, bx: 1 } });
    expect(contents(arrays.values)).toEqual([5, 6, 7]);
    expect(contents(arrays.columns)).toEqual([1, 3, 0]);
    expect(contents(arrays.rowStarts)).toEqual([0, 2, 2, 3]);
    expect([arrays.columns.dtype, arrays.rowStarts.dtype]).toEqual(['u16', 'u32']);
  });

  test('csr in groups of 4 pads at absent weights near the end of the row', () => {
    const { arrays } = packWeights(ints([[1, 0, 2, 0, 0], [1, 0, 2, 3, 4], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0], [9, 9, 0, 0, 9]]), { kind: 'bsr', params: { by: 1, bx: 1, group: 4 } });
    expect(contents(arrays.rowStarts)).toEqual([0, 4, 8, 16, 16, 20]);
    expect(contents(arrays.columns)).toEqual([0, 2, 3, 3, 0, 2, 3, 4, 0, 1, 2, 3, 4, 4, 4, 4, 0, 1, 4, 3]);
    expect(contents(arrays.values)).toEqual([1, 2, 0, 0, 1, 2, 3, 4, 1, 2, 3, 4, 5, 0, 0, 0, 9, 9, 9, 0]);
  });

  test('blocks are row-major inside, padded at the edges', () => {
    const { arrays } = packWeights(ints([[0, 0, 1], [0, 0, 2], [3, 4, 0]]), { kind: 'bsr', params: { by: 2, bx: 2 } });
    expect(arrays.values.shape).toEqual([2, 2, 2]);
    expect(contents(arrays.values)).toEqual([1, 0, 2, 0, 3, 4, 0, 0]);
    expect(contents(arrays.columns)).toEqual([1, 0]);
    expect(contents(arrays.rowStarts)).toEqual([0, 1, 2]);
  });

  test('2:4: a nibble holds two ascending positions, as mma.sp reads them', () => {
    const { arrays } = packWeights(ints([[0, 5, 0, 6, 0, 0, 7, 0, 8, 9]]), { kind: 'nm', params: { keep: 2, of: 4, rowMultiple: 2, colMultiple: 16 } });
    expect(arrays.values.shape).toEqual([2, 4, 2]);
    expect(contents(arrays.values)).toEqual([5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // 1 | 3 << 2, 0 | 2 << 2, 0 | 1 << 2 and so on for empty groups, low nibble first
    expect(contents(arrays.positions)).toEqual([0x8d, 0x44, 0x44, 0x44]);
  });

  test('complementary rows: exact, split at a conflict, coloured', () => {
    const m = ints([[1, 0, 2, 0], [0, 3, 0, 0], [4, 0, 0, 5], [0, 6, 7, 0]]);
    const exact = packWeights(m, { kind: 'complementary', params: { grouping: 'exact', size: 2 } }).arrays;
    expect(contents(exact.values)).toEqual([1, 3, 2, 0, 4, 6, 7, 5]);
    // One bit a weight; the fourth column of the first pack pads for row 0.
    expect(contents(exact.ids)).toEqual([0b0010, 0b0110]);
    const split = packWeights(m, { kind: 'complementary', params: { grouping: 'split', size: 4 } }).arrays;
    expect(contents(split.values)).toEqual([1, 3, 2, 5, 4, 6, 7, 0]);
    expect(contents(split.ids)).toEqual([0 | 1 << 2 | 0 << 4 | 2 << 6, 2 | 3 << 2 | 3 << 4 | 0 << 6]);
    expect(contents(split.packStarts)).toEqual([0, 2]);
    const coloured = packWeights(ints([[1, 0, 2, 0], [3, 0, 4, 0], [0, 5, 0, 0], [0, 6, 0, 7]]), { kind: 'complementary', params: { grouping: 'coloured', size: 2 } }).arrays;
    expect(contents(coloured.rows)).toEqual([0, 3, 1, 2]);
    expect(contents(coloured.groupStarts)).toEqual([0, 2, 4]);
    expect(contents(coloured.values)).toEqual([1, 6, 2, 7, 3, 5, 4, 0]);
  });

  test('splitting all rows at once needs as many packs as the fullest column', () => {
    const m = randomMatrix(3, 64, 64, 0.25), counts = Array.from({ length: 64 }, (_, c) => Array.from({ length: 64 }, (_, r) => m.bits[r * 64 + c]!).reduce((a, b) => a + b, 0));
    expect(packWeights(m, { kind: 'complementary', params: { grouping: 'split', size: 64 } }).arrays.values.shape[0]).toBe(Math.max(...counts));
  });

  test('graph product: values in the order o, edge of o, r, i, edge of i, b; equal supports become neighbours', () => {
    const outer: GraphFactor = { rows: 2, cols: 2, bits: [0, 1, 1, 0] }, inner: GraphFactor = { rows: 2, cols: 2, bits: [1, 0, 0, 1] };
    const spec = { kind: 'graphProduct', params: { outer, repeat: [2, 1], inner, block: [1, 2] } } as const;
    // Weight 100 (row + 1) + column, so that it says where it comes from.
    const rows = Array.from({ length: 8 }, (_, r) => Array.from({ length: 8 }, (_, c) => (Math.floor(r / 4) !== Math.floor(c / 4) && r % 2 === Math.floor(c / 2) % 2 ? 100 * (r + 1) + c : 0)));
    const { arrays } = packWeights(ints(rows), spec);
    expect(contents(arrays.values)).toEqual([104, 105, 206, 207, 304, 305, 406, 407, 500, 501, 602, 603, 700, 701, 802, 803]);
    expect([arrays.outerEdges.shape, contents(arrays.outerEdges), contents(arrays.innerEdges)]).toEqual([[2, 1], [1, 0], [0, 1]]);
    const order = supportRowOrder(spec.params), support = (r: number): string => rows[order[r]!]!.map((w) => (w ? 1 : 0)).join('');
    expect([...order].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    for (let r = 0; r < 8; r += 2) expect(support(r)).toBe(support(r + 1));
  });

  test('bitmap: bits from the lowest up, ranks count what comes before', () => {
    const row = Array.from({ length: 70 }, (_, c) => ([0, 33, 65].includes(c) ? c + 1 : 0));
    const { arrays } = packWeights(ints([row, row]), { kind: 'bitmap', params: {} });
    expect(contents(arrays.values)).toEqual([1, 34, 66, 1, 34, 66]);
    expect(contents(arrays.mask)).toEqual([1, 2, 2, 0, 1, 2, 2, 0]);
    expect(contents(arrays.ranks)).toEqual([0, 2, 3, 5]);
  });
});

test('published sizes of a 1024 x 1024 matrix of 32-bit weights, in KiB', () => {
  /** The first `n` of every `of` weights of a row. */
  const regular = (keep: number, of: number): WeightMatrix => randomMatrix(1, 1024, 1024, 1, (_, c) => c % of < keep, 'u32');
  const kib = (m: WeightMatrix, spec: LayoutSpec): number => packedBytes(packWeights(m, spec)) / 1024;
  const half = regular(2, 4), quarter = regular(1, 4), pointers = 4 / 1024, ranks = 64;
  expect(kib(half, { kind: 'dense', params: {} })).toBe(4096);
  expect(kib(half, { kind: 'bsr', params: { by: 1, bx: 1 } })).toBe(3076 + pointers);
  expect(kib(quarter, { kind: 'bsr', params: { by: 1, bx: 1 } })).toBe(1540 + pointers);
  expect(kib(half, { kind: 'bitmap', params: {} })).toBe(2176 + ranks);
  expect(kib(quarter, { kind: 'bitmap', params: {} })).toBe(1152 + ranks);
  expect(kib(half, { kind: 'nm', params: { keep: 2, of: 4 } })).toBe(2176);
  expect(kib(randomMatrix(1, 1024, 1024, 1, (r, c) => r % 4 === c % 4, 'u32'), { kind: 'complementary', params: { grouping: 'exact', size: 4 } })).toBe(1088);
});

describe('what does not fit is refused with the first reason', () => {
  const m = ints([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 1, 0]]);
  const factorOf = (rows: number, cols: number, bits: readonly number[]): GraphFactor => ({ rows, cols, bits });
  const one = factorOf(1, 1, [1]);
  test.each<[LayoutSpec, string, number?, number?]>([
    [{ kind: 'bsr', params: { by: 0, bx: 1 } }, 'blocks of 0 x 1 in groups of 1 are no blocks'],
    [{ kind: 'bsr', params: { by: 1, bx: 1, group: 1.5 } }, 'blocks of 1 x 1 in groups of 1.5 are no blocks'],
    [{ kind: 'nm', params: { keep: 5, of: 4 } }, '5 of 4 is no N:M pattern'],
    [{ kind: 'nm', params: { keep: 2, of: 4, colMultiple: 0 } }, 'cannot pad to multiples of 1 x 0'],
    [{ kind: 'nm', params: { keep: 2, of: 4 } }, 'row 1 has 3 non-zeros in columns 0..3; 2:4 holds 2', 1, 0],
    [{ kind: 'nm', params: { keep: 1, of: 3 } }, 'row 0 has 2 non-zeros in columns 0..2; 1:3 holds 1', 0, 0],
    [{ kind: 'complementary', params: { grouping: 'exact', size: 0 } }, '0 rows are no pack'],
    [{ kind: 'complementary', params: { grouping: 'exact', size: 2 } }, '2 of the rows 0..1 have a non-zero in column 1; one may', 0, 1],
    [{ kind: 'graphProduct', params: { outer: one, repeat: [0, 1], inner: one, block: [1, 1] } }, 'complete factors of 0 x 1 and 1 x 1 are no factors'],
    [{ kind: 'graphProduct', params: { outer: factorOf(2, 2, [1]), repeat: [1, 1], inner: one, block: [1, 1] } }, 'the outer factor is no 2 x 2 matrix'],
    [{ kind: 'graphProduct', params: { outer: one, repeat: [1, 1], inner: factorOf(3, 2, [1, 0, 0, 1, 1, 1]), block: [1, 1] } }, 'rows of the inner factor differ in their number of edges: row 0 has 1, row 2 has 2'],
    [{ kind: 'graphProduct', params: { outer: one, repeat: [1, 1], inner: one, block: [1, 2] } }, 'the product is 1 x 2, the matrix 3 x 4'],
    [{ kind: 'graphProduct', params: { outer: factorOf(3, 2, [1, 0, 0, 1, 1, 0]), repeat: [1, 1], inner: one, block: [1, 2] } }, 'row 1, column 1 holds a weight outside of the product', 1, 1],
  ])('%j', (spec, reason, row, col) => {
    expect(accepts(m, spec)).toEqual({ ok: false, reason, ...(row !== undefined && { row, col }) });
    expect(() => packWeights(m, spec)).toThrow(NodeProblem);
    expect(() => packWeights(m, spec)).toThrow(reason);
  });

  test('more columns than 16-bit indices count', () => {
    const wide = weightMatrix('i8', 1, 65537, new Int8Array(65537));
    expect(accepts(wide, { kind: 'bsr', params: { by: 1, bx: 1, index: 'u16' } })).toEqual({ ok: false, reason: '65537 block columns do not fit u16 indices', col: 65536 });
    expect(packWeights(wide, { kind: 'bsr', params: { by: 1, bx: 1 } }).arrays.columns.dtype).toBe('u32');
    expect(packWeights(wide, { kind: 'bsr', params: { by: 1, bx: 2, index: 'u16' } }).arrays.columns.dtype).toBe('u16');
  });
});

describe('weight matrices', () => {
  test('negative zeros are absent weights, NaN and subnormals are not', () => {
    const f32 = weightMatrix('f32', 1, 5, Float32Array.of(-0, 0, NaN, 1e-45, 1));
    expect(contents({ data: f32.bits })).toEqual([0, 0, 1, 1, 1]);
    const f16 = weightMatrix('f16', 1, 4, Uint16Array.of(0x8000, 0, 1, 0x7e00));
    expect(contents({ data: f16.bits })).toEqual([0, 0, 1, 1]);
    expect(contents(unpackWeights(packWeights(f32, { kind: 'bsr', params: { by: 1, bx: 1 } })))).toEqual([0, 0, NaN, expect.any(Number), 1]);
  });

  test('absence is measured against the zero point', () => {
    expect(contents({ data: weightMatrix('u8', 2, 2, Uint8Array.of(128, 0, 127, 128), 128).bits })).toEqual([0, 1, 1, 0]);
    expect(() => weightMatrix('f32', 1, 1, Float32Array.of(1), 1)).toThrow('f32 weights have no zero point');
    expect(() => weightMatrix('f32', 2, 2, new Float32Array(3))).toThrow('a 2 x 2 matrix has 4 elements, not 3');
  });
});
