/** Static types of the graph's inputs: symbolic dimensions are bound here, and nowhere else. */
import { NodeProblem, type Diagnostic } from '../diagnostics/diagnostic.js';
import type { DType } from '../ir/dtype.js';
import { checkedElementCount, type Tensor } from '../ir/tensor.js';
import { formatType, type TensorType } from '../ir/types.js';
import { isPresent, longToNumber, type ValueInfoProto } from './proto.js';
import { dtypeFromOnnx } from './tensor.js';

/** A declared dimension: a number, or unknown under the names that bind it (dim_param where there is one, `input:axis`). */
type DeclaredDim = number | { readonly names: readonly [string, ...string[]] };

interface DeclaredInput {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly DeclaredDim[];
}

/** An input or output as the file declares it, with symbolic dims as text. */
export interface DeclaredTensor {
  readonly name: string;
  readonly dtype?: DType;
  /** Absent where the file gives no shape. */
  readonly dims?: readonly (number | string)[];
}

export interface InputOptions {
  /** Values of dimensions by dim_param name or `input:axis`. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Inputs fixed at compile time. */
  readonly bind?: Readonly<Record<string, Tensor>>;
}

/** What the file says about an input's or output's type, as far as it can be read. */
export function declaredTensor(v: ValueInfoProto): DeclaredTensor {
  const t = v.type?.tensorType;
  if (!t) return { name: v.name };
  let dtype: DType | undefined;
  try { dtype = dtypeFromOnnx(t.elemType); } catch (e) { if (!(e instanceof NodeProblem)) throw e; }
  const dims = t.shape?.dim.map((d, axis) => (isPresent(d, 'dimValue') && longToNumber(d.dimValue) >= 0 ? longToNumber(d.dimValue) : d.dimParam || `${v.name}:${axis}`));
  return { name: v.name, ...(dtype ? { dtype } : {}), ...(dims ? { dims } : {}) };
}

/**
 * Types of the given inputs; entries are missing where the type cannot be known (then there is an error among the reports).
 * Unbound first dimensions are taken as 1 (the batch) with a note.
 */
export function inputTypes(inputs: readonly ValueInfoProto[], options: InputOptions, report: (d: Diagnostic) => void): Map<string, TensorType> {
  const error = (code: string, message: string, hint: string): void => report({ code, severity: 'error', message, hint });
  const bound = new Map(Object.entries(options.dims ?? {}));
  for (const [name, value] of bound) {
    if (!Number.isSafeInteger(value) || value < 0) {
      error('SPC1011', `dimension '${name}' is bound to ${value}`, 'dimensions are whole numbers, 0 or more');
      bound.delete(name);
    }
  }
  const used = new Set<string>();
  const lookup = (dim: DeclaredDim): number | undefined => {
    if (typeof dim === 'number') return dim;
    const name = dim.names.find((n) => bound.has(n));
    dim.names.forEach((n) => used.add(n));
    return name === undefined ? undefined : bound.get(name);
  };
  const declared = inputs.flatMap((v) => declare(v, bound, used, report) ?? []);

  for (const input of declared) {
    const tensor = options.bind?.[input.name];
    if (!tensor) continue;
    const fits = tensor.dtype === input.dtype && tensor.shape.length === input.dims.length
      && input.dims.every((dim, axis) => (lookup(dim) ?? tensor.shape[axis]) === tensor.shape[axis]);
    if (!fits) {
      const wanted = input.dims.map((d) => lookup(d) ?? (typeof d === 'number' ? d : d.names[0])).join(',');
      error('SPC1017', `input '${input.name}' is ${input.dtype}[${wanted}], the value bound to it is ${formatType(tensor)}`, 'bind a value of the declared type and shape');
      continue;
    }
    input.dims.forEach((dim, axis) => { if (typeof dim !== 'number') bound.set(dim.names[0], tensor.shape[axis]!); });
  }

  for (const { name, dims } of declared) {
    const batch = dims[0];
    if (batch === undefined || typeof batch === 'number' || lookup(batch) !== undefined) continue;
    bound.set(batch.names[0], 1);
    report({ code: 'SPC1012', severity: 'note', message: `dimension '${batch.names[0]}' of input '${name}' is not bound; it is taken as 1`, hint: `bind it with --dim ${batch.names[0]}=N` });
  }

  const types = new Map<string, TensorType>();
  const unbound = new Map<string, string>();
  for (const { name, dtype, dims } of declared) {
    const shape = dims.map((dim, axis) => {
      const value = lookup(dim);
      if (value === undefined && typeof dim !== 'number' && !unbound.has(dim.names[0])) unbound.set(dim.names[0], `dimension ${axis} of input '${name}'`);
      return value;
    });
    if (!shape.every((d) => d !== undefined)) continue;
    try {
      checkedElementCount(dtype, shape);
      types.set(name, { dtype, shape });
    } catch (e) {
      if (!(e instanceof NodeProblem)) throw e;
      error(e.code, `input '${name}': ${e.message}`, e.hint ?? '');
    }
  }
  for (const [name, where] of unbound) error('SPC1011', `${where} ('${name}') is not known`, `add --dim ${name}=VALUE`);
  for (const name of Object.keys(options.dims ?? {})) {
    if (!used.has(name)) report({ code: 'SPC1019', severity: 'warning', message: `no dimension is called '${name}'`, hint: used.size ? `the model has ${[...used].join(', ')}` : 'the model has no symbolic dimensions' });
  }
  return types;
}

