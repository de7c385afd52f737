/** A peer's script as an engine to be timed: bench/peers/protocol.py is the other side. */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Timer } from '../../compiler/cli/timing.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { dtypes, type DType } from '../../compiler/ir/dtype.js';
import { denseData, denseTensor, type DenseTensor, type Tensor } from '../../compiler/ir/tensor.js';
import type { PythonPeerName } from './index.js';

interface Port {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export interface Job {
  /** Path of the .onnx file. */
  readonly model: string;
  readonly inputs: readonly { readonly name: string; readonly tensor: Tensor }[];
  readonly outputs: readonly Port[];
  readonly batch: number;
  readonly threads: number;
  /** Instruction set to be restricted to; undefined: all that the machine has. */
  readonly isa?: string;
}

export interface PeerEngine extends Timer {
  /** Of one inference. */
  readonly outputs: readonly DenseTensor[];
  /** Version and settings, in words. */
  readonly about: string;
  dispose(): void;
}

/** Element types as NumPy has them; what it lacks (bf16, 4-bit integers) no peer is asked for. */
const numpyType: Partial<Record<DType, string>> = {
  f16: 'float16', f32: 'float32', f64: 'float64', bool: 'bool', i8: 'int8', i16: 'int16', i32: 'int32', i64: 'int64', u8: 'uint8', u16: 'uint16', u32: 'uint32', u64: 'uint64',
};

/** A pipe whose ends block, which those that Node makes do not: requests are then answered without its event loop. */
function blockingPipe(path: string): { readonly read: number; readonly write: number } {
  execFileSync('mkfifo', [path]);
  // opening one end waits for the other, unless told not to
  const probe = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), write = openSync(path, 'w'), read = openSync(path, 'r');
  closeSync(probe);
  unlinkSync(path);
  return { read, write };
}

/** A line from a blocking descriptor. @throws Error at its end */
function readLine(fd: number): string {
  const chunk = Buffer.alloc(4096);
  for (let text = ''; ;) {
    const length = readSync(fd, chunk);
    if (length === 0) throw new Error('ended without an answer');
    text += chunk.toString('utf8', 0, length);
    if (text.endsWith('\n')) return text;
  }
}

const lastLines = (file: string): string => readFileSync(file, 'utf8').trim().split('\n').slice(-3).join(' | ');

/**
 * Starts a peer's script, which loads the model and runs it once.
 * @param python interpreter of the peer's environment
 * @param folder for its files
 * @param cpus to run on, as taskset has them; undefined: any
 * @throws Error with what the script says where it cannot run the model
 */
export function startPeer(name: PythonPeerName, python: string, job: Job, folder: string, cpus: string | undefined): PeerEngine {
  const port = ({ name: port, dtype, shape }: Port, file: string): object => {
    if (!numpyType[dtype]) throw new Error(`${port} is ${dtype}, which NumPy has not`);
    return { name: port, dtype: numpyType[dtype], shape, file: join(folder, file) };
  };
  const inputs = job.inputs.map(({ name: input, tensor }, i) => {
    writeFileSync(join(folder, `input-${i}`), denseData(tensor));
    return port({ name: input, dtype: tensor.dtype, shape: tensor.shape }, `input-${i}`);
  });
  const outputs = job.outputs.map((p, i) => port(p, `output-${i}`)), jobFile = join(folder, `${name}.json`), log = join(folder, `${name}.log`);
  writeFileSync(jobFile, JSON.stringify({ ...job, isa: job.isa ?? null, inputs, outputs }));

  const requests = blockingPipe(join(folder, `${name}-requests`)), answers = blockingPipe(join(folder, `${name}-answers`)), errors = openSync(log, 'w');
  const command = [...(cpus === undefined ? [] : ['taskset', '-c', cpus]), python, join(packageRoot(), 'bench', 'peers', `run-${name}.py`), jobFile];
  const child = spawn(command[0]!, command.slice(1), { stdio: [requests.read, answers.write, errors] });
  for (const fd of [requests.read, answers.write, errors]) closeSync(fd);
  const dispose = (): void => {
    child.kill('SIGKILL');
    for (const fd of [requests.write, answers.read]) closeSync(fd);
  };
  const answer = (): Record<string, unknown> => {
    let record: Record<string, unknown>;
    try {
      record = JSON.parse(readLine(answers.read)) as Record<string, unknown>;
    } catch (error) {
      throw new Error(`${name} ${error instanceof Error ? error.message : String(error)}: ${lastLines(log)}`);
    }
    if (typeof record['error'] === 'string') throw new Error(record['error']);
    return record;
  };
  try {
    const about = String(answer()['about']);
    const results = job.outputs.map((p, i) => {
      const bytes = readFileSync(join(folder, `output-${i}`)), { buffer } = Uint8Array.from(bytes);
      return denseTensor(p.dtype, p.shape, new dtypes[p.dtype].array(buffer));
    });
    return {
      about, outputs: results, memory: [], dispose,
      time: (runs) => {
        writeSync(requests.write, `${runs}\n`);
        return Number(answer()['seconds']);
      },
    };
  } catch (error) {
    dispose();
    throw error;
  }
}
