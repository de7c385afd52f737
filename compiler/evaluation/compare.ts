/**
 * Two classifiers on the same labelled samples: not only how accurate each is, but which samples and classes changed sides. Pruning
 * can keep the overall accuracy and still ruin a class (Hooker et al. 2019, arXiv 1911.05248).
 */
import { calibrationOf, type Calibration } from './calibration.js';
import { isRight, rowOf, type Predictions } from './predictions.js';
import { bootstrapDelta, holm, mcNemar, mean, spearman, sum, type Interval, type McNemar } from './statistics.js';

export interface Overall {
  readonly samples: number;
  readonly accuracyA: number;
  readonly accuracyB: number;
  /** b - a, with its 95 % interval. */
  readonly delta: number;
  readonly interval: Interval;
  readonly mcNemar: McNemar;
}

export interface FlippedSample {
  readonly sample: number;
  readonly label: number;
  readonly a: number;
  readonly b: number;
  /** How much probability the right class lost. */
  readonly confidenceLoss: number;
}

export interface Flips {
  /** Samples on which the two give different answers: the sum of the three kinds. */
  readonly total: number;
  readonly rightToWrong: number;
  readonly wrongToRight: number;
  readonly wrongToOtherWrong: number;
  /** The first hundred by confidence loss. */
  readonly samples: readonly FlippedSample[];
}

/** One class as the positive one; null where nothing is to be divided by. */
export interface ClassScores {
  readonly recall: number | null;
  readonly precision: number | null;
  readonly f1: number | null;
}

export interface ClassComparison {
  readonly class: number;
  /** Samples of the class. */
  readonly support: number;
  readonly a: ClassScores;
  readonly b: ClassScores;
  /** Of the recall, b - a; and the same beyond what the model lost or gained overall. */
  readonly delta: number | null;
  readonly normalisedDelta: number | null;
  /** McNemar's on the samples of the class, and adjusted for the number of classes. */
  readonly p: number;
  readonly adjustedP: number;
}

export interface GroupComparison {
  readonly column: string;
  readonly value: string;
  readonly samples: number;
  readonly accuracyA: number;
  readonly accuracyB: number;
  readonly delta: number;
  readonly p: number;
  /** Fewer than 30 samples: the numbers say little. */
  readonly tooFew: boolean;
}

export interface ConfusionIncrease {
  readonly label: number;
  readonly predicted: number;
  /** Samples of class `label` answered with `predicted`. */
  readonly a: number;
  readonly b: number;
}

export interface Agreement {
  /** Share of samples with the same answer. */
  readonly top1: number;
  /** Mean Kullback-Leibler divergence of b's probabilities from a's, in nats. */
  readonly meanKl: number;
  readonly maxScoreDifference: number;
  /** Rank correlation of the margins (best score minus second best); null where a margin does not vary. */
  readonly marginCorrelation: number | null;
}

export interface Comparison {
  readonly overall: Overall;
  readonly flips: Flips;
  readonly classes: readonly ClassComparison[];
  /** Classes with samples by recall delta; `spread` is the distance from worst to best. */
  readonly worstClass: ClassComparison;
  readonly bestClass: ClassComparison;
  readonly spread: number;
  readonly groups: readonly GroupComparison[];
  /** The ten cells of the confusion matrix off its diagonal that grew most. */
  readonly confusion: readonly ConfusionIncrease[];
  readonly calibration: { readonly a: Calibration; readonly b: Calibration };
  readonly agreement: Agreement;
}

/** What samples are grouped by beside their class: one value a sample. */
export interface GroupColumn {
  readonly name: string;
  readonly values: readonly string[];
}

const LISTED_FLIPS = 100, LISTED_CONFUSIONS = 10, SMALLEST_GROUP = 30;

const count = (samples: readonly number[], holds: (sample: number) => boolean): number => samples.reduce((n, i) => n + (holds(i) ? 1 : 0), 0);
const ratio = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole);

interface Pair {
  readonly a: Predictions;
  readonly b: Predictions;
  readonly labels: readonly number[];
  readonly classes: number;
  readonly samples: readonly number[];
}

/** McNemar's test on some of the samples. */
function disagreementOn({ a, b }: Pair, samples: readonly number[]): McNemar {
  return mcNemar(count(samples, (i) => isRight(a, i) && !isRight(b, i)), count(samples, (i) => !isRight(a, i) && isRight(b, i)));
}

function accuracies({ a, b }: Pair, samples: readonly number[]): { readonly accuracyA: number; readonly accuracyB: number; readonly delta: number } {
  const rightA = count(samples, (i) => isRight(a, i)), rightB = count(samples, (i) => isRight(b, i));
  return { accuracyA: rightA / samples.length, accuracyB: rightB / samples.length, delta: (rightB - rightA) / samples.length };
}

