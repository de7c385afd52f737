/**
 * The FPGA design with streams of the depths that it declares: no process may wait for ever. C simulation cannot tell, since its
 * streams are unbounded, so the processes of the emitted source are simulated here, read by read and write by write.
 */
import { expect, test } from 'vitest';
import { fpgaTarget } from '../../backends/fpga/target.js';
import { samples, type Sample } from './graphs.js';
import { emitGraph } from './support.js';

interface Move { readonly kind: 'read' | 'write'; readonly stream: string }
interface Design { readonly processes: readonly (readonly Move[])[]; readonly depths: ReadonlyMap<string, number>; readonly external: ReadonlySet<string> }

const repeat = (count: number, moves: readonly Move[]): Move[] => Array.from({ length: count }, () => moves).flat();
const list = (text: string): string[] => text.split(',').map((t) => t.trim()).filter((t) => t !== '');

/** Reads processes and streams out of the emitted source. */
function parseDesign(source: string): Design {
  const layers = new Map<string, { params: string[]; moves: Move[] }>();
  for (const [, name, params, body] of source.matchAll(/^static void (\w+)\((.*)\) \{\n([\s\S]*?)^\}/gm)) {
    const moves = [...body!.matchAll(/spc_(read|write)<(\d+)>\((\w+), (\w+)\);/g)].flatMap(([, kind, count, a, b]) =>
      repeat(Number(count), [{ kind: kind as Move['kind'], stream: kind === 'read' ? a! : b! }]));
    layers.set(name!, { params: list(params!).map((p) => p.replace(/.*&/, '')), moves });
  }
  const [, ports, top] = /^void model\((.*)\) \{\n([\s\S]*?)^\}/m.exec(source)!;
  const depths = new Map([...top!.matchAll(/STREAM variable=(\w+) depth=(\d+)/g)].map(([, s, d]) => [s!, Number(d)]));
  const processes = [...top!.matchAll(/^ {2}(\w+)(?:<(\d+)>)?\(([\w, ]*)\);$/gm)].map(([, name, count, args]) => {
    const streams = list(args!);
    if (name === 'spc_fork') return repeat(Number(count), streams.map((stream, i) => ({ kind: i === 0 ? 'read' : 'write', stream })));
    if (name === 'spc_drain') return repeat(Number(count), [{ kind: 'read', stream: streams[0]! }]);
    const layer = layers.get(name!)!;
    return layer.moves.map((m) => ({ kind: m.kind, stream: streams[layer.params.indexOf(m.stream)]! }));
  });
  return { processes, depths, external: new Set(list(ports!).map((p) => p.replace(/.*&/, ''))) };
}

/** Runs all processes; returns how many are stuck when nothing can move any more. */
function stuckProcesses({ processes, depths, external }: Design, depthOf = (declared: number): number => declared): number {
  const filled = new Map<string, number>(), next = processes.map(() => 0);
  const level = (s: string): number => filled.get(s) ?? 0;
  const canMove = ({ kind, stream }: Move): boolean =>
    external.has(stream) || (kind === 'read' ? level(stream) > 0 : level(stream) < depthOf(depths.get(stream)!));
  for (let moved = true; moved;) {
    moved = false;
    processes.forEach((moves, p) => {
      for (; next[p]! < moves.length && canMove(moves[next[p]!]!); next[p]!++) {
        const { kind, stream } = moves[next[p]!]!;
        filled.set(stream, level(stream) + (kind === 'read' ? -1 : 1));
        moved = true;
      }
    });
  }
  return processes.filter((moves, p) => next[p]! < moves.length).length;
}

const designOf = (s: Sample): Design => parseDesign(String(emitGraph(s.graph, fpgaTarget).files.get('model.cpp')));

test.each(samples)('$name: no process waits for ever', (s) => {
  const design = designOf(s);
  expect(design.processes.length).toBeGreaterThan(s.graph.nodes.length / 2);
  expect(design.processes.flat().length).toBeGreaterThan(0);
  expect(stuckProcesses(design)).toBe(0);
});

test('the simulation sees a design whose streams are too short', () => {
  expect(stuckProcesses(designOf(samples[2]!), () => 2)).toBeGreaterThan(0);
});
