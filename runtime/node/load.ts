/** Runs a compiled model from TypeScript: typed arrays in, typed arrays out. */
import { readFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { isas, type Isa } from '../../backends/cpu/isa.js';
import { nativeIsa } from '../../backends/cpu/target.js';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import { dtypes, type TypedArray } from '../../compiler/ir/dtype.js';
import { newArray } from '../../compiler/ir/tensor.js';
import { elementCount } from '../../compiler/ir/types.js';
import type { Manifest, Port } from '../../compiler/manifest.js';
import { buildLibrary, type BuildOptions } from './build-library.js';
import { readManifest } from './manifest.js';
import { openNativeModel, type NativeModel, type NativeOptions } from './native-model.js';

/** The inputs and outputs of a model by name; `model.d.ts` in a build folder has the model's own. */
export interface ModelTypes {
  readonly inputs: { readonly [name: string]: TypedArray };
  readonly outputs: { readonly [name: string]: TypedArray };
}

export interface LoadOptions extends BuildOptions, Omit<NativeOptions, 'weights'> {}

export interface LoadedModel<M extends ModelTypes = ModelTypes> {
  /** Names, element types (f16 and bf16 as bit patterns in Uint16Array, bool as 0/1 in Uint8Array) and row-major shapes. */
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly manifest: Manifest;
  /**
   * One inference, synchronous, on the calling thread.
   * @param outputs arrays to write into; new ones are made for those not given
   * @throws SpcError where an array is missing, of another type or of another length
   */
  run(inputs: M['inputs'], outputs?: Partial<M['outputs']>): M['outputs'];
  /** Seconds spent a layer so far, with `profile: true`. */
  readonly profile: Float64Array | undefined;
  readonly native: NativeModel;
  /** Frees the model's memory; it cannot run afterwards. */
  dispose(): void;
}

/**
 * Loads a folder that `spc compile` made for a CPU or a GPU. The first time its sources are built into a shared library, which is kept in the
 * user's cache folder.
 * @example
 * const model = await load<import('./build/model.js').Model>('build');
 * const { scores } = model.run({ image: new Float32Array(784) });
 */
export async function load<M extends ModelTypes = ModelTypes>(folder: string, options: LoadOptions = {}): Promise<LoadedModel<M>> {
  const manifest = readManifest(folder);
  const missing = missingInstructions(manifest.compileFlags, nativeIsa());
  if (missing !== undefined) {
    throw new SpcError([{ code: 'SPC5507', severity: 'error', message: `${folder} was compiled for ${missing}, this machine has ${nativeIsa().name}`, hint: 'compile it with --cpu=native or --cpu=generic' }]);
  }
  const library = await buildLibrary(folder, manifest, options);
  const weightsFile = join(folder, `${manifest.name}_weights.bin`);
  // a model for a CPU has its weights linked into the library unless told otherwise; one for a GPU uploads them
  const external = (manifest.target !== 'cpu' || manifest.options['weights'] === 'file') && existsSync(weightsFile);
  const native = openNativeModel(library, manifest.name, { ...options, ...(external ? { weights: readFileSync(weightsFile) } : {}) });
  return wrap<M>(native, manifest);
}

/** The instruction set that the flags ask for, where `host` lacks it: running it would end the process. */
export function missingInstructions(flags: readonly string[], host: Isa): string | undefined {
  const wanted = Object.values(isas).find((isa) => flags.includes(`-march=${isa.name}`));
  return wanted && wanted.lanes > host.lanes ? wanted.name : undefined;
}

function wrap<M extends ModelTypes>(native: NativeModel, manifest: Manifest): LoadedModel<M> {
  const take = (kind: string, port: Port, array: TypedArray | undefined): TypedArray => {
    const wanted = dtypes[port.dtype].array, count = elementCount(port.shape);
    if (array instanceof wanted && array.length === count) return array;
    const got = array === undefined ? 'nothing' : `${array.constructor.name} of ${array.length}`;
    throw new SpcError([{
      code: 'SPC6105', severity: 'error', message: `${kind} '${port.name}' must be a ${wanted.name} of ${count} elements, got ${got}`,
      shapes: [`${port.dtype}[${port.shape.join(',')}]`],
    }]);
  };
  return {
    inputs: manifest.inputs, outputs: manifest.outputs, manifest, native,
    run(inputs, outputs = {}) {
      const unknown = Object.keys(inputs).find((name) => !manifest.inputs.some((p) => p.name === name));
      if (unknown !== undefined) {
        throw new SpcError([{ code: 'SPC6103', severity: 'error', message: `the model has no input '${unknown}'`, hint: `its inputs are: ${manifest.inputs.map((p) => p.name).join(', ')}` }]);
      }
      const given = manifest.inputs.map((p) => take('input', p, inputs[p.name]));
      const results = manifest.outputs.map((p) => (outputs[p.name] === undefined ? newArray(p.dtype, elementCount(p.shape)) : take('output', p, outputs[p.name])));
      native.run(given, results);
      return Object.fromEntries(manifest.outputs.map((p, i) => [p.name, results[i]!])) as M['outputs'];
    },
    profile: native.profile,
    dispose: () => native.dispose(),
  };
}
