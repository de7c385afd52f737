/** `npm run nvcc`: NVIDIA's compiler from its Python wheels, in a virtual environment of spc's cache folder, for machines without the CUDA toolkit. */
import { join } from 'node:path';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { nvccIn, privateNvccFolder } from '../../runtime/node/nvcc.js';
import { environmentOf } from '../support/python-environment.js';

const home = privateNvccFolder();
const made = await environmentOf(home, join(packageRoot(), 'test', 'targets', 'nvcc.txt'), () => console.error(`installing NVIDIA's compiler (its own licence: CUDA Toolkit EULA) in ${home}`));
const nvcc = 'absent' in made ? undefined : nvccIn(home);
if (nvcc === undefined) {
  console.error(`nvcc: ${'absent' in made ? made.absent : `not among what was installed in ${home}`}`);
  process.exitCode = 1;
} else {
  console.error('spc and its tests find it there; for other programs:');
  console.log(`export SPC_NVCC=${nvcc}`);
}
