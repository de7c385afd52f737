/** Results as text: rows for the terminal, goals, and the page docs/performance.md. */
import { median } from '../compiler/cli/timing.js';
import { networks } from './networks/index.js';
import { AS_TRAINED, goals, inPlanOrder, isLayer, isMet, isUsual } from './plan.js';
import { limitOf } from './peaks.js';
import { isPythonPeer, mayPublish, pythonPeerNames, pythonPeers, type PythonPeerName } from './peers/index.js';
import { isMeasured, rowName, sameRow, threadsOf, type MeasuredRow, type Results, type Row, type RowKey } from './results.js';

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

/** Medians this much over the fastest block say that something else was running: memory-bound engines suffer most, so ratios mean less. */
const QUIET = 0.2;
const isNoisy = ({ result }: Row): boolean => result.status === 'measured' && (result.spread ?? 0) > QUIET;

/** What other engines than those of {@link rowCells} say of a row, for the terminal. */
export function peerLines(row: Row): string[] {
  const { result } = row;
  if (result.status !== 'measured') return [];
  const line = (peer: string, text: string): string => `    ${isPythonPeer(peer) ? pythonPeers[peer].title : peer}: ${text}`;
  return [
    ...Object.entries(result.peers).filter(([peer]) => peer !== 'onnxruntime' && peer !== 'dense').map(([peer, p]) => line(peer, `${time(p.us)}, ratio ${ratio(p.ratio)}${result.about[peer] === undefined ? '' : ` (${result.about[peer]})`}`)),
    ...Object.entries(result.absent).map(([peer, why]) => line(peer, why)),
    ...(isNoisy(row) ? [`    not quiet: medians up to ${percent(result.spread!)} over the fastest block`] : []),
  ];
}

