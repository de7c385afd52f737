/** Every trained model of the collection that compiles as it is, on the emulated GPU in its usual precision, as a user checks it: spc verify, against the reference and ONNX Runtime. */
import { existsSync, readdirSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { spc } from '../cli/support.js';
import { hasGxx } from './support.js';

const collection = resolve(packageRoot(), '../shared/models'), present = existsSync(collection);
/** Models with inputs whose sizes must be named. */
const open = /PP-OCR|ppocr|silero/;
const models = present ? (readdirSync(collection, { recursive: true }) as string[]).filter((f) => f.endsWith('.onnx') && !open.test(f)).sort() : [];

test.skipIf(!present)('the collection of models is there (skipped: ../shared is absent)', () => expect(models.length).toBeGreaterThan(15));
test.skipIf(!hasGxx).each(models.map((f) => [basename(f), join(collection, f)] as const))('%s', (_, path) => {
  const { code, stdout, stderr } = spc(['verify', path, '--target=cuda', '--device=emulator']);
  expect(stdout + stderr).toMatch(/^ok .* against reference/m);
  expect(code).toBe(0);
}, 120_000);
