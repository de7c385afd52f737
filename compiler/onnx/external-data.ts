/** Data of a tensor in a file beside the model. A model must not make spc read outside of its own folder. */
import { closeSync, fstatSync, openSync, readSync, realpathSync } from 'node:fs';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { TensorProto } from './proto.js';

/**
 * @param bytes size that the tensor's type asks for
 * @param baseDir folder of the model file
 * @throws NodeProblem SPC1016
 */
export function readExternalData(t: TensorProto, bytes: number, baseDir: string | undefined): Uint8Array {
  const fail = (why: string, hint: string): never => { throw new NodeProblem('SPC1016', why, hint); };
  const entries = new Map(t.externalData.map((e) => [e.key, e.value]));
  const size = (key: string): number | undefined => {
    const text = entries.get(key);
    if (text === undefined || text === '') return undefined;
    const x = /^\d+$/.test(text) ? Number(text) : NaN;
    return Number.isSafeInteger(x) ? x : fail(`external data: ${key} '${text}' is not a size`, 'the file is damaged; export the model again');
  };
  const location = entries.get('location') ?? fail('external data without a location', 'the file is damaged; export the model again');
  const offset = size('offset') ?? 0;
  const length = size('length');
  if (length !== undefined && length !== bytes) fail(`external data: the tensor needs ${bytes} bytes, its entry in '${location}' has ${length}`, 'the file is damaged; export the model again');
  const outside = (): never => fail(`external data: '${location}' lies outside of the folder of the model`, 'put the data beside the model and save it again with a plain file name');
  if (location === '' || location.includes('\0') || isAbsolute(location) || /^[a-zA-Z]:|^\\/.test(location) || location.split(/[/\\]/).includes('..')) outside();
  if (baseDir === undefined) return fail(`external data '${location}', but the model was given as bytes without its folder`, 'compile the model from its path, or give baseDir');
  const path = resolve(baseDir, location);
  let file: number;
  try {
    // A symbolic link may lead out of the folder as well as '..' does.
    const real = relative(realpathSync(baseDir), realpathSync(path));
    if (real === '..' || real.startsWith(`..${sep}`) || isAbsolute(real)) outside();
    file = openSync(path, 'r');
  } catch (e) {
    if (e instanceof NodeProblem) throw e;
    return fail(`external data: '${location}' cannot be read (${(e as NodeJS.ErrnoException).code ?? 'error'})`, 'copy the data file next to the model');
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) fail(`external data: '${location}' is not a file`, 'copy the data file next to the model');
    if (offset + bytes > stat.size) fail(`external data: '${location}' has ${stat.size} bytes, the tensor needs ${bytes} at offset ${offset}`, 'the data file is cut off or belongs to another model');
    const out = new Uint8Array(bytes);
    for (let done = 0; done < bytes;) {
      const n = readSync(file, out, done, bytes - done, offset + done);
      if (n === 0) fail(`external data: '${location}' ended early`, 'the data file is cut off');
      done += n;
    }
    return out;
  } finally {
    closeSync(file);
  }
}
