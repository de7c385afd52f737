import { expect, test } from 'vitest';
import { codes } from '../diagnostics/codes.js';
import type { Diagnostic } from '../diagnostics/diagnostic.js';
import { exitCodeFor, exitCodes } from './exit-codes.js';
import { commonFlags, flags } from './flags.js';
import { verbs } from './verbs.js';

const error = (code: string): Diagnostic => ({ code, severity: 'error', message: '' });

test('every code ends with a documented exit code, and never with success', () => {
  for (const code of Object.keys(codes)) expect(exitCodeFor([error(code)]), code).not.toBe(0);
  expect(['SPC1001', 'SPC1003', 'SPC1004', 'SPC1011', 'SPC2001', 'SPC5501', 'SPC5510', 'SPC6104', 'SPC9002'].map((c) => exitCodeFor([error(c)]))).toEqual([4, 3, 3, 2, 4, 5, 5, 2, 70]);
});

test('the gravest problem decides; notes and warnings do not', () => {
  expect(exitCodeFor([error('SPC6104'), error('SPC1003'), error('SPC1008')])).toBe(exitCodes.invalidModel);
  expect(exitCodeFor([error('SPC1003'), error('SPC9001')])).toBe(exitCodes.bug);
  expect(exitCodeFor([{ ...error('SPC1019'), severity: 'warning' }])).toBe(exitCodes.ok);
});

test('flags are spelled as they are keyed, and each is used by a verb', () => {
  const used = new Set([...commonFlags, ...verbs.flatMap((v) => v.flags)]);
  for (const [key, { syntax, doc }] of Object.entries(flags)) {
    const long = /--(?:no-)?([a-z-]+)/.exec(syntax)![1]!;
    expect(long.replace(/-(.)/g, (_, c: string) => c.toUpperCase()), syntax).toBe(key);
    expect(doc).not.toBe('');
    expect(used.has(key as keyof typeof flags), key).toBe(true);
  }
});
