/**
 * npm run models -- [--only TEXT] [--rounds N] [--no-bench]
 *
 * What compiled real models do beside ONNX Runtime: largest difference, accuracy, time, memory, compile time. A run over all of
 * them writes docs/models.md. Times mean something on a quiet machine only.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { z } from 'zod';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { toNumbers } from '../../compiler/ir/tensor.js';
import { compareTensors } from '../support/compare.js';
import { runProcess } from '../support/processes.js';
import { accuracies } from './accuracy.js';
import { buildReal, onnxRuntime, peerOutputs, randomInputsOf } from './build.js';
import { isThere } from './data.js';
import { compileReal, modelFile, realModels, type RealModel } from './models.js';

const flags = new Command('models')
  .option('--only <text>', 'models whose name contains this')
  .option('--rounds <n>', 'blocks of back-to-back runs per engine', '15')
  .option('--no-bench', 'leave out the times')
  .parse().opts<{ readonly only?: string; readonly rounds: string; readonly bench: boolean }>();

const SEEDS = [1, 2, 3];

interface Row {
  readonly name: string;
  readonly maxError: number;
  /** Largest absolute value among the outputs, to read the error against. */
  readonly scale: number;
  readonly withinTolerance: boolean;
  readonly accuracy: string;
  readonly times?: Times;
  readonly arenaBytes: number;
  readonly unsharedBytes: number;
  readonly weightBytes: number;
  readonly compileSeconds: number;
  readonly cSeconds: number;
}

const timesSchema = z.object({ spc_us: z.number(), peer_us: z.number(), ratio: z.number(), peer: z.string(), cpu: z.string() });
type Times = z.infer<typeof timesSchema>;

/** `spc bench --compare onnxruntime`, as a user would run it. */
async function times(m: RealModel): Promise<Times> {
  const dims = Object.entries(m.dims ?? {}).map(([n, v]) => `${n}=${v}`).join(',');
  const binds = Object.entries(m.bind ?? {}).flatMap(([n, t]) => ['--bind', `${n}=${toNumbers(t)[0]}`]);
  const run = await runProcess(process.execPath, ['--import', 'tsx', join(packageRoot(), 'compiler', 'cli', 'main.ts'), 'bench', modelFile(m)!, '--json', '--compare', 'onnxruntime',
    '--rounds', flags.rounds, `--random-range=${m.range.low},${m.range.high}`, ...(dims ? ['--dim', dims] : []), ...binds], { cwd: packageRoot() });
  if (run.code !== 0) throw new Error(`spc bench ${m.name}: ${run.stderr || run.stdout}`);
  return timesSchema.parse(JSON.parse(run.stdout));
}

async function measure(m: RealModel): Promise<Row> {
  const began = performance.now();
  const { manifest } = compileReal(m);
  const compiled = performance.now();
  // a cache of its own, so that the C compiler really runs
  const cacheDir = mkdtempSync(join(tmpdir(), 'spc-models-'));
  try {
    const beforeC = performance.now();
    const built = await buildReal(m, {}, { cacheDir });
    const cSeconds = (performance.now() - beforeC) / 1000 - (compiled - began) / 1000;
    let maxError = 0, scale = 0, withinTolerance = true;
    for (const seed of SEEDS) {
      const inputs = randomInputsOf(m, built, seed), expected = await peerOutputs(m, built, inputs);
      built.run(inputs).forEach((a, i) => {
        const d = compareTensors(a, expected[i]!, m.tolerance);
        maxError = Math.max(maxError, d.maxError);
        withinTolerance &&= d.problem === undefined;
        scale = toNumbers(expected[i]!).reduce((s, x) => Math.max(s, Math.abs(x)), scale);
      });
    }
    const found = accuracies.filter((a) => a.model === m.name && isThere(a.data) && (a.data !== 'mnistExample' || !isThere('mnist')));
    const accuracy = found.map((a) => {
      const { right, of } = a.measure(built);
      return `${(100 * right / of).toFixed(2)} % of ${of}`;
    }).join(', ');
    built.loaded.dispose();
    return {
      name: m.name, maxError, scale, withinTolerance, accuracy, arenaBytes: manifest.arenaBytes, unsharedBytes: manifest.unsharedBytes, weightBytes: manifest.weightBytes,
      compileSeconds: (compiled - began) / 1000, cSeconds, ...(flags.bench ? { times: await times(m) } : {}),
    };
  } finally {
    rmSync(cacheDir, { recursive: true, force: true });
  }
}

const geometricMean = (x: readonly number[]): number => Math.exp(x.reduce((s, v) => s + Math.log(v), 0) / x.length);
const microseconds = (us: number): string => (us < 1000 ? us.toFixed(us < 10 ? 2 : 1) : us.toFixed(0));

function cells(r: Row): string[] {
  return [
    r.name, `${r.maxError === 0 ? '0' : r.maxError.toExponential(1)}${r.withinTolerance ? '' : ' (too large)'}`, r.scale.toPrecision(3), r.accuracy,
    ...(flags.bench ? [r.times ? microseconds(r.times.spc_us) : '', r.times ? microseconds(r.times.peer_us) : '', r.times ? r.times.ratio.toFixed(2) : ''] : []),
    String(r.arenaBytes), String(r.unsharedBytes), String(r.weightBytes), r.compileSeconds.toFixed(2), r.cSeconds.toFixed(1),
  ];
}

const head = ['model', 'max error', 'largest output', 'accuracy', ...(flags.bench ? ['spc us', 'ORT us', 'ratio'] : []), 'arena bytes', 'unshared bytes', 'weight bytes', 'spc s', 'cc s'];
const line = (c: readonly string[]): string => `| ${c.join(' | ')} |`;

if (!onnxRuntime) {
  console.error('onnxruntime-node cannot be loaded: there is nothing to compare with.');
  process.exit(2);
}
const wanted = realModels.filter((m) => m.name.includes(flags.only ?? ''));
const rows: Row[] = [];
console.log(line(head));
for (const m of wanted) {
  if (modelFile(m) === undefined) {
    console.log(`${m.name}: skipped, ${m.file} is not here`);
    continue;
  }
  const row = await measure(m);
  rows.push(row);
  console.log(line(cells(row)));
}
const ratios = rows.flatMap((r) => (r.times ? [r.times.ratio] : []));
const summary = ratios.length ? `Ratios (ONNX Runtime / spc, above 1 spc is faster): geometric mean ${geometricMean(ratios).toFixed(2)}, lowest ${Math.min(...ratios).toFixed(2)}.` : '';
if (summary) console.log(summary);

if (rows.length === realModels.length && flags.bench) {
  const [first] = rows;
  writeFileSync(join(packageRoot(), 'docs', 'models.md'), `# Real models

Generated by \`npm run models\`. Do not edit. Which model each name stands for, and how inputs are made: test/models/models.ts.

Measured on ${cpus()[0]?.model.trim() ?? 'an unknown CPU'}; ${first?.times?.cpu}; ${first?.times?.peer}, all optimisations; batch 1, one thread, pinned;
alternating blocks of back-to-back runs, both engines warm, medians of ${flags.rounds} blocks; of the two ratios (medians, and
medians of the ratios of neighbouring blocks) the lower. *max error* is the largest difference from ONNX Runtime without
optimisations over ${SEEDS.length} seeded random inputs; *accuracy* on labelled data. *arena* is the working memory, *unshared* what it
would be if no two tensors shared memory. *spc s* compiles ONNX to C, *cc s* the C compiler.

${[line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map((r) => line(cells(r)))].join('\n')}

${summary}
`);
}
process.exitCode = rows.every((r) => r.withinTolerance) ? 0 : 1;
