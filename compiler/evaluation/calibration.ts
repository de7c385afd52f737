/** Whether a classifier is as often right as it claims to be (Guo et al. 2017, arXiv 1706.04599). */
import { isRight, logSoftmax, rowOf, type Predictions } from './predictions.js';
import { mean, sum } from './statistics.js';

export interface Calibration {
  /** Mean negative log-likelihood of the right class, in nats. */
  readonly nll: number;
  /** Mean squared distance of the probabilities from the right answer's, summed over classes: 0 to 2. */
  readonly brier: number;
  /** Expected calibration error over bins of equal width, and of equal numbers of samples. */
  readonly ece: number;
  readonly eceEqualMass: number;
  readonly meanConfidence: number;
  /** What the logits must be divided by for the least NLL; above 1, the model is too sure of itself. */
  readonly temperature: number;
}

const BINS = 15;
/** Where the search for a temperature ends; a model that is always right would want 0. */
const TEMPERATURES = { low: 1e-4, high: 1e4 } as const;

const samplesOf = (p: Predictions): number[] => Array.from({ length: p.samples }, (_, i) => i);

/** Gap between accuracy and confidence, averaged over bins with their number of samples as weights. */
function calibrationError(p: Predictions, bins: readonly (readonly number[])[]): number {
  return sum(bins.filter((b) => b.length > 0).map((b) => Math.abs(sum(b.map((i) => (isRight(p, i) ? 1 : 0) - p.confidence[i]!))))) / p.samples;
}

/** Bin k holds confidences in (k / 15, (k + 1) / 15]. */
function equalWidth(p: Predictions): number[][] {
  const bins = Array.from({ length: BINS }, (): number[] => []);
  for (const i of samplesOf(p)) bins[Math.min(BINS - 1, Math.max(0, Math.ceil(p.confidence[i]! * BINS) - 1))]!.push(i);
  return bins;
}

function equalMass(p: Predictions): number[][] {
  // among equal confidences the wrong ones come first, so that the order of samples does not matter
  const order = samplesOf(p).sort((i, j) => p.confidence[i]! - p.confidence[j]! || Number(isRight(p, i)) - Number(isRight(p, j)));
  const bound = (k: number): number => Math.round((k * p.samples) / BINS);
  return Array.from({ length: BINS }, (_, k) => order.slice(bound(k), bound(k + 1)));
}

/**
 * The temperature that minimises NLL. In 1 / temperature the NLL is convex; its derivative, the mean over samples of
 * E[logit] - logit(right class), is bisected on a logarithmic scale.
 */
export function bestTemperature(p: Predictions): number {
  const { classes } = p, logits = p.kind === 'logits' ? p.scores : p.logProbabilities;
  const slope = (temperature: number): number => sum(samplesOf(p).map((i) => {
    const z = rowOf(logits, classes, i), log = logSoftmax(z, temperature);
    return sum(log.map((l, c) => Math.exp(l) * z[c]!)) - z[p.labels[i]!]!;
  }));
  let { low, high }: { low: number; high: number } = TEMPERATURES;
  for (let step = 0; step < 50; step++) {
    const middle = Math.sqrt(low * high);
    // a positive slope in 1 / temperature: cooling has gone too far
    if (slope(middle) > 0) low = middle; else high = middle;
  }
  return Math.sqrt(low * high);
}

export function calibrationOf(p: Predictions): Calibration {
  const samples = samplesOf(p), { classes, labels } = p;
  const brier = (i: number): number => sum(rowOf(p.logProbabilities, classes, i).map((l, c) => (Math.exp(l) - (c === labels[i] ? 1 : 0)) ** 2));
  return {
    nll: mean(samples.map((i) => -p.logProbabilities[i * classes + labels[i]!]!)), brier: mean(samples.map(brier)),
    ece: calibrationError(p, equalWidth(p)), eceEqualMass: calibrationError(p, equalMass(p)),
    meanConfidence: mean(p.confidence), temperature: bestTemperature(p),
  };
}
