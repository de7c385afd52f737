/** Exit codes: what a script can tell from how spc ended. */
import type { Diagnostic } from '../diagnostics/diagnostic.js';

export const exitCodes = { ok: 0, mismatch: 1, usage: 2, unsupported: 3, invalidModel: 4, missingTool: 5, requirement: 6, bug: 70 } as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitCodeMeanings: { readonly [C in ExitCode]: string } = {
  0: 'done; there may have been notes and warnings',
  1: '`verify` found a difference',
  2: 'the command line, or a data file that it names, cannot be used',
  3: 'the model is valid, but spc does not support all of it',
  4: 'the model is damaged, not valid ONNX, or cannot be read',
  5: 'a C compiler or another program is missing or failed',
  6: 'a condition that you set (`--fail-on`, `--gate`, `--require-sparse`) does not hold',
  70: 'a bug in spc; the message names a file to report it with',
};

/** First match wins; all codes are in compiler/diagnostics/codes.ts. */
const byCode: readonly (readonly [RegExp, ExitCode])[] = [
  [/^SPC9/, exitCodes.bug],
  [/^SPC1(001|007|008|009|010|014|015|016|018)/, exitCodes.invalidModel],
  [/^SPC2/, exitCodes.invalidModel],
  [/^SPC(300[1-4]|3202|1011|1017|1019|1091|5504|5505|5507|6)/, exitCodes.usage],
  [/^SPC3201/, exitCodes.requirement],
  [/^SPC55(01|02|10)/, exitCodes.missingTool],
  [/^SPC/, exitCodes.unsupported],
];

/** Which of several problems decides: the one that the user can do least about. */
const precedence: readonly ExitCode[] = [exitCodes.bug, exitCodes.invalidModel, exitCodes.unsupported, exitCodes.missingTool, exitCodes.requirement, exitCodes.usage];

export function exitCodeFor(diagnostics: readonly Diagnostic[]): ExitCode {
  const found = new Set(diagnostics.filter((d) => d.severity === 'error').map((d) => byCode.find(([pattern]) => pattern.test(d.code))?.[1] ?? exitCodes.bug));
  return precedence.find((code) => found.has(code)) ?? exitCodes.ok;
}
