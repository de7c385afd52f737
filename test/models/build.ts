/** Real models as loaded machine code, each built once a process for a set of options. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CompileOptions, CompileResult } from '../../compiler/driver.js';
import { writeFiles } from '../../compiler/driver.js';
import { randomInputs } from '../../compiler/io/random.js';
import { denseData, denseTensor, type DenseTensor, type Tensor } from '../../compiler/ir/tensor.js';
import { load, type LoadedModel, type LoadOptions } from '../../runtime/node/load.js';
import { loadOnnxRuntime, runOnnxRuntime } from '../support/onnxruntime.js';
import { compileReal, modelFile, type RealModel } from './models.js';

/** Emitted code must not make a compiler warn, at the optimisation that finds most. */
export const strict = ['-Wall', '-Wextra', '-Werror'];

export interface BuiltModel {
  readonly result: CompileResult;
  readonly loaded: LoadedModel;
  /** One inference; tensors in the order of the manifest. */
  run(inputs: readonly Tensor[]): DenseTensor[];
}

/** Compiles, builds with {@link strict} warnings and loads a model. The library lies in the cache, the folder is removed. */
export async function buildReal(m: RealModel, options: CompileOptions = {}, load_: LoadOptions = {}): Promise<BuiltModel> {
  const result = compileReal(m, options);
  const dir = mkdtempSync(join(tmpdir(), 'spc-model-'));
  try {
    writeFiles(result.files, join(dir, 'build'));
    const loaded = await load(join(dir, 'build'), { ...load_, flags: [...strict, ...(load_.flags ?? [])] });
    return {
      result, loaded,
      run(inputs) {
        const out = loaded.run(Object.fromEntries(loaded.inputs.map((p, i) => [p.name, denseData(inputs[i]!)])));
        return loaded.outputs.map((p) => denseTensor(p.dtype, p.shape, out[p.name]!));
      },
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

export const randomInputsOf = (m: RealModel, b: BuiltModel, seed: number): DenseTensor[] => randomInputs(b.loaded.inputs, seed, m.range);

export const onnxRuntime = loadOnnxRuntime();

/** ONNX Runtime's outputs, in the order of the manifest. */
export async function peerOutputs(m: RealModel, b: BuiltModel, inputs: readonly Tensor[]): Promise<DenseTensor[]> {
  const feeds = Object.fromEntries(b.loaded.inputs.map((p, i) => [p.name, inputs[i]!]));
  const results = await runOnnxRuntime(onnxRuntime!, readFileSync(modelFile(m)!), { ...feeds, ...m.bind });
  return b.loaded.outputs.map((p) => results[p.name]!);
}
