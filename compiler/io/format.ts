/** Tensors for people to read, and names for files. */
import { isFloat, type TypedArray } from '../ir/dtype.js';
import { denseData, numberAt, type Tensor } from '../ir/tensor.js';
import { contiguousStrides } from '../ir/types.js';

/** Beyond this many elements only the ends of every axis are shown, as NumPy does. */
const SUMMARISE_ABOVE = 200;
const EDGE = 3;

function elementText(t: Tensor, i: number, data: TypedArray): string {
  if (t.dtype === 'bool') return data[i] ? 'true' : 'false';
  if (!isFloat(t.dtype)) return String(data[i]);
  const x = numberAt(t.dtype, data, i);
  return Number.isInteger(x) && Math.abs(x) < 1e6 ? `${Object.is(x, -0) ? '-0' : x}` : String(Number(x.toPrecision(6)));
}

/** Nested brackets, long axes shortened. */
export function formatTensor(t: Tensor): string {
  const data = denseData(t), strides = contiguousStrides(t.shape), shorten = data.length > SUMMARISE_ABOVE;
  const axis = (d: number, offset: number): string => {
    if (d === t.shape.length) return elementText(t, offset, data);
    const size = t.shape[d]!, stride = strides[d]!;
    const cut = shorten && size > 2 * EDGE;
    const shown = cut ? [0, 1, 2, -1, size - 3, size - 2, size - 1] : Array.from({ length: size }, (_, i) => i);
    const parts = shown.map((i) => (i < 0 ? '...' : axis(d + 1, offset + i * stride)));
    const separator = d === t.shape.length - 1 ? ', ' : `,\n${' '.repeat(d + 1)}`;
    return `[${parts.join(separator)}]`;
  };
  return axis(0, 0);
}

export interface RankedElement {
  readonly index: number;
  readonly value: number;
}

/** The `k` largest elements over the whole tensor, largest first; NaNs last, ties by index. */
export function topK(t: Tensor, k: number): RankedElement[] {
  const data = denseData(t);
  const rank = (x: number): number => (Number.isNaN(x) ? -Infinity : x);
  return Array.from({ length: data.length }, (_, index) => ({ index, value: numberAt(t.dtype, data, index) }))
    .sort((a, b) => rank(b.value) - rank(a.value) || a.index - b.index).slice(0, k);
}

/**
 * File names for tensor names: letters, digits, `.`, `_` and `-` stay, every other character becomes `_`; a leading dot becomes
 * `_`; a name that is then empty or taken (also by another one's case, as some file systems see it) gets `_1`, `_2`, ... appended.
 * @returns one name a tensor, without extension, in order
 */
export function fileNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const safe = name.replace(/[^A-Za-z0-9._-]/g, '_').replace(/^\./, '_').slice(0, 120) || '_';
    let unique = safe;
    for (let i = 1; taken.has(unique.toLowerCase()); i++) unique = `${safe}_${i}`;
    taken.add(unique.toLowerCase());
    return unique;
  });
}

/** 12.3 kB and the like, for people. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB'];
  let x = bytes, unit = 0;
  while (x >= 1000 && unit < units.length - 1) { x /= 1000; unit++; }
  return unit === 0 ? `${x} B` : `${x.toFixed(x < 10 ? 2 : 1)} ${units[unit]}`;
}
