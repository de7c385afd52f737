/**
 * Constant matrices with zeros anywhere, as runtime/cuda/spc_bitmap.h reads them: a table of where tiles begin (in 16 bytes; one entry more than
 * there are tiles), then the tiles of 16 rows by 128 bytes, those of the same rows together. A tile is the dense one without its zeros: bits, then
 * what is not zero, both in whole 16 bytes; without anything in it, it has no bytes.
 */
import { ceilDiv, roundUp } from '../../compiler/layouts/types.js';
import type { WeightMatrix } from '../../compiler/layouts/index.js';
import { denseFragments, tileBytes } from './fragments.js';

const LANES = 32, FRAGMENTS = 4, CHUNK = 16, TILE_ROWS = 16;
const DENSE = tileBytes(false);

/** Bytes of an element, elements of a tile, and tiles along rows and columns. */
function sizes({ dtype, rows, cols }: WeightMatrix): { readonly element: 2 | 4; readonly elements: number; readonly tiles: number; readonly blocks: number } {
  const element = dtype === 'f32' ? 4 : 2;
  return { element, elements: DENSE / element, tiles: ceilDiv(rows, TILE_ROWS), blocks: ceilDiv(cols * element, 128) };
}
const tableBytes = (tiles: number): number => roundUp((tiles + 1) * 4, CHUNK);
const packedTileBytes = (elements: number, element: number, nonZeros: number): number => (nonZeros === 0 ? 0 : elements / 8 + roundUp(nonZeros * element, CHUNK));

/** Bytes that {@link bitmapFragments} makes of a matrix. @param m of f16, bf16 or f32 */
export function bitmapBytes(m: WeightMatrix): number {
  const { element, elements, tiles, blocks } = sizes(m), counts = new Uint32Array(tiles * blocks), width = 128 / element;
  for (let row = 0, at = 0; row < m.rows; row++) for (let col = 0; col < m.cols; col++, at++) {
    if (m.bits[at]) counts[Math.floor(row / TILE_ROWS) * blocks + Math.floor(col / width)]!++;
  }
  return counts.reduce((bytes, count) => bytes + packedTileBytes(elements, element, count), tableBytes(counts.length));
}

/** @param m of f16, bf16 or f32 */
export function bitmapFragments(m: WeightMatrix): Uint8Array {
  const { element, elements, tiles, blocks } = sizes(m), perLane = elements / LANES / FRAGMENTS, magnitude = element === 4 ? 0x7fffffff : 0x7fff;
  const { buffer } = denseFragments(m), dense = element === 4 ? new Uint32Array(buffer) : new Uint16Array(buffer), packed = new Uint8Array(bitmapBytes(m));
  const table = new Uint32Array(packed.buffer, 0, tiles * blocks + 1);
  let end = tableBytes(tiles * blocks);
  for (let i = 0; i < tiles * blocks; i++) {
    const first = (i % blocks * tiles + Math.floor(i / blocks)) * elements, values = end + elements / 8;
    table[i] = end / CHUNK;
    let count = 0;
    for (let at = 0; at < elements; at++) {
      const value = dense[first + at]!;
      if (!(value & magnitude)) continue;
      // bit `fragment * perLane + e` of the lane's bits is its element e of the fragment
      const e = at % perLane, lane = Math.floor(at / perLane) % LANES, bit = (lane * FRAGMENTS + Math.floor(at / perLane / LANES)) * perLane + e;
      packed[end + (bit >> 3)]! |= 1 << (bit & 7);
      for (let b = 0; b < element; b++) packed[values + count * element + b] = value >>> (8 * b);
      count++;
    }
    end += packedTileBytes(elements, element, count);
  }
  table[tiles * blocks] = end / CHUNK;
  return packed;
}
