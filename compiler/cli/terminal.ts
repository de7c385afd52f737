/** Where a verb's words go: results on stdout, everything else on stderr; progress only for people who wait. */
import type { SingleBar } from 'cli-progress';
import { createRequire } from 'node:module';
import pc from 'picocolors';
import { formatDiagnostic, type Diagnostic } from '../diagnostics/diagnostic.js';

/** A verb that takes longer than this shows its progress. */
const PROGRESS_AFTER_MS = 1000;

export interface TerminalOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly color?: 'auto' | 'always' | 'never';
}

export type Colors = ReturnType<typeof pc.createColors>;

export interface Terminal {
  /** A line of the result, for people; nothing with --json. */
  print(line?: string): void;
  /** Columns, the first ones left-aligned, numbers (`right`) right-aligned. */
  table(head: readonly string[], rows: readonly (readonly string[])[], right?: readonly number[]): void;
  /** A line of commentary on stderr. */
  note(line: string): void;
  report(d: Diagnostic): void;
  /** How far the work is, 0 to 1. */
  progress(fraction: number, label: string): void;
  /** Removes the progress line. */
  settle(): void;
  readonly colors: Colors;
}

export function createTerminal(options: TerminalOptions): Terminal {
  const wantsColor = (stream: NodeJS.WriteStream): boolean =>
    options.color === 'always' || (options.color !== 'never' && !process.env['NO_COLOR'] && stream.isTTY === true && process.env['TERM'] !== 'dumb');
  const colors = pc.createColors(wantsColor(process.stdout) && !options.json), errorColors = pc.createColors(wantsColor(process.stderr));
  const started = performance.now(), shows = process.stderr.isTTY === true && !options.quiet;
  let bar: SingleBar | undefined;
  const settle = (): void => { bar?.stop(); bar = undefined; };
  const stderr = (line: string): void => { settle(); process.stderr.write(`${line}\n`); };
  const print = (line = ''): void => { if (!options.json) { settle(); process.stdout.write(`${line}\n`); } };
  const paint = { error: errorColors.red, warning: errorColors.yellow, note: errorColors.cyan } as const;
  return {
    colors, settle, print,
    table(head, rows, right = []) {
      const widths = head.map((h, c) => Math.max(h.length, ...rows.map((r) => r[c]?.length ?? 0)));
      const line = (cells: readonly string[]): string => cells.map((t, c) => (right.includes(c) ? t.padStart(widths[c]!) : t.padEnd(widths[c]!))).join('  ').trimEnd();
      print(colors.bold(line(head)));
      for (const row of rows) print(line(row));
    },
    note(line) { if (!options.quiet) stderr(line); },
    report(d) {
      if (d.severity !== 'error' && options.quiet) return;
      const [first = '', ...rest] = formatDiagnostic(d).split('\n');
      stderr([first.replace(/^\w+ \w+:/, (m) => paint[d.severity](m)), ...rest].join('\n'));
    },
    progress(fraction, label) {
      if (!shows || performance.now() - started < PROGRESS_AFTER_MS) return;
      if (!bar) {
        const { SingleBar: Bar } = createRequire(import.meta.url)('cli-progress') as typeof import('cli-progress');
        bar = new Bar({ stream: process.stderr, format: '{bar} {percentage}% {label}', barsize: 24, clearOnComplete: true });
        bar.start(100, Math.round(fraction * 100), { label });
      }
      bar.update(Math.round(fraction * 100), { label });
    },
  };
}
