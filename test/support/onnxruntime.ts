/** ONNX Runtime as the independent truth in tests (a development dependency whose native part may be absent). */
import { createRequire } from 'node:module';
import type * as Ort from 'onnxruntime-node';
import type { DType, TypedArray } from '../../compiler/ir/dtype.js';
import { denseData, denseTensor, type DenseTensor, type Tensor } from '../../compiler/ir/tensor.js';

const ortTypes = {
  f32: 'float32', f64: 'float64', f16: 'float16', i8: 'int8', i16: 'int16', i32: 'int32', i64: 'int64',
  u8: 'uint8', u16: 'uint16', u32: 'uint32', u64: 'uint64', bool: 'bool',
} as const satisfies Partial<Record<DType, Ort.Tensor.Type>>;

const dtypeOf = (type: string): DType => (Object.keys(ortTypes) as (keyof typeof ortTypes)[]).find((d) => ortTypes[d] === type)
  ?? ((): never => { throw new Error(`ONNX Runtime returned ${type}`); })();

/** The module, or undefined where it cannot be loaded. */
export function loadOnnxRuntime(): typeof Ort | undefined {
  try {
    return createRequire(import.meta.url)('onnxruntime-node') as typeof Ort;
  } catch {
    return undefined;
  }
}

/** Runs a model on one thread without graph optimisations; one tensor an output, by name. */
export async function runOnnxRuntime(ort: typeof Ort, model: Uint8Array, inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, DenseTensor>> {
  const session = await ort.InferenceSession.create(model, { graphOptimizationLevel: 'disabled', intraOpNumThreads: 1, logSeverityLevel: 4 });
  try {
    const feeds = Object.fromEntries(Object.entries(inputs).map(([name, t]) =>
      [name, new ort.Tensor(ortTypes[t.dtype as keyof typeof ortTypes], denseData(t) as never, t.shape)]));
    const results = await session.run(feeds);
    return Object.fromEntries(Object.entries(results).map(([name, t]) => {
      const dtype = dtypeOf(t.type), data = t.data as unknown as TypedArray;
      // half precision may come as a Float16Array, where the runtime has one
      const bits = dtype === 'f16' ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data;
      return [name, denseTensor(dtype, t.dims, bits)];
    }));
  } finally {
    await session.release();
  }
}
