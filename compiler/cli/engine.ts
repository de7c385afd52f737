/** A model made ready to run: compiled, in the reference evaluator, or in ONNX Runtime. */
import { load, type LoadedModel } from '../../runtime/node/load.js';
import { SpcError, type Diagnostic } from '../diagnostics/diagnostic.js';
import type { InputPort } from '../io/inputs.js';
import { evaluateGraph } from '../kir/evaluate.js';
import { denseData, denseTensor, newArray, type DenseTensor, type Tensor } from '../ir/tensor.js';
import { elementCount, valueOf, type Graph } from '../ir/types.js';
import { importModel } from '../onnx/import.js';
import type { FlagValues } from './flags.js';
import { openOnnxRuntime, type OrtSession } from './onnxruntime.js';
import { compileToRun, isFolder, loadFiles, loadOptionsOf, readBindings, readModelFile, runLoaded, type ModelFile } from './source.js';
import type { Terminal } from './terminal.js';

export interface Runnable {
  readonly inputs: readonly InputPort[];
  readonly outputs: readonly InputPort[];
  readonly diagnostics: readonly Diagnostic[];
  /** The file and the graph imported from it; absent for a build folder. */
  readonly source?: { readonly file: ModelFile; readonly graph: Graph };
  /** One inference; the first one builds what is needed. */
  run(inputs: readonly Tensor[]): Promise<readonly Tensor[]>;
  dispose(): void;
}

const portsOf = (graph: Graph): Pick<Runnable, 'inputs' | 'outputs'> => ({
  inputs: graph.inputs.map((id) => { const v = valueOf(graph, id); return { name: v.name, ...v.type }; }),
  outputs: graph.outputs.map((o) => ({ name: o.name, ...valueOf(graph, o.value).type })),
});

const copy = (t: Tensor): DenseTensor => denseTensor(t.dtype, t.shape, denseData(t).slice());

/** Calls `open` once, at the first use. */
function lazily<T>(open: () => T): { (): T; readonly opened: () => T | undefined } {
  let value: T | undefined;
  return Object.assign(() => (value ??= open()), { opened: () => value });
}

/** @throws SpcError SPC6002 for another engine than the compiled one with a build folder */
export async function openModel(path: string, flags: FlagValues, terminal: Terminal): Promise<Runnable> {
  const loadOptions = loadOptionsOf(flags);
  if (isFolder(path)) {
    if (flags.engine !== undefined && flags.engine !== 'compiled') {
      throw new SpcError([{ code: 'SPC6002', severity: 'error', message: `--engine ${flags.engine} needs the .onnx file, not a build folder` }]);
    }
    if (flags.sparsify !== undefined) throw new SpcError([{ code: 'SPC6002', severity: 'error', message: '--sparsify needs the .onnx file, not a build folder', hint: 'compile the model with --sparsify' }]);
    const model = await load(path, loadOptions);
    return { inputs: model.inputs, outputs: model.outputs, diagnostics: [], run: async (inputs) => runLoaded(model, inputs), dispose: () => model.dispose() };
  }
  const file = readModelFile(path, flags), engine = flags.engine ?? 'compiled';
  if (engine === 'compiled') {
    const { files, imported, diagnostics } = await compileToRun(file, flags, terminal);
    const model = lazily((): Promise<LoadedModel> => loadFiles(files, loadOptions, terminal));
    return {
      ...portsOf(imported), diagnostics, source: { file, graph: imported },
      run: async (inputs) => runLoaded(await model(), inputs), dispose: () => { void model.opened()?.then((m) => m.dispose()); },
    };
  }
  // The other engines run the model as it is: nothing is compiled.
  const bind = readBindings(flags.bind ?? []);
  const { graph, diagnostics } = importModel(file, { bind, ...(flags.dim ? { dims: flags.dim } : {}) }), ports = portsOf(graph);
  const opened = { ...ports, diagnostics, source: { file, graph } };
  if (engine === 'reference') return { ...opened, run: async (inputs) => evaluateGraph(graph, inputs), dispose: () => undefined };
  const bound = Object.entries(bind).map(([name, tensor]) => ({ name, tensor }));
  // A session has its inputs in fixed memory.
  const fixed = ports.inputs.map((p) => ({ name: p.name, tensor: denseTensor(p.dtype, p.shape, newArray(p.dtype, elementCount(p.shape))) }));
  const session = lazily((): OrtSession => openOnnxRuntime(file, [...fixed, ...bound], ports.outputs, loadOptions));
  return {
    ...opened, dispose: () => session.opened()?.dispose(),
    run: async (inputs) => {
      fixed.forEach(({ tensor }, i) => tensor.data.set(denseData(inputs[i]!) as never));
      return session().run().map(copy);
    },
  };
}
