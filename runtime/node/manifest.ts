/** Reads and checks manifest.json of a build folder (a file that anybody may have edited). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import { dtypes, type DType } from '../../compiler/ir/dtype.js';
import { MANIFEST_SCHEMA, type Manifest } from '../../compiler/manifest.js';

const port = z.object({
  name: z.string(),
  dtype: z.enum(Object.keys(dtypes) as [DType, ...DType[]]),
  shape: z.array(z.number().int().nonnegative()),
  bytes: z.number().int().nonnegative(),
});

/** What running a model needs of the manifest; the rest is passed through. */
const schema = z.looseObject({
  schemaVersion: z.literal(MANIFEST_SCHEMA),
  name: z.string().regex(/^[A-Za-z_]\w*$/),
  target: z.string(),
  inputs: z.array(port),
  outputs: z.array(port),
  layers: z.array(z.looseObject({ index: z.number(), kernel: z.string() })),
  sources: z.array(z.string().regex(/^[\w.-]+$/)),
  compileFlags: z.array(z.string()),
});

export interface Port {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: number;
}

export type BuildManifest = Omit<Manifest, 'inputs' | 'outputs'> & { readonly inputs: readonly Port[]; readonly outputs: readonly Port[] };

export function readManifest(folder: string): BuildManifest {
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
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw broken(z.prettifyError(parsed.error).replaceAll('\n', ' '));
  return parsed.data as unknown as BuildManifest;
}
