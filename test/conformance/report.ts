/** What a conformance run found, as JSON and as docs/ops.md. Both depend on the results only. */
import { createHash } from 'node:crypto';
import { allOnnxOps } from '../../compiler/ops/index.js';
import type { CaseResult } from './run.js';

export type Status = CaseResult['outcome']['status'];
export const statuses: readonly Status[] = ['pass', 'pass-bound', 'disputed', 'unsupported', 'fail'];
export type Counts = Readonly<Record<Status, number>>;

export const countsOf = (results: readonly CaseResult[]): Counts =>
  Object.fromEntries(statuses.map((s) => [s, results.filter((r) => r.outcome.status === s).length])) as Counts;

/** Names a set of cases, to tell which archive a report is of. */
export const casesHash = (cases: readonly { readonly suite: string; readonly name: string }[]): string =>
  createHash('sha256').update(cases.map((c) => `${c.suite}/${c.name}`).sort().join('\n')).digest('hex').slice(0, 12);

export const suitesOf = (results: readonly CaseResult[]): string[] => [...new Set(results.map((r) => r.suite))];

/** One line a suite, for a terminal. */
export function summary(results: readonly CaseResult[]): string {
  const line = (name: string, list: readonly CaseResult[]): string => {
    const c = countsOf(list);
    return `${name.padEnd(18)} ${String(list.length).padStart(5)} cases: ${c.pass} pass, ${c['pass-bound']} pass with bound inputs, ${c.disputed} disputed, ${c.unsupported} unsupported, ${c.fail} fail`;
  };
  return [...suitesOf(results).map((s) => line(s, results.filter((r) => r.suite === s))), line('all', results)].join('\n');
}

export const failures = (results: readonly CaseResult[]): string[] =>
  results.flatMap((r) => (r.outcome.status === 'fail' ? [`${r.suite}/${r.name} [${r.outcome.phase}] ${r.outcome.message}`] : []));

export const jsonReport = (results: readonly CaseResult[]): string =>
  `${JSON.stringify({ cases: casesHash(results), counts: Object.fromEntries(suitesOf(results).map((s) => [s, countsOf(results.filter((r) => r.suite === s))])), results }, null, 1)}\n`;

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ').trim();
const row = (cells: readonly (string | number)[]): string => `| ${cells.map((c) => cell(String(c))).join(' | ')} |`;
const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]): string =>
  [row(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(row)].join('\n');

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const shownDomain = (domain: string): string => domain || 'ai.onnx';

interface OperatorRow {
  readonly domain: string;
  readonly op: string;
  readonly opsets: ReadonlySet<number>;
  readonly counts: Counts;
  /** First case by name that is unsupported because of this operator. */
  readonly reason: string;
}

/** A case counts for every operator in its model, but as unsupported only for the one that its diagnostic names. */
function operatorRow(domain: string, op: string, results: readonly CaseResult[]): OperatorRow {
  const uses = (r: CaseResult): CaseResult['operators'] => r.operators.filter((u) => u.domain === domain && u.op === op);
  const cases = results.filter((r) => uses(r).length > 0 && (r.outcome.status !== 'unsupported' || r.outcome.op === undefined || r.outcome.op === (domain ? `${domain}:${op}` : op)));
  const refused = cases.flatMap((r) => (r.outcome.status === 'unsupported' ? [{ name: r.name, ...r.outcome }] : [])).sort((a, b) => byText(a.name, b.name))[0];
  return {
    domain, op, counts: countsOf(cases),
    opsets: new Set(results.flatMap((r) => uses(r).map((u) => u.opset))),
    reason: refused ? `${refused.code}: ${refused.message}` : '',
  };
}

const opsetRange = (opsets: ReadonlySet<number>): string => [...opsets].sort((a, b) => a - b).join(', ');

/** docs/ops.md: what spc knows of ONNX's operators, from its table of operators and a conformance run. */
export function operatorsDocument(results: readonly CaseResult[]): string {
  const keys = new Map<string, { readonly domain: string; readonly op: string }>();
  for (const o of allOnnxOps) keys.set(`${o.domain ?? ''}:${o.op}`, { domain: o.domain ?? '', op: o.op });
  const lowered = new Set(keys.keys());
  for (const r of results) for (const u of r.operators) keys.set(`${u.domain}:${u.op}`, { domain: u.domain, op: u.op });
  const sorted = [...keys.values()].sort((a, b) => byText(a.domain, b.domain) || byText(a.op, b.op));
  const isLowered = (o: { readonly domain: string; readonly op: string }): boolean => lowered.has(`${o.domain}:${o.op}`);
  const limitsOf = (o: { readonly domain: string; readonly op: string }): string => allOnnxOps.find((x) => (x.domain ?? '') === o.domain && x.op === o.op)?.limits ?? '';

  const refused = results.flatMap((r) => (r.outcome.status === 'unsupported' ? [r.outcome] : []));
  const codes = [...new Set(refused.map((o) => o.code))].sort();
  const shown = (c: Counts): readonly number[] => statuses.map((s) => c[s]);

  return `# Operators

Generated by \`npm run conformance\` from the table of operators and the results of ONNX's own backend tests on the CPU
target. Do not edit.

A case is *bound* where an operator needs the value of an input while compiling (a shape, axes, pads): that input was
fixed to the test's data. A case counts for every operator in its model, as unsupported only for the one that the
diagnostic is about.

## Backend tests

${table(['suite', 'cases', 'pass', 'pass, inputs bound', 'disputed', 'unsupported', 'fail'], [
    ...suitesOf(results).map((s) => { const list = results.filter((r) => r.suite === s); return [s, list.length, ...shown(countsOf(list))]; }),
    ['all', results.length, ...shown(countsOf(results))],
  ])}

Cases ${casesHash(results)}. Unsupported by diagnostic: ${codes.map((c) => `${c} ${refused.filter((o) => o.code === c).length}`).join(', ') || 'none'}.

Disputed are cases whose data contradict the specification (there spc's outputs equal ONNX Runtime's) or their own model:

${results.flatMap((r) => (r.outcome.status === 'disputed' ? [`- ${r.suite}/${r.name}: ${r.outcome.reason}`] : [])).join('\n') || '- none'}

## Supported operators

${table(['operator', 'domain', 'opsets seen', 'pass', 'bound', 'unsupported', 'first reason', 'limits'],
    sorted.filter(isLowered).map((o) => operatorRow(o.domain, o.op, results)).map((r) =>
      [r.op, shownDomain(r.domain), opsetRange(r.opsets), r.counts.pass, r.counts['pass-bound'], r.counts.unsupported, r.reason, limitsOf(r)]))}

## Operators of the tests that spc does not have

${table(['operator', 'domain', 'opsets seen', 'cases'],
    sorted.filter((o) => !isLowered(o)).map((o) => {
      const using = results.filter((r) => r.operators.some((u) => u.domain === o.domain && u.op === o.op));
      return [o.op, shownDomain(o.domain), opsetRange(operatorRow(o.domain, o.op, results).opsets), using.length];
    }))}
`;
}
