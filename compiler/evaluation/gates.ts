/** Conditions on a comparison that decide whether a model may take another one's place. */
import type { Comparison } from './compare.js';

export interface GateInfo {
  readonly doc: string;
  readonly unit: ' points' | '' | ' %';
  /** What must not exceed the limit. */
  readonly measure: (c: Comparison) => number;
}

export const gates = {
  'overall-drop': { doc: 'loss of accuracy in percentage points', unit: ' points', measure: (c) => -100 * c.overall.delta },
  'class-drop': { doc: 'loss of recall of the worst class in percentage points', unit: ' points', measure: (c) => -100 * c.worstClass.delta! },
  'ece-rise': { doc: 'rise of the expected calibration error (0 to 1)', unit: '', measure: (c) => c.calibration.b.ece - c.calibration.a.ece },
  'flip-rate': { doc: 'samples with another answer in percent', unit: ' %', measure: (c) => (100 * c.flips.total) / c.overall.samples },
} as const satisfies { readonly [name: string]: GateInfo };

export type GateName = keyof typeof gates;
export type GateLimits = { readonly [G in GateName]?: number };

export interface GateResult {
  readonly gate: GateName;
  readonly limit: number;
  readonly measured: number;
  readonly ok: boolean;
}

export const gateNames = Object.keys(gates) as readonly GateName[];

/** Room for the last bits of a percentage: a loss of exactly the limit passes. */
const ROUNDING = 1e-9;

export function checkGates(comparison: Comparison, limits: GateLimits): GateResult[] {
  return gateNames.flatMap((gate) => {
    const limit = limits[gate], measured = gates[gate].measure(comparison);
    return limit === undefined ? [] : [{ gate, limit, measured, ok: measured <= limit + ROUNDING }];
  });
}
