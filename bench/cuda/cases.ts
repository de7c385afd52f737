/** What is measured on GPUs: single layers in f16, beside NVIDIA's libraries in the same process. A case is a row here. */

/** Products y[columns][rows] of a rows x depth matrix; of 3x3 convolutions (padded by 1) over images of size x size pixels. */
export type Shape =
  | { readonly kind: 'linear'; readonly rows: number; readonly depth: number; readonly columns: number }
  | { readonly kind: 'conv'; readonly rows: number; readonly channels: number; readonly size: number; readonly images: number };

/** Tensor cores of capability 8 (mma) and 9 (wgmma), whose dense libraries are not alike. */
export const generations = ['ampere', 'hopper'] as const;
export type Generation = (typeof generations)[number];

/** Least ratios of the peer's time to ours. */
export interface Goal {
  readonly must: number;
  readonly stretch: number;
}

export interface Case {
  readonly name: string;
  readonly shape: Shape;
  /** As `spc sparsify --pattern` takes it, of the matrix with a convolution's depth in the order (ky, kx, channel); or `dense`. */
  readonly pattern: string;
  /** First words of the kernel's name, as `spc compile --layout` takes them, to have another than the one that is predicted to be fastest. */
  readonly kernel?: string;
  /** Against cuBLAS. */
  readonly goals?: Readonly<Record<Generation, Goal>>;
}

const linear = (rows: number, depth: number, columns: number): Shape => ({ kind: 'linear', rows, depth, columns });
const nameOf = (s: Shape): string => (s.kind === 'linear' ? `linear ${s.rows}x${s.depth}, ${s.columns} ${s.columns === 1 ? 'column' : 'columns'}` : `conv3x3 ${s.channels} to ${s.rows}, ${s.images} images of ${s.size}x${s.size}`);

/** The shape with weights of a pattern. @param goals must and stretch on either generation; none: nothing is promised */
const layer = (shape: Shape, pattern: string, goals?: readonly [ampere: readonly [number, number], hopper: readonly [number, number]]): Case => {
  const goal = ([must, stretch]: readonly [number, number]): Goal => ({ must, stretch });
  return { name: `${nameOf(shape)}, ${pattern}`, shape, pattern, ...(goals ? { goals: { ampere: goal(goals[0]), hopper: goal(goals[1]) } } : {}) };
};

/** The shape with 2:4 weights, and with dense ones: what our own dense code is worth belongs beside it. */
const semiSparse = (shape: Shape, ...goals: readonly [(readonly [readonly [number, number], readonly [number, number]])?]): readonly Case[] => [layer(shape, '2:4', ...goals), layer(shape, 'dense')];

/** R rows of a product of graphs (16 here) share their columns; densities of its two sparse factors. */
const graphs = (outer: number, inner: number): string => `rbgp4(32x128:${outer},16x1,8x32:${inner},1x1)`;
const square = linear(4096, 4096, 4096);
/** V:N:M of 128:2:4n with neighbouring columns: 128 rows keep one of n fours of columns, 2:4 inside. */
const vnm = (n: number): string => `nest(leaf:128x4:1x${n}:1,2:4)`;
/** Goals of all patterns but 2:4: on either generation, and what is more than is asked for. */
const others: readonly (readonly [pattern: string, ampere: readonly [number, number], hopper: readonly [number, number]])[] = [
  ['block:32x32:0.75', [2.2, 3.0], [1.3, 2]], ['block:32x32:0.9', [4.5, 7], [3, 5]],
  [vnm(2), [2.4, 3.3], [1.5, 1.5]],
  [graphs(0.5, 0.5), [2, 2], [1.2, 1.2]], [graphs(0.5, 0.25), [3.5, 3.5], [2, 2]], [graphs(0.25, 0.25), [6, 6], [4, 4]],
  ['unstructured:0.7', [1.2, 1.4], [1, 1]], ['unstructured:0.8', [1.3, 1.5], [1, 1]], ['unstructured:0.9', [1.4, 1.6], [1, 1]],
];

const bert = [[768, 768], [2304, 768], [3072, 768], [768, 3072]] as const;

export const cases: readonly Case[] = [
  ...semiSparse(square, [[1.4, 1.65], [1.2, 1.45]]),
  ...bert.flatMap(([rows, depth]) => semiSparse(linear(rows, depth, 4096), [[1.3, 1.7], [1.1, 1.3]])),
  ...[64, 128, 256].flatMap((columns) => semiSparse(linear(4096, 4096, columns), [[1.2, 1.5], [1.1, 1.4]])),
  ...[1, 8].flatMap((columns) => semiSparse(linear(4096, 4096, columns), [[1.5, 1.7], [1.5, 1.7]])),
  ...semiSparse(linear(4096, 4096, 16)),
  ...([[0.5, 1.4, 1.78], [0.7, 2, 2.76], [0.9, 4, 6.2]] as const).flatMap(([sparsity, must, limit]) => [1, 8].map((columns) => layer(linear(4096, 4096, columns), `unstructured:${sparsity}`, [[must, limit], [must, limit]]))),
  ...others.map(([pattern, ...goals]) => layer(square, pattern, goals)),
  layer(linear(4096, 4080, 4096), vnm(5), [[4.5, 6.7], [3, 3]]),
  ...semiSparse({ kind: 'conv', rows: 256, channels: 256, size: 28, images: 16 }, [[1.1, 1.4], [1.0, 1.2]]),
];

/** Small enough for the emulation, to see that everything but times works. */
export const tinyCases: readonly Case[] = [
  { ...layer(linear(40, 256, 3), '2:4'), kernel: '2:4 decode' }, { ...layer(linear(48, 192, 20), 'dense'), kernel: 'gemm' },
  { ...layer({ kind: 'conv', rows: 16, channels: 16, size: 4, images: 2 }, '2:4'), kernel: '2:4 gemm' },
];

/** Rows, depth and columns of the product. */
export const productOf = (s: Shape): { readonly rows: number; readonly depth: number; readonly columns: number } =>
  (s.kind === 'linear' ? s : { rows: s.rows, depth: 9 * s.channels, columns: s.images * s.size * s.size });

/** Few columns: reading the weights takes the time, and a model has more of them than the second-level cache holds. */
export const isCold = (c: Case): boolean => productOf(c.shape).columns <= 16;
