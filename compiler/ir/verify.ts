/** Checks that a graph is what every stage may rely on. What it finds is a bug in spc, never the user's. */
import { coreOp } from '../core/index.js';
import { broadcastShapes } from '../core/elementwise.js';
import type { Diagnostic } from '../diagnostics/diagnostic.js';
import { mapExpr } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { outputTypes } from './edit.js';
import { formatLayout } from './layout.js';
import { denseData } from './tensor.js';
import { elementCount, formatType, operandsOf, sameShape, type Graph, type Node, type TensorType, type Value, type ValueId } from './types.js';

/**
 * Problems of a graph; none where it is well-formed: every value is defined once, before it is read; types are those that the
 * operators infer; epilogues fit their operator; constants have as many elements as their types say; nothing dangles.
 */
export function verifyGraph(graph: Graph): Diagnostic[] {
  const problems: Diagnostic[] = [];
  const report = (code: string, message: string, node?: Node, shapes: readonly string[] = []): void => {
    const origin = node?.origins[0];
    problems.push({ code, severity: 'error', message: node ? `n${node.id} ${node.kind}: ${message}` : message, ...(origin ? { node: origin.node, op: origin.op } : {}), shapes });
  };

  const defined = new Set<ValueId>(graph.inputs), names = new Map<string, ValueId>(), ids = new Set<number>();
  for (const v of graph.values.values()) {
    if (names.has(v.name)) report('SPC9011', `values %${names.get(v.name)} and %${v.id} are both called '${v.name}'`);
    names.set(v.name, v.id);
    if (v.type.shape.some((d) => !Number.isSafeInteger(d) || d < 0)) report('SPC9012', `'${v.name}' has the type ${formatType(v.type)}`);
    if (v.layout && !fitsLayout(v)) report('SPC9012', `'${v.name}' of type ${formatType(v.type)} cannot lie in ${formatLayout(v.layout)}`);
    if (v.stored && (v.type.dtype !== 'f32' || v.constant || graph.inputs.includes(v.id))) report('SPC9012', `'${v.name}' of type ${formatType(v.type)} cannot be stored as ${v.stored}`);
    if (!v.constant) continue;
    defined.add(v.id);
    if (v.constant.dtype !== v.type.dtype || !sameShape(v.constant.shape, v.type.shape)) {
      report('SPC9012', `constant '${v.name}' holds ${formatType(v.constant)}, its type is ${formatType(v.type)}`);
    } else if (v.constant.kind === 'dense' && denseData(v.constant).length !== elementCount(v.type.shape)) {
      report('SPC9012', `constant '${v.name}' of type ${formatType(v.type)} holds ${denseData(v.constant).length} elements`);
    }
  }
  for (const id of graph.inputs) if (!graph.values.has(id)) report('SPC9010', `input %${id} has no value`);

  for (const node of graph.nodes) {
    if (ids.has(node.id)) report('SPC9011', 'its id belongs to another node too', node);
    ids.add(node.id);
    const undefinedOperands = operandsOf(node).filter((o) => !defined.has(o) || !graph.values.has(o));
    for (const o of undefinedOperands) report('SPC9010', `reads %${o} (${graph.values.get(o)?.name ?? 'unknown'}) before it is defined`, node);
    for (const o of node.outputs) {
      if (defined.has(o)) report('SPC9011', `defines %${o} again`, node);
      if (!graph.values.has(o)) report('SPC9010', `its output %${o} has no value`, node);
      defined.add(o);
    }
    if (undefinedOperands.length > 0 || node.outputs.some((o) => !graph.values.has(o))) continue;
    checkTypes(graph, node, report);
  }
  for (const o of graph.outputs) if (!defined.has(o.value)) report('SPC9010', `output '${o.name}' (%${o.value}) is never computed`);
  for (const v of graph.values.values()) {
    if (!defined.has(v.id)) report('SPC9010', `value '${v.name}' (%${v.id}) is neither an input, a constant nor a result`);
  }
  return problems;
}

/** Computed f32 values only, the pixels and channels of the layout being those of the type. */
const fitsLayout = ({ type, layout: l, constant }: Value): boolean =>
  l === undefined || (!constant && type.dtype === 'f32' && type.shape.at(-1) === l.channels && elementCount(type.shape.slice(0, -1)) === l.images * l.height * l.width);

type Report = (code: string, message: string, node?: Node, shapes?: readonly string[]) => void;

function checkTypes(graph: Graph, node: Node, report: Report): void {
  const typeAt = (id: ValueId): TensorType => graph.values.get(id)!.type;
  const inputs = node.inputs.map(typeAt);
  let inferred: readonly TensorType[];
  try {
    inferred = outputTypes(node.kind, node.attrs, inputs, node.epilogue);
  } catch (e) {
    report('SPC9013', e instanceof Error ? e.message : String(e), node, inputs.map(formatType));
    return;
  }
  if (inferred.length !== node.outputs.length) report('SPC9013', `has ${node.outputs.length} outputs, its operator ${inferred.length}`, node);
  inferred.slice(0, node.outputs.length).forEach((want, i) => {
    const have = typeAt(node.outputs[i]!);
    if (have.dtype !== want.dtype || !sameShape(have.shape, want.shape)) report('SPC9013', `output ${i} is declared ${formatType(have)}, inferred ${formatType(want)}`, node);
  });
  if (node.kind === 'elementwise') checkArguments(node.attrs.expr, inputs, 'expression', node, report);
  if (!node.epilogue) return;
  const own = coreOp(node.kind).infer(node.attrs, inputs)[0]!;
  if (coreOp(node.kind).epilogue === false || node.outputs.length !== 1) report('SPC9014', 'cannot have an epilogue', node);
  const extra = node.epilogue.inputs.map(typeAt);
  checkArguments(node.epilogue.expr, [own, ...extra], 'epilogue', node, report);
  for (const t of extra) {
    let fits = false;
    try { fits = sameShape(broadcastShapes(t.shape, own.shape), own.shape); } catch { /* does not broadcast: reported below */ }
    if (!fits) report('SPC9014', `epilogue operand ${formatType(t)} does not broadcast to ${formatType(own)}`, node);
  }
}

/** Arguments exist and have their operand's element type. */
function checkArguments(e: Expr, operands: readonly TensorType[], what: string, node: Node, report: Report): void {
  mapExpr(e, (x) => {
    if (x.kind === 'arg') {
      const operand = operands[x.index];
      if (!operand) report('SPC9014', `${what} reads argument ${x.index} of ${operands.length}`, node);
      else if (operand.dtype !== x.type.dtype) report('SPC9014', `${what} reads argument ${x.index} as ${x.type.dtype}, it is ${operand.dtype}`, node);
    } else if (x.kind === 'ref' || x.kind === 'load') {
      report('SPC9014', `${what} refers to kernel memory`, node);
    }
    return x;
  });
}
