import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { tensorOf } from '../../compiler/ir/tensor.js';
import { hasTool } from '../../test/support/processes.js';
import { startPeer, type Job } from './engine.js';
import { environmentOf } from '../../test/support/python-environment.js';
import { isPythonPeer, mayPublish, pythonPeerNames, requirementsOf } from './index.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-peers-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const job: Job = { model: 'none.onnx', inputs: [{ name: 'x', tensor: tensorOf('f32', [2], [1, 2]) }], outputs: [{ name: 'y', dtype: 'f32', shape: [1] }], batch: 1, threads: 1 };

/** What stands in for an interpreter: a shell script that is called with a peer's script and the job. */
function interpreter(name: string, body: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

const able = hasTool('mkfifo'), note = able ? '' : ' (skipped: no mkfifo)';

test.skipIf(!able)(`a script is told the job, and every request for a time is answered${note}`, () => {
  const output = join(folder, 'output-0');
  // 1.0 as four bytes; the time of n runs is n seconds
  const python = interpreter('works', `grep -q '"float32"' "$2" || exit 3\nprintf '\\000\\000\\200\\077' > ${output}\necho '{"about": "an engine"}'\nwhile read n; do echo "{\\"seconds\\": $n}"; done`);
  const peer = startPeer('openvino', python, job, folder, undefined);
  try {
    expect(peer.about).toBe('an engine');
    expect(Array.from(peer.outputs[0]!.data as Float32Array)).toEqual([1]);
    expect([peer.time(3), peer.time(1000)]).toEqual([3, 1000]);
    expect([...readFileSync(join(folder, 'input-0'))]).toEqual([...Buffer.from(Float32Array.of(1, 2).buffer)]);
  } finally {
    peer.dispose();
  }
});

test.skipIf(!able)(`what keeps a script from running is told: its own words, or how it ended${note}`, () => {
  const start = (name: string, body: string) => () => startPeer('tvm', interpreter(name, body), job, folder, undefined);
  expect(start('refuses', `echo '{"error": "no such operator"}'`)).toThrow('no such operator');
  expect(start('dies', 'echo some trouble >&2; exit 1')).toThrow(/ended without an answer: some trouble/);
  expect(() => startPeer('tvm', join(folder, 'works'), { ...job, outputs: [{ name: 'y', dtype: 'bf16', shape: [1] }] }, folder, undefined)).toThrow(/bf16/);
});

test('an environment is made once for what is pinned', async () => {
  const home = join(folder, 'tvm'), installs: string[] = [];
  mkdirSync(home);
  writeFileSync(join(home, 'requirements.sha256'), createHash('sha256').update(readFileSync(requirementsOf('tvm'))).digest('hex'));
  expect(await environmentOf(home, requirementsOf('tvm'), () => installs.push('tvm'))).toEqual({ python: join(home, 'bin', 'python') });
  expect(installs).toEqual([]);
});

test('every peer has its script, and all that it needs is pinned', () => {
  for (const name of pythonPeerNames) {
    const file = (f: string): string => join(packageRoot(), 'bench', 'peers', f);
    expect(existsSync(file(`run-${name}.py`))).toBe(true);
    const lines = readFileSync(requirementsOf(name), 'utf8').split('\n').filter((l) => l !== '' && !l.startsWith('#'));
    expect(lines.filter((l) => !/^[\w.-]+==[\w.]+$/.test(l))).toEqual([]);
    expect(lines.length).toBeGreaterThan(2);
  }
});

test('what may be published', () => {
  expect(['onnxruntime', 'dense', 'openvino', 'tvm', 'deepsparse'].map(mayPublish)).toEqual([true, true, true, true, false]);
  expect([isPythonPeer('tvm'), isPythonPeer('onnxruntime'), isPythonPeer('toString')]).toEqual([true, false, false]);
});
