/** Elementwise operators on tiles: whole vectors, zeros and halo kept. */
import { LANES, vectorsOf } from '../../../../compiler/ir/layout.js';
import { exprSize, store } from '../../../../compiler/kir/build.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { elementsInTiles, overChannels, overVectors, placeAddress } from './expression.js';
import { clearStatements, haloStatements } from './finish.js';

export function elementwiseRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const y = request.outputs[0]!, l = y.layout, e = elementsInTiles(request, isa);
    if (!e || !l || request.node.kind !== 'elementwise') return [];
    // a function of each lane keeps halos that are there
    const whole = e.uniform && e.keepsZeros;
    return [{
      choice: { status: 'dense-kernel', kernel: `elementwise x${isa.lanes}`, reason: `vectors of ${l.over}, ${whole ? 'halo and all' : 'then zeros and halo'}` },
      nanoseconds: vectorsOf(l) * l.channels * (LANES / isa.lanes) * (2 + exprSize(request.node.attrs.expr)) / isa.clock,
      finishes: true,
      inPlace: e.inPlace,
      build: (k) => {
        const each = (v: Expr): Stmt[] => overChannels(k, isa, l.channels, v, (at) => [store(y.param, placeAddress(l, at, isa.lanes), e.value(at))]);
        return [
          ...(whole ? k.forEach([vectorsOf(l)], ([v]) => each(v!)) : overVectors(k, l, each)),
          ...(e.keepsZeros ? [] : clearStatements(k, y)), ...(whole ? [] : haloStatements(k, y)),
        ];
      },
    }];
  };
  return { name: 'elementwise in tiles', tiles: true, candidates };
}
