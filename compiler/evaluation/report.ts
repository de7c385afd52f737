/** A comparison for people: sentences first, then tables that a terminal and Markdown both show. */
import { formatBytes } from '../io/format.js';
import type { ClassComparison, Comparison } from './compare.js';
import { gates, type GateResult } from './gates.js';
import type { SparsityContext } from './sparsity-context.js';

/** Accuracy of both where a share of the input elements is replaced by noise. */
export interface Robustness {
  readonly levels: readonly { readonly noise: number; readonly accuracyA: number; readonly accuracyB: number }[];
  /** Mean accuracy over the range of levels. */
  readonly meanA: number;
  readonly meanB: number;
}

export interface Report {
  readonly modelA: string;
  readonly modelB: string;
  readonly comparison: Comparison;
  readonly gates: readonly GateResult[];
  readonly sparsity: { readonly a: SparsityContext; readonly b: SparsityContext };
  readonly robustness?: Robustness;
}

export interface Section {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Said below the table. */
  readonly note?: string;
}

const percent = (x: number | null): string => (x === null ? '-' : `${(100 * x).toFixed(2)} %`);
const points = (x: number | null): string => (x === null ? '-' : `${x > 0 ? '+' : ''}${(100 * x).toFixed(2)}`);
const decimal = (x: number | null): string => (x === null ? '-' : x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(2) : x.toFixed(4));
const probability = (p: number): string => (p < 1e-3 ? p.toExponential(1) : p.toFixed(3));
const measured = ({ gate, measured: x, limit }: GateResult): string => `${gate} is ${Number(x.toPrecision(4))}${gates[gate].unit}, the limit is ${limit}${gates[gate].unit}`;

const SIGNIFICANT = 0.05;

/** Shown beside every comparison of one model with one other. */
export const SEED_REMARK = 'This compares one trained model with one other. Two dense models that differ only in their random seed also disagree on some classes: compare a with one of those first (spc compare dense.onnx dense-other-seed.onnx) to see how much of this may be seed noise.';

function classSentence(worst: ClassComparison): string {
  const change = `${percent(worst.a.recall)} to ${percent(worst.b.recall)} (${points(worst.delta)} points on ${worst.support} samples, p = ${probability(worst.adjustedP)} after Holm's correction)`;
  if (worst.delta! < 0) return `Class ${worst.class} loses most: its recall goes from ${change}.`;
  return worst.delta === 0 ? `No class loses recall; the worst, class ${worst.class}, stays at ${percent(worst.b.recall)}.` : `Every class gains recall; class ${worst.class} least, from ${change}.`;
}

/** What the comparison says, in plain sentences; always names the worst class. */
export function verdictOf({ comparison: c, gates: checked }: Report): string[] {
  const { overall, flips, calibration } = c;
  const interval = `95 % interval ${points(overall.interval.low)} to ${points(overall.interval.high)}`;
  const direction = overall.delta === 0 ? 'is as accurate as' : overall.delta < 0 ? 'is less accurate than' : 'is more accurate than';
  const failed = checked.filter((g) => !g.ok);
  return [
    `b ${direction} a on ${overall.samples} samples: ${percent(overall.accuracyB)} against ${percent(overall.accuracyA)} (${points(overall.delta)} points, ${interval}); the difference is ${overall.mcNemar.p < SIGNIFICANT ? 'significant' : 'not significant'} (p = ${probability(overall.mcNemar.p)}).`,
    flips.total === 0 ? 'Both give the same answer to every sample.'
      : `${flips.total} answers differ (${percent(flips.total / overall.samples)}): ${flips.rightToWrong} became wrong, ${flips.wrongToRight} became right, ${flips.wrongToOtherWrong} are wrong in another way.`,
    classSentence(c.worstClass),
    `Expected calibration error: ${decimal(calibration.a.ece)} for a, ${decimal(calibration.b.ece)} for b.`,
    ...failed.map((g) => `FAILED: ${measured(g)}.`),
    ...(checked.length > 0 && failed.length === 0 ? [`All limits hold: ${checked.map(measured).join('; ')}.`] : []),
    SEED_REMARK,
  ];
}

type Rows = readonly (readonly [what: string, a: string, b: string])[];

