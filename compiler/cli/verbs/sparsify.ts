/** `spc sparsify`: weights onto a pattern by magnitude, for trying patterns out. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { SpcError } from '../../diagnostics/diagnostic.js';
import { sparsifyModel } from '../../sparsity/sparsify.js';
import { readModelFile } from '../source.js';
import type { RunVerb } from '../verb.js';

const percent = (x: number): string => `${(100 * x).toFixed(1)}%`;

export const run: RunVerb = async ([path], flags, terminal) => {
  const { output, pattern, layer } = flags;
  const missing = output === undefined ? ['where should the model go?', 'add -o FILE'] : pattern === undefined && layer === undefined ? ['which pattern?', 'add --pattern 2:4, unstructured:0.9, block:4x1:0.8, ...'] : undefined;
  if (missing) throw new SpcError([{ code: 'SPC6002', severity: 'error', message: missing[0]!, hint: missing[1]! }]);
  const source = readModelFile(path!);
  const { model, layers, skipped } = sparsifyModel(source.bytes, {
    ...(pattern === undefined ? {} : { pattern }), ...(layer ? { layers: layer } : {}), ...(source.baseDir === undefined ? {} : { baseDir: source.baseDir }),
    global: flags.global === true, includeFirstLast: flags.includeFirstLast === true, sparseInitializer: flags.sparseInitializer === true, seed: flags.seed ?? 0,
  });
  writeWhole(output!, model);

  terminal.table(['layer', 'weight', 'pattern', 'zeros before', 'after', 'energy kept'],
    layers.map((l) => [l.node, `[${l.shape.join(',')}]`, l.name, percent(l.before), percent(l.after), percent(l.energy)]), [3, 4, 5]);
  for (const s of skipped) terminal.print(`left alone: ${s.node} (${s.op}): ${s.why}`);
  const size = (l: (typeof layers)[number]): number => l.shape.reduce((a, b) => a * b, 1), total = layers.reduce((n, l) => n + size(l), 0);
  const after = layers.reduce((n, l) => n + l.after * size(l), 0) / total;
  terminal.print(`wrote ${output}: ${layers.length} layers changed, ${percent(after)} of their weights are zero`);
  terminal.note(`the accuracy has changed by an unknown amount: check it with \`spc compare ${path} ${output} --data ...\``);
  return { result: { output, layers, skipped, sparsity: after } };
};

/** The file appears whole or not at all. */
function writeWhole(path: string, bytes: Uint8Array): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, bytes);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw new SpcError([{ code: 'SPC6003', severity: 'error', message: `cannot write ${path}: ${error instanceof Error ? error.message : String(error)}`, hint: 'name a file in a folder that can be written' }]);
  }
}
