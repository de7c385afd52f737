/** `spc verify`: compiled code against the reference evaluator and ONNX Runtime; on a difference, the layer or pass at fault. */
import { pipelineFor } from '../../../passes/pipeline.js';
import { SpcError } from '../../diagnostics/diagnostic.js';
import { pathName } from '../../emit/writer.js';
import { evaluateGraph } from '../../kir/evaluate.js';
import { readInputs, type InputPort } from '../../io/inputs.js';
import { type DenseTensor, type Tensor } from '../../ir/tensor.js';
import { formatType, valueOf } from '../../ir/types.js';
import { bisectPasses, compareLayers } from '../bisect.js';
import { compareTensors, defaultTolerance, formatComparison, type Comparison } from '../tensor-comparison.js';
import { exitCodes } from '../exit-codes.js';
import { findOnnxRuntime, openOnnxRuntime } from '../onnxruntime.js';
import { compileToRun, loadFiles, loadOptionsOf, readBindings, readModelFile, runLoaded } from '../source.js';
import type { Precision } from '../../../backends/cuda/target.js';
import type { RunVerb } from '../verb.js';

interface Row {
  readonly sample: number;
  readonly against: 'reference' | 'onnxruntime';
  readonly output: string;
  readonly comparison: Comparison;
}

const DEFAULT_SEED = 1;

/** Each stored activation is rounded by 2^-11 (fp16) or 2^-8 (bf16), each operand of a product is cut to 2^-10 (tf32); a network adds that up. */
const precisionTolerance: Readonly<Record<Precision, typeof defaultTolerance>> = {
  fp16: { rtol: 1e-2, atol: 4e-3 }, tf32: { rtol: 1e-2, atol: 8e-3 }, bf16: { rtol: 5e-2, atol: 3e-2 }, fp32: defaultTolerance,
};

export const run: RunVerb = async ([path], flags, terminal) => {
  const usual = flags.target === 'cuda' ? precisionTolerance[flags.precision ?? 'fp16'] : defaultTolerance;
  const tolerance = { rtol: flags.rtol ?? usual.rtol, atol: flags.atol ?? usual.atol };
  const samples = flags.samples ?? 1;
  if (samples > 1 && flags.input) throw new SpcError([{ code: 'SPC6002', severity: 'error', message: '--samples draws random inputs, --input fixes them', hint: 'use one of the two' }]);
  const file = readModelFile(path!, flags);
  const compiled = await compileToRun(file, flags, terminal), { imported } = compiled;
  const inputPorts: InputPort[] = imported.inputs.map((id) => { const v = valueOf(imported, id); return { name: v.name, ...v.type }; });
  const outputPorts: InputPort[] = imported.outputs.map((o) => ({ name: o.name, ...valueOf(imported, o.value).type }));
  const seed = flags.random ?? (flags.input ? undefined : DEFAULT_SEED);
  const draw = (sample: number): DenseTensor[] =>
    readInputs(inputPorts, { files: flags.input ?? [], ...(seed === undefined ? {} : { seed: seed + sample }), ...(flags.randomRange ? { range: flags.randomRange } : {}) });

  const model = await loadFiles(compiled.files, loadOptionsOf(flags), terminal);
  const runtime = findOnnxRuntime(), rows: Row[] = [];
  let failing: { readonly inputs: readonly Tensor[]; readonly expected: readonly Tensor[] } | undefined, peerProblem: string | undefined;
  for (let sample = 0; sample < samples; sample++) {
    terminal.progress(sample / samples, 'comparing outputs');
    const inputs = draw(sample), actual = runLoaded(model, inputs), expected = evaluateGraph(imported, inputs);
    const against = (name: Row['against'], truth: readonly Tensor[]): Row[] =>
      outputPorts.map((port, i) => ({ sample, against: name, output: port.name, comparison: compareTensors(actual[i]!, truth[i]!, tolerance) }));
    const found = against('reference', expected);
    rows.push(...found);
    if (!failing && found.some((r) => !r.comparison.ok)) failing = { inputs, expected };
    if (!runtime || peerProblem !== undefined) continue;
    try {
      const bound = Object.entries(readBindings(flags.bind ?? [])).map(([name, tensor]) => ({ name, tensor }));
      const session = openOnnxRuntime(file, [...inputPorts.map((p, i) => ({ name: p.name, tensor: inputs[i]! })), ...bound], outputPorts, { optimise: false });
      rows.push(...against('onnxruntime', session.run()));
      session.dispose();
    } catch (error) {
      if (!(error instanceof SpcError)) throw error;
      // The peer may not support the model; that says nothing about spc, but it must not pass for a comparison either.
      peerProblem = error.diagnostics[0]?.message ?? error.message;
    }
  }
  model.dispose();

  const ok = rows.every((r) => r.comparison.ok);
  const { green, red } = terminal.colors;
  for (const r of worstRows(rows)) {
    terminal.print(`${r.comparison.ok ? green('ok  ') : red('FAIL')}  ${r.output} against ${r.against}: ${formatComparison(r.comparison)}`);
  }
  const notCompared = peerProblem ?? (runtime ? undefined : 'onnxruntime-node is not installed');
  if (notCompared !== undefined) terminal.print(`not compared with ONNX Runtime: ${notCompared}`);

  let fault: Record<string, unknown> | undefined;
  if (failing) {
    // of several paths in one library, the one that ran
    const ran = compiled.paths[compiled.manifest.paths?.findIndex((p) => pathName(compiled.manifest.name, p.arch) === model.native.name) ?? 0]!;
    const pass = bisectPasses(imported, pipelineFor(ran.target), failing.inputs, failing.expected, tolerance);
    if (pass) terminal.print(`the pass '${pass.pass}' changes output '${pass.output}': ${formatComparison(pass.comparison)}`);
    const layers = await compareLayers({ ...ran, manifest: compiled.manifest }, loadOptionsOf(flags), failing.inputs, tolerance, terminal), first = layers.find((l) => !l.comparison.ok);
    if (first) {
      const nodes = first.nodes.map((o) => `'${o.node}' (${o.op})`).join(' + ') || first.kind;
      terminal.print(`first layer that differs from its definition: ${nodes}, kernel ${first.kernel}, value '${first.output}': ${formatComparison(first.comparison)}`);
    } else if (!pass) terminal.print('every layer alone agrees with its definition: the difference is rounding that adds up, or memory that layers share wrongly');
    fault = { pass: pass ?? null, layer: first ?? null };
  }
  return {
    exitCode: ok ? exitCodes.ok : exitCodes.mismatch,
    result: {
      ok, tolerance, samples, seed: seed ?? null, inputs: inputPorts.map((p) => `${p.name} ${formatType(p)}`),
      comparisons: rows.map(({ comparison, ...r }) => ({ ...r, ...comparison })), onnxruntime: notCompared === undefined ? runtime?.version : { notCompared }, ...(fault ? { fault } : {}),
    },
    diagnostics: compiled.diagnostics,
  };
};

/** One row an output and peer: the first failing sample, else the one with the largest error. */
function worstRows(rows: readonly Row[]): Row[] {
  const worst = new Map<string, Row>();
  for (const r of rows) {
    const key = `${r.against}\0${r.output}`, known = worst.get(key);
    if (!known || (known.comparison.ok && (!r.comparison.ok || r.comparison.maxAbs > known.comparison.maxAbs))) worst.set(key, r);
  }
  return [...worst.values()];
}
