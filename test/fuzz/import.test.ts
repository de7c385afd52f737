/**
 * Bad input never ends in a stack trace, a hang or a huge allocation: whatever the bytes, the import either succeeds or throws
 * SpcError without an internal error (SPC9xxx). The seed is fixed; SPC_FUZZ_RUNS=20000 runs longer, SPC_FUZZ_SEED=N elsewhere.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import { compileModel } from '../../compiler/driver.js';
import { tensorOf } from '../../compiler/ir/tensor.js';
import { importModel } from '../../compiler/onnx/import.js';
import { decodeMessage, encodeMessage, type MessageInit } from '../../compiler/onnx/proto.js';
import { node, onnxModel, sparseOf, type ModelSpec } from '../support/onnx-builder.js';
import { distort, mutate, plain } from './mutate.js';

const runs = Number(process.env['SPC_FUZZ_RUNS'] ?? 300);
const seed = Number(process.env['SPC_FUZZ_SEED'] ?? 2024);
/** Milliseconds for one import; the models here take a few. */
const PATIENCE = 5000;
/** Bytes that one import may hold in array buffers beyond the file. */
const APPETITE = 2 ** 29;

/** Imports the bytes; returns the codes of the errors. */
function attempt(bytes: Uint8Array, baseDir?: string): string[] {
  const start = performance.now(), before = process.memoryUsage().arrayBuffers;
  let found: string[] = [];
  try {
    importModel({ bytes, ...(baseDir ? { baseDir } : {}) });
  } catch (e) {
    if (!(e instanceof SpcError)) throw e;
    found = e.diagnostics.filter((d) => d.severity === 'error').map((d) => d.code);
    expect(found.length, 'a failure has an error').toBeGreaterThan(0);
    expect(found.filter((c) => c.startsWith('SPC9')), e.message).toEqual([]);
  }
  expect(performance.now() - start, 'milliseconds').toBeLessThan(PATIENCE);
  expect(process.memoryUsage().arrayBuffers - before, 'bytes').toBeLessThan(APPETITE);
  return found;
}

/** A model with one of everything that the importer treats by itself. */
const w = tensorOf('f32', [3, 2], [0, 1, 0, 0, 2, 0]);
const everything: ModelSpec = {
  inputs: { x: { dtype: 'f32', shape: ['n', 3] } }, outputs: { y: { dtype: 'f32', shape: ['n', 2] }, s: { dtype: 'i64', shape: [1] } }, opset: { '': 17, local: 1 },
  initializers: { w, v: sparseOf(w), yes: tensorOf('bool', [], [1]), shape: tensorOf('i64', [2], [-1, 2]), axes: tensorOf('i64', [1], [0]), starts: tensorOf('i64', [1], [0]), ends: tensorOf('i64', [1], [1]) },
  nodes: [
    node('MatMul', ['x', 'w'], ['a'], {}, { name: 'dense' }), node('MatMul', ['x', 'v'], ['b'], {}, { name: 'sparse' }), node('F', ['a', 'b'], ['c'], { alpha: 0.5 }, { domain: 'local', name: 'call' }),
    node('If', ['yes'], ['d'], { then_branch: { nodes: [node('Relu', ['c'], ['t'])], outputs: ['t'] }, else_branch: { nodes: [node('Neg', ['c'], ['e'])], outputs: ['e'] } }),
    node('Reshape', ['d', 'shape'], ['r']), node('Transpose', ['r'], ['tr'], { perm: [1, 0] }), node('Concat', ['tr', 'tr'], ['cc'], { axis: 0 }), node('Slice', ['cc', 'starts', 'ends', 'axes'], ['sl']),
    node('ConstantOfShape', ['shape2'], ['z'], { value: tensorOf('f32', [1], [1]) }), node('Constant', [], ['shape2'], { value_ints: [1, 2] }), node('ReduceSum', ['sl'], ['sum'], { keepdims: 0 }), node('Add', ['z', 'sum'], ['zz']),
    node('Gather', ['r', 'axes'], ['g'], { axis: 0 }), node('Add', ['r', 'zz'], ['y']), node('Shape', ['g'], ['gs']), node('Slice', ['gs', 'starts', 'ends'], ['s']),
  ],
  functions: [{ name: 'F', domain: 'local', inputs: ['p', 'q'], outputs: ['o'], attributes: ['alpha'], nodes: [node('LeakyRelu', ['p'], ['l'], { alpha: { ref: 'alpha', type: 'FLOAT' } }), node('Add', ['l', 'q'], ['o'])] }],
};

const folder = new URL('../../examples/models', import.meta.url).pathname;
/** Small ones only: in a large file nearly every damage hits a weight. */
const files = (readdirSync(folder, { recursive: true }) as string[]).filter((f) => f.endsWith('.onnx') && statSync(join(folder, f)).size < 300_000).sort();
const subjects = [{ name: 'one of everything', bytes: onnxModel(everything), baseDir: undefined }, ...files.map((f) => ({ name: f, bytes: readFileSync(join(folder, f)) as Uint8Array, baseDir: dirname(join(folder, f)) }))];

test.each(subjects)('$name, undamaged', ({ bytes, baseDir }) => {
  expect(attempt(bytes, baseDir)).toEqual([]);
});

test.each(subjects)('$name, bytes damaged', ({ bytes, baseDir }) => {
  const seen = new Set<string>();
  fc.assert(fc.property(fc.noShrink(fc.nat()), (damage) => { attempt(mutate(bytes, damage), baseDir).forEach((c) => seen.add(c)); }), { numRuns: runs, seed });
  // Else the damage would not reach the importer.
  expect(seen.size).toBeGreaterThan(0);
}, 600_000);

test.each(subjects)('$name, contents distorted', ({ bytes, baseDir }) => {
  const original = decodeMessage('ModelProto', bytes);
  const seen = new Set<string>();
  fc.assert(fc.property(fc.noShrink(fc.nat()), (damage) => {
    const model = plain(original) as MessageInit<'ModelProto'>;
    distort(model, damage);
    let encoded: Uint8Array;
    try { encoded = encodeMessage('ModelProto', model); } catch { return; } // a number that its field cannot hold
    attempt(encoded, baseDir).forEach((c) => seen.add(c));
  }), { numRuns: runs, seed });
  expect(seen.size).toBeGreaterThan(3);
}, 600_000);

test('what imports also compiles, whatever is left of the model', () => {
  const original = decodeMessage('ModelProto', subjects[0]!.bytes);
  let compiled = 0;
  fc.assert(fc.property(fc.noShrink(fc.nat()), (damage) => {
    const model = plain(original) as MessageInit<'ModelProto'>;
    distort(model, damage);
    let bytes: Uint8Array;
    try {
      bytes = encodeMessage('ModelProto', model);
      importModel({ bytes });
    } catch { return; } // the tests above look at these
    compileModel({ bytes, name: 'damaged' }, { cpu: 'generic', passes: { verifyEach: true } });
    compiled++;
  }), { numRuns: Math.ceil(runs / 3), seed });
  expect(compiled).toBeGreaterThan(3);
}, 600_000);
