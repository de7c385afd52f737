/** What ways there are to run a node on a GPU, and what they are predicted to take. */
import { bytesOfType, macsOf } from '../../compiler/ir/analysis.js';
import type { LayoutOption, RejectedOption } from '../../compiler/ir/layout-choice.js';
import { elementCount, operandsOf, valueOf, type Graph, type Node } from '../../compiler/ir/types.js';
import { requestFor } from '../../compiler/plan/kernel-request.js';
import type { KernelRule } from '../types.js';
import type { Gpu } from './gpu.js';

/** Nanoseconds of a launch; of a plain kernel, one thread an element with operands from the second cache: multiply-adds a cycle and multiprocessor, and nanoseconds from one in
 * a sum to the next (compilers have four loads on the way at once). Estimates. */
const LAUNCH = 2000, PLAIN_MACS = 16, PLAIN_STEP = 30;

const bytesOf = (graph: Graph, node: Node): number => [...operandsOf(node), ...node.outputs].reduce((s, id) => s + bytesOfType(valueOf(graph, id).type), 0);

/** Kernels for tensor cores, the operator's loop nest, and what does not apply. */
export const rowsModel = (gpu: Gpu, rules: readonly KernelRule[]) => (graph: Graph, node: Node): readonly (LayoutOption | RejectedOption)[] => {
  const request = requestFor(graph, node), bytes = bytesOf(graph, node), macs = macsOf(graph, node), steps = macs / Math.max(1, elementCount(request.outputs[0]!.shape));
  const kernels = rules.flatMap((r) => r.candidates(request)).map(({ choice, nanoseconds, bytes: own = bytes }): LayoutOption => ({ layout: 'rows', kernel: choice.kernel, nanoseconds, bytes: own }));
  const nest: LayoutOption = { layout: 'rows', kernel: '', nanoseconds: LAUNCH + Math.max(bytes / gpu.bytesPerNanosecond, macs / (PLAIN_MACS * gpu.multiprocessors * gpu.clock), steps * PLAIN_STEP), bytes };
  return [...kernels, nest, ...rules.flatMap((r) => r.refusals?.(request) ?? []).map((r): RejectedOption => ({ layout: 'rows', ...r }))];
};
