/** Results of the benchmark on GPUs: what the program prints, the file that they are kept in, and the table. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { honestRatio, median, type Timing } from '../../compiler/cli/timing.js';
import { markdownTable } from '../tables.js';
import { cases, type Generation, type Goal } from './cases.js';

const count = z.number().int().nonnegative(), microseconds = z.number().positive();

export const deviceSchema = z.object({ device: z.string(), capability: z.string(), multiprocessors: count, l2Bytes: count });
export type Device = z.infer<typeof deviceSchema>;

/** The lines of program.cu. */
export const lineSchema = z.union([
  deviceSchema,
  /** Of an engine: the largest share of its tolerance that an error takes, and the largest difference from spc over the largest result. */
  z.object({ check: z.string(), worstShare: z.number(), difference: z.number() }),
  z.object({ engine: z.string(), about: z.string(), weightBytes: count, sets: count, launchesPerBlock: count, us: z.array(microseconds) }),
  z.object({ engine: z.string(), about: z.string() }),
  z.object({ failed: z.string() }),
]);
export type Line = z.infer<typeof lineSchema>;

const engineSchema = z.object({
  /** Median and least of the blocks' means. */
  us: microseconds,
  fastest: microseconds,
  about: z.string(),
  weightBytes: count,
  /** Copies of the weights that launches read in turn. */
  sets: count,
  worstShare: z.number().optional(),
});
const measuredSchema = z.object({
  status: z.literal('measured'), spc: engineSchema,
  /** Time over spc's: the lowest of the ratio of medians, the ratio of least times and the median of the rounds' ratios. `again`: spc itself. */
  peers: z.record(z.string(), engineSchema.extend({ ratio: z.number().positive(), difference: z.number().optional() })),
  absent: z.record(z.string(), z.string()),
  rounds: count,
});
const rowSchema = z.object({
  name: z.string(),
  /** Kernels of the layer, as `spc inspect --layers` names them. */
  kernels: z.array(z.string()),
  result: z.discriminatedUnion('status', [measuredSchema, z.object({ status: z.literal('failed'), problem: z.string() })]),
});
const resultsSchema = z.object({ schemaVersion: z.literal(1), spc: z.string(), compiler: z.string(), gpuArch: z.string(), ...deviceSchema.shape, rows: z.array(rowSchema) });
export type Row = z.infer<typeof rowSchema>;
export type Measured = z.infer<typeof measuredSchema>;
export type Results = z.infer<typeof resultsSchema>;

const timing = (us: readonly number[]): Timing => ({ seconds: median(us), fastest: Math.min(...us), slowest: Math.max(...us), blocks: us, runsPerBlock: 1 });

/** A peer's time over ours: of all honest summaries of the same rounds the lowest. */
export const lowestRatio = (ours: Timing, peer: Timing): number => Math.min(honestRatio(ours, peer), peer.fastest / ours.fastest);

/** What the program said, as a row's result. @throws Error where it ended before its time */
export function resultOf(lines: readonly Line[]): Row['result'] {
  const failed = lines.find((l) => 'failed' in l);
  if (failed) return { status: 'failed', problem: failed.failed };
  const timed = lines.filter((l) => 'us' in l), checks = new Map(lines.flatMap((l) => ('check' in l ? [[l.check, l] as const] : []))), spc = timed.find((e) => e.engine === 'spc');
  if (!spc) throw new Error('the program has not told what spc takes');
  const ours = timing(spc.us), facts = ({ engine, about, weightBytes, sets, us }: typeof spc): z.infer<typeof engineSchema> => {
    const t = timing(us), share = checks.get(engine)?.worstShare;
    return { us: t.seconds, fastest: t.fastest, about, weightBytes, sets, ...(share === undefined ? {} : { worstShare: share }) };
  };
  return {
    status: 'measured', spc: facts(spc), rounds: spc.us.length,
    peers: Object.fromEntries(timed.filter((e) => e !== spc).map((e) => {
      const difference = checks.get(e.engine)?.difference;
      return [e.engine, { ...facts(e), ratio: lowestRatio(ours, timing(e.us)), ...(difference === undefined ? {} : { difference }) }];
    })),
    absent: Object.fromEntries(lines.flatMap((l) => ('engine' in l && !('us' in l) ? [[l.engine, l.about]] : []))),
  };
}

