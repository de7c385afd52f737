import { describe, expect, test } from 'vitest';
import { randomNumbers } from '../../test/support/graphs.js';
import { calibrationOf } from './calibration.js';
import { comparePredictions, type Comparison } from './compare.js';
import { checkGates } from './gates.js';
import { predictionsOf } from './predictions.js';
import { markdownReport, sectionsOf, SEED_REMARK, verdictOf, type Report } from './report.js';

const near = (got: number, want: number): void => expect(Math.abs(got - want), `${got}, not ${want}`).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(want)));

/** 60 samples of 4 classes, whose logits lean to the right class. */
const N = 60, C = 4, labels = Array.from({ length: N }, (_, i) => (i * 7 + Math.floor(i / 3)) % C);
const logits = (seed: number): Float64Array => Float64Array.from(randomNumbers(N * C, seed), (r, i) => 3 * r + (labels[Math.floor(i / C)] === i % C ? 1.5 : 0));
const compareScores = (a: Float64Array, b: Float64Array, right: readonly number[] = labels, groups: { name: string; values: string[] }[] = []): Comparison =>
  comparePredictions(predictionsOf(a, right, 'a'), predictionsOf(b, right, 'b'), groups);
const reportOf = (comparison: Comparison): Report => {
  const none = { nonZeros: 1, elements: 2, density: 0.5, macs: 2, nonZeroMacs: 1, fileBytes: 8, weightBytes: 8, weights: [] };
  return { modelA: 'a.onnx', modelB: 'b.onnx', comparison, gates: [], sparsity: { a: none, b: none } };
};
/** One-hot logits for answers. */
const answers = (predicted: readonly number[], classes: number): Float64Array =>
  Float64Array.from({ length: predicted.length * classes }, (_, i) => (predicted[Math.floor(i / classes)] === i % classes ? 4 : 0));

describe('against values computed by another program from the definitions', () => {
  const c = compareScores(logits(11), logits(23));
  test('accuracy, disagreement, flips', () => {
    near(c.overall.accuracyA, 37 / 60);
    near(c.overall.accuracyB, 22 / 60);
    expect(c.overall.mcNemar).toMatchObject({ onlyA: 23, onlyB: 8 });
    near(c.overall.mcNemar.p, 0.011921001496914026);
    expect(c.flips).toMatchObject({ total: 44, rightToWrong: 23, wrongToRight: 8, wrongToOtherWrong: 13 });
    const losses = c.flips.samples.map((f) => f.confidenceLoss);
    expect(losses).toEqual([...losses].sort((x, y) => y - x));
    expect(c.flips.samples.every((f) => f.label === labels[f.sample] && f.a !== f.b)).toBe(true);
  });
  test('classes', () => {
    expect(c.classes.map((x) => x.support)).toEqual([20, 10, 20, 10]);
    [[0.65, 0.6842105263157895, 0.6666666666666667, 0.3, 0.5454545454545454, 0.3870967741935483], [0.5, 0.45454545454545453, 0.47619047619047616, 0.5, 0.29411764705882354, 0.37037037037037035]].forEach((want, i) => {
      const { a, b } = c.classes[i]!;
      [a.recall, a.precision, a.f1, b.recall, b.precision, b.f1].forEach((x, k) => near(x!, want[k]!));
    });
    [0.09228515625, 1, 0.0390625, 1].forEach((p, i) => near(c.classes[i]!.p, p));
    [0.27685546875, 1, 0.15625, 1].forEach((p, i) => near(c.classes[i]!.adjustedP, p));
    near(c.classes[1]!.normalisedDelta!, 0 - (22 - 37) / 60);
    // classes 0 and 2 both lose 35 points; the more certain loss counts as the worse
    expect([c.worstClass.class, c.bestClass.class]).toEqual([2, 1]);
    near(c.spread, 0.35);
  });
  test('confusions', () => expect(c.confusion.slice(0, 2)).toEqual([{ label: 0, predicted: 3, a: 2, b: 8 }, { label: 2, predicted: 3, a: 0, b: 5 }]));
  test('calibration', () => {
    const want = {
      a: [1.1939045248797904, 0.5850642101068227, 0.17881046184752017, 0.21628594674551174, 0.7229328778696869],
      b: [1.4843187034120404, 0.8010688577565533, 0.3430966574641021, 0.3351827846494681, 0.6876944892704231],
    };
    for (const side of ['a', 'b'] as const) {
      const x = c.calibration[side];
      [x.nll, x.brier, x.ece, x.eceEqualMass, x.meanConfidence].forEach((v, i) => near(v, want[side][i]!));
    }
    expect(c.calibration.a.temperature).toBeCloseTo(1.8330993797, 6);
    expect(c.calibration.b.temperature).toBeCloseTo(2.6218747412, 6);
  });
  test('agreement', () => {
    near(c.agreement.top1, 16 / 60);
    near(c.agreement.meanKl, 1.397035145202545);
    near(c.agreement.maxScoreDifference, 5.614791529253125);
    near(c.agreement.marginCorrelation!, 0.24367879966657405);
  });
});

