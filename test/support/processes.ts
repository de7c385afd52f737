/** Child processes for tests: a few at a time, with a deadline, never throwing. */
import { spawn, spawnSync } from 'node:child_process';

export interface ProcessResult {
  /** Exit status; null where a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProcessOptions {
  readonly cwd?: string;
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program to its end; a program that cannot be started has code null and the reason in stderr. */
export function runProcess(command: string, args: readonly string[], options: ProcessOptions = {}): Promise<ProcessResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: options.cwd, timeout: options.timeoutMs ?? 300_000, killSignal: 'SIGKILL',
      env: { ...process.env, ...options.env }, stdio: ['ignore', 'pipe', 'pipe'],
    });
    const out: Buffer[] = [], err: Buffer[] = [];
    child.stdout.on('data', (d: Buffer) => out.push(d));
    child.stderr.on('data', (d: Buffer) => err.push(d));
    child.on('error', (e) => resolve({ code: null, signal: null, stdout: '', stderr: e.message }));
    child.on('close', (code, signal) => resolve({ code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }));
  });
}

/** How a process ended, in words; undefined where it ended well. */
export function failureOf(what: string, r: ProcessResult): string | undefined {
  if (r.code === 0) return undefined;
  const how = r.signal ? `was ended by ${r.signal}` : r.code === null ? 'could not be started' : `exited with ${r.code}`;
  const detail = (r.stderr || r.stdout).split('\n').filter((l) => /error|ERROR|warning|runtime|multiple definition|undefined reference/.test(l)).slice(0, 3).join(' | ') || r.stderr.slice(0, 300).trim();
  return `${what} ${how}${detail ? `: ${detail}` : ''}`;
}

/** Runs a program that must succeed. @returns what it printed @throws Error with all of its output */
export async function mustRun(command: string, args: readonly string[], options: ProcessOptions = {}): Promise<string> {
  const r = await runProcess(command, args, options);
  if (r.code !== 0) throw new Error(`${command} ${args.join(' ')}: ${r.signal ?? `exit ${r.code}`}\n${r.stdout}\n${r.stderr}`);
  return r.stdout;
}

/** A gate that lets `width` jobs run at a time; the others wait in order. */
export function limiter(width: number): <T>(job: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (job) => {
    if (running >= width) await new Promise<void>((go) => waiting.push(go));
    else running++;
    try {
      return await job();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}

/** True where a program is installed. */
export const hasTool = (name: string): boolean => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0;
