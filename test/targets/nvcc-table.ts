/**
 * `npm run nvcc:table -- model.onnx [--sparsify PATTERN] [--precision fp16]`: what NVIDIA's compiler makes of a model's kernels for tensor cores, for each architecture:
 * layers that have one, most registers of a thread and bytes spilled among them, and how many products of tensor cores its text has.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Table from 'cli-table3';
import { Command } from 'commander';
import { gpuNames } from '../../backends/cuda/gpu.js';
import type { Precision } from '../../backends/cuda/target.js';
import { compileModel, readModel } from '../../compiler/driver.js';
import { sparsifySource } from '../../compiler/sparsify-source.js';
import { hasNvcc, mustExec, nvcc, temporaryFolder, writeProject } from './support.js';

const program = new Command().argument('<model>').option('--sparsify <pattern>').option('--precision <type>', 'as of spc', 'fp16').parse();
const [path] = program.args, { sparsify, precision } = program.opts<{ readonly sparsify?: string; readonly precision: Precision }>();
if (!hasNvcc) program.error('nvcc was not found: npm run nvcc installs it');

const model = readModel(path!), source = sparsify === undefined ? model : sparsifySource(model, sparsify);
const table = new Table({ head: ['arch', 'kernel', 'layers', 'registers', 'spilled', 'mma', 'mma.sp', 'wgmma', 'wgmma.sp'], style: { head: [], border: [] } });
for (const arch of gpuNames) {
  const { files, manifest: { name, layers } } = compileModel(source, { target: 'cuda', precision, gpuArch: [arch], weights: 'file' }), folder = temporaryFolder();
  try {
    writeProject(files, folder.path);
    const build = (...flags: readonly string[]): string => mustExec('sh', ['-c', `${nvcc} -std=c++17 -O3 -arch=${arch} ${flags.join(' ')} ${name}.cu 2>&1`], { cwd: folder.path });
    const told = build('-cubin', '-Xptxas', '-v', '-o', 'model.cubin').split('Compiling entry function').slice(1);
    build('-ptx', '-o', 'model.ptx');
    const texts = readFileSync(join(folder.path, 'model.ptx'), 'utf8').split('.entry ').slice(1);
    const rows = new Map<string, { layers: number; registers: number; spilled: number; readonly counts: readonly number[] }>();
    for (const { kernel, schedule, status } of layers) {
      const count = (text: string, of: RegExp): number => text.match(of)?.length ?? 0, own = (all: readonly string[]): readonly string[] => all.filter((t) => new RegExp(`${name}_${kernel}(_\\d+|[^0-9a-z_]|PK|Ph)`).test(t.split('\n')[0]!));
      const [text] = own(texts).filter((t) => /mma/.test(t)), i = own(texts).indexOf(text ?? ''), [registers, spilled] = [/Used (\d+) registers/, /(\d+) bytes spill stores/].map((r) => Number(r.exec(own(told)[i] ?? '')?.[1]));
      if (status === 'reference' || text === undefined) continue;
      const row = rows.get(schedule);
      rows.set(schedule, {
        layers: (row?.layers ?? 0) + 1, registers: Math.max(row?.registers ?? 0, registers!), spilled: Math.max(row?.spilled ?? 0, spilled!),
        counts: [/\bmma\.sync/g, /\bmma\.sp/g, /wgmma\.mma_async\.sync/g, /wgmma\.mma_async\.sp/g].map((of) => count(text, of)),
      });
    }
    for (const [kernel, { layers: n, registers, spilled, counts }] of rows) table.push([arch, kernel, n, registers, spilled, ...counts]);
  } finally {
    folder.dispose();
  }
}
console.log(table.toString());
