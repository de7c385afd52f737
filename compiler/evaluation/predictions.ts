/** What a classifier says about labelled samples: scores, as logits or probabilities, and what follows from them. */
import { dataError } from '../io/errors.js';

export interface Predictions {
  readonly samples: number;
  readonly classes: number;
  /** Right classes. */
  readonly labels: readonly number[];
  /** What the scores are: probabilities where every row is non-negative and sums to 1, else logits (a softmax makes them probabilities). */
  readonly kind: 'logits' | 'probabilities';
  /** As the model gave them, [samples, classes]. */
  readonly scores: Float64Array;
  /** Natural logarithms of the class probabilities, [samples, classes]. */
  readonly logProbabilities: Float64Array;
  /** The class with the largest score; the first of equal ones. */
  readonly predicted: Int32Array;
  /** Its probability. */
  readonly confidence: Float64Array;
}

/** A probability that underflowed to 0 in single precision is taken as the smallest positive number there. */
const SMALLEST_PROBABILITY = 2 ** -149;
const ROW_SUM_TOLERANCE = 1e-3;

/** log(softmax(z / temperature)) of one row. */
export function logSoftmax(z: Float64Array, temperature = 1): Float64Array {
  const top = z.reduce((a, b) => Math.max(a, b), -Infinity);
  const log = Math.log(z.reduce((s, x) => s + Math.exp((x - top) / temperature), 0));
  return z.map((x) => (x - top) / temperature - log);
}

export const rowOf = (table: Float64Array, classes: number, sample: number): Float64Array => table.subarray(sample * classes, (sample + 1) * classes);
export const isRight = (p: Predictions, sample: number): boolean => p.predicted[sample] === p.labels[sample];

/**
 * @param scores [samples, classes]
 * @param who the model, in messages
 * @throws SpcError SPC6120 for labels that are no classes, SPC6122 for scores that are not finite
 */
export function predictionsOf(scores: Float64Array, labels: readonly number[], who: string): Predictions {
  const samples = labels.length, classes = scores.length / samples;
  const noClass = labels.findIndex((l) => !Number.isInteger(l) || l < 0 || l >= classes);
  if (noClass >= 0) throw dataError('SPC6120', `the label of sample ${noClass} is ${labels[noClass]}; ${who} has classes 0 to ${classes - 1}`);
  const noNumber = scores.findIndex((x) => !Number.isFinite(x));
  if (noNumber >= 0) {
    throw dataError('SPC6122', `${who} gives ${scores[noNumber]} as the score of class ${noNumber % classes} for sample ${Math.floor(noNumber / classes)}`, 'check the scale of the data (--normalize) and the model');
  }
  const rows = Array.from({ length: samples }, (_, i) => rowOf(scores, classes, i));
  const kind = rows.every((r) => r.every((x) => x >= 0) && Math.abs(r.reduce((a, b) => a + b, 0) - 1) <= ROW_SUM_TOLERANCE) ? 'probabilities' : 'logits';
  const logProbabilities = new Float64Array(scores.length);
  rows.forEach((r, i) => logProbabilities.set(kind === 'logits' ? logSoftmax(r) : r.map((x) => Math.log(Math.max(x, SMALLEST_PROBABILITY))), i * classes));
  const predicted = Int32Array.from(rows, (r) => r.reduce((best, x, c) => (x > r[best]! ? c : best), 0));
  const confidence = Float64Array.from(predicted, (c, i) => Math.exp(logProbabilities[i * classes + c]!));
  return { samples, classes, labels, kind, scores, logProbabilities, predicted, confidence };
}