/** Which goals count on a device; undefined where none are set for its kind. */
export const generationOf = (capability: string): Generation | undefined => (capability.startsWith('8.') ? 'ampere' : capability.startsWith('9.') ? 'hopper' : undefined);

const verdict = (goal: Goal | undefined, ratio: number | undefined): string =>
  (!goal || ratio === undefined ? '' : ratio >= goal.stretch ? 'stretch goal met' : ratio >= goal.must ? 'met' : 'missed');

export const tableHead = ['layer', 'kernel', 'spc', 'cuBLAS', 'ratio', 'must / stretch', '', 'cuSPARSELt', 'ratio', 'spc again'];
export function tableCells({ name, kernels, result }: Row, capability: string): string[] {
  const kernel = kernels.join(' + ');
  if (result.status === 'failed') return [name, kernel, `failed: ${result.problem.split('\n')[0]!.replaceAll('|', '\\|')}`, ...tableHead.slice(3).map(() => '')];
  const generation = generationOf(capability), goal = generation && cases.find((c) => c.name === name)?.goals?.[generation];
  const time = (peer: string): string => (result.peers[peer] ? `${result.peers[peer].us.toPrecision(4)} us` : 'absent'), ratio = (peer: string): string => result.peers[peer]?.ratio.toFixed(2) ?? '';
  return [name, kernel, `${result.spc.us.toPrecision(4)} us`, time('cublas'), ratio('cublas'), goal ? `${goal.must} / ${goal.stretch}` : '', verdict(goal, result.peers['cublas']?.ratio), time('cusparselt'), ratio('cusparselt'), ratio('again')];
}
export const table = (rows: readonly Row[], capability: string): string => markdownTable(tableHead, rows.map((r) => tableCells(r, capability)));

/** The section of docs/performance.md, line by line. @param all of each GPU that was measured */
export const gpuSection = (all: readonly Results[]): string[] => [
  '## GPUs', '', `\`npm run bench:cuda\` measures single layers on the GPU of a machine (bench/cuda): 2:4 and dense, from 4096x4096 times 4096 columns to one, in f16 beside cuBLAS, and cuSPARSELt
where it is installed, in one process. Each engine's launches are replayed as a CUDA graph, in blocks that take turns; the ratio is the lowest of three honest ones; weights of products with at most 16
columns come from more memory than twice the second-level cache; spc runs twice, so that the table says what a difference means; results are checked against sums in double precision
first. A convolution's peer multiplies windows that lie ready in memory. Clocks are as they are. \`npx spc bench model.onnx --target=cuda\` times a whole model, launched and as a CUDA graph.`, '',
  ...(all.length === 0 ? ['No GPU has been measured yet: no figures are claimed, and the times that `spc inspect --target=cuda` predicts are estimates.', ''] : []),
  ...all.flatMap((r) => [`### ${r.device}`, '', `Compute capability ${r.capability}, ${r.multiprocessors} multiprocessors, ${(r.l2Bytes / 2 ** 20).toFixed(0)} MiB of second-level cache; built for ${r.gpuArch} by ${r.compiler}; spc ${r.spc}.`, '', table(r.rows, r.capability), '']),
];

export const readResults = (path: string): Results | undefined => (existsSync(path) ? resultsSchema.parse(JSON.parse(readFileSync(path, 'utf8'))) : undefined);

/** One row a line; an interruption leaves the former file. */
export function writeResults(path: string, { rows, ...about }: Results): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, `${JSON.stringify(about, null, 2).slice(0, -2)},\n  "rows": [\n${rows.map((r) => `    ${JSON.stringify(r)}`).join(',\n')}\n  ]\n}\n`);
  renameSync(`${path}.new`, path);
}

/** Replaces the row of that name, or adds it at the end. */
export const withRow = (rows: readonly Row[], row: Row): Row[] => (rows.some((r) => r.name === row.name) ? rows.map((r) => (r.name === row.name ? row : r)) : [...rows, row]);
