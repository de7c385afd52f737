/** Takes from a product the part of its epilogue that a kernel cannot apply, as an elementwise node behind it. */
import { formatExpr } from '../../compiler/ir/print.js';
import type { Epilogue } from '../../compiler/ir/types.js';
import { mapExpr, arg } from '../../compiler/kir/build.js';
import type { Expr } from '../../compiler/kir/types.js';

/** Sub-expressions with argument 0 in them, from the whole to argument 0 itself. */
function aroundProduct(e: Expr): Expr[] {
  const found: Expr[] = [];
  const holds = (x: Expr): boolean => {
    if (x.kind === 'arg') { if (x.index === 0) { found.push(x); return true; } return false; }
    const children: readonly Expr[] = x.kind === 'binary' || x.kind === 'compare' ? [x.a, x.b] : x.kind === 'select' ? [x.cond, x.a, x.b]
      : x.kind === 'fma' ? [x.a, x.b, x.c] : x.kind === 'unary' || x.kind === 'cast' || x.kind === 'splat' || x.kind === 'hsum' ? [x.a] : [];
    const any = children.map(holds).some(Boolean);
    if (any) found.push(x);
    return any;
  };
  holds(e);
  return found.reverse();
}

/**
 * The largest sub-expression that `fits` and through which all of the product goes, and what is left to do with its result:
 * argument 0 of `rest` is that result, the other arguments are the epilogue's.
 */
export function splitEpilogue(epilogue: Epilogue, fits: (part: Expr) => boolean): { readonly kept: Expr | undefined; readonly rest: Expr } {
  for (const part of aroundProduct(epilogue.expr)) {
    if (part.kind === 'arg' || !fits(part)) continue;
    const same = formatExpr(part), dtype = part.type.dtype;
    // an inner argument 0 outside of the part would still be the bare product
    const marked = mapExpr(epilogue.expr, (x) => (formatExpr(x) === same ? { kind: 'ref', type: x.type, name: 'kept' } : x));
    let bare = false;
    mapExpr(marked, (x) => { if (x.kind === 'arg' && x.index === 0) bare = true; return x; });
    if (bare || dtype !== 'f32') continue;
    return { kept: part, rest: mapExpr(marked, (x) => (x.kind === 'ref' ? arg(0, 'f32') : x)) };
  }
  return { kept: undefined, rest: epilogue.expr };
}
