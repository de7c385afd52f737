/** One case of ONNX's backend tests: what its model consists of, and compiling it. */
import { readFileSync } from 'node:fs';
import { compileModel, type CompileResult, type CompileOptions } from '../../compiler/driver.js';
import { SpcError, type Diagnostic } from '../../compiler/diagnostics/diagnostic.js';
import type { Tensor } from '../../compiler/ir/tensor.js';
import type { ImportOptions, ImportSource } from '../../compiler/onnx/import.js';
import { decodeMessage, isPresent, longToNumber, type GraphProto, type ModelProto } from '../../compiler/onnx/proto.js';
import { onnxDataType } from '../../compiler/onnx/tensor.js';
import { dataSets, modelPath, type ConformanceCase, type DataItem, type DataSet } from '../support/conformance-data.js';

export interface OperatorUse {
  readonly domain: string;
  readonly op: string;
  readonly opset: number;
}

export interface Unsupported {
  readonly status: 'unsupported';
  readonly code: string;
  readonly message: string;
  /** ONNX operator that the diagnostic is about. */
  readonly op?: string;
}
export interface Failed {
  readonly status: 'fail';
  readonly phase: 'compile' | 'build' | 'run' | 'compare';
  readonly message: string;
}
/** The data contradict the specification (then spc's outputs equal those of ONNX Runtime, where that is installed) or the case's own model. */
export interface Disputed {
  readonly status: 'disputed';
  readonly reason: string;
}
export type Outcome = { readonly status: 'pass' } | { readonly status: 'pass-bound'; readonly bound: readonly string[] } | Disputed | Unsupported | Failed;

export interface Compiled {
  readonly status: 'compiled';
  readonly result: CompileResult;
  /** Inputs that were fixed at compile time because an operator asked for them. */
  readonly bound: readonly string[];
  /** Index of the data file of each input of the compiled model. */
  readonly inputFiles: readonly number[];
  readonly sets: readonly DataSet[];
}

/**
 * What spc may say of a model that is right: it knows no such version, operator, use of it, element type or kind of input, or
 * needs a value while compiling. Any other diagnostic would blame the model wrongly, and any other exception is a bug.
 */
const unsupportedCodes: ReadonlySet<string> = new Set(['SPC1002', 'SPC1003', 'SPC1004', 'SPC1005', 'SPC1013', 'SPC1017']);

const domainName = (domain: string): string => (domain === 'ai.onnx' ? '' : domain);

/** Operators of the model, with those of its subgraphs. */
export function operatorsOf(model: ModelProto): OperatorUse[] {
  const opsets = new Map(model.opsetImport.map((o) => [domainName(o.domain), longToNumber(o.version)]));
  const uses = new Map<string, OperatorUse>();
  const visit = (graph: GraphProto): void => {
    for (const node of graph.node) {
      const domain = domainName(node.domain);
      uses.set(`${domain}:${node.opType}`, { domain, op: node.opType, opset: opsets.get(domain) ?? 0 });
      for (const a of node.attribute) for (const g of [a.g, ...a.graphs]) if (g) visit(g);
    }
  };
  if (model.graph) visit(model.graph);
  return [...uses.values()];
}

/** The graph inputs that a caller gives: those without an initialiser, in order. */
const callerInputs = (graph: GraphProto): GraphProto['input'] => {
  const initialised = new Set(graph.initializer.map((t) => t.name));
  return graph.input.filter((i) => !initialised.has(i.name));
};

const tensorAt = (set: DataSet | undefined, i: number): Tensor | undefined => {
  const item = set?.inputs[i];
  return item && 'tensor' in item ? item.tensor : undefined;
};

/** The archive holds bfloat16 data as uint16 bit patterns: given back the type that the model declares. */
const retyped = (items: readonly DataItem[], declared: GraphProto['input']): DataItem[] =>
  items.map((item, i) => ('tensor' in item && item.tensor.dtype === 'u16' && declared[i]?.type?.tensorType?.elemType === onnxDataType.bf16
    ? { tensor: { ...item.tensor, dtype: 'bf16' } } : item));

/** Symbolic and unknown dims, bound to those of the data. */
function dimsFromData(graph: GraphProto, set: DataSet | undefined): Record<string, number> {
  const dims: Record<string, number> = {};
  callerInputs(graph).forEach((input, i) => {
    const declared = input.type?.tensorType?.shape?.dim;
    tensorAt(set, i)?.shape.forEach((size, axis) => {
      const dim = declared?.[axis];
      if (dim && isPresent(dim, 'dimValue')) return;
      dims[dim?.dimParam || `${input.name}:${axis}`] = size;
    });
  });
  return dims;
}

