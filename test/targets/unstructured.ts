/** A kernel rule that offers the kernels for weights with zeros anywhere, whether they are predicted to be fastest or not. */
import { gpus, type GpuName } from '../../backends/cuda/gpu.js';
import { bitmapCandidates } from '../../backends/cuda/kernels/bitmap.js';
import { isConstant, productOf, weightsOf, type ElementType } from '../../backends/cuda/kernels/product.js';
import { residualCandidates } from '../../backends/cuda/kernels/residual.js';
import { unstructuredOf } from '../../backends/cuda/unstructured.js';
import type { KernelRequest, KernelRule } from '../../backends/types.js';

/** @param wanted whether the node may have the kernel of this name */
export const onlyRule = (type: ElementType, arch: GpuName, wanted: (request: KernelRequest, kernel: string) => boolean): KernelRule => ({
  name: 'under test',
  candidates: (request) => {
    const p = productOf(request, type);
    if (p === undefined || typeof p === 'string' || !isConstant(p)) return [];
    const weights = unstructuredOf(weightsOf(p, request.constants[1]!, type));
    return [bitmapCandidates, residualCandidates].flatMap((f) => [...f(gpus[arch], request, p, weights, type)]).filter((c) => wanted(request, c.choice.kernel));
  },
});
