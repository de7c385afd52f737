/** Where NVIDIA's compiler is: named, installed, or in a folder of its own, made of NVIDIA's wheels (`npm run nvcc`). */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { defaultCacheDir } from './cache-folder.js';

/** What nvcc is made of as Python packages: itself, its headers, its back end, the runtime that programs link, and the C++ library. */
export const nvccPackages = ['nvidia-cuda-nvcc', 'nvidia-cuda-crt', 'nvidia-nvvm', 'nvidia-cuda-runtime', 'nvidia-cuda-cccl'] as const;

/** The virtual environment in which spc looks for them. Need not exist. */
export const privateNvccFolder = (): string => join(defaultCacheDir(), 'nvcc');

/** nvcc within a virtual environment that holds the packages; their folders have versions in their names. */
export function nvccIn(environment: string): string | undefined {
  const lib = join(environment, 'lib'), entries = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder).sort().reverse() : []);
  for (const python of entries(lib)) {
    const nvidia = join(lib, python, 'site-packages', 'nvidia');
    for (const toolkit of entries(nvidia)) if (existsSync(join(nvidia, toolkit, 'bin', 'nvcc'))) return join(nvidia, toolkit, 'bin', 'nvcc');
  }
  return undefined;
}

/** Commands that may be nvcc, the first that works is taken: what $SPC_NVCC names and nothing else, or the one in PATH, or the private one. */
export function nvccCommands(): readonly string[] {
  const named = process.env['SPC_NVCC'], own = nvccIn(privateNvccFolder());
  return named ? [named] : ['nvcc', ...(own === undefined ? [] : [own])];
}
