/** Products with at most 16 columns and weights with zeros anywhere: a bit a weight and the non-zeros are read, and made dense in registers. */
import { denseTensor } from '../../../compiler/ir/tensor.js';
import type { KernelCandidate, KernelRequest, Refusal } from '../../types.js';
import { bitmapFragments } from '../bitmap-fragments.js';
import { tileBytes } from '../fragments.js';
import type { Gpu } from '../gpu.js';
import type { Unstructured } from '../unstructured.js';
import { decodeCandidate, MOST_COLUMNS } from './decode.js';
import { formOf, type Form } from './pieces.js';
import type { ElementType, Product } from './product.js';

/**
 * Estimates, not measured. Cycles of a multiprocessor for each element that a lane puts in its place (a load from shared memory, its address, the bit, its half of
 * a register); nanoseconds for one more way through the memory system: where tiles begin is read before they are.
 */
const ELEMENT_CYCLES = 3, TABLE = 600;
/** As spc_bitmap::scratch_bytes. */
const SCRATCH_BYTES = tileBytes(false);

/** The product with its weights as bitmaps; undefined where that is more bytes than all weights, those that fill up tiles not counted. */
function bitmapForm(p: Product, { matrix, share, bitmapBytes: bytes }: Unstructured, type: ElementType): Form | undefined {
  const dense = formOf(p, type, matrix, false), saves = share < 1 - 1 / (type === 'f32' ? 32 : 16) && bytes < dense.bytes;
  return saves ? { ...dense, sparse: true, pattern: 'bitmap ', form: `spc_bitmap<${dense.element}>`, bytes } : undefined;
}
const isAsked = (p: Product): boolean => p.columns <= MOST_COLUMNS && p.batches === 1;

export function bitmapCandidates(gpu: Gpu, request: KernelRequest, p: Product, weights: Unstructured, type: ElementType): readonly KernelCandidate[] {
  const form = isAsked(p) ? bitmapForm(p, weights, type) : undefined;
  if (!form) return [];
  const pack = (): ReturnType<NonNullable<KernelCandidate['pack']>> => {
    const bytes = bitmapFragments(weights.matrix);
    return new Map([[1, denseTensor('u8', [bytes.length], bytes)]]);
  };
  return [decodeCandidate(gpu, request, form, { pack, scratchBytes: SCRATCH_BYTES, cycles: ELEMENT_CYCLES * form.perBlock / 2, wait: TABLE })];
}

/** Of few columns, where a bitmap would be asked for. */
export function bitmapRefusals(p: Product, weights: Unstructured, type: ElementType): readonly Refusal[] {
  if (!isAsked(p) || bitmapForm(p, weights, type)) return [];
  return [{ kernel: 'bitmap decode', reason: `${Math.floor(100 * weights.share)} % of its weights are not zero: with a bit for each weight they are more bytes than all weights` }];
}
