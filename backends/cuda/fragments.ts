/**
 * Constant matrices in the order in which the lanes of a warp read them (runtime/cuda/spc_gemm.h), the same for all architectures: tiles of 16
 * rows by 128 bytes of a row, first along the rows of the matrix, then along its columns.
 *
 * Fragment layouts: PTX ISA 8.5, 9.7.14.5.8 (mma.m16n8k16) and 9.7.14.6 (mma.sp), as runtime/cuda/spc_emu_ptx.h has them. Everything is counted
 * in halves of 16 bits: an element of f16 or bf16 is one, an f32 for tf32 two, of which a 1:2 pattern keeps or drops both.
 */
import { ceilDiv } from '../../compiler/layouts/types.js';
import { packWeights, type WeightMatrix } from '../../compiler/layouts/index.js';

/** Halves of a row in a tile. */
const TILE_HALVES = 64, TILE_ROWS = 16, LANES = 32;
const FRAGMENT_BYTES = 512, PLACES_BYTES = 128;

/** Bytes of a tile: four fragments, or two and the places of what they hold. */
export const tileBytes = (sparse: boolean): number => (sparse ? 2 * FRAGMENT_BYTES + PLACES_BYTES : 4 * FRAGMENT_BYTES);

/** N:M pattern that sparse tensor cores multiply with. */
export const sparsePattern = (dtype: WeightMatrix['dtype']): { readonly keep: number; readonly of: number } => (dtype === 'f32' ? { keep: 1, of: 2 } : { keep: 2, of: 4 });

/** Row of the tile, and column among the fragment's 16 stored halves, of half `i` of register `r`. */
const placeOf = (lane: number, r: number, i: number): { readonly row: number; readonly column: number } => ({ row: (lane >> 2) + 8 * (r & 1), column: 2 * (lane & 3) + i + 8 * (r >> 1) });

/** Calls `write` with every half of a tile's fragments: which it is, and where it is from. */
function eachHalf(fragments: number, write: (at: number, fragment: number, row: number, column: number) => void): void {
  for (let fragment = 0; fragment < fragments; fragment++) for (let lane = 0; lane < LANES; lane++) for (let r = 0; r < 4; r++) for (let i = 0; i < 2; i++) {
    const { row, column } = placeOf(lane, r, i);
    write(fragment * FRAGMENT_BYTES + lane * 16 + r * 4 + i * 2, fragment, row, column);
  }
}

function eachTile(m: WeightMatrix, sparse: boolean, fill: (tile: Uint8Array, firstRow: number, firstHalf: number) => void): Uint8Array {
  const halves = m.dtype === 'f32' ? 2 : 1, tiles = ceilDiv(m.rows, TILE_ROWS), blocks = ceilDiv(m.cols * halves, TILE_HALVES), size = tileBytes(sparse);
  const bytes = new Uint8Array(tiles * blocks * size);
  for (let block = 0; block < blocks; block++) for (let tile = 0; tile < tiles; tile++) {
    fill(bytes.subarray((block * tiles + tile) * size, (block * tiles + tile + 1) * size), tile * TILE_ROWS, block * TILE_HALVES);
  }
  return bytes;
}

const setHalf = (bytes: Uint8Array, at: number, half: number): void => { bytes[at] = half & 255; bytes[at + 1] = half >> 8; };

/** 16-bit halves of a typed array, the lower one first. */
const halvesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint16Array => new Uint16Array(buffer, byteOffset, byteLength / 2);

/** All elements; beyond the matrix are zeros. @param m of f16, bf16 or f32 */
export function denseFragments(m: WeightMatrix): Uint8Array {
  const halves = halvesOf(m.data), perRow = m.cols * (m.dtype === 'f32' ? 2 : 1);
  return eachTile(m, false, (tile, firstRow, firstHalf) => eachHalf(4, (at, fragment, row, column) => {
    const r = firstRow + row, h = firstHalf + fragment * 16 + column;
    setHalf(tile, at, r < m.rows && h < perRow ? halves[r * perRow + h]! : 0);
  }));
}

/**
 * Two of four halves, and their places: in word 4 g + 2 s + p, row g (and g + 8 in its upper half) of the 64 bytes s; nibble q is group 4 p + q.
 * @throws NodeProblem SPC3101 where the matrix does not have the pattern
 */
export function sparseFragments(m: WeightMatrix): Uint8Array {
  const wide = m.dtype === 'f32', { keep, of } = sparsePattern(m.dtype), colMultiple = TILE_HALVES / (wide ? 2 : 1);
  const packed = packWeights(m, { kind: 'nm', params: { keep, of, rowMultiple: TILE_ROWS, colMultiple } });
  if (packed.kind !== 'nm') throw new Error('SPC9002: packed as nm');
  const values = halvesOf(packed.arrays.values.data), positions = packed.arrays.positions.data as Uint8Array, rowBytes = packed.arrays.positions.shape[1]!;
  /** Places of the two stored halves of a group of four. */
  const nibble = (row: number, group: number): number => {
    const bytes = positions.subarray(row * rowBytes, (row + 1) * rowBytes);
    if (wide) return (bytes[group >> 3]! >> (group & 7)) & 1 ? 0xe : 0x4;
    return (bytes[group >> 1]! >> (4 * (group & 1))) & 15;
  };
  const storedPerRow = (rowBytes * 8 / (wide ? 1 : 4)) * 2;
  return eachTile(m, true, (tile, firstRow, firstHalf) => {
    eachHalf(2, (at, fragment, row, column) => setHalf(tile, at, values[(firstRow + row) * storedPerRow + firstHalf / 2 + fragment * 16 + column]!));
    for (let g = 0; g < 8; g++) for (let word = 0; word < 4; word++) for (let upper = 0; upper < 2; upper++) {
      let bits = 0;
      for (let q = 0; q < 4; q++) bits |= nibble(firstRow + g + 8 * upper, firstHalf / 4 + 8 * (word >> 1) + 4 * (word & 1) + q) << (4 * q);
      setHalf(tile, 2 * FRAGMENT_BYTES + (4 * g + word) * 4 + 2 * upper, bits);
    }
  });
}
