/** What is known of GPU architectures: by what kernels are chosen where there is no machine to measure on. */

export interface Gpu {
  /** Compute capability as nvcc's -arch has it. */
  readonly arch: string;
  readonly doc: string;
  /** Of the part that the figures below are from. */
  readonly multiprocessors: number;
  /** Shared memory that a block can have, in bytes. */
  readonly sharedBytes: number;
  /** Cycles a nanosecond, dense f16 multiply-adds a cycle and multiprocessor, and bytes of memory a nanosecond. */
  readonly clock: number;
  readonly macs: number;
  readonly bytesPerNanosecond: number;
}

/** The best last. CUDA C++ Programming Guide 13, table "Technical Specifications per Compute Capability"; clocks and rates from the data sheets of A100, RTX 3090 and H100. */
export const gpus = {
  sm_80: { arch: 'sm_80', doc: 'A100', multiprocessors: 108, sharedBytes: 163 << 10, clock: 1.41, macs: 1024, bytesPerNanosecond: 1555 },
  sm_86: { arch: 'sm_86', doc: 'RTX 30', multiprocessors: 82, sharedBytes: 99 << 10, clock: 1.7, macs: 512, bytesPerNanosecond: 936 },
  sm_90a: { arch: 'sm_90a', doc: 'H100', multiprocessors: 132, sharedBytes: 227 << 10, clock: 1.75, macs: 2048, bytesPerNanosecond: 3350 },
} as const satisfies Readonly<Record<string, Gpu>>;

export type GpuName = keyof typeof gpus;
export const gpuNames = Object.keys(gpus) as readonly GpuName[];