function sparsityRows({ a, b }: Report['sparsity']): Rows {
  const row = (what: string, f: (s: SparsityContext) => string): readonly [string, string, string] => [what, f(a), f(b)];
  return [
    row('non-zero weights', (s) => `${s.nonZeros} of ${s.elements}`), row('density', (s) => percent(s.density)),
    row('multiply-accumulates', (s) => String(s.macs)), row('of them on non-zeros', (s) => String(s.nonZeroMacs)),
    row('weights, stored densely', (s) => formatBytes(s.weightBytes)), row('file', (s) => formatBytes(s.fileBytes)),
  ];
}

export function sectionsOf({ comparison: c, sparsity, robustness }: Report): Section[] {
  const { calibration: { a, b }, agreement, flips } = c;
  const sections: readonly Section[] = [
    {
      title: 'Classes', head: ['class', 'samples', 'recall a', 'recall b', 'points', 'beyond overall', 'precision a', 'precision b', 'F1 a', 'F1 b', 'p', 'p (Holm)'],
      rows: c.classes.map((x) => [
        String(x.class), String(x.support), percent(x.a.recall), percent(x.b.recall), points(x.delta), points(x.normalisedDelta), percent(x.a.precision), percent(x.b.precision),
        percent(x.a.f1), percent(x.b.f1), probability(x.p), probability(x.adjustedP),
      ]),
      note: c.spread === 0 ? 'All classes change alike.' : `Worst: class ${c.worstClass.class}; best: class ${c.bestClass.class}; ${(100 * c.spread).toFixed(2)} points between them.`,
    },
    {
      title: 'Groups', head: ['column', 'group', 'samples', 'accuracy a', 'accuracy b', 'points', 'p'],
      rows: c.groups.map((g) => [g.column, g.value, `${g.samples}${g.tooFew ? ' (too few)' : ''}`, percent(g.accuracyA), percent(g.accuracyB), points(g.delta), probability(g.p)]),
    },
    {
      title: 'Confusions that grew most', head: ['class', 'taken for', 'a', 'b'],
      rows: c.confusion.map((x) => [String(x.label), String(x.predicted), String(x.a), String(x.b)]),
    },
    {
      title: 'Calibration', head: ['', 'a', 'b'],
      rows: ([
        ['negative log-likelihood', a.nll, b.nll], ['Brier score', a.brier, b.brier], ['expected calibration error (equal width)', a.ece, b.ece],
        ['expected calibration error (equal mass)', a.eceEqualMass, b.eceEqualMass], ['mean confidence', a.meanConfidence, b.meanConfidence], ['temperature with the least NLL', a.temperature, b.temperature],
      ] as const).map(([what, x, y]) => [what, decimal(x), decimal(y)]),
    },
    {
      title: 'Agreement', head: ['', 'a with b'],
      rows: [
        ['same answer', percent(agreement.top1)], ['mean KL divergence', decimal(agreement.meanKl)],
        ['largest difference of a score', decimal(agreement.maxScoreDifference)], ['rank correlation of margins', decimal(agreement.marginCorrelation)],
      ],
    },
    {
      title: 'Answers that changed, by lost confidence in the right class', head: ['sample', 'class', 'a says', 'b says', 'lost'],
      rows: flips.samples.slice(0, 10).map((f) => [String(f.sample), String(f.label), String(f.a), String(f.b), decimal(f.confidenceLoss)]),
    },
    {
      title: 'Robustness', head: ['inputs replaced by noise', 'accuracy a', 'accuracy b'],
      rows: robustness ? [...robustness.levels.map((l) => [percent(l.noise), percent(l.accuracyA), percent(l.accuracyB)]), ['mean over the range', percent(robustness.meanA), percent(robustness.meanB)]] : [],
    },
    { title: 'Sparsity', head: ['', 'a', 'b'], rows: sparsityRows(sparsity) },
  ];
  return sections.filter((s) => s.rows.length > 0);
}

export function markdownReport(report: Report): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((c) => c.replaceAll('|', '\\|')).join(' | ')} |`;
  return [
    '# Comparison', '', `a: ${report.modelA}  `, `b: ${report.modelB}`, '', ...verdictOf(report).map((s) => `- ${s}`), '',
    ...sectionsOf(report).flatMap((s) => [`## ${s.title}`, '', line(s.head), line(s.head.map(() => '---')), ...s.rows.map(line), '', ...(s.note ? [s.note, ''] : [])]),
  ].join('\n');
}