/** Every goal beside what the results say; rows that are missing or failed say so. @param of rows that count */
export function goalsTable(results: Results, of: (row: RowKey) => boolean = () => true): string {
  return markdownTable(['workload', 'goal', 'measured', ''], goals.filter((g) => of(g.row)).map((g) => {
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
const isSparse = (r: Row): boolean => r.pattern !== 'dense';

/** Python peers that ran in any of the rows. */
const peersIn = (rows: readonly MeasuredRow[]): PythonPeerName[] => pythonPeerNames.filter((p) => rows.some((r) => r.result.peers[p]));

/** Where each other engine stands on the sparse rows, losses named. */
export function peerSummary(rows: readonly Row[]): string[] {
  const measured = rows.filter(isMeasured).filter(isSparse), place = (r: Row): string => `${rowName(r)} ${r.pattern}, batch ${r.batch}`;
  return peersIn(measured).map((peer) => {
    const ran = measured.filter((r) => r.result.peers[peer]), ratios = ran.map((r) => r.result.peers[peer]!.ratio), lost = ran.filter((r) => r.result.peers[peer]!.ratio < 1);
    return `${pythonPeers[peer].title}: spc is faster on ${ran.length - lost.length} of ${ran.length} sparse rows; ${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)} times as fast, median ${median(ratios).toFixed(2)}`
      + (lost.length ? `; slower on ${lost.map((r) => `${place(r)} (${ratio(r.result.peers[peer]!.ratio)})`).join(', ')}` : '');
  });
}

/** Times of all engines on the rows that other engines ran, the fastest one named. */
function peerTable(rows: readonly MeasuredRow[]): string {
  const peers = ['onnxruntime', ...peersIn(rows)] as const, title = (p: string): string => (isPythonPeer(p) ? pythonPeers[p].title : 'ONNX Runtime');
  return markdownTable(['network', 'batch', 'pattern', ...peers.map(title), 'spc', 'fastest', 'next'], rows.map((r) => {
    const ranked = [{ name: 'spc', us: r.result.spc_us }, ...peers.flatMap((p) => (r.result.peers[p] ? [{ name: title(p), us: r.result.peers[p].us }] : []))].sort((a, b) => a.us - b.us);
    const cell = (p: string): string => (r.result.peers[p] ? time(r.result.peers[p].us) : r.result.absent[p] === undefined ? '' : 'does not run');
    return [rowName(r), String(r.batch), r.pattern, ...peers.map(cell), time(r.result.spc_us), ranked[0]!.name, ranked[1] ? `${ranked[1].name} x ${ratio(ranked[1].us / ranked[0]!.us)}` : ''];
  }));
}

/** The page's section on other engines; none where none ran. */
function peerSection(all: readonly Row[], plot: string | undefined): string[] {
  const rows = all.filter(isMeasured).filter((r) => Object.keys({ ...r.result.peers, ...r.result.absent }).some(isPythonPeer));
  if (rows.length === 0) return [];
  const about = [...new Set(rows.flatMap((r) => Object.values(r.result.about)))].sort(), absent = [...new Set(rows.flatMap((r) => Object.entries(r.result.absent).map(([p, why]) => `${isPythonPeer(p) ? pythonPeers[p].title : p} on ${rowName(r)}: ${why.split('\n')[0]!.replaceAll('|', '\\|').slice(0, 160)}`)))];
  const unpublished = pythonPeerNames.filter((p) => !mayPublish(p)).map((p) => pythonPeers[p].title);
  return [
    '## Other engines', '',
    `The same files and inputs, each engine in a process of its own on the same CPU, its warm blocks taking turns with spc's and ONNX Runtime's, results checked alike; they run one input
over and over. TVM without tuning, which takes minutes a network, runs plain loop nests: its figures say nothing of what its schedules can reach.
*next* is the second fastest and its time over the fastest one's. ${unpublished.length ? `${unpublished.join(', ')}: measured by the same command, figures are not published.` : ''}`, '',
    ...about.map((a) => `- ${a}`), '', ...peerSummary(rows).flatMap((s) => [s, '']),
    ...(plot === undefined ? [] : [`![Time of other engines over spc's](${plot})`, '']), peerTable(rows), '',
    ...(absent.length ? ['Did not run:', '', ...absent.map((a) => `- ${a}`), ''] : []),
  ];
}

const threadHead = ['network', 'batch', 'pattern', 'threads', 'one thread', 'all threads', 'ratio', 'ORT, all threads', 'ratio'];
function threadCells(row: Row): string[] {
  const key = [row.network, String(row.batch), row.pattern, String(threadsOf(row))];
  if (!isMeasured(row)) return [...rowCells(row).slice(0, 4), ...threadHead.slice(4).map(() => '')];
  const { peers: { 'one-thread': one, onnxruntime: ort }, spc_us } = row.result;
  return [...key, one ? time(one.us) : '', time(spc_us), ratio(one?.ratio), ort ? time(ort.us) : '', ratio(ort?.ratio)];
}

const winnersHead = ['network', 'batch', 'pattern', 'spc', 'ORT, ReLU', 'ratio', 'ORT, the same network', 'ratio'];
function winnersCells(row: Row): string[] {
  const key = [rowName(row), String(row.batch), row.pattern];
  if (!isMeasured(row)) return [...rowCells(row).slice(0, 4), ...winnersHead.slice(4).map(() => '')];
  const { peers: { 'onnxruntime-relu': relu, onnxruntime: same }, spc_us } = row.result;
  return [...key, time(spc_us), relu ? time(relu.us) : '', ratio(relu?.ratio), same ? time(same.us) : '', ratio(same?.ratio)];
}

interface Section {
  readonly title: string;
  readonly text: string;
  /** Rows that it shows. */
  readonly of: (r: Row) => boolean;
  readonly head: readonly string[];
  readonly cells: (r: Row) => readonly string[];
}

const wide = { head: rowHead, cells: rowCells };
const sections: readonly Section[] = [
  { title: 'Networks', text: 'Real shapes, random weights.', of: (r) => isUsual(r) && !isReal(r) && !isLayer(r), ...wide },
  { title: 'Layers', text: 'One to four layers of a size in a chain, as many as stay in the last-level cache densely. `linear`: the batch is the columns; `conv1x1-...@14`: 14x14 pixels are. `768x3072` is the pair 768 to 3072 and back. `int8`: u8 activations, s8 weights (QLinearMatMul), ONNX Runtime in the same integers.', of: (r) => isUsual(r) && isLayer(r), ...wide },
  { title: 'Models trained sparse', text: 'Whatever pattern training left in them.', of: (r) => isUsual(r) && isReal(r), ...wide },
  {
    title: 'Sparse activations', of: (r) => networks[r.network]?.relu !== undefined, head: winnersHead, cells: winnersCells,
    text: 'Networks with k-winner-take-all, the selections included, against ONNX Runtime on the same network with ReLU in their place (which it has kernels for), and on the network itself (TopK and ScatterElements, which are slow there).',
  },
  { title: 'Threads', text: 'All threads from one process; *ratio*: one thread of spc over all of them, and ONNX Runtime on as many threads over spc.', of: (r) => threadsOf(r) > 1, head: threadHead, cells: threadCells },
  { title: 'Other instruction sets', text: 'spc restricted to the instruction set that is named; ONNX Runtime cannot be restricted and uses all that the machine has.', of: (r) => threadsOf(r) === 1 && r.cpu !== undefined, ...wide },
];

/** docs/performance.md. @param plots file names beside the page: of speed-ups, and of other engines @param gpus the section on GPUs, line by line */
export function performancePage(results: Results, plots: readonly string[], peerPlot?: string, gpus: readonly string[] = []): string {
  const all = inPlanOrder(results.rows), measured = all.filter(isMeasured), failed = all.length - measured.length;
  const pruned = [...new Map(measured.filter((r) => !isReal(r) && !isLayer(r)).map((r) => [r.network, r.result.pruned])).entries()];
  const unfit = measured.filter((r) => r.result.unfit.length > 0), noisy = measured.filter(isNoisy);
  return [
    '# Performance', '', 'Generated by `npm run bench`. Do not edit. The numbers: bench/results; the networks: bench/networks; the method: bench/measure.ts.', '',
    machine(results), '',
    `Every row is a process of its own in which all engines run on the same inputs. Results are compared with ONNX Runtime's (without graph
optimisations) before anything is timed: *error* is the largest difference over the largest output. Each engine runs in warm blocks of
back-to-back inferences on up to 64 inputs in turn, the blocks alternate in random order, and a time is the median over blocks. Of two ratios (of the medians;
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
    ...sections.flatMap(({ title, text, of, head, cells }) => {
      const rows = all.filter(of);
      return rows.length ? [`## ${title}`, '', text, '', ...(title === 'Networks' ? [`Pruned: ${pruned.map(([n, what]) => `${n}: ${what}`).join('; ')}.`, ''] : []), markdownTable(head, rows.map(cells)), ''] : [];
    }),
    ...peerSection(all, peerPlot),
    ...(unfit.length ? [`Layers that a pattern does not fit stay dense: ${unfit.map((r) => `${r.network} ${r.pattern}, batch ${r.batch}: ${r.result.unfit.length}`).join('; ')}.`, ''] : []),
    ...(noisy.length ? [`The machine was not quiet (medians more than ${percent(QUIET)} over the fastest block): ${noisy.map((r) => `${rowName(r)} ${r.pattern}, batch ${r.batch}`).join('; ')}.`, ''] : []),
    ...(failed ? [`${failed} ${failed === 1 ? 'row' : 'rows'} failed.`, ''] : []),
    ...gpus,
  ].join('\n');
}
