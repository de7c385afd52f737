/** Results as text: rows for the terminal, goals, and the page docs/performance.md. */
import { median } from '../compiler/cli/timing.js';
import { AS_TRAINED, goals, inPlanOrder, isLayer, isMet } from './plan.js';
import { limitOf } from './peaks.js';
import { isPythonPeer, pythonPeers } from './peers/index.js';
import { isMeasured, sameRow, threadsOf, type MeasuredRow, type Results, type Row, type RowKey } from './results.js';

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
export const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): string => [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');

const time = (us: number): string => (us < 1000 ? `${us.toPrecision(3)} us` : us < 1e6 ? `${(us / 1000).toPrecision(3)} ms` : `${(us / 1e6).toPrecision(3)} s`);
const ratio = (x: number | undefined): string => (x === undefined ? '' : x.toFixed(2));
const percent = (x: number): string => `${(100 * x).toFixed(x < 0.1 ? 1 : 0)} %`;

export interface Derived {
  /** Operations on non-zeros, a multiply-add being two, in 10^9 a second. */
  readonly gflops: number;
  /** Least possible time over time taken. */
  readonly ofLimit: number;
  readonly bound: string;
}

/** What follows from a row's counts and the peaks measured with it; undefined where nobody counted. */
export function derived({ result }: MeasuredRow): Derived | undefined {
  if (result.macs === null) return undefined;
  const limit = limitOf(result.peaks, result.macs, result.weights.nonZeros), seconds = result.spc_us * 1e-6;
  return { gflops: (2 * result.macs) / seconds / 1e9, ofLimit: limit.seconds / seconds, bound: limit.bound };
}

export const rowHead = ['network', 'batch', 'pattern', 'non-zeros', 'ORT', 'spc', 'ratio', 'to own dense', 'GFLOP/s', 'of limit', 'limit', 'error', 'layers', 'spc s', 'cc s'];

/** Kernels that a model got: sparse / dense / plain loop nests. */
const layers = ({ result: { layers: l } }: MeasuredRow): string => `${l.sparse}/${l.dense}/${l.reference}`;

/** The network, and what is not as in most rows. */
export const rowName = (key: RowKey): string => [key.network, ...(key.cpu === undefined ? [] : [key.cpu]), ...(threadsOf(key) > 1 ? [`${threadsOf(key)} threads`] : [])].join(', ');

export function rowCells(row: Row): string[] {
  const key = [rowName(row), String(row.batch), row.pattern];
  if (!isMeasured(row)) return [...key, `failed: ${row.result.status === 'failed' ? row.result.problem.split('\n')[0]!.replaceAll('|', '\\|').slice(0, 120) : ''}`, ...rowHead.slice(4).map(() => '')];
  const { result } = row, d = derived(row), ort = result.peers['onnxruntime'];
  return [
    ...key, percent(result.weights.nonZeros / result.weights.elements), ort ? time(ort.us) : '', time(result.spc_us), ratio(ort?.ratio), ratio(result.peers['dense']?.ratio),
    d ? d.gflops.toPrecision(3) : '', d ? percent(d.ofLimit) : '', d?.bound ?? '', (result.maxError / result.largest).toExponential(0), layers(row),
    result.compile.spc_s.toFixed(1), result.compile.cc_s.toFixed(1),
  ];
}

/** What other engines than those of {@link rowCells} say of a row, for the terminal. */
export function peerLines({ result }: Row): string[] {
  if (result.status !== 'measured') return [];
  const line = (peer: string, text: string): string => `    ${isPythonPeer(peer) ? pythonPeers[peer].title : peer}: ${text}`;
  return [
    ...Object.entries(result.peers).filter(([peer]) => peer !== 'onnxruntime' && peer !== 'dense').map(([peer, p]) => line(peer, `${time(p.us)}, ratio ${ratio(p.ratio)}${result.about[peer] === undefined ? '' : ` (${result.about[peer]})`}`)),
    ...Object.entries(result.absent).map(([peer, why]) => line(peer, why)),
  ];
}

/** Every goal beside what the results say; rows that are missing or failed say so. */
export function goalsTable(results: Results): string {
  return markdownTable(['workload', 'goal', 'measured', ''], goals.map((g) => {
    const row = results.rows.find((r) => sameRow(r, g.row)), value = row && isMeasured(row) ? g.measured(row) : undefined;
    const goal = `${g.sense === 'atMost' ? '< ' : ''}${g.goal}`;
    return [g.text, goal, value === undefined ? (row ? 'failed' : 'not measured') : value.toFixed(2), value === undefined ? '' : isMet(g, value) ? 'met' : 'missed'];
  }));
}

function machine(results: Results): string {
  const peaks = results.rows.filter(isMeasured).map((r) => r.result.peaks);
  const gigas = (values: readonly number[]): string => (values.length ? median(values) / 1e9 : NaN).toFixed(0);
  const read = ['L1', 'L2', 'L3', 'DRAM'].map((level, i) => `${level} ${gigas(peaks.map((p) => p.read[i]!))}`).join(', ');
  return `${results.machine}, one thread${results.pinnedCpu === null ? ', not pinned' : ', pinned'}; instruction set ${results.isa}; spc ${results.spc}, ${results.compiler}; ONNX Runtime ${results.onnxruntime}, all
optimisations, one thread. Peaks of one core, measured before every row (medians): ${gigas(peaks.map((p) => p.flops))} GFLOP/s in multiply-adds; reading
in GB/s: ${read}.`;
}

const isReal = (r: Row): boolean => r.pattern === AS_TRAINED;

/** Which of `rows` a section of the page shows. */
const sections: readonly { readonly title: string; readonly text: string; readonly of: (r: Row) => boolean }[] = [
  { title: 'Networks', text: 'Real shapes, random weights.', of: (r) => !isReal(r) && !isLayer(r) },
  { title: 'Layers', text: 'One to four layers of a size in a chain, as many as stay in the last-level cache densely. `linear`: the batch is the columns; `conv1x1-...@14`: 14x14 pixels are. `768x3072` is the pair 768 to 3072 and back.', of: isLayer },
  { title: 'Models trained sparse', text: 'Whatever pattern training left in them.', of: isReal },
];

/** docs/performance.md. @param plots file names beside the page */
export function performancePage(results: Results, plots: readonly string[]): string {
  const all = inPlanOrder(results.rows), measured = all.filter(isMeasured), failed = all.length - measured.length;
  const pruned = [...new Map(measured.filter((r) => !isReal(r) && !isLayer(r)).map((r) => [r.network, r.result.pruned])).entries()];
  const unfit = measured.filter((r) => r.result.unfit.length > 0);
  return [
    '# Performance', '', 'Generated by `npm run bench`. Do not edit. The numbers: bench/results; the networks: bench/networks; the method: bench/measure.ts.', '',
    machine(results), '',
    `Every row is a process of its own in which all engines run on the same inputs. Results are compared with ONNX Runtime's (without graph
optimisations) before anything is timed: *error* is the largest difference over the largest output. Each engine runs in warm blocks of
back-to-back inferences, the blocks alternate in random order, and a time is the median over blocks. Of two ratios (of the medians;
median of the rounds' ratios) the lower is told. ONNX Runtime runs the same file: it does not use zeros, so its time is that of the dense
network. *to own dense* is against spc's own code for the network before pruning, in the same process.`, '',
    `*non-zeros* are of all weights, those that stay dense included; *GFLOP/s* count multiply-adds on non-zeros only (and between activations).
*limit* is what the row cannot beat: those multiply-adds at the peak rate, or each non-zero weight read once from the nearest memory that
holds them all; *of limit* says how near it came. *layers*: sparse kernels / dense kernels / plain loop nests. *spc s* compiles ONNX to source,
*cc s* is the C compiler and assembler.`, '',
    `Weights are random and masks by magnitude, so unstructured masks are uniformly random, which trained ones are not. Nothing here says what
accuracy a pattern costs. All times are of inferences back to back: a network that runs once a second finds its code and weights cold.`, '',
    '## Goals', '', goalsTable(results), '',
    ...(plots.length ? ['## Speed-up and sparsity', '', ...plots.flatMap((p) => [`![Speed-up over ONNX Runtime against sparsity](${p})`, ''])] : []),
    ...sections.flatMap(({ title, text, of }) => {
      const rows = all.filter(of);
      return rows.length ? [`## ${title}`, '', text, '', ...(title === 'Networks' ? [`Pruned: ${pruned.map(([n, what]) => `${n}: ${what}`).join('; ')}.`, ''] : []), markdownTable(rowHead, rows.map(rowCells)), ''] : [];
    }),
    ...(unfit.length ? [`Layers that a pattern does not fit stay dense: ${unfit.map((r) => `${r.network} ${r.pattern}, batch ${r.batch}: ${r.result.unfit.length}`).join('; ')}.`, ''] : []),
    ...(failed ? [`${failed} ${failed === 1 ? 'row' : 'rows'} failed.`, ''] : []),
  ].join('\n');
}
