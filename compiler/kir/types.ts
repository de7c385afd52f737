/**
 * Kernel IR: a small typed loop language in which every operator that is not hand-scheduled is written once.
 *
 * It models C closely (what you see is what is printed) and is printed as C, CUDA C++, HLS C++ and JavaScript; the last is the
 * reference evaluator (evaluate.ts). Index arithmetic has its own dtype `index` (C `long`, JavaScript number), so that 64-bit
 * tensor elements can be exact BigInts in JavaScript without slowing down the loops.
 */
import type { DType } from '../ir/dtype.js';
import type { Origin } from '../ir/types.js';
import type { Routine } from './routine.js';

export type ScalarType = DType | 'index';

/** A scalar (`lanes` 1) or a vector of `lanes` equal elements. */
export interface KType {
  readonly dtype: ScalarType;
  readonly lanes: number;
}

/**
 * min/max return `a` unless `b` is strictly smaller/larger, so a NaN in `a` survives. div on integers truncates (0 where the
 * divisor is 0); mod has the sign of the dividend (C `%`, `fmod`). shl/shr are bitwise; and/or/xor bitwise, logical on bool.
 */
export type BinaryOp = 'add' | 'sub' | 'mul' | 'div' | 'mod' | 'min' | 'max' | 'pow' | 'atan2' | 'and' | 'or' | 'xor' | 'shl' | 'shr';
export type CompareOp = 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge';
/** `not` is logical on bool and bitwise on integers; `round` rounds half to even; `trunc` towards zero. */
export type UnaryOp =
  | 'neg' | 'abs' | 'not' | 'floor' | 'ceil' | 'round' | 'trunc' | 'sqrt' | 'exp' | 'log' | 'log1p' | 'expm1' | 'sin' | 'cos' | 'tan'
  | 'asin' | 'acos' | 'atan' | 'sinh' | 'cosh' | 'tanh' | 'asinh' | 'acosh' | 'atanh' | 'erf' | 'sigmoid' | 'isnan' | 'isinf';

export type Expr =
  /** `value` is exact for every dtype: bigint for 64-bit integers, number (also NaN, ±Infinity) otherwise, 0/1 for bool. */
  | { readonly kind: 'const'; readonly type: KType; readonly value: number | bigint }
  /** A loop variable, `let`, `var` or scalar parameter. */
  | { readonly kind: 'ref'; readonly type: KType; readonly name: string }
  /** Placeholder number `index` of an elementwise expression or epilogue; substituted before printing. */
  | { readonly kind: 'arg'; readonly type: KType; readonly index: number }
  | { readonly kind: 'binary'; readonly type: KType; readonly op: BinaryOp; readonly a: Expr; readonly b: Expr }
  | { readonly kind: 'compare'; readonly type: KType; readonly op: CompareOp; readonly a: Expr; readonly b: Expr }
  | { readonly kind: 'unary'; readonly type: KType; readonly op: UnaryOp; readonly a: Expr }
  | { readonly kind: 'select'; readonly type: KType; readonly cond: Expr; readonly a: Expr; readonly b: Expr }
  | { readonly kind: 'cast'; readonly type: KType; readonly a: Expr }
  /**
   * One element, or `lanes` consecutive ones from `index` on; with `count` < lanes the remaining lanes are zero and not touched. With `of`, the
   * even or the odd ones among 2 x lanes consecutive elements of a bf16 buffer.
   */
  | { readonly kind: 'load'; readonly type: KType; readonly buffer: string; readonly index: Expr; readonly count?: number | Expr; readonly of?: 'even' | 'odd' }
  /** A scalar in every lane. */
  | { readonly kind: 'splat'; readonly type: KType; readonly a: Expr }
  /** A vector of scalars, one a lane. */
  | { readonly kind: 'lanes'; readonly type: KType; readonly elements: readonly Expr[] }
  /** a * b + c, contracted where the target does so. */
  | { readonly kind: 'fma'; readonly type: KType; readonly a: Expr; readonly b: Expr; readonly c: Expr }
  /** In lane l: c + x[index] * b[2 l] + x[index + 1] * b[2 l + 1], a pair of i16 elements of buffer x against the pairs of an i16 vector. */
  | { readonly kind: 'dot2'; readonly type: KType; readonly buffer: string; readonly index: Expr; readonly b: Expr; readonly c: Expr }
  /** Horizontal sum of a vector. */
  | { readonly kind: 'hsum'; readonly type: KType; readonly a: Expr };

