/** The file of results: one record a row, written after every row. Figures of peers that may not be published are not in it. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { peaksSchema } from './peaks.js';
import { mayPublish, pythonPeerNames, type PythonPeerName } from './peers/index.js';

/**
 * What runs in the benchmark's process: `onnxruntime-relu` is ONNX Runtime on the network with ReLU in place of k-winner-take-all,
 * `dense` is spc's own code for the network before pruning, `one-thread` that for the network itself.
 */
export const ownPeers = ['onnxruntime', 'onnxruntime-relu', 'dense', 'one-thread'] as const;
export type OwnPeer = (typeof ownPeers)[number];
export type PeerName = OwnPeer | PythonPeerName;
export const peerNames: readonly PeerName[] = [...ownPeers, ...pythonPeerNames];

const count = z.number().int().nonnegative();

const measuredSchema = z.object({
  status: z.literal('measured'),
  /** What of the network is pruned, in words. */
  pruned: z.string(),
  weights: z.object({ elements: count, nonZeros: count }),
  /** Multiply-adds of an inference on non-zeros; null where nobody counted them (models from files). */
  macs: z.number().nullable(),
  /** Layers that the pattern does not fit. */
  unfit: z.array(z.string()),
  /** Largest difference from ONNX Runtime without graph optimisations, and its largest output. */
  maxError: z.number(),
  largest: z.number(),
  layers: z.object({ sparse: count, dense: count, reference: count }),
  spc_us: z.number().positive(),
  /** Time and ratio (peer / spc, above 1 spc is faster) of every peer in the same process. */
  peers: z.record(z.string(), z.object({ us: z.number().positive(), ratio: z.number().positive() })),
  /** Peers that did not run, and why. */
  absent: z.record(z.string(), z.string()).default({}),
  /** Version and settings of peers that say them. */
  about: z.record(z.string(), z.string()).default({}),
  rounds: count,
  /** How quiet the machine was: of all engines the largest ratio of the median block to the fastest, less 1. Version 1 did not tell. */
  spread: z.number().nonnegative().optional(),
  peaks: peaksSchema,
  compile: z.object({ spc_s: z.number(), cc_s: z.number() }),
});

const rowSchema = z.object({
  network: z.string(),
  batch: count,
  pattern: z.string(),
  /** Instruction set that is compiled for, where not the machine's own. */
  cpu: z.enum(['x86-64-v3', 'x86-64-v4']).optional(),
  /** Where not one. */
  threads: count.optional(),
  result: z.discriminatedUnion('status', [measuredSchema, z.object({ status: z.literal('failed'), problem: z.string() })]),
});

export const SCHEMA_VERSION = 2;

const resultsSchema = z.object({
  // version 1 had no rows with `cpu` or `threads`, nor `absent` and `about`: it reads as version 2
  schemaVersion: z.union([z.literal(1), z.literal(SCHEMA_VERSION)]).transform(() => SCHEMA_VERSION),
  spc: z.string(),
  isa: z.string(),
  machine: z.string(),
  onnxruntime: z.string(),
  compiler: z.string(),
  /** null: not pinned. */
  pinnedCpu: z.string().nullable(),
  rows: z.array(rowSchema),
});

export type Measured = z.infer<typeof measuredSchema>;
export type Row = z.infer<typeof rowSchema>;
export type MeasuredRow = Row & { readonly result: Measured };
export type Results = z.infer<typeof resultsSchema>;
export type RowResult = Row['result'];

export const rowResultSchema = rowSchema.shape.result;

/** What identifies a row. */
export type RowKey = Pick<Row, 'network' | 'batch' | 'pattern' | 'cpu' | 'threads'>;
export const threadsOf = ({ threads = 1 }: Pick<Row, 'threads'>): number => threads;
export const sameRow = (a: RowKey, b: RowKey): boolean =>
  a.network === b.network && a.batch === b.batch && a.pattern === b.pattern && a.cpu === b.cpu && threadsOf(a) === threadsOf(b);
/** The network, and what is not as in most rows. */
export const rowName = (key: RowKey): string => [key.network, ...(key.cpu === undefined ? [] : [key.cpu]), ...(threadsOf(key) > 1 ? [`${threadsOf(key)} threads`] : [])].join(', ');
export const isMeasured = (r: Row): r is MeasuredRow => r.result.status === 'measured';

export const readResults = (path: string): Results | undefined => (existsSync(path) ? resultsSchema.parse(JSON.parse(readFileSync(path, 'utf8'))) : undefined);

/** One row a line, and complete whenever it is read: an interruption leaves the former file. */
export function writeResults(path: string, results: Results): void {
  const { rows, ...about } = results;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, `${JSON.stringify(about, null, 2).slice(0, -2)},\n  "rows": [\n${rows.map((r) => `    ${JSON.stringify(r)}`).join(',\n')}\n  ]\n}\n`);
  renameSync(`${path}.new`, path);
}

/** The row without what may not be written down. */
export function publishable(row: Row): Row {
  if (row.result.status !== 'measured') return row;
  const kept = <T>(record: Readonly<Record<string, T>>): Record<string, T> => Object.fromEntries(Object.entries(record).filter(([peer]) => mayPublish(peer)));
  return { ...row, result: { ...row.result, peers: kept(row.result.peers), absent: kept(row.result.absent), about: kept(row.result.about) } };
}

/** Replaces the row, or adds it at the end. */
export const withRow = (results: Results, row: Row): Results => {
  const at = results.rows.findIndex((r) => sameRow(r, row));
  return { ...results, rows: at < 0 ? [...results.rows, row] : results.rows.map((r, i) => (i === at ? row : r)) };
};
