/**
 * ONNX model to graph: every node lowers to core operators as it is met. Goes on after a problem with what can still be known,
 * and fails once with all of them.
 */
import { createHash } from 'node:crypto';
import { NodeProblem, SpcError, type Diagnostic } from '../diagnostics/diagnostic.js';
import { GraphBuilder } from '../ir/build.js';
import { denseData, type Tensor } from '../ir/tensor.js';
import { elementCount, formatType, type Graph, type TensorType, type Value } from '../ir/types.js';
import { findOnnxOp } from '../ops/index.js';
import { attributeReader, resolveAttributes, type Attributes } from './attributes.js';
import { declaredTensor, inputTypes, type DeclaredTensor, type InputOptions } from './inputs.js';
import { onnxNode } from './node.js';
import { namesRead, topologicalOrder } from './order.js';
import { decodeMessage, longToNumber, type FunctionProto, type GraphProto, type ModelProto, type NodeProto } from './proto.js';
import { sparseTensorFromProto, tensorFromProto } from './tensor.js';

export interface ImportSource {
  readonly bytes: Uint8Array;
  /** Folder of the model file, for external data. */
  readonly baseDir?: string;
  /** The graph's name; the model's own where it is not given. */
  readonly name?: string;
  /** What was said of it when it was read; comes first. */
  readonly diagnostics?: readonly Diagnostic[];
}

export type ImportOptions = InputOptions;

