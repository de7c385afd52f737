/** `spc compare`: whether one classifier may take another one's place, on labelled data: overall, by class, by group. */
import { writeFileSync } from 'node:fs';
import { SpcError } from '../../diagnostics/diagnostic.js';
import { comparePredictions } from '../../evaluation/compare.js';
import { checkGates } from '../../evaluation/gates.js';
import { rangeOf, withNoise } from '../../evaluation/noise.js';
import { isRight, predictionsOf, type Predictions } from '../../evaluation/predictions.js';
import { markdownReport, sectionsOf, verdictOf, type Report, type Robustness } from '../../evaluation/report.js';
import { sparsityContext } from '../../evaluation/sparsity-context.js';
import { meanHeight } from '../../evaluation/statistics.js';
import { dataError } from '../../io/errors.js';
import type { InputPort } from '../../io/inputs.js';
import { feedFor, readGroups, readLabelled, type Feed, type LabelledData } from '../../io/labelled.js';
import { isFloat } from '../../ir/dtype.js';
import { toNumbers, type Tensor } from '../../ir/tensor.js';
import { elementCount, formatType } from '../../ir/types.js';
import { openModel, type Runnable } from '../engine.js';
import { exitCodes } from '../exit-codes.js';
import type { FlagValues } from '../flags.js';
import { isFolder } from '../source.js';
import type { Terminal } from '../terminal.js';
import type { RunVerb } from '../verb.js';

interface Classifier {
  readonly who: 'a' | 'b';
  readonly path: string;
  readonly model: Runnable;
  readonly feed: Feed;
  readonly classes: number;
  /** Place among the outputs of the one that holds the scores. */
  readonly scores: number;
}

/** The output with the class scores: [batch, classes], whatever axes of size 1 lie between. */
function scoresOf(path: string, outputs: readonly InputPort[], batch: number, wanted: string | undefined): { readonly scores: number; readonly classes: number } {
  const scores = wanted === undefined && outputs.length === 1 ? 0 : outputs.findIndex((o) => o.name === wanted), port = outputs[scores];
  const list = outputs.map((o) => `'${o.name}' ${formatType(o)}`).join(', ');
  if (!port) throw dataError('SPC6121', `${path}: ${wanted === undefined ? 'has several outputs' : `has no output '${wanted}'`}`, `name the one with the class scores with --scores; the outputs are: ${list}`);
  const classes = elementCount(port.shape) / batch;
  if (!isFloat(port.dtype) || !Number.isInteger(classes) || classes < 2 || (batch > 1 && port.shape[0] !== batch)) {
    throw dataError('SPC6121', `${path}: output '${port.name}' is ${formatType(port)}, which is not one floating-point score a class for ${batch === 1 ? 'a sample' : `${batch} samples`}`, 'compare takes classifiers with two classes or more');
  }
  return { scores, classes };
}

async function openClassifier(who: 'a' | 'b', path: string, data: LabelledData, flags: FlagValues, terminal: Terminal): Promise<Classifier> {
  if (isFolder(path)) throw new SpcError([{ code: 'SPC6002', severity: 'error', message: `${path} is a build folder`, hint: 'compare takes .onnx files: it also tells how sparse they are' }]);
  const model = await openModel(path, flags, terminal), feed = feedFor(data, model.inputs, flags.normalize);
  return { who, path, model, feed, ...scoresOf(path, model.outputs, feed.batch, flags.scores) };
}

/** Scores of all samples, [samples, classes]. `distort` changes inputs on their way, told which samples they are. */
async function predict({ who, path, model, feed, classes, scores }: Classifier, data: LabelledData, terminal: Terminal, distort?: (t: Tensor, sample: number) => Tensor): Promise<Predictions> {
  const all = new Float64Array(data.samples * classes);
  for (let first = 0; first < data.samples; first += feed.batch) {
    const inputs = feed.inputsAt(first), results = await model.run(distort ? inputs.map((t) => distort(t, first)) : inputs);
    const numbers = toNumbers(results[scores]!), rows = Math.min(feed.batch, data.samples - first);
    all.set(numbers.slice(0, rows * classes), first * classes);
    terminal.progress((first + rows) / data.samples, `running ${who}`);
  }
  return predictionsOf(all, data.labels, path);
}

