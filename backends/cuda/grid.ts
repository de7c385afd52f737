/**
 * Kernel IR -> CUDA kernels. A phase that is a perfect nest of parallel loops becomes one grid-stride loop over a linear index,
 * from which each loop variable is recovered; a call that has a grid runs on that grid; any other phase runs in one thread. Launches in one stream are ordered, which is
 * the barrier that phases need between them.
 */
import { CLikePrinter } from '../../compiler/emit/c-like.js';
import { Writer } from '../../compiler/emit/writer.js';
import { div, mod, mul, ref } from '../../compiler/kir/build.js';
import { constantOf, isDivisible, kernelPhases, type ForStmt } from '../../compiler/kir/phases.js';
import type { Expr, Grid, Kernel, Stmt } from '../../compiler/kir/types.js';
import { cudaDialect, indexTypeOf } from './dialect.js';

/** A CUDA kernel made of one phase. */
export interface CudaKernel {
  readonly symbol: string;
  /** The `__global__` function. */
  readonly text: string;
  /** Kernel parameters (positions) that the function takes. */
  readonly params: readonly number[];
  /** Independent iterations; absent where the phase runs in one thread, or has a grid of its own. */
  readonly extent?: number;
  readonly grid?: Grid;
}

const iterations = (loop: ForStmt): number => Math.ceil(constantOf(loop.to)! / loop.step);

/** The loops of a perfect nest of parallel loops, outermost first, and the innermost body. */
export function perfectNest(outer: ForStmt): { readonly loops: readonly ForStmt[]; readonly body: readonly Stmt[] } {
  const loops = [outer];
  let { body } = outer;
  for (;;) {
    const [only, more] = body;
    if (!only || more || !isDivisible(only)) return { loops, body };
    loops.push(only);
    body = only.body;
  }
}

/** Value of each loop's variable at linear iteration `linear` (row-major: the last loop runs fastest). */
function loopVariables(loops: readonly ForStmt[], linear: Expr): { readonly name: string; readonly value: Expr }[] {
  let inner = 1;
  return [...loops].reverse().map((loop, i) => {
    const quotient = div(linear, inner);
    const step = i === loops.length - 1 ? quotient : mod(quotient, iterations(loop));
    inner *= iterations(loop);
    return { name: loop.name, value: mul(step, loop.step) };
  }).reverse();
}

const mentions = (text: string, name: string): boolean => new RegExp(`\\b${name}\\b`).test(text);

/** The grid-stride loop over all iterations of a nest. */
function gridStrideLoop(w: Writer, printer: CLikePrinter, index: string, loops: readonly ForStmt[], body: readonly Stmt[], extent: number): void {
  const [first] = loops;
  const isPlain = loops.length === 1 && first!.step === 1;
  // names of kernel IR never begin with `spc_`
  const linear = isPlain ? first!.name : 'spc_i';
  w.block(`for (${index} ${linear} = spc_thread_index<${index}>(); ${linear} < ${extent}; ${linear} += spc_thread_count<${index}>())`, () => {
    const inner = new Writer();
    printer.statements(inner, body);
    const text = inner.text().trimEnd();
    const variables = isPlain ? [] : loopVariables(loops, ref(linear)).filter((v) => mentions(text, v.name));
    printer.statements(w, variables.map((v) => ({ kind: 'let', ...v })));
    for (const l of text.split('\n')) w.line(l);
  });
}

/**
 * The CUDA kernels that together do what `kernel` does, in launch order.
 * @param restrict whether no two parameters may be the same memory
 */
export function cudaKernels(kernel: Kernel, name: string, restrict: boolean): CudaKernel[] {
  return kernelPhases(kernel).flatMap((phase) => {
    const nest = phase.loop && perfectNest(phase.loop);
    const extent = nest?.loops.reduce((n, l) => n * iterations(l), 1);
    // a grid of no blocks cannot be launched
    if (extent === 0) return [];
    const dialect = cudaDialect(indexTypeOf(kernel, extent ?? 0));
    const printer = new CLikePrinter(dialect, kernel);
    const body = new Writer();
    printer.statements(body, phase.tables);
    if (nest) gridStrideLoop(body, printer, dialect.value.index, nest.loops, nest.body, extent!);
    else printer.statements(body, phase.body);
    const grid = phase.gridCall?.grid;
    const text = body.text().trimEnd();
    const params = kernel.params.flatMap((p, i) => (mentions(text, p.name) ? [i] : []));
    const declarations = params.map((i) => {
      const p = kernel.params[i]!;
      const isWritten = p.role === 'out' || p.role === 'scratch';
      return `${isWritten ? '' : 'const '}${dialect.storage[p.dtype]} *${restrict ? '__restrict__ ' : ''}${p.name}`;
    });
    const symbol = `${name}_${kernel.name}${phase.suffix}`;
    const w = new Writer();
    w.block(`static __global__ void ${grid ? `__launch_bounds__(${grid.threads}) ` : ''}${symbol}(${declarations.join(', ')})`, () => text.split('\n').forEach((l) => w.line(l)));
    return [{ symbol, text: w.text(), params, ...(extent === undefined ? {} : { extent }), ...(grid ? { grid } : {}) }];
  });
}
