/** The table of ONNX operators, by domain and name. One file a family; adding an operator is one entry in its family's list. */
import type { OnnxOp } from './types.js';
import { castOps } from './cast.js';
import { constantOps } from './constant.js';
import { convolutionOps } from './convolution.js';
import { elementwiseOps } from './elementwise.js';
import { generateOps } from './generate.js';
import { indexingOps } from './indexing.js';
import { linearOps } from './linear.js';
import { lossOps } from './loss.js';
import { microsoftOps } from './microsoft.js';
import { movementOps } from './movement.js';
import { normalizationOps } from './normalization.js';
import { poolingOps } from './pooling.js';
import { quantizationOps } from './quantization.js';
import { recurrentOps } from './recurrent.js';
import { reductionOps } from './reduction.js';
import { resizeOps } from './resize.js';
import { signalOps } from './signal.js';
import { softmaxOps } from './softmax.js';
import { sortingOps } from './sorting.js';
import { visionOps } from './vision.js';

const families: readonly (readonly OnnxOp[])[] = [
  castOps,
  constantOps,
  convolutionOps,
  elementwiseOps,
  generateOps,
  indexingOps,
  linearOps,
  lossOps,
  microsoftOps,
  movementOps,
  normalizationOps,
  poolingOps,
  quantizationOps,
  recurrentOps,
  reductionOps,
  resizeOps,
  signalOps,
  softmaxOps,
  sortingOps,
  visionOps,
];

const key = (domain: string, op: string): string => `${domain === 'ai.onnx' ? '' : domain}:${op}`;
const table: ReadonlyMap<string, OnnxOp> = new Map(families.flat().map((o) => [key(o.domain ?? '', o.op), o]));

export const findOnnxOp = (domain: string, op: string): OnnxOp | undefined => table.get(key(domain, op));
export const allOnnxOps: readonly OnnxOp[] = families.flat();
