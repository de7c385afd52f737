/**
 * The passes in the order in which they run. A target's own passes (its data layout) come between the common ones and fusion,
 * because nothing moves through an operator once work is fused into it.
 */
import type { Pass } from './types.js';
import { absorbOperandTransposes, canonicalizeProducts, pointwiseConvToMatmul } from './canonicalize-products.js';
import { channelsLast } from './channels-last.js';
import { convTransposeToMatmul } from './conv-transpose-to-matmul.js';
import { eliminateCommonSubexpressions } from './eliminate-common-subexpressions.js';
import { eliminateDeadCode } from './eliminate-dead-code.js';
import { foldBatchNorm } from './fold-batch-norm.js';
import { foldConstants } from './fold-constants.js';
import { foldLookups } from './fold-lookups.js';
import { foldPadding } from './fold-padding.js';
import { fuseElementwise } from './fuse-elementwise.js';
import { fuseEpilogue } from './fuse-epilogue.js';
import { narrowActivations } from './narrow-activations.js';
import { lowerQuantization, normalizeQuant } from './normalize-quant.js';
import { rawProducts } from './raw-products.js';
import { recognizeKWinners } from './recognize-k-winners.js';
import { recognizePatterns } from './recognize-patterns.js';
import { shrinkChannels } from './shrink-channels.js';
import { simplify } from './simplify.js';
import { sinkTransposes } from './sink-transposes.js';

/** For every target: plain operators, nothing superfluous. */
const canonical: readonly Pass[] = [
  normalizeQuant,
  lowerQuantization,
  foldConstants,
  simplify,
  eliminateCommonSubexpressions,
  recognizePatterns,
  recognizeKWinners,
  sinkTransposes,
  foldPadding,
  foldBatchNorm,
  shrinkChannels,
  canonicalizeProducts,
];

/** A target's choice: convolutions and pools with the channels last. */
export const channelsLastPasses: readonly Pass[] = [
  channelsLast,
  convTransposeToMatmul,
  sinkTransposes,
  foldPadding,
  pointwiseConvToMatmul,
];

/** Behind the passes of a target whose machine multiplies integers of 8 bits in fours. */
export const quadPasses: readonly Pass[] = [...channelsLastPasses, rawProducts];

/** For every target, last: work goes where its operands are. */
const fusion: readonly Pass[] = [
  absorbOperandTransposes,
  simplify,
  foldConstants,
  foldBatchNorm,
  eliminateCommonSubexpressions,
  fuseElementwise,
  foldLookups,
  fuseEpilogue,
  simplify,
  eliminateDeadCode,
];

/** All passes for a target, in order. */
export const pipelineFor = (target: { readonly passes: readonly Pass[]; readonly lastPasses?: readonly Pass[] }): readonly Pass[] => [...canonical, ...target.passes, ...fusion, ...(target.lastPasses ?? [])];

/** All passes that do not belong to a target. */
export const pipeline: readonly Pass[] = pipelineFor({ passes: [] });

/** What some targets do to the finished graph. */
const lastPasses: readonly Pass[] = [narrowActivations('f16')];

/** Every pass once, in the order of first use. */
export const allPasses: readonly Pass[] = [...new Set(pipelineFor({ passes: quadPasses, lastPasses }))];

/** Contents of docs/passes.md. */
export function passesMarkdown(): string {
  const row = (p: Pass, i: number): string => `| ${i + 1} | \`${p.name}\` | ${p.doc} | ${[...quadPasses, ...lastPasses].includes(p) && !canonical.includes(p) ? 'targets that ask for it' : 'all targets'} |`;
  return [
    '# Passes',
    '',
    'In the order in which they run for a target with the channels last. Generated from passes/pipeline.ts.',
    '',
    '| | pass | what it does | runs for |',
    '|---|---|---|---|',
    ...pipelineFor({ passes: quadPasses, lastPasses }).map(row),
    '',
  ].join('\n');
}
