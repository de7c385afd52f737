/**
 * Diagnostics: what spc says to its user. Every one has a stable code, the ONNX node that it is about, the shapes involved and
 * a next step. A stage collects all it finds and fails once.
 */
export type Severity = 'error' | 'warning' | 'note';

export interface Diagnostic {
  /** SPC1xxx import, 2xxx types and shapes, 3xxx sparsity, 4xxx planning, 5xxx back ends, 9xxx a bug in spc. */
  readonly code: string;
  readonly severity: Severity;
  readonly message: string;
  /** ONNX node name and operator, where it is about one. */
  readonly node?: string;
  readonly op?: string;
  readonly shapes?: readonly string[];
  /** What the user can do. */
  readonly hint?: string;
}

/** Thrown at the end of a stage that found errors. */
export class SpcError extends Error {
  constructor(readonly diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(formatDiagnostic).join('\n'));
    this.name = 'SpcError';
  }
}

/** A problem with one node, thrown where only the problem is known; the caller adds node, operator and shapes. */
export class NodeProblem extends Error {
  constructor(readonly code: string, message: string, readonly hint?: string) {
    super(message);
    this.name = 'NodeProblem';
  }
}

export function formatDiagnostic(d: Diagnostic): string {
  const where = d.node !== undefined ? ` node '${d.node}'${d.op ? ` (${d.op})` : ''}:` : '';
  const shapes = d.shapes?.length ? ` [${d.shapes.join(', ')}]` : '';
  return `${d.severity} ${d.code}:${where} ${d.message}${shapes}${d.hint ? `\n  hint: ${d.hint}` : ''}`;
}
