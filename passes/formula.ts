/** Chains of elementwise nodes as one expression. */
import type { GraphEditor } from '../compiler/ir/edit.js';
import type { NodeOf, ValueId } from '../compiler/ir/types.js';
import { arg, substituteArgs } from '../compiler/kir/build.js';
import type { Expr } from '../compiler/kir/types.js';
import { simplifyExpr } from './expressions.js';

export interface Formula { readonly expr: Expr; readonly inputs: readonly ValueId[] }

/** A value as an expression of what its chain of elementwise nodes reads, as far as `through` lets it be followed. */
export function formula(e: GraphEditor, id: ValueId, depth = 6, through: (node: NodeOf<'elementwise'>) => boolean = () => true): Formula {
  const node = depth > 0 ? e.producerOf(id, 'elementwise') : undefined;
  if (!node || node.attrs.shape || !through(node)) return { expr: arg(0, e.type(id).dtype), inputs: [id] };
  const inputs: ValueId[] = [];
  const parts = node.inputs.map((i) => {
    const f = formula(e, i, depth - 1, through);
    const at = f.inputs.map((v) => (inputs.includes(v) ? inputs.indexOf(v) : inputs.push(v) - 1));
    return substituteArgs(f.expr, f.inputs.map((v, n) => arg(at[n]!, e.type(v).dtype)));
  });
  return { expr: simplifyExpr(substituteArgs(node.attrs.expr, parts)), inputs };
}
