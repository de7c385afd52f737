/** Measures one row in a process of its own, so that a crash costs one row. Arguments: what to measure as JSON, the file for the result. */
import { writeFileSync } from 'node:fs';
import { measure, type MeasureOptions } from './measure.js';
import type { RowKey } from './results.js';

export interface RowRequest {
  readonly key: RowKey;
  readonly options: MeasureOptions;
}

const [request, file] = process.argv.slice(2);
const { key, options } = JSON.parse(request!) as RowRequest;
try {
  writeFileSync(file!, JSON.stringify(await measure(key, options)));
} catch (error) {
  writeFileSync(file!, JSON.stringify({ status: 'failed', problem: error instanceof Error ? error.message : String(error) }));
}
