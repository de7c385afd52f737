/** Kernels on activations in tiles, but for products with weights: moving them, small windows, element by element, along channels. */
import type { KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { relayoutRule } from './relayout.js';

export const tileRules = (isa: Isa): readonly KernelRule[] => [relayoutRule(isa)];