test('a model compared with itself: nothing changes', () => {
  const c = compareScores(logits(5), logits(5));
  expect(c.flips).toEqual({ total: 0, rightToWrong: 0, wrongToRight: 0, wrongToOtherWrong: 0, samples: [] });
  expect(c.overall).toMatchObject({ delta: 0, interval: { low: 0, high: 0 }, mcNemar: { p: 1 } });
  expect(c.classes.every((x) => x.delta === 0 && x.normalisedDelta === 0 && x.p === 1 && x.adjustedP === 1)).toBe(true);
  expect(c.confusion).toEqual([]);
  expect(c.calibration.a).toEqual(c.calibration.b);
  expect(c.agreement).toMatchObject({ top1: 1, meanKl: 0, maxScoreDifference: 0 });
  near(c.agreement.marginCorrelation!, 1);
});

test('the order of samples changes nothing', () => {
  const order = randomNumbers(N, 9).map((key, i) => ({ key, i })).sort((x, y) => x.key - y.key).map((x) => x.i);
  const shuffled = (z: Float64Array): Float64Array => Float64Array.from(order.flatMap((i) => [...z.subarray(i * C, (i + 1) * C)]));
  const plain = compareScores(logits(11), logits(23)), other = compareScores(shuffled(logits(11)), shuffled(logits(23)), order.map((i) => labels[i]!));
  const { calibration, agreement, ...counts } = plain, { calibration: calibration2, agreement: agreement2, ...counts2 } = other;
  const original = counts2.flips.samples.map((f) => ({ ...f, sample: order[f.sample]! }));
  expect({ ...counts2, flips: { ...counts2.flips, samples: original } }).toEqual(counts);
  // sums of floats in another order
  for (const side of ['a', 'b'] as const) for (const [k, v] of Object.entries(calibration[side])) near(calibration2[side][k as 'nll'], v);
  for (const [k, v] of Object.entries(agreement)) near(agreement2[k as 'top1'], v as number);
});

test('a model that only fails class 3 is caught, although it is better overall', () => {
  const right = Array.from({ length: 1000 }, (_, i) => i % 10);
  // a is wrong on every fifth sample of all classes but 3; b is right but for half of class 3
  const a = right.map((l, i) => (l !== 3 && Math.floor(i / 10) % 5 === 0 ? (l + 1) % 10 : l)), b = right.map((l, i) => (l === 3 && Math.floor(i / 10) % 2 === 0 ? 8 : l));
  const c = compareScores(answers(a, 10), answers(b, 10), right);
  expect(c.overall.delta).toBeCloseTo(0.13, 12);
  expect(c.worstClass.class).toBe(3);
  near(c.worstClass.delta!, -0.5);
  near(c.worstClass.normalisedDelta!, -0.63);
  expect(c.worstClass.adjustedP).toBeLessThan(1e-9);
  expect(c.confusion[0]).toEqual({ label: 3, predicted: 8, a: 0, b: 50 });
  const verdict = verdictOf(reportOf(c)).join('\n');
  expect(verdict).toMatch(/b is more accurate than a/);
  expect(verdict).toMatch(/Class 3 loses most: its recall goes from 100.00 % to 50.00 %/);
  expect(checkGates(c, { 'overall-drop': 0.5, 'class-drop': 2 })).toEqual([{ gate: 'overall-drop', limit: 0.5, measured: -13, ok: true }, { gate: 'class-drop', limit: 2, measured: 50, ok: false }]);
});

test('the worst class is named where all gain, too', () => {
  const right = Array.from({ length: 40 }, (_, i) => i % 2), wrong = right.map((l, i) => (i < (l === 0 ? 20 : 8) ? 1 - l : l));
  const verdict = verdictOf(reportOf(compareScores(answers(wrong, 2), answers(right, 2), right))).join('\n');
  expect(verdict).toContain('Every class gains recall; class 1 least');
});

