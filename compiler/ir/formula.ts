/**
 * Scalar expressions as people write them: infix, and activation functions by name wherever an exporter's spelling of them is
 * (GELU has been seen in a dozen). For comments and reports.
 */
import { arg, exprSize, mapExpr } from '../kir/build.js';
import { evaluateNode } from '../kir/evaluate.js';
import type { Expr } from '../kir/types.js';
import { formatExpr } from './print.js';
import { tensorOf, toNumbers } from './tensor.js';

const erf = (x: number): number => { // Abramowitz and Stegun 7.1.26, error below 1.5e-7
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const tail = t * Math.exp(-x * x) * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - tail);
};
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const clamp = (x: number, low: number, high: number): number => Math.min(Math.max(x, low), high);

/** Functions that have a name in the field, and no spelling of one operation. */
const activations: Readonly<Record<string, (x: number) => number>> = {
  relu: (x) => Math.max(x, 0),
  relu6: (x) => clamp(x, 0, 6),
  silu: (x) => x * sigmoid(x),
  gelu: (x) => (x / 2) * (1 + erf(x * Math.SQRT1_2)),
  gelu_tanh: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  hard_swish: (x) => x * clamp(x / 6 + 0.5, 0, 1),
  hard_sigmoid: (x) => clamp(x / 5 + 0.5, 0, 1),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  mish: (x) => x * Math.tanh(Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  elu: (x) => (x < 0 ? Math.expm1(x) : x),
};
const samples = [-9, -4.5, -3.1, -2, -1.3, -0.7, -0.2, 0, 0.1, 0.6, 1, 1.9, 2.7, 3.2, 5.5, 6.5, 9];
/** Tells GELU from its tanh form, which differs by up to 5e-4, and bears the rounding of single precision. */
const TOLERANCE = 2e-6;

/** The name of a function of argument 0 alone, if it has one. */
export function activationName(e: Expr): string | undefined {
  if (e.type.dtype !== 'f32') return undefined;
  const results = toNumbers(evaluateNode('elementwise', { expr: e }, [tensorOf('f32', [samples.length], samples)], [{ dtype: 'f32', shape: [samples.length] }])[0]!);
  return Object.entries(activations).find(([, f]) => samples.every((x, i) => Math.abs(results[i]! - f(Math.fround(x))) <= TOLERANCE * Math.max(1, Math.abs(x))))?.[0];
}

/** Operations in the longest spelling that is looked at: GELU's tanh form of a sum of three takes 25. */
const LARGEST = 32;

/** Parts of an expression, each once, the small ones first. */
function parts(e: Expr): Expr[] {
  const found = new Map<string, Expr>();
  mapExpr(e, (x) => { found.set(formatExpr(x), x); return x; });
  return [...found.values()];
}

/** An expression as a named function of one of its parts, every other argument being inside that part. */
function asActivation(e: Expr): { readonly name: string; readonly of: Expr } | undefined {
  if (e.kind === 'arg' || e.kind === 'const' || e.type.dtype !== 'f32' || exprSize(e) > LARGEST) return undefined;
  for (const part of parts(e)) {
    const text = formatExpr(part);
    if (part === e || part.kind === 'const' || part.type.dtype !== 'f32' || text === formatExpr(e)) continue;
    const hole = 1e6; // an argument number that no expression has
    const rest = mapExpr(e, (x) => (formatExpr(x) === text ? arg(hole, 'f32') : x));
    let others = false;
    mapExpr(rest, (x) => { if (x.kind === 'arg' && x.index !== hole) others = true; return x; });
    if (others) continue;
    const name = activationName(mapExpr(rest, (x) => (x.kind === 'arg' ? arg(0, 'f32') : x)));
    if (name) return { name, of: part };
  }
  return undefined;
}

const infix: Partial<Record<string, { readonly sign: string; readonly level: number }>> = {
  add: { sign: '+', level: 1 }, sub: { sign: '-', level: 1 }, mul: { sign: '*', level: 2 }, div: { sign: '/', level: 2 },
  eq: { sign: '==', level: 0 }, ne: { sign: '!=', level: 0 }, lt: { sign: '<', level: 0 }, le: { sign: '<=', level: 0 }, gt: { sign: '>', level: 0 }, ge: { sign: '>=', level: 0 },
};

/**
 * An expression for people.
 * @param names of its arguments
 */
export function formatFormula(e: Expr, names: readonly string[]): string {
  const go = (x: Expr, level: number): string => {
    const known = asActivation(x);
    if (known) return `${known.name}(${go(known.of, 0)})`;
    switch (x.kind) {
      case 'arg': return names[x.index] ?? `a${x.index}`;
      case 'const': return typeof x.value === 'bigint' ? String(x.value) : x.type.dtype === 'f32' ? String(Number(x.value.toPrecision(7))) : String(x.value);
      case 'binary': case 'compare': {
        const op = infix[x.op];
        if (!op) return `${x.op}(${go(x.a, 0)}, ${go(x.b, 0)})`;
        const text = `${go(x.a, op.level)} ${op.sign} ${go(x.b, op.level + (x.op === 'sub' || x.op === 'div' ? 1 : 0))}`;
        return op.level < level ? `(${text})` : text;
      }
      case 'unary': return `${x.op}(${go(x.a, 0)})`;
      case 'select': return `select(${go(x.cond, 0)}, ${go(x.a, 0)}, ${go(x.b, 0)})`;
      case 'cast': return `${x.type.dtype}(${go(x.a, 0)})`;
      default: return formatExpr(x);
    }
  };
  return go(e, 0);
}
