/** The CPU's own schedules for the hot operators. */
import type { KernelRule } from '../../types.js';
import type { Isa } from '../isa.js';
import { blocksRule, pooledBlocksRule } from './blocks/rule.js';
import { activeLinearRule } from './activations/linear.js';
import { selectionRule } from './activations/selection.js';
import { convRule } from './conv.js';
import { convTransposeRule } from './conv-transpose.js';
import { csrRule } from './csr/rule.js';
import { depthwiseRule } from './depthwise.js';
import { matmulRule } from './matmul.js';
import { permuteRule } from './permute/rule.js';
import { normalizeRule, reduceRule, softmaxRule } from './rows.js';
import { quadsRule } from './rows-stream/quads.js';
import { rowsStreamRule } from './rows-stream/rule.js';
import { streamRule } from './stream/rule.js';
import { tileRules } from './tiles/index.js';
import { transposeRule } from './transpose.js';
import { pooledWalkRule, walkRule } from './walk/rule.js';

export const cpuKernels = (isa: Isa): readonly KernelRule[] => [
  blocksRule(isa),
  pooledBlocksRule(isa),
  convRule(isa),
  convTransposeRule(isa),
  csrRule(),
  depthwiseRule(isa),
  matmulRule(isa),
  permuteRule(isa),
  softmaxRule(isa),
  normalizeRule(isa),
  reduceRule(isa),
  transposeRule(isa),
  walkRule(isa),
  pooledWalkRule(isa),
  selectionRule(isa), activeLinearRule(isa),
  streamRule(isa),
  rowsStreamRule(isa),
  quadsRule(isa),
  ...tileRules(isa),
];
