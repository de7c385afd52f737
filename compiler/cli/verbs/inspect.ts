/** `spc inspect`: what is in a model, and how the target would run it. Compiles in memory, writes nothing. */
import { analyzeSparsity, type WeightPattern } from '../../../passes/analyze-sparsity.js';
import type { PlannedGraph } from '../../driver.js';
import { formatBytes } from '../../io/format.js';
import { bytesOfType, sparsityOf, zeroValueOf } from '../../ir/analysis.js';
import { elementCount, formatType, operandsOf, valueOf, type Graph } from '../../ir/types.js';
import type { Manifest } from '../../manifest.js';
import { compileFromFlags, readModelFile } from '../source.js';
import type { RunVerb } from '../verb.js';

interface WeightFacts {
  readonly name: string;
  readonly type: string;
  readonly bytes: number;
  readonly elements: number;
  /** Elements that a kernel may skip: equal to `zero`. */
  readonly zeros: number;
  /** 0, or for integers the value that occurs most often (a quantised zero is the zero point). */
  readonly zero: number;
  /** ONNX nodes that read it. */
  readonly usedBy: readonly string[];
  /** Of a product's weight: what its zeros obey, the shortest description first. */
  readonly patterns: readonly WeightPattern[];
}

/** Smaller constants are scales, shapes and biases, not weights. */
const WEIGHT_ELEMENTS = 32;

function weightsOf(graph: Graph): WeightFacts[] {
  const users = new Map<number, string[]>(), patterns = new Map([...analyzeSparsity(graph).values()].map((s) => [s.weight, s.patterns]));
  for (const n of graph.nodes) for (const id of operandsOf(n)) users.set(id, [...(users.get(id) ?? []), ...n.origins.map((o) => o.node)]);
  return [...users].flatMap(([id, usedBy]): WeightFacts[] => {
    const { name, constant } = valueOf(graph, id);
    if (!constant || constant.shape.length < 2 || elementCount(constant.shape) < WEIGHT_ELEMENTS) return [];
    const zero = zeroValueOf(constant), { nnz, total: elements } = sparsityOf(constant, zero);
    return [{ name, type: formatType(constant), bytes: bytesOfType(constant), elements, zeros: elements - nnz, zero, usedBy: [...new Set(usedBy)], patterns: patterns.get(id) ?? [] }];
  });
}

const percent = (part: number, whole: number): string => (whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)}%`);
/** Some fields of a record, those that it has. */
function only<T extends object, K extends keyof T>(record: T, ...keys: readonly K[]): Pick<T, K> {
  return Object.fromEntries(keys.flatMap((k) => (record[k] === undefined ? [] : [[k, record[k]]]))) as Pick<T, K>;
}

const time = (nanoseconds: number | undefined): string => (nanoseconds === undefined ? '' : `${(nanoseconds / 1000).toLocaleString('en-US', { maximumSignificantDigits: 3 })} us`);
const nodesText = (nodes: readonly { readonly name: string; readonly op: string }[]): string => shorten(nodes.map((n) => `${n.name} (${n.op})`).join(' + '), 56);
const shorten = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, width - 1)}…`);

/** What is said of each layer: its plan's side and the manifest's. */
const layersOf = ({ plan, graph }: PlannedGraph, said: Manifest['layers']) => plan.steps.map((s, index) => {
  const out = s.outputs[0] === undefined ? undefined : graph.values.get(s.outputs[0]);
  return {
    index, nodes: s.origins.map((o) => ({ name: o.node, op: o.op })), kind: s.kind, output: out ? { dtype: out.type.dtype, shape: out.type.shape } : null,
    macs: s.macs, status: s.choice.status, kernel: s.choice.kernel, reason: s.choice.reason,
    ...only(said[index]!, 'nonZeroMacs', 'weights', 'nanoseconds', 'codeBytes', 'candidates'),
  };
});

