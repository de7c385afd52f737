/**
 * Stream functions as x86-64 code. The functions of a model lie behind one another in the order in which they run, each followed by
 * its weights, so that a function can ask for the code and weights of the next one while it computes: code that runs once for every
 * 16 pixels does not stay in the caches of a large network, and fetching it ahead is the largest single gain there.
 *
 * Registers: arguments in rdi (x), rsi (tiles left), rdx (masks), rcx (x2), r8 (y), r9 (residual); r10 weights, r11 what to fetch
 * ahead, rax somewhere among the columns. The last vector register holds the column (or a bound), the others the rows. Nothing that
 * a caller wants kept is touched, the stack is not used.
 */
import { NodeProblem } from '../../../compiler/diagnostics/diagnostic.js';
import { isPermute, type Routine } from '../../../compiler/kir/routine.js';
import { productsOf, streamLanes, type StreamFunction, type StreamLanes } from '../../../compiler/kir/stream.js';
import { writePermute } from '../permute/encode.js';
import { streamRegion, type StreamRegion } from './region.js';
import { avx512, byteAssembler, gpr, textAssembler, vectorOps, vectorsOf, type Assembler, type Gpr, type StreamIsa, type VectorOp } from './x86.js';

/** Code and weights. */
export interface EncodedStreams extends StreamRegion {
  /** A function in assembly text, without label and directives of its symbol. */
  text(index: number): string;
}

const LINE = 64;
/** Code and weights, about. */
const BYTES_PER_PRODUCT = 14;
/** Over fewer tiles than this, fetching takes more of the load ports than is gained, unless it would come from memory. */
const ENOUGH_TILES = 4;
/** Weights that one value of the weights pointer reaches: displacements of one byte count words, -128 to 127. */
const WEIGHTS_IN_REACH = 256;
const MIDDLE_WEIGHT = 128;
/** A `lea` (7 bytes) makes later addresses 3 bytes shorter: worth it where this many among the next few profit. */
const PROFIT = 3, LOOK_AHEAD = 6;

/** Byte offsets of the vectors that follow one another from a pointer; where there are two pointers, which one each is from. */
interface Offsets {
  readonly offsets: ArrayLike<number>;
  readonly sources?: Uint8Array;
}

type VectorAccess = (op: VectorOp, reg: number, v: number, mask: number, pointer: Gpr, of: Offsets, index: number) => void;

/**
 * Instructions on vectors in memory: from their pointer where a short displacement reaches, else from rax, which is moved where
 * several of the following profit, else with a long displacement.
 */
function vectorAccess(asm: Assembler, bytes: number): VectorAccess {
  let origin = 0, from = -1;
  // displacements of one byte count vectors
  const inReach = (displacement: number): boolean => displacement >= -128 * bytes && displacement <= 127 * bytes;
  const worthMoving = ({ offsets, sources }: Offsets, index: number, to: number): boolean => {
    let profit = 0;
    for (let i = index + 1; i < Math.min(index + 1 + LOOK_AHEAD, offsets.length); i++) {
      if ((!sources || sources[i] === sources[index]) && !inReach(offsets[i]!) && inReach(offsets[i]! - to)) profit++;
    }
    return profit >= PROFIT;
  };
  return (op, reg, v, mask, pointer, of, index) => {
    const offset = of.offsets[index]!;
    if (from !== pointer || !inReach(offset - origin)) {
      const next = offset + 128 * bytes;
      if (inReach(offset) || !worthMoving(of, index, next)) return asm.memory(op, reg, v, pointer, offset, mask);
      origin = next;
      from = pointer;
      asm.lea(gpr.rax, pointer, origin);
    }
    asm.memory(op, reg, v, gpr.rax, offset - origin, mask);
  };
}

/** Register of each mask (1-based word) that a function uses. */
function maskRegisters(f: StreamFunction, isa: StreamIsa): Uint8Array {
  const registers = new Uint8Array(256);
  let used = 0;
  const use = (mask: number): void => { if (mask && !registers[mask]) registers[mask] = ++used; };
  for (const mask of new Set(f.columnMasks)) use(mask);
  if (f.finish) use(f.finish.mask);
  if (used > isa.masks) throw new NodeProblem('SPC9008', `stream function ${f.name} uses ${used} masks, ${isa.name} has ${isa.masks}`);
  return registers;
}

/** Constants in the order in which the code reads them: biases, products, finite bounds (0 is made in a register). */
function constantsOf(f: StreamFunction): Float32Array | Int32Array {
  const bounds = boundsOf(f).filter((b) => !b.isZero).map((b) => b.value), bias = f.start?.bias.length ?? 0;
  const all = new (f.arithmetic === 'u8s8' ? Int32Array : Float32Array)(bias + f.weights.length + bounds.length);
  if (f.start) all.set(f.start.bias);
  all.set(f.weights, bias);
  all.set(bounds, bias + f.weights.length);
  return all;
}

/** max and min with the bound as first operand return the second where one is NaN, or both are zero. */
function boundsOf(f: StreamFunction): { readonly op: VectorOp; readonly value: number; readonly isZero: boolean }[] {
  if (!f.finish) return [];
  const { low, high } = f.finish.clamp;
  return [{ op: vectorOps.max, value: low }, { op: vectorOps.min, value: high }]
    .filter((b) => Number.isFinite(b.value)).map((b) => ({ ...b, isZero: Object.is(b.value, 0) }));
}

/**
 * Writes a function with its weights.
 * @param ahead bytes behind this function that are fetched while it runs over all of its tiles
 */