test('scores that are calibrated by construction have next to no calibration error; sharpened ones have', () => {
  // the right class of each sample is drawn from the very probabilities that are given
  const n = 20_000, numbers = randomNumbers(n * 4, 3), z = Float64Array.from({ length: n * 3 }, (_, i) => 2 * numbers[Math.floor(i / 3) * 4 + (i % 3)]!);
  const drawn = Array.from({ length: n }, (_, i) => {
    const e = [...z.subarray(i * 3, i * 3 + 3)].map(Math.exp), total = e[0]! + e[1]! + e[2]!, u = (numbers[i * 4 + 3]! + 1) / 2 * total;
    return u < e[0]! ? 0 : u < e[0]! + e[1]! ? 1 : 2;
  });
  const honest = calibrationOf(predictionsOf(z, drawn, 'm')), boastful = calibrationOf(predictionsOf(z.map((x) => 3 * x), drawn, 'm'));
  expect(Math.max(honest.ece, honest.eceEqualMass)).toBeLessThan(0.015);
  expect(Math.abs(honest.temperature - 1)).toBeLessThan(0.05);
  expect(Math.min(boastful.ece, boastful.eceEqualMass)).toBeGreaterThan(0.1);
  expect(Math.abs(boastful.temperature / 3 - 1)).toBeLessThan(0.05);
  expect(boastful.nll).toBeGreaterThan(honest.nll);
});

test('probabilities are taken as such, and one that underflowed to 0 stays finite', () => {
  const right = [0, 1, 0], p = predictionsOf(Float64Array.of(0.75, 0.25, 0.5, 0.5, 0, 1), right, 'm'), c = calibrationOf(p);
  expect(p.kind).toBe('probabilities');
  expect([...p.predicted]).toEqual([0, 0, 1]);
  near(c.brier, (2 * 0.25 ** 2 + 2 * 0.5 ** 2 + 2) / 3);
  near(c.nll, -(Math.log(0.75) + Math.log(0.5) - 149 * Math.LN2) / 3);
  expect(predictionsOf(Float64Array.of(0.75, 0.5, 0.5, 0.5), [0, 0], 'm').kind).toBe('logits');
});

test('logits of any size do not overflow', () => {
  const c = calibrationOf(predictionsOf(Float64Array.of(4000, -4000, 0, 3000), [0, 0], 'm'));
  near(c.nll, 1500);
  expect(c.ece).toBeCloseTo(0.5, 12);
});

test('groups: the same by what the user says, small ones marked', () => {
  const values = labels.map((_, i) => (i < 40 ? 'loud' : 'quiet'));
  const c = compareScores(logits(11), logits(23), labels, [{ name: 'noise', values }]);
  expect(c.groups.map((g) => [g.column, g.value, g.samples, g.tooFew])).toEqual([['noise', 'loud', 40, false], ['noise', 'quiet', 20, true]]);
  near(c.groups.reduce((s, g) => s + g.delta * g.samples, 0) / N, c.overall.delta);
});

test('classes without samples are said to have none', () => {
  const c = compareScores(answers([0, 0, 2], 4), answers([0, 0, 0], 4), [0, 0, 2]);
  expect(c.classes[1]).toEqual({ class: 1, support: 0, a: { recall: null, precision: null, f1: null }, b: { recall: null, precision: null, f1: null }, delta: null, normalisedDelta: null, p: 1, adjustedP: 1 });
  expect([c.worstClass.class, c.bestClass.class]).toEqual([2, 0]);
});

test('labels that are no classes and scores that are not finite are refused with their place', () => {
  expect(() => predictionsOf(Float64Array.of(0, 1, 1, 0), [0, 2], 'm.onnx')).toThrow(/SPC6120.*sample 1 is 2; m\.onnx has classes 0 to 1/);
  expect(() => predictionsOf(Float64Array.of(0, 1), [0.5], 'm.onnx')).toThrow(/SPC6120/);
  expect(() => predictionsOf(Float64Array.of(0, 1, 1, NaN), [0, 1], 'm.onnx')).toThrow(/SPC6122.*NaN as the score of class 1 for sample 1/);
});

test('the report warns of seeds, shows failed gates, and is valid Markdown', () => {
  const c = compareScores(logits(11), logits(23)), gates = checkGates(c, { 'flip-rate': 5, 'ece-rise': 0.5 });
  const text = markdownReport({ ...reportOf(c), gates, robustness: { levels: [{ noise: 0, accuracyA: 0.5, accuracyB: 0.25 }], meanA: 0.5, meanB: 0.25 } });
  expect(text).toContain(SEED_REMARK);
  expect(text).toContain('FAILED: flip-rate is 73.33 %, the limit is 5 %.');
  expect(text).not.toContain('FAILED: ece-rise');
  expect(text).toContain('## Robustness');
  for (const s of sectionsOf(reportOf(c))) expect(s.rows.every((r) => r.length === s.head.length), s.title).toBe(true);
});

test('a loss of exactly the limit passes a gate', () => {
  const right = Array.from({ length: 1000 }, (_, i) => i % 10), b = right.map((l, i) => (i < 7 ? (l + 1) % 10 : l));
  expect(checkGates(compareScores(answers(right, 10), answers(b, 10), right), { 'overall-drop': 0.7 })[0]!.ok).toBe(true);
});
