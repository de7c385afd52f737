/** Removes locals that nothing reads: an index into a dimension of extent 1, a table of positions that are all 0. */
import { mapExpr } from './build.js';
import type { CallArgument, Expr, Stmt } from './types.js';

function eachArgument(a: CallArgument, visit: (e: Expr) => void): void {
  switch (a.kind) {
    case 'null': break;
    case 'pointer': visit(a.index); break;
    case 'object': a.args.forEach((x) => eachArgument(x, visit)); break;
    case 'function': eachExpr(a.body, visit); break;
    default: visit(a);
  }
}

/** Calls `visit` with every expression of the statements, those in loops and branches included. */
function eachExpr(body: readonly Stmt[], visit: (e: Expr) => void): void {
  for (const s of body) {
    switch (s.kind) {
      case 'for': visit(s.from); visit(s.to); eachExpr(s.body, visit); break;
      case 'while': visit(s.cond); eachExpr(s.body, visit); break;
      case 'range': eachExpr(s.body, visit); break;
      case 'if': visit(s.cond); eachExpr(s.then, visit); eachExpr(s.else, visit); break;
      case 'let': case 'var': case 'assign': visit(s.value); break;
      case 'store': visit(s.index); visit(s.value); if (typeof s.count === 'object') visit(s.count); break;
      case 'call': s.args.forEach((a) => eachArgument(a, visit)); break;
      case 'array': case 'comment': break;
    }
  }
}

const buffersOf = (a: CallArgument): string[] =>
  (a.kind === 'pointer' ? [a.buffer] : a.kind === 'object' ? a.args.flatMap(buffersOf) : a.kind === 'function' ? buffersPassed(a.body) : []);

/** Buffers whose address the statements pass on. */
function buffersPassed(body: readonly Stmt[]): string[] {
  return body.flatMap((s) => {
    switch (s.kind) {
      case 'for': case 'while': case 'range': return buffersPassed(s.body);
      case 'if': return [...buffersPassed(s.then), ...buffersPassed(s.else)];
      case 'call': return s.args.flatMap(buffersOf);
      default: return [];
    }
  });
}

/** Names that the statements read. */
function namesRead(body: readonly Stmt[]): ReadonlySet<string> {
  const names = new Set<string>(buffersPassed(body));
  eachExpr(body, (root) => mapExpr(root, (e) => {
    if (e.kind === 'ref') names.add(e.name);
    if (e.kind === 'load') names.add(e.buffer);
    return e;
  }));
  return names;
}

function keep(body: readonly Stmt[], read: ReadonlySet<string>): Stmt[] {
  return body.flatMap((s): Stmt[] => {
    switch (s.kind) {
      case 'let': return read.has(s.name) ? [s] : [];
      case 'array': return s.init && !read.has(s.name) ? [] : [s];
      case 'for': case 'while': case 'range': return [{ ...s, body: keep(s.body, read) }];
      case 'if': return [{ ...s, then: keep(s.then, read), else: keep(s.else, read) }];
      default: return [s];
    }
  });
}

const statementCount = (body: readonly Stmt[]): number =>
  body.reduce((n, s) => n + 1 + (s.kind === 'for' || s.kind === 'while' || s.kind === 'range' ? statementCount(s.body) : s.kind === 'if' ? statementCount(s.then) + statementCount(s.else) : 0), 0);

/**
 * The statements without unread immutable locals and constant tables, until there are none: what only they read goes with them.
 * Names are unique in a kernel except in disjoint scopes; one that is read anywhere is kept everywhere.
 */
export function withoutUnread(body: readonly Stmt[]): readonly Stmt[] {
  for (let now = body; ;) {
    const next = keep(now, namesRead(now));
    if (statementCount(next) === statementCount(now)) return now;
    now = next;
  }
}
