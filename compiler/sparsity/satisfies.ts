/** Membership: is this mask in the pattern? */
import { blockPlace } from './blocks.js';
import { kronecker, newMask, permuted, shapeOf, type Mask } from './matrix.js';
import { blocksInside, type Extent, type Leaf, type Pattern, type Sum } from './pattern.js';

/** Blocks that hold a 1 and, in `full`, those without a 0 (padding aside). */
export function blockOccupancy(mask: Mask, [by, bx]: Extent): { readonly any: Mask; readonly full: Mask } {
  const rows = Math.ceil(mask.rows / by), cols = Math.ceil(mask.cols / bx);
  const any = newMask(rows, cols), full: Mask = { rows, cols, bits: new Uint8Array(rows * cols).fill(1) };
  for (let i = 0; i < mask.rows; i++) {
    const to = Math.floor(i / by) * cols, from = i * mask.cols;
    for (let j = 0, b = to, left = bx; j < mask.cols; j++) {
      if (mask.bits[from + j]) any.bits[b] = 1;
      else full.bits[b] = 0;
      if (--left === 0) { b++; left = bx; }
    }
  }
  return { any, full };
}

/** Kept blocks of every partition, row-major over partitions. */
export function partitionCounts(blocks: Mask, part: Extent): Int32Array {
  const cols = Math.ceil(blocks.cols / part[1]), counts = new Int32Array(Math.ceil(blocks.rows / part[0]) * cols);
  for (let i = 0; i < blocks.rows; i++) {
    const to = Math.floor(i / part[0]) * cols, from = i * blocks.cols;
    for (let j = 0, p = to, left = part[1]; j < blocks.cols; j++) {
      counts[p] = counts[p]! + blocks.bits[from + j]!;
      if (--left === 0) { p++; left = part[1]; }
    }
  }
  return counts;
}

/**
 * A sum is checked through one decomposition: the coarse part takes what it can of fully occupied blocks, and the rest must fit the fine part with
 * counts as upper bounds (elements of the fine part may hide under coarse blocks).
 */
export function satisfies(mask: Mask, pattern: Pattern): boolean {
  switch (pattern.kind) {
    case 'leaf': return satisfiesLeaf(mask, pattern);
    case 'both': return satisfiesLeaf(mask, pattern.horizontal) && satisfiesLeaf(mask, pattern.vertical);
    case 'graph': {
      const product = pattern.factors.reduce(kronecker);
      return product.rows === mask.rows && product.cols === mask.cols && product.bits.every((b, i) => b >= mask.bits[i]!);
    }
    case 'nest': {
      const { any } = blockOccupancy(mask, pattern.outer.block);
      if (partitionCounts(any, pattern.outer.part).some((n) => n > pattern.outer.keep)) return false;
      return any.bits.every((kept, b) => !kept || satisfies(blockAt(mask, pattern.outer, Math.floor(b / any.cols), b % any.cols), pattern.inner));
    }
    case 'sum': return satisfiesSum(mask, pattern);
    case 'perm': return satisfies({ ...mask, bits: permuted(mask, mask.bits, pattern.rows, pattern.cols) }, pattern.base);
  }
}

function satisfiesLeaf(mask: Mask, p: Leaf): boolean {
  const { any, full } = blockOccupancy(mask, p.block);
  if (any.bits.some((kept, i) => kept !== full.bits[i])) return false;
  const grid: Extent = [any.rows, any.cols], across = Math.ceil(any.cols / p.part[1]);
  return partitionCounts(any, p.part).every((n, i) => {
    const most = Math.min(p.keep, blocksInside(grid, p.part, Math.floor(i / across), i % across));
    return p.exact ? n === most : n <= most;
  });
}

/** Block (i, j) of a mask as a mask of its own, cut off at the edge. */
export function blockAt(mask: Mask, outer: Leaf, i: number, j: number): Mask {
  const { start, rows, cols } = blockPlace(mask, outer, i, j), out = newMask(rows, cols);
  for (let y = 0; y < rows; y++) out.bits.set(mask.bits.subarray(start + y * mask.cols, start + y * mask.cols + cols), y * cols);
  return out;
}

const relaxed = (p: Pattern): Pattern => (p.kind === 'leaf' ? { ...p, exact: false } : p);

function satisfiesSum(mask: Mask, p: Sum): boolean {
  if (p.coarse.kind !== 'leaf') throw new RangeError('the coarse part of a sum must be a leaf');
  const { block, part, keep } = p.coarse, { full } = blockOccupancy(mask, block);
  const across = Math.ceil(full.cols / part[1]), room = new Int32Array(across * Math.ceil(full.rows / part[0])).fill(keep);
  const rest = mask.bits.slice();
  const places = Array.from(full.bits.keys()).filter((b) => full.bits[b]).map((b) => {
    const i = Math.floor(b / full.cols), j = b % full.cols;
    return { part: Math.floor(i / part[0]) * across + Math.floor(j / part[1]), ...blockPlace(mask, { block }, i, j) };
  });
  // whole blocks before those cut off at the edge, which the fine part may fill by itself
  for (const at of places.sort((a, b) => b.rows * b.cols - a.rows * a.cols)) {
    if (room[at.part]! === 0) continue;
    room[at.part]!--;
    for (let y = 0; y < at.rows; y++) rest.fill(0, at.start + y * mask.cols, at.start + y * mask.cols + at.cols);
  }
  return satisfies({ ...shapeOf(mask), bits: rest }, relaxed(p.fine));
}
