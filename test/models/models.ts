/** The real models that spc is tested on: how each is compiled, what goes in, and how far from ONNX Runtime it may be. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { compileModel, readModel, type CompileOptions, type CompileResult } from '../../compiler/driver.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import type { Range } from '../../compiler/io/random.js';
import { tensorOf, type Tensor } from '../../compiler/ir/tensor.js';
import type { Tolerance } from '../support/compare.js';

export interface RealModel {
  readonly name: string;
  /** Below ../shared/models. */
  readonly file: string;
  /** Where the project itself has a copy, below examples/models. */
  readonly example?: string;
  readonly dims?: Readonly<Record<string, number>>;
  readonly bind?: Readonly<Record<string, Tensor>>;
  /** What random inputs are drawn from: what the network was trained on. */
  readonly range: Range;
  readonly tolerance: Tolerance;
  /** Why the tolerance is what it is, where it is not the usual. */
  readonly reason?: string;
}

/** Sums of some hundred products in another order, and another exp or tanh: some units in the last place of the largest output. */
const usual: Tolerance = { relative: 1e-4, absolute: 1e-5 };
const pixels: Range = { low: 0, high: 255 }, unit: Range = { low: 0, high: 1 }, signed: Range = { low: -1, high: 1 }, standardised: Range = { low: -2, high: 2 };

export const realModels: readonly RealModel[] = [
  { name: 'mnist-cnn', file: 'mnist-cnn/mnist.onnx', example: 'mnist-cnn/mnist.onnx', range: pixels, tolerance: { relative: 1e-4, absolute: 1e-2 }, reason: 'inputs up to 255: outputs are in the thousands' },
  { name: 'mnist-mlp', file: 'mnist-mlp/mnist-point.onnx', range: unit, tolerance: usual },
  { name: 'mnist-pruned', file: 'mnist-pruned/mnist_cnn_pruned.onnx', range: { low: -0.42, high: 2.82 }, tolerance: usual },
  { name: 'tfc-w2a2', file: 'qonnx-std/TFC_2W2A.onnx', example: 'qonnx-tfc/TFC_2W2A.onnx', range: unit, tolerance: usual },
  { name: 'unsw-w2a2', file: 'qonnx-std/unsw_nb15-mlp-w2a2.onnx', range: unit, tolerance: usual },
  { name: 'kws-dscnn', file: 'mlperf-tiny/kws_dscnn_fp32.onnx', example: 'mlperf-tiny/kws_dscnn_fp32.onnx', range: { low: -123, high: 26 }, tolerance: usual },
  { name: 'resnet8', file: 'mlperf-tiny/ic_resnet8_fp32.onnx', example: 'mlperf-tiny/ic_resnet8_fp32.onnx', range: { low: 96, high: 160 }, tolerance: usual },
  { name: 'vww-mobilenet', file: 'mlperf-tiny/vww_mobilenetv1_025_fp32.onnx', range: unit, tolerance: usual },
  { name: 'ad-autoencoder', file: 'mlperf-tiny/ad_autoencoder_fp32.onnx', range: { low: -20, high: 20 }, tolerance: usual },
  { name: 'jets', file: 'jets-pruned/KERAS_3layer.onnx', range: standardised, tolerance: usual },
  { name: 'jets-70', file: 'jets-pruned/KERAS_3layer_70pruned_retrained.onnx', range: standardised, tolerance: usual },
  { name: 'jets-95', file: 'jets-pruned/KERAS_3layer_95pruned_retrained.onnx', range: standardised, tolerance: usual },
  { name: 'blazeface', file: 'blazeface/face_detection_front_128x128_barracuda.onnx', range: signed, tolerance: { relative: 1e-4, absolute: 1e-4 }, reason: 'box coordinates up to 128' },
  { name: 'ultraface', file: 'ultraface/version-RFB-320_simplified.onnx', range: signed, tolerance: usual },
  { name: 'magika', file: 'magika/model.onnx', dims: { unk__214: 1 }, range: { low: 0, high: 256 }, tolerance: usual },
  { name: 'micro-kws', file: 'micro-kws/micro_kws_m_static_fp32.onnx', range: { low: 0, high: 26 }, tolerance: usual },
  { name: 'micro-kws-qdq', file: 'micro-kws/micro_kws_m_static_qdq.onnx', dims: { unk__68: 1 }, range: { low: 0, high: 26 }, tolerance: { relative: 0, absolute: 4.01 / 255 },
    reason: 'outputs are multiples of 1/255; sums that lie half way between two steps are frequent, and ONNX Runtime\'s own optimisation levels differ by as much' },
  { name: 'micro-kws-qoperator', file: 'micro-kws/micro_kws_m_static_qoperator.onnx', range: { low: 0, high: 26 }, tolerance: { relative: 0, absolute: 0 }, reason: 'integer arithmetic: every bit' },
  { name: 'ppocr-det', file: 'ppocrv4/ch_PP-OCRv4_det_infer.onnx', dims: { 'x:0': 1, 'x:2': 160, 'x:3': 160 }, range: standardised, tolerance: usual },
  { name: 'ppocr-cls', file: 'ppocrv4/ch_ppocr_mobile_v2.0_cls_infer.onnx', dims: { 'x:0': 1, 'x:2': 48, 'x:3': 192 }, range: signed, tolerance: usual },
  { name: 'resnet56', file: 'resnet56-pruned/resnet56.onnx', range: standardised, tolerance: usual },
  { name: 'resnet56-simdoc', file: 'resnet56-pruned/simdoc_10_0.8.onnx', range: standardised, tolerance: usual },
  { name: 'resnet56-snip', file: 'resnet56-pruned/sniplevel_30_0.8.onnx', range: standardised, tolerance: usual },
  { name: 'resnet56-taylor', file: 'resnet56-pruned/taylorfochannel_30_0.5.onnx', range: standardised, tolerance: usual },
  { name: 'silero-vad', file: 'silero-vad/silero_vad_op18_ifless.onnx', dims: { batch: 1, sequence: 512 }, bind: { sr: tensorOf('i64', [], [16000]) }, range: { low: -0.5, high: 0.5 }, tolerance: { relative: 1e-4, absolute: 2e-4 },
    reason: 'the gates add large terms that cancel: two float32 engines differ by 5e-5 in single elements' },
  { name: 'vit-cifar', file: 'vit-cifar/ibp_3_3_8.onnx', dims: { batch_size: 1 }, range: standardised, tolerance: usual },
];

export const sharedFolder = join(packageRoot(), '..', 'shared');

/** Where the model's file is; undefined where this machine does not have it. */
export function modelFile(m: RealModel): string | undefined {
  return [...(m.example ? [join(packageRoot(), 'examples', 'models', m.example)] : []), join(sharedFolder, 'models', m.file)].find(existsSync);
}

export const modelNamed = (name: string): RealModel => {
  const found = realModels.find((m) => m.name === name);
  if (!found) throw new Error(`no model is called ${name}`);
  return found;
};

/** Why a test on the model is skipped, as part of its name; empty where it is not. */
export const absence = (m: RealModel): string => (modelFile(m) === undefined ? ` (skipped: ${m.file} is not here)` : '');

export function compileReal(m: RealModel, options: CompileOptions = {}): CompileResult {
  return compileModel(readModel(modelFile(m)!), { ...(m.dims ? { dims: m.dims } : {}), ...(m.bind ? { bind: m.bind } : {}), name: m.name.replaceAll('-', '_'), ...options });
}
