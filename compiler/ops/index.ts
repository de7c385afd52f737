/** The table of ONNX operators, by domain and name. One file a family; adding an operator is one entry in its family's list. */
import type { OnnxOp } from './types.js';

const families: readonly (readonly OnnxOp[])[] = [];

const key = (domain: string, op: string): string => `${domain === 'ai.onnx' ? '' : domain}:${op}`;
const table: ReadonlyMap<string, OnnxOp> = new Map(families.flat().map((o) => [key(o.domain ?? '', o.op), o]));

export const findOnnxOp = (domain: string, op: string): OnnxOp | undefined => table.get(key(domain, op));
export const allOnnxOps: readonly OnnxOp[] = families.flat();