export const run: RunVerb = async ([path], flags, terminal) => {
  const compiled = await compileFromFlags(readModelFile(path!, flags), flags, terminal);
  const { imported, manifest } = compiled;
  const port = (name: string, type: string): string => `${name} ${type}`;
  const inputs = imported.inputs.map((id) => { const v = valueOf(imported, id); return { name: v.name, ...v.type }; });
  const outputs = imported.outputs.map((o) => ({ name: o.name, ...valueOf(imported, o.value).type }));
  const operators = new Map<string, number>();
  for (const origin of new Map(imported.nodes.flatMap((n) => n.origins.map((o) => [`${o.node}\0${o.op}`, o.op] as const))).values()) operators.set(origin, (operators.get(origin) ?? 0) + 1);
  const weights = weightsOf(imported);
  const total = weights.reduce((s, w) => ({ elements: s.elements + w.elements, zeros: s.zeros + w.zeros, bytes: s.bytes + w.bytes }), { elements: 0, zeros: 0, bytes: 0 });
  const layers = layersOf(compiled, manifest.layers), paths = (manifest.paths ?? []).map((p, i) => ({ ...p, layers: layersOf(compiled.paths[i]!, p.layers) }));

  terminal.print(`inputs    ${inputs.map((p) => port(p.name, formatType(p))).join(', ')}`);
  terminal.print(`outputs   ${outputs.map((p) => port(p.name, formatType(p))).join(', ')}`);
  terminal.print(`operators ${[...operators].sort((a, b) => b[1] - a[1]).map(([op, n]) => `${n} ${op}`).join(', ')}`);
  const skipped = manifest.nonZeroMacs < manifest.macs ? `, ${manifest.nonZeroMacs.toLocaleString('en-US')} of them with a weight that is not zero` : '';
  terminal.print(`layers    ${layers.length} for ${manifest.target} after fusion, ${manifest.macs.toLocaleString('en-US')} multiply-adds${skipped}`);
  terminal.print(`weights   ${total.elements.toLocaleString('en-US')} elements, ${formatBytes(total.bytes)}, ${percent(total.zeros, total.elements)} zero`);
  terminal.print(`memory    ${formatBytes(manifest.arenaBytes)} working memory (${formatBytes(manifest.unsharedBytes)} if nothing were shared)`);
  if (manifest.codeBytes > 0) terminal.print(`code      ${formatBytes(manifest.codeBytes)} of straight-line code and tables, weights in them included`);
  if (weights.length > 0) {
    terminal.print();
    terminal.table(['weight', 'type', 'bytes', 'zeros', 'pattern'], weights.map((w) => [shorten(w.name, 48), w.type, formatBytes(w.bytes), `${percent(w.zeros, w.elements)}${w.zero ? ` (at ${w.zero})` : ''}`, w.patterns[0]?.name ?? '']), [2, 3]);
  }
  for (const { arch, layers: own } of paths.length > 0 ? paths : [{ arch: '', layers }]) {
    const shown = flags.layers ? own : own.filter((l) => l.weights);
    if (shown.length === 0) continue;
    terminal.print(arch ? `\non ${arch}` : '');
    terminal.table(['#', 'nodes', 'output', 'multiply-adds', 'zeros', 'status', 'kernel', 'predicted', 'reason'], shown.flatMap((l) => [
      [String(l.index), nodesText(l.nodes) || l.kind, l.output ? formatType(l.output) : '', l.macs.toLocaleString('en-US'), l.weights ? percent(l.weights.elements - l.weights.nonZeros, l.weights.elements) : '',
        l.status, l.kernel, time(l.nanoseconds), l.reason],
      ...(flags.layers ? l.candidates.map((c) => ['', '', '', '', '', c.chosen ? 'chosen' : c.nanoseconds === undefined ? 'not possible' : 'lost', `${c.layout}: ${c.kernel}`, time(c.nanoseconds), c.reason]) : []),
    ]), [0, 3, 4, 7]);
  }
  if (!flags.layers) terminal.note('add --layers for all layers, and what else could run each');
  return {
    result: {
      model: manifest.model, target: manifest.target, inputs, outputs, operators: Object.fromEntries(operators), macs: manifest.macs,
      nonZeroMacs: manifest.nonZeroMacs, codeBytes: manifest.codeBytes, arenaBytes: manifest.arenaBytes, unsharedBytes: manifest.unsharedBytes,
      sparsity: total.elements ? total.zeros / total.elements : 0,
      weights: weights.map((w) => ({ ...w, sparsity: w.zeros / w.elements, patterns: w.patterns.map(({ name, order, bits, utilisation }) => ({ name, order, bits, utilisation })) })), layers,
      ...(paths.length > 0 ? { paths: paths.map((p) => only(p, 'arch', 'arenaBytes', 'weightBytes', 'codeBytes', 'layers')) } : {}),
    },
    diagnostics: compiled.diagnostics,
  };
};
