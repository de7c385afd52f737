/*
 * spc_cuda.h - all that compiled models use of CUDA, in two versions with one meaning: nvcc's, and the host emulation of
 * spc_emu.h for every other compiler. Kernels use threadIdx, blockIdx, blockDim, gridDim, __syncthreads and what is defined here,
 * nothing else; the host side uses spc_dev_*, never the CUDA runtime itself.
 */
#ifndef SPC_CUDA_H
#define SPC_CUDA_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spc.h"

#define SPC_WARP_SIZE 32
/* Threads in a block of a one-dimensional kernel, and the most blocks it is launched with (further elements: grid-stride loop). */
#ifndef SPC_THREADS
#define SPC_THREADS 128
#endif
#ifndef SPC_MAX_BLOCKS
#define SPC_MAX_BLOCKS 4096
#endif

#if defined(__CUDACC__)

#include <cuda_runtime.h>

#define SPC_DEVICE static __device__ __forceinline__
#define SPC_MEMBER __device__ __forceinline__
#define SPC_UNROLL _Pragma("unroll")
#define SPC_ROLL _Pragma("unroll 1")
/* SPC_LAUNCH(kernel, blocks, threads, bytes of dynamic shared memory, stream, arguments...) */
#define SPC_LAUNCH(kernel, grid, block, shared, stream, ...) kernel<<<grid, block, shared, stream>>>(__VA_ARGS__)
/* Lets a kernel have so many bytes of dynamic shared memory; SPC_ERROR_DEVICE where it was built for no architecture that fits the device. */
#define SPC_PREPARE(kernel, shared) spc_dev_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared))
/* Declares the dynamic shared memory of a kernel as `unsigned char *name`; what descriptors of warpgroups name is aligned to 1024 bytes. */
#define SPC_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]

/* The value of lane (own lane xor mask). All 32 lanes must take part. */
template <class T> SPC_DEVICE T spc_shuffle_xor(T value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
/* The value of lane (own lane - distance); its own where there is no such lane. */
template <class T> SPC_DEVICE T spc_shuffle_up(T value, unsigned distance) { return __shfl_up_sync(0xffffffffu, value, distance); }
/* The value of one lane, for all. */
template <class T> SPC_DEVICE T spc_shuffle(T value, int lane) { return __shfl_sync(0xffffffffu, value, lane); }
/* What lanes of the warp wrote to memory before is what all of them read after. */
SPC_DEVICE void spc_warp_barrier() { __syncwarp(); }

typedef cudaStream_t spc_stream;
static inline spc_status spc_dev_check(cudaError_t e) { return e == cudaSuccess ? SPC_OK : e == cudaErrorMemoryAllocation ? SPC_ERROR_MEMORY : SPC_ERROR_DEVICE; }
static inline spc_status spc_dev_alloc(void **p, size_t bytes) { return spc_dev_check(cudaMalloc(p, bytes)); }
static inline void spc_dev_free(void *p) { cudaFree(p); }
static inline spc_status spc_dev_upload(void *to, const void *from, size_t bytes, spc_stream s) { return spc_dev_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, s)); }
static inline spc_status spc_dev_download(void *to, const void *from, size_t bytes, spc_stream s) { return spc_dev_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, s)); }
static inline spc_status spc_dev_stream_create(spc_stream *s) { return spc_dev_check(cudaStreamCreateWithFlags(s, cudaStreamNonBlocking)); }
static inline void spc_dev_stream_destroy(spc_stream s) { cudaStreamDestroy(s); }
static inline spc_status spc_dev_sync(spc_stream s) { return spc_dev_check(cudaStreamSynchronize(s)); }
/* Whether the current device runs code for compute capability major.minor: the same, or a later minor one of the same major; `exact`: no other. */
static inline int spc_dev_fits(int major, int minor, int exact) {
  int device, own_major, own_minor;
  if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetAttribute(&own_major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&own_minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) return 0;
  return own_major == major && (exact ? own_minor == minor : own_minor >= minor);
}
/* Whether a launch since the last call was refused. */
static inline spc_status spc_dev_launch_status(void) { return spc_dev_check(cudaGetLastError()); }

#else /* the host emulation */

#include "spc_emu.h"

