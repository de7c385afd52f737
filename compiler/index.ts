/**
 * The public interface of spc: compile a model, load what was compiled. Everything else is internal.
 * @example
 * import { compile, load } from 'spc';
 * await compile('model.onnx', { output: 'build' });
 * const model = await load('build');
 * const { scores } = model.run({ image: new Float32Array(784) });
 */
import { load, type LoadedModel, type LoadOptions, type ModelTypes } from '../runtime/node/load.js';
import { compileModel, readModel, writeFiles, type CompileOptions as DriverOptions } from './driver.js';
import { SpcError, type Diagnostic } from './diagnostics/diagnostic.js';
import type { Manifest, Port } from './manifest.js';
import { sparsifySource } from './sparsify-source.js';

export interface CompileOptions extends DriverOptions {
  /** Puts the weights on a pattern first (`2:4`, `unstructured:0.9`, ...; see `sparsifyModel`): the accuracy changes by an unknown amount (SPC3006). */
  readonly sparsify?: string;
  /** Folder to write to; without it nothing is written. A new folder appears whole or not at all. */
  readonly output?: string;
  /** Also emit types and a loader for TypeScript. */
  readonly emit?: readonly 'node'[];
}

export interface Compiled {
  /** Emitted files by path relative to the build folder. */
  readonly files: ReadonlyMap<string, string | Uint8Array>;
  /** Inputs, outputs, memory, and how each layer runs and why; the same as manifest.json. */
  readonly manifest: Manifest;
  /** Notes and warnings. */
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Compiles an ONNX model to source code, in memory or to a folder.
 * @param model path of an .onnx file, or its bytes
 * @throws SpcError with every problem found
 */
export async function compile(model: string | Uint8Array, options: CompileOptions = {}): Promise<Compiled> {
  const { output, emit = [], sparsify, ...rest } = options;
  const source = typeof model === 'string' ? readModel(model) : { bytes: model };
  const { files, manifest, diagnostics } = compileModel(sparsify === undefined ? source : sparsifySource(source, sparsify), rest);
  const all = new Map(files);
  if (emit.includes('node')) {
    const { nodeFiles } = await import('../runtime/node/declarations.js');
    for (const [name, text] of nodeFiles(manifest)) all.set(name, text);
  }
  if (output !== undefined) writeFiles(all, output);
  return { files: all, manifest, diagnostics };
}

export { load, SpcError };
export type { Diagnostic, LoadedModel, LoadOptions, Manifest, ModelTypes, Port };
export type { DType, TypedArray } from './ir/dtype.js';
export type { DenseTensor, SparseTensor, Tensor } from './ir/tensor.js';
export { denseTensor } from './ir/tensor.js';
export { sparsifyModel, type Sparsified, type SparsifyOptions } from './sparsity/sparsify.js';
