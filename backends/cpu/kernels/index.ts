/** The CPU's own schedules for the hot operators. */
import type { KernelRule } from '../../types.js';
import type { Isa } from '../isa.js';
import { convRule } from './conv.js';
import { convTransposeRule } from './conv-transpose.js';
import { depthwiseRule } from './depthwise.js';
import { matmulRule } from './matmul.js';

export const cpuKernels = (isa: Isa): readonly KernelRule[] => [convRule(isa), convTransposeRule(isa), depthwiseRule(isa), matmulRule(isa)];
