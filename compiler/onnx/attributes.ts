/** Typed access to a node's attributes. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { denseTensor, type Tensor } from '../ir/tensor.js';
import type { OnnxNode } from '../ops/types.js';
import { attributeTypes, isPresent, longToBigInt, longToNumber, type AttributeProto } from './proto.js';
import { sparseTensorFromProto, tensorFromProto } from './tensor.js';

export type Attributes = ReadonlyMap<string, AttributeProto>;
type Kind = keyof typeof attributeTypes;

const text = new TextDecoder('utf-8');
const kindNames = new Map<number, Kind>(Object.entries(attributeTypes).map(([name, code]) => [code, name as Kind]));

/** The attribute's type; guessed from the field that is set where an old exporter left the type out. */
function kindOf(a: AttributeProto): Kind {
  const given = kindNames.get(a.type) ?? 'UNDEFINED';
  if (given !== 'UNDEFINED') return given;
  if (isPresent(a, 'i')) return 'INT';
  if (isPresent(a, 'f')) return 'FLOAT';
  if (isPresent(a, 's')) return 'STRING';
  if (a.t) return 'TENSOR';
  if (a.g) return 'GRAPH';
  return a.ints.length ? 'INTS' : a.floats.length ? 'FLOATS' : a.strings.length ? 'STRINGS' : 'UNDEFINED';
}

/**
 * Attributes of a node as seen in the body of a function: a reference to an attribute of the function takes the caller's
 * attribute, and goes where the caller gave none and there is no default.
 */
export function resolveAttributes(list: readonly AttributeProto[], caller: Attributes): Attributes {
  const resolved = list.flatMap((a): [string, AttributeProto][] => {
    if (a.refAttrName === '') return [[a.name, a]];
    const actual = caller.get(a.refAttrName);
    return actual ? [[a.name, actual]] : [];
  });
  return new Map(resolved);
}

const firstWrong = (name: string, wanted: string, found: string): NodeProblem =>
  new NodeProblem('SPC1006', `attribute '${name}' must be ${wanted}, it is ${found}`, 'the file is damaged or not valid ONNX; export the model again');

/** @param baseDir folder of the model, for tensor attributes with external data */
export function attributeReader(attributes: Attributes, baseDir: string | undefined): OnnxNode['attr'] {
  function read<T>(name: string, kind: Kind, get: (a: AttributeProto) => T, fallback: T | undefined): T {
    const a = attributes.get(name);
    if (!a) {
      if (fallback !== undefined) return fallback;
      throw new NodeProblem('SPC1006', `attribute '${name}' (${kind}) is missing`, 'the operator requires it; export the model again');
    }
    if (kindOf(a) !== kind) throw firstWrong(name, kind, kindOf(a));
    return get(a);
  }
  return {
    has: (name) => attributes.has(name),
    int: (name, fallback) => read(name, 'INT', (a) => longToNumber(a.i), fallback),
    ints: (name, fallback) => read(name, 'INTS', (a) => a.ints.map(longToNumber), fallback && [...fallback]),
    float: (name, fallback) => read(name, 'FLOAT', (a) => a.f, fallback),
    floats: (name, fallback) => read(name, 'FLOATS', (a) => [...a.floats], fallback && [...fallback]),
    string: (name, fallback) => read(name, 'STRING', (a) => text.decode(a.s), fallback),
    strings: (name, fallback) => read(name, 'STRINGS', (a) => a.strings.map((s) => text.decode(s)), fallback && [...fallback]),
    tensor(name) {
      const a = attributes.get(name);
      return a && attributeTensor(name, a, baseDir);
    },
  };
}

/** An attribute's value as a tensor: scalars and lists become i64 or f32 (64-bit integers exactly), tensors stay. */
function attributeTensor(name: string, a: AttributeProto, baseDir: string | undefined): Tensor {
  const kind = kindOf(a);
  switch (kind) {
    case 'INT': return denseTensor('i64', [], BigInt64Array.of(longToBigInt(a.i)));
    case 'INTS': return denseTensor('i64', [a.ints.length], BigInt64Array.from(a.ints, longToBigInt));
    case 'FLOAT': return denseTensor('f32', [], Float32Array.of(a.f));
    case 'FLOATS': return denseTensor('f32', [a.floats.length], Float32Array.from(a.floats));
    case 'TENSOR': if (a.t) return tensorFromProto(a.t, baseDir); break;
    case 'SPARSE_TENSOR': if (a.sparseTensor) return sparseTensorFromProto(a.sparseTensor, baseDir); break;
    case 'STRING': case 'STRINGS': throw new NodeProblem('SPC1013', `attribute '${name}' holds strings, which spc does not compute with`, 'remove the string processing from the model');
  }
  throw firstWrong(name, 'a tensor', kind === 'TENSOR' || kind === 'SPARSE_TENSOR' ? 'empty' : kind);
}
