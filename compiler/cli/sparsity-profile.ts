/** `spc run --profile-sparsity`: runs a model on samples with every activation as an output, and counts zeros. */
import { writeFileSync } from 'node:fs';
import { targets } from '../../backends/index.js';
import { runPasses } from '../../passes/manager.js';
import { pipelineFor } from '../../passes/pipeline.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { chooseLayouts, emitModel } from '../driver.js';
import { readInputs, type InputPort } from '../io/inputs.js';
import { isFloat } from '../ir/dtype.js';
import { denseData, denseTensor, toNumbers, type Tensor } from '../ir/tensor.js';
import { elementCount, valueOf, type Graph } from '../ir/types.js';
import { importModel } from '../onnx/import.js';
import { buildPlan } from '../plan/build.js';
import type { SparsityProfile } from '../sparsity/profile.js';
import type { FlagValues } from './flags.js';
import { isFolder, loadFiles, readBindings, readModelFile, runLoaded } from './source.js';
import type { Terminal } from './terminal.js';
import type { Outcome } from './verb.js';

/** The graph with every value of floats that it computes as an output under its own name. */
function observed(graph: Graph): Graph {
  const computed = graph.nodes.flatMap((n) => n.outputs).filter((id) => isFloat(valueOf(graph, id).type.dtype));
  return { ...graph, outputs: computed.map((id) => ({ name: valueOf(graph, id).name, value: id })) };
}

/** So many samples for each input, one after the other in its first dimension, as inputs of single inferences. */
function samplesOf(ports: readonly InputPort[], count: number, flags: FlagValues): readonly (readonly Tensor[])[] {
  const stacked = ports.map((p): InputPort => ({ ...p, shape: p.shape.length === 0 ? [count] : [p.shape[0]! * count, ...p.shape.slice(1)] }));
  const all = readInputs(stacked, { files: flags.input ?? [], ...(flags.random === undefined ? {} : { seed: flags.random }), ...(flags.randomRange ? { range: flags.randomRange } : {}) });
  return Array.from({ length: count }, (_, i) => ports.map((p, input) => {
    const size = elementCount(p.shape);
    return denseTensor(p.dtype, p.shape, denseData(all[input]!).slice(i * size, (i + 1) * size));
  }));
}

/** @throws SpcError SPC6002 for a build folder, SPC6003 where the file cannot be written */
export async function profileSparsity(path: string, file: string, flags: FlagValues, terminal: Terminal): Promise<Outcome> {
  if (isFolder(path)) throw new SpcError([{ code: 'SPC6002', severity: 'error', message: '--profile-sparsity needs the .onnx file, not a build folder' }]);
  const source = readModelFile(path, flags), target = targets.cpu({ cpu: flags.cpu ?? 'native' }), samples = flags.samples ?? 1;
  const { graph, diagnostics, info } = importModel(source, { ...(flags.dim ? { dims: flags.dim } : {}), ...(flags.bind ? { bind: readBindings(flags.bind) } : {}) });
  const chosen = chooseLayouts(runPasses(observed(graph), pipelineFor(target)).graph, target, {});
  const { files } = emitModel(buildPlan(chosen.graph, target, chosen.decisions), target, { name: 'profile', header: ['every activation is an output'], weights: 'auto' },
    { options: {}, model: { name: 'profile', sha256: info.sha256, producer: info.producer }, diagnostics: [] });
  const inputs = samplesOf(graph.inputs.map((id) => { const v = valueOf(graph, id); return { name: v.name, ...v.type }; }), samples, flags);
  const model = await loadFiles(files, { threads: flags.threads ?? 1 }, terminal);
  const counts = new Map<string, { zeros: number; elements: number }>();
  inputs.forEach((sample, i) => {
    terminal.progress(i / samples, 'counting zeros');
    runLoaded(model, sample).forEach((t, o) => {
      const name = model.outputs[o]!.name, c = counts.get(name) ?? { zeros: 0, elements: 0 };
      counts.set(name, { zeros: c.zeros + toNumbers(t).filter((x) => x === 0).length, elements: c.elements + elementCount(t.shape) });
    });
  });
  model.dispose();
  const profile: SparsityProfile = {
    schemaVersion: 1, samples, zeros: Object.fromEntries([...counts].flatMap(([name, c]) => (c.elements > 0 ? [[name, Number((c.zeros / c.elements).toFixed(4))]] : []))),
  };
  try {
    writeFileSync(file, `${JSON.stringify(profile, null, 2)}\n`);
  } catch (error) {
    throw new SpcError([{ code: 'SPC6003', severity: 'error', message: `cannot write ${file}: ${(error as Error).message}` }]);
  }
  for (const [name, zeros] of Object.entries(profile.zeros)) terminal.print(`${`${(100 * zeros).toFixed(1)} %`.padStart(8)}  ${name}`);
  return { result: { file, ...profile }, diagnostics };
}
