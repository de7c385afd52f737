/**
 * The FPGA target: HLS C++, one function a layer, streams between them. Every layer is printed from its kernel IR with pipelined
 * innermost loops; values stay floats. Layers with architectures of their own come as `kernels`.
 */
import type { Target } from '../types.js';
import { emitHls } from './emit.js';
import { simulationFlags } from './project.js';

export const fpgaTarget: Target = {
  name: 'fpga',
  doc: 'HLS C++, one function a layer, streams between layers',
  passes: [],
  kernels: [],
  alignment: 64,
  /** Every layer has memories of its own. */
  inPlace: false,
  compileFlags: simulationFlags,
  emit: emitHls,
};