#define SPC_DEVICE static inline
#define SPC_MEMBER inline
#define SPC_UNROLL
#define SPC_ROLL
#define SPC_LAUNCH(kernel, grid, block, shared, stream, ...) \
  spc_emu::submit(stream, spc_emu::bound(&spc_emu::launch, dim3(grid), dim3(block), shared, spc_emu::bound(kernel, __VA_ARGS__)))
#define SPC_PREPARE(kernel, shared) ((void)(kernel), SPC_OK)
#define SPC_SHARED(name) unsigned char *name = spc_emu::current_launch()->shared

/* `from(lane)` is the lane whose value it gets. */
template <class T, class From> SPC_DEVICE T spc_shuffle_lanes(int operation, T value, From from) {
  static_assert(sizeof(T) == 4, "shuffles move 32 bits");
  uint32_t in, out;
  memcpy(&in, &value, 4);
  spc_emu::collective(operation, &in, 1, &out, 1, 0, [from](spc_emu::Warp &w) {
    for (int lane = 0; lane < SPC_WARP_SIZE; lane++) w.out[lane][0] = w.in[from(lane)][0];
  });
  T result;
  memcpy(&result, &out, 4);
  return result;
}
template <class T> SPC_DEVICE T spc_shuffle_xor(T value, int mask) { return spc_shuffle_lanes(100 + mask, value, [mask](int lane) { return lane ^ mask; }); }
template <class T> SPC_DEVICE T spc_shuffle_up(T value, unsigned distance) {
  return spc_shuffle_lanes(400 + (int)distance, value, [distance](int lane) { return lane < (int)distance ? lane : lane - (int)distance; });
}
template <class T> SPC_DEVICE T spc_shuffle(T value, int lane) { return spc_shuffle_lanes(500 + lane, value, [lane](int) { return lane; }); }
SPC_DEVICE void spc_warp_barrier() { spc_emu::collective(99, nullptr, 0, nullptr, 0, 0, [](spc_emu::Warp &) {}); }

typedef spc_emu::Stream *spc_stream;
static inline spc_status spc_dev_alloc(void **p, size_t bytes) {
  *p = spc_emu::allowed() ? malloc(bytes) : NULL;
  if (*p) memset(*p, 0xFF, bytes);
  return *p ? SPC_OK : SPC_ERROR_MEMORY;
}
static inline void spc_dev_free(void *p) { free(p); }
static inline spc_status spc_dev_upload(void *to, const void *from, size_t bytes, spc_stream s) { spc_emu::submit(s, spc_emu::bound(memcpy, to, from, bytes)); return SPC_OK; }
static inline spc_status spc_dev_download(void *to, const void *from, size_t bytes, spc_stream s) { return spc_dev_upload(to, from, bytes, s); }
static inline spc_status spc_dev_stream_create(spc_stream *s) { *s = new spc_emu::Stream; return SPC_OK; }
static inline void spc_dev_stream_destroy(spc_stream s) { delete s; }
static inline spc_status spc_dev_sync(spc_stream) { return spc_emu::allowed() ? SPC_OK : SPC_ERROR_DEVICE; }
static inline int spc_dev_fits(int, int, int) { return 1; }
static inline spc_status spc_dev_launch_status(void) { return SPC_OK; }

#endif

#include "spc_scalar.hpp"
#include "spc_element.h"
#if defined(__CUDACC__)
#include "spc_ptx.h"
#else
#include "spc_emu_ptx.h"
#include "spc_emu_wgmma.h"
#endif

/* Index of this thread in a one-dimensional grid, and the grid's size: the start and the step of a grid-stride loop. */
template <class I> SPC_DEVICE I spc_thread_index() { return (I)blockIdx.x * (I)blockDim.x + (I)threadIdx.x; }
template <class I> SPC_DEVICE I spc_thread_count() { return (I)gridDim.x * (I)blockDim.x; }
/* Blocks for `extent` independent elements. */
static inline unsigned spc_blocks(int64_t extent) {
  const int64_t wanted = (extent + SPC_THREADS - 1) / SPC_THREADS;
  return (unsigned)(wanted < SPC_MAX_BLOCKS ? wanted : SPC_MAX_BLOCKS);
}

#endif
