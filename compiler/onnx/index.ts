/** Reading ONNX files. */
export { importModel, type ImportOptions, type ImportResult, type ImportSource, type ModelInfo } from './import.js';
export type { DeclaredTensor } from './inputs.js';
export { decodeTensorProto } from './tensor.js';