/** Subsets of `items`, small ones first. */
function* subsets<T>(items: readonly T[]): Generator<readonly T[]> {
  const masks = Array.from({ length: 2 ** items.length }, (_, m) => m);
  const size = (m: number): number => m.toString(2).replaceAll('0', '').length;
  for (const mask of masks.sort((a, b) => size(a) - size(b) || a - b)) yield items.filter((_, i) => mask & (1 << i));
}

const errorsOf = (e: SpcError): Diagnostic[] => e.diagnostics.filter((d) => d.severity === 'error');
const isSpcError = (e: unknown): e is SpcError => e instanceof SpcError;

function classify(e: unknown): Unsupported | Failed {
  if (!isSpcError(e)) return { status: 'fail', phase: 'compile', message: e instanceof Error ? (e.stack ?? e.message).split('\n').slice(0, 4).join(' ').replaceAll(/\(?file:\/\/\S*\/(?=(compiler|passes|backends))/g, '(') : String(e) };
  const errors = errorsOf(e);
  const wrong = errors.find((d) => !unsupportedCodes.has(d.code));
  const first = wrong ?? errors[0];
  if (!first) return { status: 'fail', phase: 'compile', message: 'an SpcError without an error' };
  if (wrong) return { status: 'fail', phase: 'compile', message: `${first.code}: ${first.message}${first.node ? ` (node '${first.node}')` : ''}` };
  return { status: 'unsupported', code: first.code, message: first.message, ...(first.op ? { op: first.op } : {}) };
}

/** What came of trying a case, with the inputs that had to be bound for it. */
export interface Attempt<T> {
  readonly operators: readonly OperatorUse[];
  readonly outcome: { readonly status: 'done'; readonly value: T; readonly bound: readonly string[]; readonly inputNames: readonly string[]; readonly sets: readonly DataSet[] } | Unsupported | Failed;
}

/**
 * Imports or compiles a case. Where an operator asks for the value of an input while compiling (SPC1005), the smallest set of
 * inputs that satisfies it is bound to the case's own data.
 */
export function attemptCase<T>(c: ConformanceCase, attempt: (source: Required<Omit<ImportSource, 'diagnostics'>>, options: ImportOptions) => T): Attempt<T> {
  const bytes = readFileSync(modelPath(c));
  const model = decodeMessage('ModelProto', bytes);
  const operators = operatorsOf(model);
  const inputs = model.graph ? callerInputs(model.graph) : [];
  const sets = dataSets(c).map((set) => ({ inputs: retyped(set.inputs, inputs), outputs: retyped(set.outputs, model.graph?.output ?? []) }));
  const dims = model.graph ? dimsFromData(model.graph, sets[0]) : {};
  const bindable = inputs.flatMap((input, i) => (tensorAt(sets[0], i) ? [input.name] : [])).slice(0, 8);
  let refusal: Unsupported | Failed | undefined;
  for (const bound of subsets(bindable)) {
    const bind = Object.fromEntries(bound.map((n) => [n, tensorAt(sets[0], inputs.findIndex((i) => i.name === n))!]));
    try {
      const value = attempt({ bytes, baseDir: c.folder, name: c.name }, { dims, bind });
      // bound to one data set's values, a model cannot be asked about the others
      return { operators, outcome: { status: 'done', value, bound, inputNames: inputs.map((i) => i.name), sets: bound.length ? sets.slice(0, 1) : sets } };
    } catch (e) {
      const outcome = classify(e);
      refusal ??= outcome;
      if (outcome.status === 'fail') { refusal = outcome; break; }
      if (!(isSpcError(e) && errorsOf(e).some((d) => d.code === 'SPC1005'))) {
        // something else than a missing constant stands in the way: that is the reason to report
        refusal = outcome;
        break;
      }
    }
  }
  return { operators, outcome: refusal! };
}

/**
 * Compiles a case; see {@link attemptCase}.
 * @param symbol the C identifier that everything emitted for the case begins with
 */
export function compileCase(c: ConformanceCase, symbol: string, options: CompileOptions): { readonly operators: readonly OperatorUse[]; readonly outcome: Compiled | Unsupported | Failed } {
  const { operators, outcome } = attemptCase(c, (source, input) => compileModel(source, { ...options, name: symbol, ...input }));
  if (outcome.status !== 'done') return { operators, outcome };
  const { value: result, bound, inputNames, sets } = outcome;
  const inputFiles = result.manifest.inputs.map((p) => inputNames.indexOf(p.name));
  return { operators, outcome: { status: 'compiled', result, bound, inputFiles, sets } };
}