export interface ModelInfo {
  readonly producer: string;
  readonly producerVersion: string;
  readonly graphName: string;
  readonly irVersion: number;
  /** By domain; '' is ai.onnx. */
  readonly opsets: Readonly<Record<string, number>>;
  /** Of the model file (external data not included). */
  readonly sha256: string;
  /** Without those that have a default value. */
  readonly inputs: readonly DeclaredTensor[];
  readonly outputs: readonly DeclaredTensor[];
  /** ONNX nodes by operator, as `domain:Op` outside of ai.onnx; functions count as calls. */
  readonly operators: Readonly<Record<string, number>>;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface ImportResult {
  readonly graph: Graph;
  /** Warnings and notes. */
  readonly diagnostics: readonly Diagnostic[];
  readonly info: ModelInfo;
}

const FIRST_OPSET = 6, LAST_OPSET = 22, FIRST_IR = 3;
/** Bounds on what functions and subgraphs may expand to: a file of a few kilobytes can describe 2^100 nodes. */
const MAX_DEPTH = 64, MAX_NODES = 200_000;

/** What a name stands for: a value; nothing, because its node failed (reported already); or an optional input left out. */
type Binding = Value | 'failed' | 'absent';

interface Scope {
  readonly names: Map<string, Binding>;
  readonly parent?: Scope;
}

/** Where nodes are imported: the main graph, a subgraph or the body of a function. */
interface Frame {
  readonly scope: Scope;
  /** Attributes of the call that a function body refers to. */
  readonly attributes: Attributes;
  readonly opsets: ReadonlyMap<string, number>;
  /** Call path, put before node names. */
  readonly path: string;
  /** Functions and subgraphs around this one, innermost last. */
  readonly calls: readonly string[];
}

function find(scope: Scope, name: string): Binding | undefined {
  for (let s: Scope | undefined = scope; s; s = s.parent) {
    const binding = s.names.get(name);
    if (binding !== undefined) return binding;
  }
  return undefined;
}

const domainOf = (domain: string): string => (domain === 'ai.onnx' ? '' : domain);
const opLabel = (domain: string, op: string): string => (domainOf(domain) === '' ? op : `${domain}:${op}`);
const functionKey = (f: { readonly domain: string; readonly overload: string }, name: string): string => `${domainOf(f.domain)}:${name}:${f.overload}`;
const opsetsOf = (list: ModelProto['opsetImport']): Map<string, number> => new Map(list.map((o) => [domainOf(o.domain), longToNumber(o.version)]));

/**
 * Imports a model.
 * @throws SpcError with every problem found (SPC1xxx, and SPC2xxx from the core operators)
 */
export function importModel(source: ImportSource, options: ImportOptions = {}): ImportResult {
  const model = decodeModel(source.bytes);
  const file = model.graph!;
  const diagnostics: Diagnostic[] = [...(source.diagnostics ?? [])];
  const report = (d: Diagnostic): void => { diagnostics.push(d); };
  const opsets = opsetsOf(model.opsetImport);
  checkVersions(model, opsets, report);

  const g = new GraphBuilder(source.name ?? (file.name || 'model'));
  const main: Frame = { scope: { names: new Map() }, attributes: new Map(), opsets, path: '', calls: [] };
  const importer = new Importer(g, model, source.baseDir, report);
  const inputs = importer.inputs(file, longToNumber(model.irVersion), main, options);
  importer.graph(file, main);
  const outputs = importer.outputs(file, main);
  importer.reportUnsupported();
  if (diagnostics.some((d) => d.severity === 'error')) throw new SpcError(diagnostics);

  const operators: Record<string, number> = {};
  for (const n of file.node) operators[opLabel(n.domain, n.opType)] = (operators[opLabel(n.domain, n.opType)] ?? 0) + 1;
  return {
    graph: g.finish(outputs),
    diagnostics,
    info: {
      producer: model.producerName, producerVersion: model.producerVersion, graphName: file.name, irVersion: longToNumber(model.irVersion),
      opsets: Object.fromEntries(opsets), sha256: createHash('sha256').update(source.bytes).digest('hex'),
      inputs, outputs: file.output.map(declaredTensor), operators, metadata: Object.fromEntries(model.metadataProps.map((p) => [p.key, p.value])),
    },
  };
}

function decodeModel(bytes: Uint8Array): ModelProto {
  const refuse = (message: string): never => {
    throw new SpcError([{ code: 'SPC1001', severity: 'error', message, hint: 'give an .onnx file; if it was copied or downloaded, check that it is complete' }]);
  };
  let model: ModelProto;
  try {
    model = decodeMessage('ModelProto', bytes);
  } catch (e) {
    return refuse(`this is not a readable ONNX model (${bytes.length} bytes): ${e instanceof Error ? e.message : String(e)}`);
  }
  return model.graph ? model : refuse(`this is not a readable ONNX model (${bytes.length} bytes): it has no graph`);
}

function checkVersions(model: ModelProto, opsets: ReadonlyMap<string, number>, report: (d: Diagnostic) => void): void {
  const error = (message: string, hint: string): void => report({ code: 'SPC1002', severity: 'error', message, hint });
  const ir = longToNumber(model.irVersion);
  if (ir < FIRST_IR) error(`IR version ${ir} is older than ${FIRST_IR}`, 'convert the model with onnx.version_converter');
  const opset = opsets.get('');
  if (opset !== undefined && opset < FIRST_OPSET) error(`opset ${opset} is older than ${FIRST_OPSET}`, `convert the model with onnx.version_converter.convert_version(model, ${LAST_OPSET})`);
  if (opset !== undefined && opset > LAST_OPSET) {
    report({ code: 'SPC1002', severity: 'warning', message: `opset ${opset} is newer than ${LAST_OPSET}; operators are read as they were in ${LAST_OPSET}`, hint: `export the model with opset ${LAST_OPSET} to be sure` });
  }
}

/** The state of one import. */
class Importer {
  private readonly functions: ReadonlyMap<string, FunctionProto>;
  private readonly unsupported = new Map<string, { readonly domain: string; readonly op: string; readonly opset: number | undefined; readonly nodes: string[] }>();
  private nodeCount = 0;

  constructor(private readonly g: GraphBuilder, model: ModelProto, private readonly baseDir: string | undefined, private readonly report: (d: Diagnostic) => void) {
    this.functions = new Map(model.functions.map((f) => [functionKey(f, f.name), f]));
  }

  private error(code: string, message: string, hint: string, node?: { readonly name: string; readonly op: string }): void {
    this.report({ code, severity: 'error', message, hint, ...(node ? { node: node.name, op: node.op } : {}) });
  }

  private define(scope: Scope, name: string, binding: Binding, by: string): void {
    if (scope.names.has(name)) this.error('SPC1009', `${by} defines '${name}', which is already defined`, 'tensor names must be unique; the model is not valid ONNX, export it again');
    else scope.names.set(name, binding);
  }