function flipsOf({ a, b, labels, classes, samples }: Pair): Flips {
  const flipped = samples.filter((i) => a.predicted[i] !== b.predicted[i]);
  const probability = (p: Predictions, i: number): number => Math.exp(p.logProbabilities[i * classes + labels[i]!]!);
  const rightToWrong = count(flipped, (i) => isRight(a, i)), wrongToRight = count(flipped, (i) => isRight(b, i));
  return {
    total: flipped.length, rightToWrong, wrongToRight, wrongToOtherWrong: flipped.length - rightToWrong - wrongToRight,
    samples: flipped.map((i) => ({ sample: i, label: labels[i]!, a: a.predicted[i]!, b: b.predicted[i]!, confidenceLoss: probability(a, i) - probability(b, i) }))
      .sort((x, y) => y.confidenceLoss - x.confidenceLoss || x.sample - y.sample).slice(0, LISTED_FLIPS),
  };
}

function classesOf(pair: Pair, overallDelta: number): ClassComparison[] {
  const scores = (p: Predictions, c: number, own: readonly number[]): ClassScores => {
    const hits = count(own, (i) => isRight(p, i)), answers = count(pair.samples, (i) => p.predicted[i] === c);
    return { recall: ratio(hits, own.length), precision: ratio(hits, answers), f1: ratio(2 * hits, own.length + answers) };
  };
  const rows = Array.from({ length: pair.classes }, (_, c) => {
    const own = pair.samples.filter((i) => pair.labels[i] === c), delta = own.length === 0 ? null : accuracies(pair, own).delta;
    return { class: c, support: own.length, a: scores(pair.a, c, own), b: scores(pair.b, c, own), delta, normalisedDelta: delta === null ? null : delta - overallDelta, p: disagreementOn(pair, own).p };
  });
  // classes without samples are not tested, so they do not weaken the other tests
  const present = rows.filter((r) => r.support > 0), adjusted = holm(present.map((r) => r.p));
  return rows.map((r) => ({ ...r, adjustedP: adjusted[present.indexOf(r)] ?? 1 }));
}

function groupsOf(pair: Pair, columns: readonly GroupColumn[]): GroupComparison[] {
  return columns.flatMap(({ name, values }) => [...new Set(values)].sort().map((value) => {
    const own = pair.samples.filter((i) => values[i] === value);
    return { column: name, value, samples: own.length, ...accuracies(pair, own), p: disagreementOn(pair, own).p, tooFew: own.length < SMALLEST_GROUP };
  }));
}

function confusionIncreases({ a, b, labels, classes, samples }: Pair): ConfusionIncrease[] {
  const matrix = (p: Predictions): Uint32Array => {
    const cells = new Uint32Array(classes * classes);
    for (const i of samples) cells[labels[i]! * classes + p.predicted[i]!]!++;
    return cells;
  };
  const before = matrix(a);
  return [...matrix(b)].map((n, at) => ({ label: Math.floor(at / classes), predicted: at % classes, a: before[at]!, b: n }))
    .filter((c) => c.label !== c.predicted && c.b > c.a)
    .sort((x, y) => (y.b - y.a) - (x.b - x.a) || x.label - y.label || x.predicted - y.predicted).slice(0, LISTED_CONFUSIONS);
}

function agreementOf({ a, b, classes, samples }: Pair): Agreement {
  const margins = (p: Predictions): number[] => samples.map((i) => {
    const ordered = rowOf(p.scores, classes, i).toSorted();
    return ordered.at(-1)! - ordered.at(-2)!;
  });
  const divergence = (i: number): number => sum(rowOf(a.logProbabilities, classes, i).map((l, c) => Math.exp(l) * (l - b.logProbabilities[i * classes + c]!)));
  return {
    top1: count(samples, (i) => a.predicted[i] === b.predicted[i]) / samples.length,
    meanKl: mean(samples.map(divergence)),
    maxScoreDifference: a.scores.reduce((most, x, i) => Math.max(most, Math.abs(x - b.scores[i]!)), 0),
    marginCorrelation: spearman(margins(a), margins(b)),
  };
}

/** Compares b (say, the pruned model) with a (the model it was made from) on the same samples, of which there must be one or more. */
export function comparePredictions(a: Predictions, b: Predictions, groups: readonly GroupColumn[] = []): Comparison {
  const pair: Pair = { a, b, labels: a.labels, classes: a.classes, samples: a.labels.map((_, i) => i) };
  const disagreement = disagreementOn(pair, pair.samples), { onlyA, onlyB } = disagreement, accuracy = accuracies(pair, pair.samples);
  const classes = classesOf(pair, accuracy.delta);
  const ranked = classes.filter((c) => c.delta !== null).sort((x, y) => x.delta! - y.delta! || x.adjustedP - y.adjustedP || x.class - y.class);
  const worstClass = ranked[0]!, bestClass = ranked.at(-1)!;
  return {
    overall: { samples: pair.samples.length, ...accuracy, interval: bootstrapDelta(onlyA, onlyB, pair.samples.length), mcNemar: disagreement },
    flips: flipsOf(pair), classes, worstClass, bestClass, spread: bestClass.delta! - worstClass.delta!,
    groups: groupsOf(pair, groups), confusion: confusionIncreases(pair),
    calibration: { a: calibrationOf(a), b: calibrationOf(b) }, agreement: agreementOf(pair),
  };
}
