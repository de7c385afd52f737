/** Kernels on activations in tiles, but for products with weights: moving them, small windows, element by element, along channels. */
import type { KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { depthwiseInTilesRule } from './depthwise.js';
import { elementwiseRule } from './elementwise.js';
import { globalPoolRule, poolRule } from './pool.js';
import { planesRule } from './planes.js';
import { relayoutRule } from './relayout.js';
import { rowsInTilesRule } from './rows.js';
import { transposeFromTilesRule, transposeToTilesRule } from './transpose.js';

export const tileRules = (isa: Isa): readonly KernelRule[] => [relayoutRule(isa), planesRule(isa), elementwiseRule(isa), rowsInTilesRule(isa), poolRule(isa), globalPoolRule(isa),
  depthwiseInTilesRule(isa), transposeFromTilesRule(isa), transposeToTilesRule(isa)];