  /** Defines the graph's inputs; returns what the file says about those that are left to the caller. */
  inputs(file: GraphProto, irVersion: number, frame: Frame, options: ImportOptions): DeclaredTensor[] {
    const initialised = new Set([...file.initializer.map((t) => t.name), ...file.sparseInitializer.map((t) => t.values?.name ?? '')]);
    const required = file.input.filter((v) => !initialised.has(v.name) || options.bind?.[v.name]);
    const types = inputTypes(required, options, this.report);
    for (const v of required) {
      const type = types.get(v.name), tensor = options.bind?.[v.name];
      const binding = !type ? 'failed' : tensor ? this.g.constant(tensor, v.name) : frame.scope.names.has(v.name) ? 'failed' : this.g.input(v.name, type);
      this.define(frame.scope, v.name, binding, 'a graph input');
    }
    const defaults = file.input.filter((v) => !required.includes(v)).map((v) => v.name);
    // Before IR 4 every initialiser had to be listed as an input; since then it means a default that the caller may replace.
    if (irVersion >= 4 && defaults.length > 0) {
      this.report({ code: 'SPC1021', severity: 'note', message: `the default values of ${defaults.slice(0, 4).join(', ')}${defaults.length > 4 ? `... (${defaults.length} inputs)` : ''} are compiled in`, hint: 'remove the initializer of an input that is to stay one' });
    }
    for (const name of Object.keys(options.bind ?? {})) {
      if (!file.input.some((v) => v.name === name)) this.report({ code: 'SPC1019', severity: 'warning', message: `no input is called '${name}'`, hint: `the model has ${required.map((v) => v.name).join(', ')}` });
    }
    return required.map(declaredTensor);
  }

  /** Initialisers and nodes of a graph or subgraph; its inputs are defined already. */
  graph(file: GraphProto, frame: Frame): void {
    const constant = (name: string, read: () => Tensor): void => {
      // A value bound by the caller replaces the default.
      if (frame.scope.names.has(name) && file.input.some((v) => v.name === name)) return;
      let binding: Binding = 'failed';
      try {
        const tensor = read();
        if (!frame.scope.names.has(name)) binding = this.g.constant(tensor, name);
      } catch (e) {
        this.nodeProblem(e, `initializer '${name}'`);
      }
      this.define(frame.scope, name, binding, 'an initializer');
    };
    for (const t of file.initializer) constant(t.name, () => tensorFromProto(t, this.baseDir));
    for (const t of file.sparseInitializer) constant(t.values?.name ?? '', () => sparseTensorFromProto(t, this.baseDir));
    this.nodes(file.node, frame, file.output.map((o) => o.name));
  }

  /** Imports a list of nodes in an order of execution. */
  private nodes(nodes: readonly NodeProto[], frame: Frame, results: readonly string[]): void {
    const read = new Set([...results, ...nodes.flatMap(namesRead)]);
    const order = topologicalOrder(nodes);
    const own = new Set(nodes.flatMap((n) => n.output));
    const nameOf = (n: NodeProto): string => frame.path + (n.name || n.output.find((o) => o !== '') || n.opType);
    for (const cycle of order.cycles) {
      this.error('SPC1010', `nodes form a cycle: ${[...cycle, cycle[0]!].map((i) => nameOf(nodes[i]!)).join(' -> ')}`, 'ONNX graphs have no cycles; export the model again');
    }
    const inCycle = new Set(order.cycles.flat());
    for (const i of order.nodes) {
      const n = nodes[i]!, name = nameOf(n);
      const label = { name, op: opLabel(n.domain, n.opType) };
      if (++this.nodeCount > MAX_NODES) {
        if (this.nodeCount === MAX_NODES + 1) this.error('SPC1020', `the model expands to more than ${MAX_NODES} nodes`, 'export it without nested functions', label);
        return;
      }
      const fail = (): void => this.defineOutputs(n, frame, n.output.map(() => 'failed'), label.name);
      const missing = inCycle.has(i) ? [] : [...new Set(namesRead(n))].filter((input) => find(frame.scope, input) === undefined);
      for (const input of missing) {
        if (!own.has(input)) this.error('SPC1008', `input '${input}' is defined nowhere`, 'an initialiser or a node is missing from the file; export the model again, with its weights', label);
      }
      if (inCycle.has(i) || missing.length > 0) {
        this.noteUnsupported(n, frame, name);
        fail();
        continue;
      }
      const since = this.g.mark();
      this.g.origin = { node: name, op: label.op };
      let bindings: readonly Binding[];
      try {
        bindings = this.node(n, name, frame, (output) => read.has(output));
      } catch (e) {
        this.nodeProblem(e, undefined, { ...label, inputs: n.input.map((x) => find(frame.scope, x)) });
        fail();
        continue;
      }
      const named = bindings.map((b, o) => (typeof b === 'string' || !n.output[o] ? b : this.g.rename(b, frame.path + n.output[o], since)));
      this.defineOutputs(n, frame, named, name);
    }
  }

