/** `spc run`: one inference, of a model or a build folder. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { load } from '../../../runtime/node/load.js';
import { SpcError, type Diagnostic } from '../../diagnostics/diagnostic.js';
import { fileNames, formatTensor, topK } from '../../io/format.js';
import { readInputs, type InputPort } from '../../io/inputs.js';
import { encodeNpy } from '../../io/npy.js';
import { evaluateGraph } from '../../kir/evaluate.js';
import { denseData, denseTensor, toNumbers, type DenseTensor, type Tensor } from '../../ir/tensor.js';
import { formatType, valueOf, type Graph } from '../../ir/types.js';
import { importModel } from '../../onnx/import.js';
import type { FlagValues } from '../flags.js';
import { openOnnxRuntime } from '../onnxruntime.js';
import { compileFromFlags, isFolder, loadFiles, readBindings, readModelFile, runLoaded } from '../source.js';
import type { Terminal } from '../terminal.js';
import type { RunVerb } from '../verb.js';

interface Runnable {
  readonly inputs: readonly InputPort[];
  readonly outputs: readonly InputPort[];
  readonly diagnostics: readonly Diagnostic[];
  run(inputs: readonly Tensor[]): Tensor[] | Promise<Tensor[]>;
}

const portsOf = (graph: Graph): Pick<Runnable, 'inputs' | 'outputs'> => ({
  inputs: graph.inputs.map((id) => { const v = valueOf(graph, id); return { name: v.name, ...v.type }; }),
  outputs: graph.outputs.map((o) => ({ name: o.name, ...valueOf(graph, o.value).type })),
});

async function open(path: string, flags: FlagValues, terminal: Terminal): Promise<Runnable> {
  const loadOptions = { threads: flags.threads ?? 1 };
  if (isFolder(path)) {
    if (flags.engine !== undefined && flags.engine !== 'compiled') {
      throw new SpcError([{ code: 'SPC6002', severity: 'error', message: `--engine ${flags.engine} needs the .onnx file, not a build folder` }]);
    }
    const model = await load(path, loadOptions);
    return { inputs: model.inputs, outputs: model.outputs, diagnostics: [], run: (inputs) => runLoaded(model, inputs) };
  }
  const file = readModelFile(path), engine = flags.engine ?? 'compiled';
  if (engine === 'compiled') {
    const { files, imported, diagnostics } = compileFromFlags(file, flags, terminal);
    return { ...portsOf(imported), diagnostics, run: async (inputs) => runLoaded(await loadFiles(files, loadOptions, terminal), inputs) };
  }
  // The other engines run the model as it is: nothing is compiled.
  const bind = readBindings(flags.bind ?? []);
  const { graph, diagnostics } = importModel(file, { bind, ...(flags.dim ? { dims: flags.dim } : {}) }), ports = portsOf(graph);
  const bound = Object.entries(bind).map(([name, tensor]) => ({ name, tensor }));
  return {
    ...ports, diagnostics,
    run: (inputs) => (engine === 'reference' ? evaluateGraph(graph, inputs)
      : openOnnxRuntime(file, [...ports.inputs.map((p, i) => ({ name: p.name, tensor: inputs[i]! })), ...bound], ports.outputs, loadOptions).run()),
  };
}

export const run: RunVerb = async ([path], flags, terminal) => {
  const model = await open(path!, flags, terminal);
  const inputs = readInputs(model.inputs, { files: flags.input ?? [], ...(flags.random === undefined ? {} : { seed: flags.random }), ...(flags.randomRange ? { range: flags.randomRange } : {}) });
  const results = await model.run(inputs);
  const outputs = model.outputs.map((port, i) => ({ port, tensor: results[i]! }));

  if (flags.outputDir !== undefined) {
    const written = save(outputs, flags.outputDir);
    outputs.forEach(({ port }, i) => terminal.print(`${port.name}  ${formatType(port)}  -> ${written[i]}`));
    return { result: { outputs: outputs.map(({ port }, i) => ({ ...describe(port), file: written[i] })) }, diagnostics: model.diagnostics };
  }
  const { top } = flags;
  for (const { port, tensor } of outputs) {
    terminal.print(`${terminal.colors.bold(port.name)}  ${formatType(port)}`);
    if (top === undefined) terminal.print(formatTensor(tensor));
    else for (const { index, value } of topK(tensor, top)) terminal.print(`${String(index).padStart(8)}  ${Number(value.toPrecision(7))}`);
  }
  return {
    result: {
      outputs: outputs.map(({ port, tensor }) => ({
        ...describe(port), ...(top === undefined ? { data: port.dtype === 'i64' || port.dtype === 'u64' ? [...(denseData(tensor) as BigInt64Array)] : toNumbers(tensor) } : { top: topK(tensor, top) }),
      })),
    },
    diagnostics: model.diagnostics,
  };
};

const describe = ({ name, dtype, shape }: InputPort): InputPort => ({ name, dtype, shape });

/** Each file appears whole or not at all. */
function save(outputs: readonly { readonly port: InputPort; readonly tensor: Tensor }[], dir: string): string[] {
  try {
    mkdirSync(dir, { recursive: true });
    return fileNames(outputs.map((o) => o.port.name)).map((name, i) => {
      const path = join(dir, `${name}.npy`), { port, tensor } = outputs[i]!;
      const whole: DenseTensor = denseTensor(port.dtype, port.shape, denseData(tensor));
      writeFileSync(`${path}.part`, encodeNpy(whole));
      renameSync(`${path}.part`, path);
      return path;
    });
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    throw new SpcError([{ code: 'SPC6003', severity: 'error', message: `cannot write to ${dir}: ${error.message}`, hint: 'name a folder that can be made or written' }]);
  }
}
