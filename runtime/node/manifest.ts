/** Reads and checks manifest.json of a build folder (a file that anybody may have edited). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import { manifestSchema, type Manifest } from '../../compiler/manifest.js';

export function readManifest(folder: string): Manifest {
  const path = join(folder, 'manifest.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    throw new SpcError([{ code: 'SPC6110', severity: 'error', message: `${folder} is not a build folder: it has no manifest.json`, hint: 'make one with: spc compile model.onnx -o FOLDER' }]);
  }
  const broken = (why: string): SpcError =>
    new SpcError([{ code: 'SPC6111', severity: 'error', message: `${path} cannot be used: ${why}`, hint: 'compile the model again' }]);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw broken((error as Error).message);
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) throw broken(z.prettifyError(parsed.error).replaceAll('\n', ' '));
  return parsed.data;
}
