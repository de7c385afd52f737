/** What NVIDIA's compiler makes of the kernels for tensor cores: registers, spills, instructions. Skipped where nvcc is not installed (`npm run nvcc` installs it). */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { gpuNames, gpus } from '../../backends/cuda/gpu.js';
import { fitting, tilings, warpgroupTilings } from '../../backends/cuda/kernels/tiling.js';
import { cudaTarget } from '../../backends/cuda/target.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { GraphBuilder } from '../../compiler/ir/build.js';
import { tensorOf } from '../../compiler/ir/tensor.js';
import { constant, max } from '../../compiler/kir/build.js';
import { randomNumbers } from '../support/graphs.js';
import { narrowActivations } from '../../passes/narrow-activations.js';
import { onlyRule } from './unstructured.js';
import { emitGraph, hasGxx, hasNvcc, mustExec, nvcc, temporaryFolder, writeProject } from './support.js';

test.skipIf(!hasGxx).each([[11, 8, 'mma.sp.sync.aligned.'], [12, 4, 'mma.sp.sync.aligned.'], [12, 5, 'mma.sp::ordered_metadata.sync.aligned.'], [13, 0, 'mma.sp::ordered_metadata.sync.aligned.']])(
  'for nvcc %d.%d, every instruction is there once, sparse products as its assembler knows them', (major, minor, sparse) => {
    const text = mustExec('g++', ['-E', '-P', '-x', 'c++', '-DSPC_DEVICE=', `-D__CUDACC_VER_MAJOR__=${major}`, `-D__CUDACC_VER_MINOR__=${minor}`, join(packageRoot(), 'runtime', 'cuda', 'spc_ptx.h')]);
    const defined = [...text.matchAll(/^ *(?:template <[^>]*> *)?\w+ (spc_\w+)\(/gm)].map((m) => m[1]).filter((name) => !/^spc_(wg)?mma(_sparse)?$/.test(name!));
    expect(defined.length).toBeGreaterThan(10);
    expect(defined.filter((name, i) => defined.indexOf(name) !== i)).toEqual([]);
    expect([...text.matchAll(/"(mma\.sp[^"]*)"/g)].map((m) => m[1])).toEqual([sparse, sparse, sparse]);
  });

/** Columns, depth, rows: every size of block, of warpgroups too, and decoding. */
const sizes = [[16384, 128, 192], [50176, 128, 128], [50176, 128, 64], [16384, 128, 64], [8192, 128, 128], [4096, 128, 2048], [1024, 128, 1024], [512, 128, 256], [200, 128, 128], [64, 128, 64], [40, 128, 16], [16, 1024, 256], [4, 1024, 256]] as const;

function products() {
  const g = new GraphBuilder('m');
  const outputs = sizes.flatMap(([n, k, m], i) => [true, false].map((sparse, j) => {
    const x = g.map([g.input(`x${i}_${j}`, { dtype: 'f32', shape: [n, k] })], (e) => max(e, constant('f32', 0)));
    const w = Array.from({ length: k * m }, (_, at) => (sparse && Math.floor(at / m) % 4 > 1 ? 0 : 1 + (at % 7)));
    const [y] = g.op('matmul', [x, g.constant(tensorOf('f32', [k, m], w))], { transA: false, transB: false, out: 'f32' });
    return { name: `y${i}_${j}`, value: y! };
  }));
  return narrowActivations('f16').run(g.finish(outputs), { report: () => undefined });
}

describe.skipIf(!hasNvcc).each(gpuNames)(`%s${hasNvcc ? '' : ' (skipped: no nvcc)'}`, (arch) => {
  const folder = temporaryFolder(), { plan, files } = emitGraph(products(), cudaTarget('fp16', [arch]), 'model', 'file');
  writeProject(files, folder.path);
  afterAll(() => folder.dispose());

  test('registers hold everything', () => {
    const told = mustExec('sh', ['-c', `${nvcc} -std=c++17 -O3 -arch=${arch} -cubin -Xptxas -v model.cu -o model.cubin 2>&1`], { cwd: folder.path });
    const spills = [...told.matchAll(/Compiling entry function '\w*?(n\d+_matmul)[\s\S]*?(\d+) bytes spill stores/g)].map((m) => [m[1], Number(m[2])]);
    expect(spills).toHaveLength(sizes.length * 2);
    expect(spills.filter(([, bytes]) => bytes !== 0)).toEqual([]);
    if ('wgmma' in gpus[arch]) for (const { bm, bn } of warpgroupTilings) expect(plan.steps.map((s) => s.choice.kernel).join('; ')).toContain(`wgmma f16 ${bm}x${bn}`);
    // what ptxas says where products of warpgroups cannot overlap
    expect(told).not.toMatch(/C75\d\d|Potential Performance Loss/);
  }, 300_000);

  test('sparse products are those of sparse tensor cores', () => {
    mustExec(nvcc, ['-std=c++17', '-O3', `-arch=${arch}`, '-ptx', 'model.cu', '-o', 'model.ptx'], { cwd: folder.path });
    const functions = readFileSync(join(folder.path, 'model.ptx'), 'utf8').split('.entry ').slice(1).filter((f) => f.includes('_matmul'));
    expect(functions).toHaveLength(plan.steps.filter((s) => s.kind === 'matmul').length);
    for (const f of functions) {
      const { status, kernel } = plan.steps.find((s) => f.startsWith(`model_${s.kernel.name}`) || f.slice(0, 120).includes(s.kernel.name))!.choice, sparse = status === 'sparse-kernel';
      if (kernel.includes('wgmma')) {
        // two sparse products, or four dense ones, for each of a warp's tiles; in the loop for two blocks, and behind it for an odd one
        const all = f.match(/wgmma\.mma_async/g) ?? [], tiles = kernel.includes('256x') ? 2 : 1;
        expect(f.match(/wgmma\.mma_async\.sp\./g) ?? [], kernel).toHaveLength(sparse ? all.length : 0);
        expect(all, kernel).toHaveLength((sparse ? 2 : 4) * tiles * 3);
        expect(f).toMatch(/fence\.proxy\.async/);
      } else {
        expect(f.includes('mma.sp::ordered_metadata'), kernel).toBe(sparse);
        expect(f).toMatch(/ldmatrix/);
      }
      expect(f).toMatch(/cp\.async/);
      expect(f).not.toMatch(/(ld|st)\.local/);
    }
  }, 300_000);

  test('registers hold gathered products too', () => {
    const forms = [['spc_dense', false], ['spc_sparse', true]] as const, types = ['spc_f16', 'spc_tf32'] as const;
    const kernels = types.flatMap((element) => forms.flatMap(([form, sparse]) => {
      const rows = [8, `spc_rows<${element}, ${element === 'spc_f16' ? element : 'spc_f32'}, 4096, 4096>`] as const, features = [element === 'spc_f16' ? 64 : 32, `spc_features<${element}, 4096, 4096>`] as const;
      const ways = [...fitting(gpus[arch], tilings, sparse).flatMap((t) => [[t, ...rows], [t, ...features]] as const), ...('wgmma' in gpus[arch] ? warpgroupTilings.map((t) => [t, ...rows] as const) : [])];
      return ways.map(([{ bm, bn, warpsM, warpsN, stages, warpgroups }, list, source]) => {
        const weights = `spc_panels<${form}, ${bm / 16}, ${list}>`, product = `${warpgroups ? 'spc_wgmma_gemm' : 'spc_gemm'}<${[element, weights, bm, bn, warpsM, warpsN, stages].join(', ')}>`;
        return { name: `run<${product}, ${weights}, ${source}, ${element}, ${32 * warpsM * warpsN}>`, element };
      });
    }));
    const text = `#include "spc_gather.h"
#include "spc_wgmma.h"
template <class Product, class Weights, class Source, class Element, int THREADS> __global__ void __launch_bounds__(THREADS)
run(const unsigned char *__restrict__ tiles, const uint32_t *__restrict__ starts, const int32_t *__restrict__ columns, const typename Element::stored *__restrict__ x, const int32_t *__restrict__ order, float *__restrict__ y) {
  Product::run(Weights{tiles, starts, columns}, Source{x}, [&](const float (&v)[4], int m, int n) {
    SPC_UNROLL
    for (int i = 0; i < 4; i++) y[n * 4096 + order[m + i]] = v[i] > 0 ? v[i] : 0;
  });
}
template <class Element> __global__ void __launch_bounds__(256) transpose(const float *__restrict__ x, typename Element::stored *__restrict__ y) {
  spc_transpose<Element, 4096>::run(spc_rows<Element, spc_f32, 4096, 4096>{x}, y);
}
${types.map((t) => `template __global__ void transpose<${t}>(const float *__restrict__, typename ${t}::stored *__restrict__);`).join('\n')}
${kernels.map(({ name, element }) => `template __global__ void ${name}(const unsigned char *__restrict__, const uint32_t *__restrict__, const int32_t *__restrict__, const typename ${element}::stored *__restrict__, const int32_t *__restrict__, float *__restrict__);`).join('\n')}
`;
    writeFileSync(join(folder.path, 'gather.cu'), text);
    const told = mustExec('sh', ['-c', `${nvcc} -std=c++17 -O3 -arch=${arch} -cubin -Xptxas -v gather.cu -o gather.cubin 2>&1`], { cwd: folder.path });
    const spills = [...told.matchAll(/(\d+) bytes spill stores/g)].map((m) => Number(m[1]));
    expect(spills).toHaveLength(kernels.length + types.length);
    expect(spills.filter((bytes) => bytes !== 0)).toEqual([]);
  }, 300_000);
});

/** Columns, depth, rows, share of weights, and the kernel: those for weights with zeros anywhere. */
const unstructured = [[16, 1024, 256, 0.3, /bitmap/], [4, 1024, 256, 0.3, /bitmap/], [200, 512, 256, 0.02, /^rows in slices/], [200, 512, 256, 0.2, /and rows in slices/]] as const;

describe.skipIf(!hasNvcc).each(gpuNames.flatMap((arch) => (['f16', 'bf16', 'f32'] as const).map((type) => [arch, type] as const)))('%s %s: zeros anywhere', (arch, type) => {
  const folder = temporaryFolder(), g = new GraphBuilder('m');
  const outputs = unstructured.map(([n, k, m, share], i) => {
    const chance = randomNumbers(k * m, i + 1), x = g.map([g.input(`x${i}`, { dtype: 'f32', shape: [n, k] })], (e) => max(e, constant('f32', 0)));
    const [y] = g.op('matmul', [x, g.constant(tensorOf('f32', [k, m], chance.map((v) => ((v + 1) / 2 < share ? v : 0))))], { transA: false, transB: false, out: 'f32' });
    return { name: `y${i}`, value: y! };
  });
  const graph = g.finish(outputs), products = graph.nodes.filter((n) => n.kind === 'matmul').map((n) => n.outputs[0]);
  const rule = onlyRule(type, arch, (request, name) => unstructured[products.indexOf(request.node.outputs[0])]![4].test(name));
  const { files } = emitGraph(type === 'f32' ? graph : narrowActivations(type).run(graph, { report: () => undefined }), { ...cudaTarget('fp16', [arch]), kernels: [rule] }, 'model', 'file');
  writeProject(files, folder.path);
  afterAll(() => folder.dispose());

  test('registers hold everything', () => {
    const told = mustExec('sh', ['-c', `${nvcc} -std=c++17 -O3 -arch=${arch} -cubin -Xptxas -v model.cu -o model.cubin 2>&1`], { cwd: folder.path });
    const spills = [...told.matchAll(/Compiling entry function '\w*?(n\d+_matmul)[\s\S]*?(\d+) bytes spill stores/g)].map((m) => Number(m[2]));
    expect(spills).toEqual([0, 0, 0, 0, 0]);
  }, 300_000);
});
