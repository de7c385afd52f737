/*
 * spc_timing.h - what programs that time models use of CUDA beyond spc_cuda.h: graphs of captured work, a clock in the stream, and what the
 * device is. In the emulation graphs are recorded and replayed as on a device; times are its own and say nothing about any GPU.
 */
#ifndef SPC_TIMING_H
#define SPC_TIMING_H

#include <chrono>

#include "spc_cuda.h"

typedef struct {
  char name[256];
  int major, minor; /* compute capability; 0.0 of the emulation */
  int multiprocessors;
  size_t l2_bytes;
} spc_device;

#if defined(__CUDACC__)

static inline spc_status spc_dev_describe(spc_device *device) {
  int id = 0;
  cudaDeviceProp p;
  spc_status status = spc_dev_check(cudaGetDevice(&id));
  if (status == SPC_OK) status = spc_dev_check(cudaGetDeviceProperties(&p, id));
  if (status != SPC_OK) return status;
  memcpy(device->name, p.name, sizeof device->name);
  device->major = p.major;
  device->minor = p.minor;
  device->multiprocessors = p.multiProcessorCount;
  device->l2_bytes = (size_t)p.l2CacheSize;
  return SPC_OK;
}

typedef cudaGraphExec_t spc_graph;
/* What `s` is given until spc_dev_capture_end is not done but becomes a graph. */
static inline spc_status spc_dev_capture_begin(spc_stream s) { return spc_dev_check(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal)); }
static inline spc_status spc_dev_capture_end(spc_stream s, spc_graph *graph) {
  cudaGraph_t recorded = NULL;
  spc_status status = spc_dev_check(cudaStreamEndCapture(s, &recorded));
  if (status == SPC_OK) status = spc_dev_check(cudaGraphInstantiateWithFlags(graph, recorded, 0));
  if (recorded) cudaGraphDestroy(recorded);
  return status;
}
static inline spc_status spc_dev_replay(spc_graph graph, spc_stream s) { return spc_dev_check(cudaGraphLaunch(graph, s)); }
static inline void spc_dev_graph_destroy(spc_graph graph) { cudaGraphExecDestroy(graph); }

/* Seconds between two points of a stream. */
struct spc_clock {
  cudaEvent_t begin = NULL, end = NULL;
  spc_clock() { cudaEventCreate(&begin), cudaEventCreate(&end); }
  ~spc_clock() { cudaEventDestroy(begin), cudaEventDestroy(end); }
  spc_clock(const spc_clock &) = delete;
  void start(spc_stream s) { cudaEventRecord(begin, s); }
  /* Waits for what lies between. Negative where something failed. */
  double stop(spc_stream s) {
    float milliseconds = 0;
    cudaEventRecord(end, s);
    return cudaEventSynchronize(end) == cudaSuccess && cudaEventElapsedTime(&milliseconds, begin, end) == cudaSuccess ? 1e-3 * milliseconds : -1.0;
  }
};

#else /* the host emulation */

static inline spc_status spc_dev_describe(spc_device *device) {
  *device = {"emulation", 0, 0, 1, 1};
  return SPC_OK;
}

typedef std::vector<std::function<void()>> *spc_graph;
static inline spc_status spc_dev_capture_begin(spc_stream s) {
  if (!spc_emu::allowed()) return SPC_ERROR_DEVICE;
  *s = spc_emu::Stream();
  spc_emu::captured() = s;
  return SPC_OK;
}
static inline spc_status spc_dev_capture_end(spc_stream s, spc_graph *graph) {
  spc_emu::captured() = NULL;
  if (s->broken) return SPC_ERROR_DEVICE;
  *graph = new std::vector<std::function<void()>>(std::move(s->recorded));
  return SPC_OK;
}
static inline spc_status spc_dev_replay(spc_graph graph, spc_stream s) {
  for (const auto &work : *graph) spc_emu::submit(s, work);
  return SPC_OK;
}
static inline void spc_dev_graph_destroy(spc_graph graph) { delete graph; }

struct spc_clock {
  std::chrono::steady_clock::time_point begin;
  void start(spc_stream) { begin = std::chrono::steady_clock::now(); }
  double stop(spc_stream) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); }
};

#endif

#endif