const accuracyOf = (p: Predictions): number => p.labels.filter((_, i) => isRight(p, i)).length / p.samples;

async function robustnessOf(a: Classifier, b: Classifier, data: LabelledData, percentages: readonly number[], terminal: Terminal): Promise<Robustness> {
  const levels: Robustness['levels'][number][] = [];
  for (const noise of percentages.map((x) => x / 100)) {
    // both models see the same noise; each its own range, as they may want other inputs
    const accuracy = async (c: Classifier): Promise<number> => {
      const range = rangeOf(Array.from({ length: Math.ceil(data.samples / c.feed.batch) }, (_, i) => c.feed.inputsAt(i * c.feed.batch)).flat());
      return accuracyOf(await predict(c, data, terminal, (t, sample) => withNoise(t, noise, range, sample)));
    };
    levels.push({ noise, accuracyA: await accuracy(a), accuracyB: await accuracy(b) });
  }
  const mean = (of: 'accuracyA' | 'accuracyB'): number => meanHeight(levels.map((l) => ({ x: l.noise, y: l[of] })));
  return { levels, meanA: mean('accuracyA'), meanB: mean('accuracyB') };
}

function save(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new SpcError([{ code: 'SPC6003', severity: 'error', message: `cannot write ${path}: ${(error as Error).message}` }]);
  }
}

export const run: RunVerb = async ([pathA, pathB], flags, terminal) => {
  if (flags.data === undefined) throw new SpcError([{ code: 'SPC6002', severity: 'error', message: 'compare needs labelled data', hint: 'give --data FILE or --data FOLDER' }]);
  const data = readLabelled({ data: flags.data, ...(flags.labels === undefined ? {} : { labels: flags.labels }), ...(flags.limit === undefined ? {} : { limit: flags.limit }) });
  const groups = flags.groups === undefined ? [] : readGroups(flags.groups, data);
  const a = await openClassifier('a', pathA!, data, flags, terminal), b = await openClassifier('b', pathB!, data, flags, terminal);
  if (a.classes !== b.classes) throw dataError('SPC6121', `${a.path} has ${a.classes} classes, ${b.path} has ${b.classes}`, 'compare models that answer the same question');
  const comparison = comparePredictions(await predict(a, data, terminal), await predict(b, data, terminal), groups);
  const robustness = flags.noise === undefined ? undefined : await robustnessOf(a, b, data, flags.noise, terminal);
  for (const { model } of [a, b]) model.dispose();

  const context = ({ model: { source } }: Classifier): Report['sparsity']['a'] => sparsityContext(source!.graph, source!.file.bytes.length);
  const report: Report = {
    modelA: a.path, modelB: b.path, comparison, gates: checkGates(comparison, flags.gate ?? {}), sparsity: { a: context(a), b: context(b) }, ...(robustness ? { robustness } : {}),
  };
  const verdict = verdictOf(report);
  for (const line of verdict) terminal.print(line.startsWith('FAILED') ? terminal.colors.red(line) : line);
  for (const s of sectionsOf(report)) {
    terminal.print();
    terminal.print(terminal.colors.bold(s.title));
    terminal.table(s.head, s.rows, s.head.map((_, c) => c).slice(1));
    if (s.note) terminal.print(s.note);
  }
  if (flags.markdown !== undefined) save(flags.markdown, markdownReport(report));
  const { modelA, modelB, ...rest } = report;
  return {
    exitCode: report.gates.every((g) => g.ok) ? exitCodes.ok : exitCodes.requirement,
    result: { modelA, modelB, verdict, ...rest.comparison, gates: rest.gates, sparsity: rest.sparsity, ...(robustness ? { robustness } : {}) },
    diagnostics: [...a.model.diagnostics, ...b.model.diagnostics],
  };
};
