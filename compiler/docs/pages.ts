/** Pages of docs/ that are printed from tables in the sources, so they cannot say anything else. */
import { targetNames, targets } from '../../backends/index.js';
import { passesMarkdown } from '../../passes/pipeline.js';
import { codes } from '../diagnostics/codes.js';
import { exitCodeMeanings } from '../cli/exit-codes.js';
import { commandLineReference } from '../cli/reference.js';

const generated = (from: string): string => `Generated from ${from} by \`npm run docs\`. Do not edit.`;

function diagnosticsPage(): string {
  return [
    '# Diagnostics', '', generated('compiler/diagnostics/codes.ts'), '',
    'A code is stable and never reused: 1xxx import, 2xxx types and shapes, 3xxx sparsity, 4xxx planning, 5xxx back ends and tools, 6xxx command line and',
    'data files, 9xxx a bug in spc. A message names the ONNX node, the shapes, and what to do; all problems of a model are reported at once.', '',
    '| code | what | meaning |', '|---|---|---|',
    ...Object.entries(codes).map(([code, info]) => `| <a id="${code.toLowerCase()}"></a>${code} | ${info.title} | ${info.explanation.replace(/\|/g, '\\|')} |`), '',
    '## Exit codes', '', '| code | meaning |', '|---|---|',
    ...Object.entries(exitCodeMeanings).map(([code, meaning]) => `| ${code} | ${meaning} |`), '',
  ].join('\n');
}

function targetsPage(): string {
  return [
    '# Targets', '', generated('backends/index.ts'), '',
    '| target | what it emits | kernels of its own |', '|---|---|---|',
    ...targetNames.map((name) => {
      const target = targets[name]({ cpu: 'x86-64-v4' });
      return `| ${name} | ${target.doc} | ${target.kernels.map((k) => k.name).join(', ') || 'none: every operator as its loop nest'} |`;
    }), '',
  ].join('\n');
}

/** Contents of the generated pages by path. docs/ops.md and docs/models.md come from test runs instead. */
export const pages = (): ReadonlyMap<string, string> => new Map([
  ['docs/command-line.md', commandLineReference()],
  ['docs/diagnostics.md', diagnosticsPage()],
  ['docs/passes.md', passesMarkdown()],
  ['docs/targets.md', targetsPage()],
]);
