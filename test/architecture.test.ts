/** The import rules that keep operator, layout and target apart, and a few rules of the house, checked on the sources. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../compiler/emit/runtime-files.js';

const root = packageRoot();

function sources(dir: string): string[] {
  return readdirSync(join(root, dir), { withFileTypes: true, recursive: true })
    .filter((e) => e.isFile() && e.name.endsWith('.ts'))
    .map((e) => relative(root, join(e.parentPath, e.name)));
}

/** Files of the project that `file` imports, relative to the root. */
function imports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map((m) => relative(root, join(root, dirname(file), m[1]!)).replace(/\.js$/, '.ts'));
}

const product = ['compiler', 'passes', 'backends', 'runtime'].flatMap(sources).filter((f) => !f.endsWith('.test.ts'));

/** A folder (or file) and what it must not import. */
const rules: readonly { readonly who: RegExp; readonly mustNot: RegExp; readonly why: string }[] = [
  { who: /^compiler\/(ir|kir|core|ops|onnx|emit|diagnostics)\//, mustNot: /^(passes|backends|runtime)\//, why: 'the front half knows no pass and no target' },
  { who: /^compiler\/plan\//, mustNot: /^(passes|runtime)\/|^backends\/(?!types)/, why: 'the planner knows targets by their interface only' },
  { who: /^passes\//, mustNot: /^(backends|runtime)\/|^compiler\/(plan|onnx|cli|driver|emit)/, why: 'a pass is a function of the graph' },
  { who: /^backends\/cpu\//, mustNot: /^backends\/(cuda|fpga)\//, why: 'targets do not import each other' },
  { who: /^backends\/cuda\//, mustNot: /^backends\/(cpu|fpga)\//, why: 'targets do not import each other' },
  { who: /^backends\/fpga\//, mustNot: /^backends\/(cpu|cuda)\//, why: 'targets do not import each other' },
  { who: /^compiler\/(?!cli\/|docs\/)/, mustNot: /^compiler\/cli\//, why: 'the command line is on top' },
];

test.each(rules)('$who imports nothing from $mustNot: $why', ({ who, mustNot }) => {
  const offences = product.filter((f) => who.test(f)).flatMap((f) => imports(f).filter((i) => mustNot.test(i)).map((i) => `${f} -> ${i}`));
  expect(offences).toEqual([]);
});

test('there is something to check', () => {
  expect(product.length).toBeGreaterThan(40);
  expect(imports('compiler/driver.ts')).toContain('compiler/plan/build.ts');
});

test('no file has module-level mutable state or the any type', () => {
  const offences = product.flatMap((f) =>
    readFileSync(join(root, f), 'utf8').split('\n').flatMap((line, i) => (/^(export )?let |: any\b|as any\b|<any>/.test(line.replace(/\/\*.*|^\s*\*.*|\/\/.*/, '')) ? [`${f}:${i + 1}: ${line.trim()}`] : [])));
  expect(offences).toEqual([]);
});
