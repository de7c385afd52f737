/** `--sparsify`: a model put on a pattern of zeros as it is read, so that whatever reads it afterwards (spc, the reference, ONNX Runtime) reads the same bytes. */
import { createHash } from 'node:crypto';
import type { Diagnostic } from './diagnostics/diagnostic.js';
import type { ModelSource } from './driver.js';
import { sparsifyModel, type SkippedLayer, type SparsifiedLayer, type SparsifyOptions } from './sparsity/sparsify.js';

/** What was done to a model before it was compiled, as manifest.json has it: enough to do it again. */
export interface Sparsification extends Pick<SparsifyOptions, 'includeFirstLast'> {
  readonly pattern: string;
  /** sha256 of the model before. */
  readonly of: string;
}

const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
const changedLayer = (l: SparsifiedLayer): string => `${l.node} (${l.op}) from ${percent(l.before)} to ${percent(l.after)} zeros, ${percent(l.energy)} of its squared norm kept`;

function leftAlone(skipped: readonly SkippedLayer[]): string {
  const byReason = new Map<string, string[]>();
  for (const { node, op, why } of skipped) byReason.set(why, [...(byReason.get(why) ?? []), `${node} (${op})`]);
  return [...byReason].map(([why, layers]) => `${layers.join(', ')}: ${why}`).join('; ');
}

function told(pattern: string, includeFirstLast: boolean, layers: readonly SparsifiedLayer[], skipped: readonly SkippedLayer[]): readonly Diagnostic[] {
  // a layer that had the pattern loses nothing by it
  const changed = layers.filter((l) => l.after > l.before), same = layers.filter((l) => !changed.includes(l)).map(({ node, op }) => ({ node, op, why: 'it has the pattern' }));
  const alone = [...same, ...skipped];
  return [
    ...(changed.length === 0 ? [] : [{
      code: 'SPC3006', severity: 'warning' as const,
      message: `weights of ${changed.length} ${changed.length === 1 ? 'layer were' : 'layers were'} set to zero for ${pattern}, and the accuracy has changed by an unknown amount: ${changed.map(changedLayer).join('; ')}`,
      hint: `check it: \`spc sparsify MODEL --pattern '${pattern}'${includeFirstLast ? ' --include-first-last' : ''} -o sparse.onnx\` writes the same weights, \`spc compare MODEL sparse.onnx --data ...\` compares the answers`,
    }]),
    ...(alone.length === 0 ? [] : [{ code: 'SPC3007', severity: 'note' as const, message: `left as they were: ${leftAlone(alone)}` }]),
  ];
}

/**
 * The model with its weights on a pattern (`2:4`, `unstructured:0.9`, ...), the largest kept. What was changed and what was not is told with its diagnostics.
 * @throws SpcError as `sparsifyModel`
 */
export function sparsifySource(source: ModelSource, pattern: string, { includeFirstLast = false }: Pick<SparsifyOptions, 'includeFirstLast'> = {}): ModelSource {
  const { model, layers, skipped } = sparsifyModel(source.bytes, { pattern, includeFirstLast, ...(source.baseDir === undefined ? {} : { baseDir: source.baseDir }) });
  return {
    bytes: model, ...(source.name === undefined ? {} : { name: source.name }), diagnostics: [...(source.diagnostics ?? []), ...told(pattern, includeFirstLast, layers, skipped)],
    sparsified: { pattern, ...(includeFirstLast ? { includeFirstLast } : {}), of: createHash('sha256').update(source.bytes).digest('hex') },
  };
}