/** What a printer may do with a loop. The meaning never depends on it. */
export interface LoopAttrs {
  /** Iterations are independent: may be split over threads, or become a CUDA grid dimension (perfect nests collapse). */
  readonly parallel?: boolean;
  readonly unroll?: boolean;
  /** HLS: pipeline this loop. */
  readonly pipeline?: boolean;
}

export type Stmt =
  | { readonly kind: 'for'; readonly name: string; readonly from: Expr; readonly to: Expr; readonly step: number; readonly attrs: LoopAttrs; readonly body: readonly Stmt[] }
  /**
   * Work on units 0..extent, of which the body does those from `begin` to `end` (two index values that it refers to). Parts of the units are independent: a
   * target may have any number of workers run the body, each on a part of its own. Printed as it is, it does all of them. `own` is working memory of which
   * every worker needs its own: it has room for `extent` times `size` elements, and a worker's begins at `begin` times `size`, which is added to the pointer.
   */
  | { readonly kind: 'range'; readonly extent: number; readonly own?: readonly { readonly param: string; readonly size: number }[]; readonly body: readonly Stmt[] }
  | { readonly kind: 'while'; readonly cond: Expr; readonly body: readonly Stmt[] }
  | { readonly kind: 'if'; readonly cond: Expr; readonly then: readonly Stmt[]; readonly else: readonly Stmt[] }
  /** An immutable scalar or vector. */
  | { readonly kind: 'let'; readonly name: string; readonly value: Expr }
  /** A mutable one. */
  | { readonly kind: 'var'; readonly name: string; readonly value: Expr }
  | { readonly kind: 'assign'; readonly name: string; readonly value: Expr }
  /** Vector values store `lanes` consecutive elements, or only the first `count`. */
  | { readonly kind: 'store'; readonly buffer: string; readonly index: Expr; readonly value: Expr; readonly count?: number | Expr }
  /** A local array of `size` uninitialised elements, or a constant table when `init` is given. */
  | { readonly kind: 'array'; readonly name: string; readonly dtype: ScalarType; readonly size: number; readonly init?: readonly (number | bigint)[] }
  /** Calls a function of the target's runtime library, or a routine of this kernel (`routine`). Not for the evaluator. */
  | { readonly kind: 'call'; readonly name: string; readonly routine: boolean; readonly args: readonly CallArgument[]; readonly grid?: Grid }
  | { readonly kind: 'comment'; readonly text: string };

/** A value, the address of an element of a buffer, no address, a value written as the target's language has it, or a function of scalars and arrays that the callee calls. */
export type CallArgument =
  | Expr
  | { readonly kind: 'pointer'; readonly buffer: string; readonly index: Expr }
  | { readonly kind: 'null' }
  | { readonly kind: 'object'; readonly type: string; readonly args: readonly CallArgument[] }
  | { readonly kind: 'function'; readonly params: readonly { readonly name: string; readonly dtype: ScalarType; /** Present on arrays. */ readonly size?: number }[]; readonly body: readonly Stmt[] };

/** Many workers in blocks of `threads` run a call together (GPUs): the function itself knows which it is. */
export interface Grid {
  readonly blocks: readonly [number, number, number];
  readonly threads: number;
  /** Bytes of memory that the threads of a block share. */
  readonly sharedBytes: number;
}

export interface KernelParam {
  readonly name: string;
  readonly dtype: DType;
  /** Elements that the kernel may touch from the pointer on. */
  readonly size: number;
  /** `scratch` is working memory that the planner supplies. */
  readonly role: 'in' | 'out' | 'const' | 'scratch';
}

export interface Kernel {
  readonly name: string;
  /** Comment lines: what it computes, shapes, choices and reasons. */
  readonly doc: readonly string[];
  readonly origins: readonly Origin[];
  readonly params: readonly KernelParam[];
  readonly body: readonly Stmt[];
  /** Stream and permute functions that the body calls, in order of execution. */
  readonly routines?: readonly Routine[];
}
