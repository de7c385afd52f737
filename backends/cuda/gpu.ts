/** What is known of GPU architectures: by what kernels are chosen where there is no machine to measure on. */

/** Multiply-adds of f16 a cycle and multiprocessor: with all weights, and with 2:4 sparse ones, their zeros counted. */
export interface Rate {
  readonly dense: number;
  readonly sparse: number;
}

export interface Gpu {
  /** Compute capability as nvcc's -arch has it. */
  readonly arch: string;
  readonly doc: string;
  /** Of the part that the figures below are from. */
  readonly multiprocessors: number;
  /** Shared memory that a block can have, in bytes. */
  readonly sharedBytes: number;
  /** Cycles a nanosecond, and bytes of memory a nanosecond. */
  readonly clock: number;
  readonly bytesPerNanosecond: number;
  /** Of tensor cores by a warp's instructions; by a warpgroup's, where there are any. */
  readonly mma: Rate;
  readonly wgmma?: Rate;
}

/**
 * The best last. CUDA C++ Programming Guide 13, table "Technical Specifications per Compute Capability"; clocks and rates from the data sheets of A100, RTX 3090 and H100.
 * On an H100 a warp's instructions reach 0.63 of the rate (Luo et al., arXiv 2402.13499), and sparse ones 0.62 of the dense rate of warpgroups (NVIDIA/cutlass issue 1335).
 */
export const gpus = {
  sm_80: { arch: 'sm_80', doc: 'A100', multiprocessors: 108, sharedBytes: 163 << 10, clock: 1.41, bytesPerNanosecond: 1555, mma: { dense: 1024, sparse: 2048 } },
  sm_86: { arch: 'sm_86', doc: 'RTX 30', multiprocessors: 82, sharedBytes: 99 << 10, clock: 1.7, bytesPerNanosecond: 936, mma: { dense: 512, sparse: 1024 } },
  sm_90a: { arch: 'sm_90a', doc: 'H100', multiprocessors: 132, sharedBytes: 227 << 10, clock: 1.75, bytesPerNanosecond: 3350, mma: { dense: 1290, sparse: 1270 }, wgmma: { dense: 2048, sparse: 4096 } },
} as const satisfies Readonly<Record<string, Gpu>>;

export type GpuName = keyof typeof gpus;
export const gpuNames = Object.keys(gpus) as readonly GpuName[];

/** Compute capability that an architecture's code is made for; `exact`: it runs on no other, where else a later minor number of the same major one will do. */
export function capabilityOf(arch: GpuName): { readonly major: number; readonly minor: number; readonly exact: boolean } {
  const [, major, minor, exact] = /^sm_(\d+)(\d)(a?)$/.exec(arch)!;
  return { major: Number(major), minor: Number(minor), exact: exact === 'a' };
}

/** The best architecture whose code a GPU of this compute capability (as `9.0`) runs. */
export function archFor(capability: string): GpuName | undefined {
  const [major, minor] = capability.trim().split('.').map(Number) as [number, number];
  return gpuNames.filter((a) => { const own = capabilityOf(a); return own.major === major && (own.exact ? own.minor === minor : own.minor <= minor); }).at(-1);
}