function writeFunction(asm: Assembler, f: StreamFunction, ahead: number, isa: StreamIsa): void {
  const rows = f.rows.length, column = isa.registers - 1;
  if (rows > column) throw new NodeProblem('SPC9008', `stream function ${f.name} has ${rows} rows, ${isa.name} has registers for ${column}`);
  const masks = maskRegisters(f, isa), results: Offsets = { offsets: f.rows }, columns: Offsets = f;
  const linesPerTile = Math.ceil(ahead / LINE / Math.max(1, f.tiles));

  // r11 starts two lines further, so that four displacements are short
  if (linesPerTile) asm.leaLabel(gpr.r11, 'end', 2 * LINE);
  asm.label('tile');
  asm.leaLabel(gpr.r10, 'weights', 4 * MIDDLE_WEIGHT);
  masks.forEach((register, mask) => { if (register) asm.loadMask(register, gpr.rdx, 2 * (mask - 1)); });

  const access = vectorAccess(asm, vectorsOf[streamLanes(f)].bytes), product = f.arithmetic === 'u8s8' ? vectorOps.dot : vectorOps.fma;
  let inReachWeights = 0;
  const constant = (op: VectorOp, reg: number, v: number): void => {
    if (inReachWeights === WEIGHTS_IN_REACH) {
      asm.addImmediate(gpr.r10, 4 * WEIGHTS_IN_REACH);
      inReachWeights = 0;
    }
    asm.memory(op, reg, v, gpr.r10, 4 * (inReachWeights++ - MIDDLE_WEIGHT), 0);
  };

  const residual: Offsets | undefined = f.start?.residual && { offsets: f.start.residual };
  for (let row = 0; row < rows; row++) {
    if (!f.start) access(vectorOps.load, row, 0, 0, gpr.r8, results, row);
    else constant(vectorOps.broadcast, row, 0);
  }
  if (residual) for (let row = 0; row < rows; row++) access(vectorOps.add, row, row, 0, gpr.r9, residual, row);

  // prefetches are spread over the products as the points of a line over its pixels
  const products = f.weights.length;
  let fetched = 0, due = 0;
  const fetch = (): void => asm.prefetch(gpr.r11, LINE * (fetched++ - 2));
  for (let k = 0; k < f.columnCount; k++) {
    access(vectorOps.load, column, 0, masks[f.columnMasks[k]!]!, f.sources[k] ? gpr.rcx : gpr.rdi, columns, k);
    for (let i = f.starts[k]!; i < f.starts[k + 1]!; i++) {
      constant(product, f.rowOf[i]!, column);
      for (due += linesPerTile; due >= products; due -= products) fetch();
    }
  }
  while (fetched < linesPerTile) fetch();

  const bounds = boundsOf(f), finishMask = f.finish ? masks[f.finish.mask]! : 0;
  bounds.forEach(({ op, isZero }, i) => {
    if (isZero) asm.register(vectorOps.xor, column, column, column, 0);
    else constant(vectorOps.broadcast, column, 0);
    for (let row = 0; row < rows; row++) asm.register(op, row, column, row, i === bounds.length - 1 ? finishMask : 0);
  });
  if (finishMask && !bounds.length) for (let row = 0; row < rows; row++) asm.register(vectorOps.move, row, 0, row, finishMask);
  for (let row = 0; row < rows; row++) access(vectorOps.store, row, 0, 0, gpr.r8, results, row);

  const advance = (reg: Gpr, bytes: number): void => { if (bytes) asm.addImmediate(reg, bytes); };
  advance(gpr.rdi, f.steps.x);
  if (f.sources.includes(1)) advance(gpr.rcx, f.steps.x2);
  advance(gpr.r8, f.steps.y);
  if (residual) advance(gpr.r9, f.steps.r);
  if (masks.some((register) => register > 0)) advance(gpr.rdx, 2 * f.maskCount);
  advance(gpr.r11, LINE * linesPerTile);
  asm.decrement(gpr.rsi);
  asm.jumpNotZero('tile');
  asm.zeroUpper();
  asm.ret();
  asm.align('trap');
  asm.label('weights');
  asm.words(constantsOf(f));
  asm.align('zero');
  asm.label('end');
}

const lanesOf = (f: Routine): StreamLanes => (isPermute(f) ? 16 : streamLanes(f));

/**
 * Encodes the stream functions of a model, and the permute functions among them.
 * @param functions in the order in which they run; names are symbols
 * @throws NodeProblem SPC9008 where a function does not fit the registers, or two have one name
 */
export function encodeStreams(functions: readonly Routine[], options: { readonly isa?: StreamIsa } = {}): EncodedStreams {
  const isa = options.isa ?? avx512, assemblers = { 16: byteAssembler(16), 8: byteAssembler(8), 4: byteAssembler(4) };
  const total = BYTES_PER_PRODUCT * functions.reduce((n, f) => n + (isPermute(f) ? 0 : productsOf(f)), 0);
  const fetches = (f: StreamFunction): boolean => total > isa.cached.third || (total > isa.cached.second && f.tiles >= ENOUGH_TILES);
  // the length of a function depends on how much it fetches ahead, which is the length of the next one: from the last to the first
  const parts = new Array<Uint8Array>(functions.length);
  const write = (to: Assembler, i: number): void => {
    const f = functions[i]!;
    if (isPermute(f)) writePermute(to, f);
    else writeFunction(to, f, fetches(f) ? parts[i + 1]?.length ?? 0 : 0, isa);
  };
  for (let i = functions.length - 1; i >= 0; i--) {
    const asm = assemblers[lanesOf(functions[i]!)];
    write(asm, i);
    parts[i] = asm.take();
  }
  return {
    ...streamRegion(functions, parts),
    text(index) {
      const text = textAssembler(functions[index]!.name, lanesOf(functions[index]!));
      write(text, index);
      return text.text();
    },
  };
}