  private defineOutputs(n: NodeProto, frame: Frame, bindings: readonly Binding[], node: string): void {
    n.output.forEach((output, i) => { if (output !== '') this.define(frame.scope, output, bindings[i] ?? 'failed', `node '${node}'`); });
  }

  /** One node: a function call, an If, or an operator. Returns what its outputs stand for. */
  private node(n: NodeProto, name: string, frame: Frame, isRead: (output: string) => boolean): readonly Binding[] {
    const attributes = resolveAttributes(n.attribute, frame.attributes);
    const bindings = n.input.map((input): Binding => (input === '' ? 'absent' : find(frame.scope, input)!));
    const body = this.functions.get(functionKey(n, n.opType));
    if (body) return this.call(body, n, name, frame, attributes, bindings);
    const domain = domainOf(n.domain);
    if (domain === '' && n.opType === 'If') return this.branch(n, name, frame, attributes, bindings[0]);
    const op = findOnnxOp(domain, n.opType);
    if (!op) {
      this.noteUnsupported(n, frame, name);
      return n.output.map(() => 'failed');
    }
    if (bindings.includes('failed')) return n.output.map(() => 'failed');
    const opset = frame.opsets.get(domain);
    if (opset === undefined) throw new NodeProblem('SPC1002', `the model does not import the domain '${domain || 'ai.onnx'}'`, 'the model is not valid ONNX (opset_import lacks the domain); export it again');
    const inputs = bindings.map((b) => (typeof b === 'string' ? undefined : b));
    const result = op.lower(onnxNode({ op: n.opType, name, opset, g: this.g, inputs, outputs: n.output, attr: attributeReader(attributes, this.baseDir), isRead }));
    const values = Array.isArray(result) ? result as readonly (Value | undefined)[] : [result as Value];
    return n.output.map((output, i): Binding => {
      const value = values[i];
      if (!value && output !== '' && isRead(output)) throw new NodeProblem('SPC1004', `output ${i} ('${output}') is not supported`, 'remove its use from the model');
      return value ?? 'absent';
    });
  }

  /** Inlines a model-local function. */
  private call(f: FunctionProto, n: NodeProto, name: string, frame: Frame, given: Attributes, inputs: readonly Binding[]): readonly Binding[] {
    const key = functionKey(f, f.name);
    if (frame.calls.includes(key)) throw new NodeProblem('SPC1010', `function '${f.name}' calls itself`, 'ONNX functions are not recursive; export the model again');
    const defaults = f.attributeProto.map((a) => [a.name, a] as const);
    const inner = this.enter(frame, key, name, { names: new Map(f.input.map((input, i) => [input, inputs[i] ?? 'absent'])) }, new Map([...defaults, ...given]), opsetsOf(f.opsetImport));
    this.nodes(f.node, inner, f.output);
    return n.output.map((_, i) => this.result(inner, f.output[i], `function '${f.name}'`));
  }

  /** Inlines the branch of an If that a constant condition selects. */
  private branch(n: NodeProto, name: string, frame: Frame, attributes: Attributes, condition: Binding | undefined): readonly Binding[] {
    if (condition === 'failed') return n.output.map(() => 'failed');
    if (condition === undefined || condition === 'absent') throw new NodeProblem('SPC1007', "required input 'cond' is not given", 'the model is not valid ONNX; export it again');
    if (!condition.constant || elementCount(condition.type.shape) !== 1) {
      throw new NodeProblem('SPC1005', `the condition '${condition.name}' must be known while compiling, but it is computed from the model's inputs`, 'bind the graph input that it depends on, or export the model without control flow');
    }
    const which = denseData(condition.constant)[0] ? 'then_branch' : 'else_branch';
    const graph = attributes.get(which)?.g;
    if (!graph) throw new NodeProblem('SPC1006', `attribute '${which}' (GRAPH) is missing`, 'the model is not valid ONNX; export it again');
    const inner = this.enter(frame, which, name, { names: new Map(), parent: frame.scope }, frame.attributes, frame.opsets);
    this.graph(graph, inner);
    return n.output.map((_, i) => this.result(inner, graph.output[i]?.name, `the ${which} of '${name}'`));
  }

  private enter(frame: Frame, call: string, node: string, scope: Scope, attributes: Attributes, opsets: ReadonlyMap<string, number>): Frame {
    if (frame.calls.length >= MAX_DEPTH) throw new NodeProblem('SPC1020', `functions and subgraphs nest more than ${MAX_DEPTH} deep`, 'export the model without nested functions');
    return { scope, attributes, opsets, path: `${node}/`, calls: [...frame.calls, call] };
  }

