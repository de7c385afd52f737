/** Exit codes: what a script can tell from how spc ended. */
import type { Diagnostic } from '../diagnostics/diagnostic.js';

export const exitCodes = {
  ok: 0,
  /** `verify` found a difference. */
  mismatch: 1,
  usage: 2,
  /** The model is valid, spc does not support all of it. */
  unsupported: 3,
  /** The model is damaged, not ONNX, or cannot be read. */
  invalidModel: 4,
  /** A C compiler or another program is missing or fails. */
  missingTool: 5,
  /** A condition that the user set (`--fail-on`) does not hold. */
  requirement: 6,
  /** A bug in spc. */
  bug: 70,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** First match wins; all codes are in compiler/diagnostics/codes.ts. */
const byCode: readonly (readonly [RegExp, ExitCode])[] = [
  [/^SPC9/, exitCodes.bug],
  [/^SPC1(001|007|008|009|010|014|015|016|018)/, exitCodes.invalidModel],
  [/^SPC2/, exitCodes.invalidModel],
  [/^SPC(1011|1017|1019|1091|5504|5505|6)/, exitCodes.usage],
  [/^SPC55(01|02|10)/, exitCodes.missingTool],
  [/^SPC/, exitCodes.unsupported],
];

/** Which of several problems decides: the one that the user can do least about. */
const precedence: readonly ExitCode[] = [exitCodes.bug, exitCodes.invalidModel, exitCodes.unsupported, exitCodes.missingTool, exitCodes.requirement, exitCodes.usage];

export function exitCodeFor(diagnostics: readonly Diagnostic[]): ExitCode {
  const found = new Set(diagnostics.filter((d) => d.severity === 'error').map((d) => byCode.find(([pattern]) => pattern.test(d.code))?.[1] ?? exitCodes.bug));
  return precedence.find((code) => found.has(code)) ?? exitCodes.ok;
}