function declare(v: ValueInfoProto, bound: ReadonlyMap<string, number>, used: Set<string>, report: (d: Diagnostic) => void): DeclaredInput | undefined {
  const error = (code: string, message: string, hint = ''): undefined => {
    report({ code, severity: 'error', message: `input '${v.name}' ${message}`, ...(hint ? { hint } : {}) });
    return undefined;
  };
  const type = v.type?.tensorType;
  if (!type) {
    const other = v.type ? (['sequenceType', 'mapType', 'sparseTensorType', 'optionalType'] as const).find((k) => v.type![k]) : undefined;
    return error('SPC1017', other ? `is a ${other.replace('Type', '')}, not a tensor` : 'has no type', 'spc compiles models whose inputs are tensors');
  }
  let dtype: DType;
  try {
    dtype = dtypeFromOnnx(type.elemType);
  } catch (e) {
    if (!(e instanceof NodeProblem)) throw e;
    return error(e.code, `: ${e.message}`, e.hint);
  }
  if (!type.shape) {
    // A shape of unknown rank can only come from the options.
    const dims: number[] = [];
    for (let d = bound.get(`${v.name}:0`); d !== undefined; d = bound.get(`${v.name}:${dims.length}`)) {
      used.add(`${v.name}:${dims.length}`);
      dims.push(d);
    }
    return dims.length ? { name: v.name, dtype, dims } : error('SPC1011', 'has no shape', `give all its dimensions: --dim ${v.name}:0=VALUE --dim ${v.name}:1=VALUE ...`);
  }
  const dims = type.shape.dim.map((d, axis): DeclaredDim => {
    const byAxis = `${v.name}:${axis}`;
    const value = isPresent(d, 'dimValue') ? longToNumber(d.dimValue) : -1;
    const given = bound.get(byAxis);
    if (value > 0 || (value === 0 && given === undefined)) {
      if (value === 0) report({ code: 'SPC1017', severity: 'warning', message: `dimension ${axis} of input '${v.name}' is 0, so it has no elements`, hint: `if 0 stands for an unknown size, add --dim ${byAxis}=VALUE` });
      if (given !== undefined) {
        used.add(byAxis);
        if (given !== value) error('SPC1011', `has ${value} in dimension ${axis}, which cannot be bound to ${given}`, 'leave it out, or export the model with a symbolic dimension');
      }
      return value;
    }
    return { names: d.dimParam ? [d.dimParam, byAxis] : [byAxis] };
  });
  return { name: v.name, dtype, dims };
}