  private result(frame: Frame, name: string | undefined, where: string): Binding {
    if (this.nodeCount > MAX_NODES) return 'failed';
    const binding = name === undefined ? undefined : find(frame.scope, name);
    if (binding === undefined) throw new NodeProblem('SPC1008', `${where} does not define its output '${name ?? ''}'`, 'the model is not valid ONNX; export it again');
    return binding;
  }

  /** Values of the graph's outputs. */
  outputs(file: GraphProto, frame: Frame): { name: string; value: Value }[] {
    const seen = new Set<string>();
    if (file.output.length === 0) this.error('SPC1001', 'the graph has no outputs', 'export the model again');
    return file.output.flatMap((o) => {
      if (seen.has(o.name)) this.error('SPC1009', `output '${o.name}' is listed twice`, 'export the model again');
      seen.add(o.name);
      const binding = find(frame.scope, o.name);
      if (binding === undefined) this.error('SPC1008', `graph output '${o.name}' is defined nowhere`, 'a node is missing from the file; export the model again');
      if (binding === undefined || typeof binding === 'string') return [];
      this.checkDeclared(declaredTensor(o), binding.type);
      return [{ name: o.name, value: binding }];
    });
  }

  private checkDeclared(declared: DeclaredTensor, type: TensorType): void {
    const { dtype, dims } = declared;
    if (dtype && dtype !== type.dtype) this.error('SPC1018', `output '${declared.name}' is declared as ${dtype}, its operators compute ${formatType(type)}`, 'the file is damaged or not valid ONNX; export the model again');
    const fits = !dims || (dims.length === type.shape.length && dims.every((d, i) => typeof d === 'string' || d === type.shape[i]));
    if (!fits) {
      this.report({ code: 'SPC1018', severity: 'warning', message: `output '${declared.name}' is declared with shape [${dims.join(',')}], its operators compute ${formatType(type)}`, hint: 'the computed shape is used' });
    }
  }

  private noteUnsupported(n: NodeProto, frame: Frame, name: string): void {
    const domain = domainOf(n.domain);
    if (this.functions.has(functionKey(n, n.opType)) || (domain === '' && n.opType === 'If') || findOnnxOp(domain, n.opType)) return;
    const label = opLabel(domain, n.opType);
    const entry = this.unsupported.get(label) ?? { domain, op: n.opType, opset: frame.opsets.get(domain), nodes: [] };
    entry.nodes.push(name);
    this.unsupported.set(label, entry);
  }

  /** One SPC1003 an operator that spc does not have, with the nodes that use it. */
  reportUnsupported(): void {
    for (const { domain, op, opset, nodes } of this.unsupported.values()) {
      const others = nodes.length > 1 ? `, used by ${nodes.length} nodes (${nodes.slice(0, 4).join(', ')}${nodes.length > 4 ? ', ...' : ''})` : '';
      this.report({
        code: 'SPC1003', severity: 'error', node: nodes[0]!, op: opLabel(domain, op),
        message: `operator ${op} of ${domain || 'ai.onnx'} opset ${opset ?? '(not imported)'} is not supported${others}`,
        hint: domain === '' ? '`spc ops` lists the supported operators; export or simplify the model without it' : `export the model with standard operators, or include '${op}' as a model-local function`,
      });
    }
  }

  /** Turns what was thrown while handling a node or tensor into a diagnostic. */
  private nodeProblem(e: unknown, what?: string, node?: { readonly name: string; readonly op: string; readonly inputs: readonly (Binding | undefined)[] }): void {
    const where = node ? { node: node.name, op: node.op, shapes: node.inputs.flatMap((b) => (b === undefined || typeof b === 'string' ? [] : formatType(b.type))) } : {};
    const prefix = what ? `${what}: ` : '';
    if (e instanceof SpcError) e.diagnostics.forEach(this.report);
    else if (e instanceof NodeProblem) this.report({ code: e.code, severity: 'error', message: prefix + e.message, ...where, hint: e.hint ?? 'the model is not valid ONNX here; check it with onnx.checker, or export it again' });
    else this.report({ code: 'SPC9002', severity: 'error', message: `${prefix}internal error: ${e instanceof Error ? e.message : String(e)}`, ...where, hint: 'this is a bug in spc; please report it with the model' });
  }
}
