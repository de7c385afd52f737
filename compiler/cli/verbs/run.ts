/** `spc run`: one inference, of a model or a build folder. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SpcError } from '../../diagnostics/diagnostic.js';
import { fileNames, formatTensor, topK } from '../../io/format.js';
import { readInputs, type InputPort } from '../../io/inputs.js';
import { encodeNpy } from '../../io/npy.js';
import { denseData, denseTensor, toNumbers, type DenseTensor, type Tensor } from '../../ir/tensor.js';
import { formatType } from '../../ir/types.js';
import { openModel } from '../engine.js';
import { profileSparsity } from '../sparsity-profile.js';
import type { RunVerb } from '../verb.js';

export const run: RunVerb = async ([path], flags, terminal) => {
  if (flags.profileSparsity !== undefined) return profileSparsity(path!, flags.profileSparsity, flags, terminal);
  if (flags.samples !== undefined) throw new SpcError([{ code: 'SPC6002', severity: 'error', message: '--samples is for --profile-sparsity', hint: 'leave it out: a model is run once' }]);
  const model = await openModel(path!, flags, terminal);
  const inputs = readInputs(model.inputs, { files: flags.input ?? [], ...(flags.random === undefined ? {} : { seed: flags.random }), ...(flags.randomRange ? { range: flags.randomRange } : {}) });
  const results = await model.run(inputs);
  model.dispose();
  const outputs = model.outputs.map((port, i) => ({ port, tensor: results[i]! }));

  if (flags.outputDir !== undefined) {
    const written = save(outputs, flags.outputDir);
    outputs.forEach(({ port }, i) => terminal.print(`${port.name}  ${formatType(port)}  -> ${written[i]}`));
    return { result: { outputs: outputs.map(({ port }, i) => ({ ...describe(port), file: written[i] })) }, diagnostics: model.diagnostics };
  }
  const { top } = flags;
  for (const { port, tensor } of outputs) {
    terminal.print(`${terminal.colors.bold(port.name)}  ${formatType(port)}`);
    if (top === undefined) terminal.print(formatTensor(tensor));
    else for (const { index, value } of topK(tensor, top)) terminal.print(`${String(index).padStart(8)}  ${Number(value.toPrecision(7))}`);
  }
  return {
    result: {
      outputs: outputs.map(({ port, tensor }) => ({
        ...describe(port), ...(top === undefined ? { data: port.dtype === 'i64' || port.dtype === 'u64' ? [...(denseData(tensor) as BigInt64Array)] : toNumbers(tensor) } : { top: topK(tensor, top) }),
      })),
    },
    diagnostics: model.diagnostics,
  };
};

const describe = ({ name, dtype, shape }: InputPort): InputPort => ({ name, dtype, shape });

/** Each file appears whole or not at all. */
function save(outputs: readonly { readonly port: InputPort; readonly tensor: Tensor }[], dir: string): string[] {
  try {
    mkdirSync(dir, { recursive: true });
    return fileNames(outputs.map((o) => o.port.name)).map((name, i) => {
      const path = join(dir, `${name}.npy`), { port, tensor } = outputs[i]!;
      const whole: DenseTensor = denseTensor(port.dtype, port.shape, denseData(tensor));
      writeFileSync(`${path}.part`, encodeNpy(whole));
      renameSync(`${path}.part`, path);
      return path;
    });
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    throw new SpcError([{ code: 'SPC6003', severity: 'error', message: `cannot write to ${dir}: ${error.message}`, hint: 'name a folder that can be made or written' }]);
  }
}
