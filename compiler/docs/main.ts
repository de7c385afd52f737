/** `npm run docs`: writes the generated pages. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../emit/runtime-files.js';
import { pages } from './pages.js';

for (const [path, text] of pages()) writeFileSync(join(packageRoot(), path), text);
