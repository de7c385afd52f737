/** What select-layout asks of a target. */
import type { Layout } from '../../compiler/ir/layout.js';
import type { LayoutOption, RejectedOption } from '../../compiler/ir/layout-choice.js';
import { elementCount, sameShape, type Graph, type Node, type TensorType, type Value } from '../../compiler/ir/types.js';

export interface LayoutModel {
  /** Ways to run the node with row-major operands, at least one that is not rejected. */
  rows(graph: Graph, node: Node): readonly (LayoutOption | RejectedOption)[];
  /** Ways to run the node in tiles, at least one; operands and results are of the same kind, those of a reduction over pixels excepted. */
  tiles(graph: Graph, node: Node, over: Layout['over']): readonly (LayoutOption | RejectedOption)[];
  /** Nanoseconds to bring a tensor from one kind to another. */
  conversion(type: TensorType): number;
  /** Epilogues that a product can apply in tiles; what is more becomes a node of its own. */
  epilogueFits(graph: Graph, node: Node): boolean;
  /** True where the node reads images as they are, without phases and halo, whatever its window. */
  readsWhole(graph: Graph, node: Node): boolean;
  /** True where the code of the node may be repeated for each of `phases`^2 output phases. */
  phasesFit(graph: Graph, node: Node, phases: number): boolean;
}

/** A constant with a value for every pixel of a tensor of this shape: in tiles it has to be converted, which one with a value for each channel needs not. */
export const isPixelConstant = ({ constant, type }: Pick<Value, 'constant' | 'type'>, shape: readonly number[]): boolean =>
  constant !== undefined && type.dtype === 'f32' && sameShape(type.shape, shape) && elementCount(shape) !== shape.at(-1);
