/** Constants that products bring along. */
import { denseTensor, type DenseTensor, type Tensor } from '../../../compiler/ir/tensor.js';

/** An array as a constant that a kernel brings along. */
export const tableOf = (data: Uint32Array | Float32Array): DenseTensor => denseTensor(data instanceof Float32Array ? 'f32' : 'u32', [data.length], data);

/** For kernels whose code or tables have the weights: nothing stays of the operand. */
export const withoutWeights = (): ReadonlyMap<number, Tensor> => new Map([[1, tableOf(new Float32Array(0))]]);
