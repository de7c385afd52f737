/** The order in which row blocks take the output rows: rows with common columns together, since they share the loads of x. */
import type { StreamProduct } from './product.js';

/** Rows group by group. Each row has its own address in the code, so that no order costs anything at run time. */
export const rowOrder = (p: StreamProduct): number[] => Array.from({ length: p.rows }, (_, r) => r);
