/** docs/command-line.md, printed from the tables of verbs, flags and exit codes. */
import { exitCodeMeanings } from './exit-codes.js';
import { commonFlags, flags, type Flag, type FlagName } from './flags.js';
import { verbs } from './verbs.js';

const cell = (text: string): string => text.replaceAll('|', '\\|');

function flagTable(names: readonly FlagName[]): string[] {
  const rows = names.map((n) => {
    const { syntax, doc, fallback } = flags[n] as Flag<unknown>;
    return `| \`${cell(syntax)}\` | ${cell(doc)} | ${fallback === undefined ? '' : `\`${fallback}\``} |`;
  });
  return ['| flag | meaning | default |', '| --- | --- | --- |', ...rows, ''];
}

export function commandLineReference(): string {
  return [
    '# Command line', '', 'Generated from compiler/cli by `npm run docs`. Do not edit.', '',
    'Results go to standard output, everything else to standard error. `-` as the model reads it from standard input.', '',
    ...verbs.flatMap((v) => [
      `## spc ${[v.name, ...v.args.map((a) => a.syntax)].join(' ')}`, '', `${v.summary[0]!.toUpperCase()}${v.summary.slice(1)}.`, '',
      ...v.args.map((a) => `- \`${a.syntax}\`: ${a.doc}`), ...(v.args.length > 0 ? [''] : []),
      ...(v.flags.length > 0 ? flagTable(v.flags) : []),
      '```sh', ...v.examples, '```', '',
    ]),
    '## Flags of every verb', '', ...flagTable(commonFlags),
    '## Exit codes', '', '| code | meaning |', '| --- | --- |', ...Object.entries(exitCodeMeanings).map(([code, meaning]) => `| ${code} | ${meaning} |`), '',
    '## --json', '',
    'One document on standard output, whether the command succeeds or not: `schemaVersion` (1), `spc` (version), `command`, `exitCode`,',
    '`diagnostics` (each with `code`, `severity`, `message` and, where they apply, `node`, `op`, `shapes`, `hint`), and the fields of the verb.',
    '`bench` gives microseconds an inference as `spc_us` and `peer_us`, and `ratio`: the peer\'s time over spc\'s. With `--target=cuda`, `spc_us` is of launches on',
    'device buffers, `graph_us` of the same as a CUDA graph, `withCopies_us` from host memory and back.', '',
    '## Input files', '',
    '- `.npy`: format versions 1 to 3, either byte order, row- or column-major.',
    '- `.npz`: the member named as the input (or the only one).',
    '- `.pb`: a serialised ONNX TensorProto.',
    '- anything else: the raw elements, row-major and little-endian, exactly as many as the input has.', '',
    'Axes of size 1 may be missing or added. Another element type is converted where every value survives exactly, and refused otherwise.', '',
    '## Random inputs', '',
    'The generator is xoshiro128**, its state filled by SplitMix32 from the seed plus 0x9e3779b9 times the index of the input. Floats are uniform',
    'in [-1, 1) with 24 bits, int8 and uint8 uniform over all their values, wider integers in 0..9, booleans fair; `--random-range` overrides this.', '',
    '## Output files', '',
    '`run --output-dir DIR` writes DIR/NAME.npy. In NAME every character but letters, digits, `.`, `_` and `-` becomes `_`, as does a leading dot;',
    'where two names become the same (upper and lower case count as the same), the later one gets `_1`, `_2`, ... appended. bfloat16 is written as float32.', '',
  ].join('\n');
}
