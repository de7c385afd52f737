/** Einsum: operands are contracted pairwise from the left, each pair as one batched matrix product. */
import type { GraphBuilder } from '../ir/build.js';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { elementCount, type Value } from '../ir/types.js';
import { allInputs, sameDtype } from './params.js';
import { defineOnnxOp } from './types.js';

/** A tensor whose dimensions carry labels; no label twice. */
interface Labelled { readonly v: Value; readonly labels: readonly string[] }

/** The labels of a term; the dimensions that `...` stands for are called '.0', '.1', ..., aligned at the right of `ellipsisRank`. */
function labelsOf(term: string, rank: number, ellipsisRank: number): string[] {
  const [before = '', after, extra] = term.split('...');
  if (extra !== undefined || !/^[A-Za-z]*$/.test(before + (after ?? ''))) throw new NodeProblem('SPC1006', `Einsum term '${term}' is not understood`);
  const hidden = rank - before.length - (after ?? '').length;
  if (hidden < 0 || (after === undefined && hidden > 0)) throw new NodeProblem('SPC2007', `Einsum term '${term}' for an operand of rank ${rank}`);
  return [...before, ...Array.from({ length: hidden }, (_, i) => `.${ellipsisRank - hidden + i}`), ...(after ?? '')];
}

/** Repeated labels: the dimensions are brought together as the last ones and only their diagonal is kept. */
function diagonal(g: GraphBuilder, { v, labels }: Labelled): Labelled {
  const second = labels.findIndex((l, d) => labels.indexOf(l) < d);
  if (second < 0) return { v, labels };
  const label = labels[second]!, first = labels.indexOf(label), n = v.type.shape[first]!;
  if (v.type.shape[second] !== n) throw new NodeProblem('SPC2007', `Einsum label '${label}' is ${n} and ${v.type.shape[second]}`);
  const rest = labels.map((_, d) => d).filter((d) => d !== first && d !== second), outer = rest.map((d) => v.type.shape[d]!);
  const matrix = g.reshape(g.transpose(v, [...rest, first, second]), [...outer, n * n]);
  const taken = g.op('slice', [matrix], { starts: [...outer.map(() => 0), 0], steps: [...outer.map(() => 1), n + 1], shape: [...outer, n] })[0]!;
  return diagonal(g, { v: taken, labels: [...rest.map((d) => labels[d]!), label] });
}

/** Sums away the dimensions whose label `keep` refuses. */
function sumOthers(g: GraphBuilder, { v, labels }: Labelled, keep: (label: string) => boolean): Labelled {
  const axes = labels.flatMap((l, d) => (keep(l) ? [] : [d]));
  return axes.length === 0 ? { v, labels } : { v: g.op('reduce', [v], { op: 'sum', axes, keepdims: false })[0]!, labels: labels.filter(keep) };
}

/** Dimensions in the order of the groups of labels, each group merged into one dimension unless it is the batch. */
function grouped(g: GraphBuilder, { v, labels }: Labelled, batch: readonly string[], ...groups: readonly (readonly string[])[]): Value {
  const ordered = g.transpose(v, [...batch, ...groups.flat()].map((l) => labels.indexOf(l)));
  const extents = (group: readonly string[]): number[] => group.map((l) => v.type.shape[labels.indexOf(l)]!);
  return g.reshape(ordered, [...extents(batch), ...groups.map((group) => elementCount(extents(group)))]);
}

function contract(g: GraphBuilder, left: Labelled, right: Labelled, needed: (label: string) => boolean): Labelled {
  const a = sumOthers(g, left, (l) => needed(l) || right.labels.includes(l)), b = sumOthers(g, right, (l) => needed(l) || left.labels.includes(l));
  const shared = a.labels.filter((l) => b.labels.includes(l)), batch = shared.filter(needed), summed = shared.filter((l) => !needed(l));
  const rows = a.labels.filter((l) => !shared.includes(l)), columns = b.labels.filter((l) => !shared.includes(l));
  const product = g.op('matmul', [grouped(g, a, batch, rows, summed), grouped(g, b, batch, summed, columns)],
    { transA: false, transB: false, out: a.v.type.dtype })[0]!;
  const labels = [...batch, ...rows, ...columns];
  const extent = (l: string): number => (a.labels.includes(l) ? a : b).v.type.shape[(a.labels.includes(l) ? a : b).labels.indexOf(l)]!;
  return { v: g.reshape(product, labels.map(extent)), labels };
}

export const einsum = defineOnnxOp({
  op: 'Einsum',
  lower(n) {
    const { g } = n, inputs = allInputs(n), [left = '', right] = n.attr.string('equation').replace(/\s+/g, '').split('->'), terms = left.split(',');
    if (terms.length !== inputs.length) throw new NodeProblem('SPC1006', `Einsum equation has ${terms.length} term(s) for ${inputs.length} operand(s)`);
    sameDtype(...inputs);
    const ellipsisRank = Math.max(0, ...terms.map((t, i) => (t.includes('...') ? inputs[i]!.type.shape.length - t.replace('...', '').length : 0)));
    const termLabels = terms.map((t, i) => labelsOf(t, inputs[i]!.type.shape.length, ellipsisRank)), all = termLabels.flat();
    // without '->' the output has the broadcast dimensions, then the labels that occur once, in alphabetical order
    const ellipsis = Array.from({ length: ellipsisRank }, (_, i) => `.${i}`);
    const output = right !== undefined ? labelsOf(right, right.replace('...', '').length + (right.includes('...') ? ellipsisRank : 0), ellipsisRank)
      : [...ellipsis, ...all.filter((l) => !l.startsWith('.') && all.filter((m) => m === l).length === 1).sort()];
    const missing = output.find((l) => !all.includes(l));
    if (missing !== undefined) throw new NodeProblem('SPC1006', `Einsum output label '${missing}' is in no operand`);

    const operands = inputs.map((v, i) => diagonal(g, { v, labels: termLabels[i]! }));
    const extents = new Map<string, number>();
    for (const { v, labels } of operands) {
      labels.forEach((l, d) => {
        const e = v.type.shape[d]!, known = extents.get(l) ?? 1;
        if (e !== 1 && known !== 1 && e !== known) throw new NodeProblem('SPC2002', `Einsum label '${l}' is ${known} and ${e}`);
        extents.set(l, e === 1 ? known : e);
      });
    }
    // a dimension of extent 1 that others broadcast along is left out
    const squeezed = operands.map(({ v, labels }): Labelled => {
      const kept = labels.map((l, d) => v.type.shape[d] === extents.get(l));
      return { v: g.reshape(v, v.type.shape.filter((_, d) => kept[d])), labels: labels.filter((_, d) => kept[d]) };
    });
    const total = squeezed.reduce((a, b, i) => {
      const later = squeezed.slice(i + 1).flatMap((o) => o.labels);
      return contract(g, a, b, (l) => output.includes(l) || later.includes(l));
    });
    const result = sumOthers(g, total, (l) => output.includes(l));
    return g.transpose(result.v, output.map((l) => result.labels.indexOf(l)));
  },
});
