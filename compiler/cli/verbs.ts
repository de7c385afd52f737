/** The table of verbs. Their code is loaded when they are used, so that help is instant. */
import { compileFlags, inputFlags, sparsifyFlags } from './flags.js';
import type { Verb } from './verb.js';

const model = { syntax: '<model>', doc: 'an .onnx file, or - for standard input' };
const modelOrFolder = { syntax: '<model>', doc: 'an .onnx file, - for standard input, or a folder that `spc compile` wrote' };

export const verbs: readonly Verb[] = [
  {
    name: 'compile', summary: 'compile a model to source code that you own', args: [model],
    flags: ['output', 'target', 'name', ...compileFlags, ...sparsifyFlags, 'requireSparse', 'emit', 'dryRun', 'failOn', 'printIrAfter', 'verifyEach', 'timePasses', 'stopAfter'],
    examples: ['spc compile model.onnx -o build', 'spc compile model.onnx -o build --cpu=generic --dim batch=1', 'spc compile model.onnx -o build --emit=node', 'spc compile sparse.onnx -o build --require-sparse=80', 'spc compile model.onnx -o build --target=cuda --sparsify 2:4'],
    load: () => import('./verbs/compile.js'),
  },
  {
    name: 'run', summary: 'run a model once and print or save its outputs', args: [modelOrFolder],
    flags: [...inputFlags, 'outputDir', 'top', 'engine', 'target', 'device', 'threads', 'profileSparsity', 'samples', ...compileFlags, ...sparsifyFlags],
    examples: ['spc run model.onnx --input image=digit.npy --top 5', 'spc run model.onnx --input image=samples.npy --profile-sparsity zeros.json', 'spc run build --random 1 --output-dir out'],
    load: () => import('./verbs/run.js'),
  },
  {
    name: 'verify', summary: 'compare the compiled model with the reference evaluator and ONNX Runtime', args: [model],
    flags: [...inputFlags, 'samples', 'rtol', 'atol', 'target', 'device', 'threads', ...compileFlags, ...sparsifyFlags],
    examples: ['spc verify model.onnx', 'spc verify model.onnx --input image=digit.npy --rtol 1e-4'],
    load: () => import('./verbs/verify.js'),
  },
  {
    name: 'compare', summary: 'compare two classifiers on labelled data: overall, by class and group, flips, calibration',
    args: [{ syntax: '<a>', doc: 'an .onnx file: what is compared with, as the dense model' }, { syntax: '<b>', doc: 'an .onnx file: what shall take its place, as the pruned model' }],
    flags: ['data', 'labels', 'groups', 'limit', 'normalize', 'scores', 'noise', 'gate', 'markdown', 'engine', 'threads', ...compileFlags],
    examples: ['spc compare dense.onnx pruned.onnx --data t10k-images-idx3-ubyte.gz --normalize 33.3,78.6', 'spc compare dense.onnx pruned.onnx --data x.npy --labels y.npy --gate class-drop=2 --gate flip-rate=5'],
    load: () => import('./verbs/compare.js'),
  },
  {
    name: 'bench', summary: 'time a model on a CPU or a GPU, alone or against ONNX Runtime', args: [model],
    flags: ['target', 'device', 'compare', 'perLayer', 'rounds', 'blockMs', 'threads', 'pin', ...inputFlags, ...compileFlags, ...sparsifyFlags],
    examples: ['spc bench model.onnx --compare onnxruntime', 'spc bench model.onnx --per-layer', 'spc bench model.onnx --target=cuda --gpu-arch=sm_90a'],
    load: () => import('./verbs/bench.js'),
  },
  {
    name: 'inspect', summary: 'show a model: shapes, work, sparsity, how each layer would run, what else could run it and why that lost', args: [model],
    flags: ['target', 'layers', 'requireSparse', ...compileFlags, ...sparsifyFlags],
    examples: ['spc inspect model.onnx', 'spc inspect model.onnx --layers --json'],
    load: () => import('./verbs/inspect.js'),
  },
  {
    name: 'sparsify', summary: 'put the weights of a model on a sparsity pattern, by magnitude', args: [model],
    flags: ['output', 'pattern', 'layer', 'global', 'includeFirstLast', 'sparseInitializer', 'seed'],
    examples: ['spc sparsify model.onnx --pattern unstructured:0.9 -o sparse.onnx', 'spc sparsify model.onnx --pattern 2:4 --layer fc1=block:4x1:0.8 -o sparse.onnx'],
    load: () => import('./verbs/sparsify.js'),
  },
  {
    name: 'ops', summary: 'list the ONNX operators that spc supports', args: [{ syntax: '[pattern]', doc: 'part of a name' }], flags: [],
    examples: ['spc ops', 'spc ops Conv'], load: () => import('./verbs/ops.js'),
  },
  { name: 'targets', summary: 'list the targets', args: [], flags: [], examples: ['spc targets'], load: () => import('./verbs/targets.js') },
  { name: 'passes', summary: 'list the passes in order', args: [], flags: ['target'], examples: ['spc passes --target=fpga'], load: () => import('./verbs/passes.js') },
  { name: 'doctor', summary: 'show which compilers and tools are found', args: [], flags: [], examples: ['spc doctor'], load: () => import('./verbs/doctor.js') },
];
