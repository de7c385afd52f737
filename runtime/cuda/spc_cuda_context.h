/*
 * spc_cuda_context.h - the context of a model compiled for CUDA: one device allocation made at create (working memory, weights,
 * inputs, outputs), a stream, a clock for profiles. Included by <name>.cu only; everything is static.
 */
#ifndef SPC_CUDA_CONTEXT_H
#define SPC_CUDA_CONTEXT_H

#include <chrono>

#include "spc_cuda.h"

struct spc_context {
  const struct spc_path *path; /* of a model for several architectures (spc_dispatch.h): whose functions work on this; kept first */
  unsigned char *device;  /* the whole allocation */
  unsigned char *arena;   /* working memory of all steps */
  unsigned char *weights;
  unsigned char *ports;   /* inputs, then outputs, each aligned */
  spc_stream stream;
  double *profile;
  double step_start;
  void *owned;            /* host allocation to free, if create made it */
};

static inline double spc_seconds(void) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
/* A profile needs the stream to be empty at both ends of a step, so a profiled run is slower as a whole. */
static inline void spc_step_begin(spc_context *c, spc_stream stream) {
  if (!c->profile) return;
  spc_dev_sync(stream);
  c->step_start = spc_seconds();
}
static inline void spc_step_end(spc_context *c, spc_stream stream, int step) {
  if (!c->profile) return;
  spc_dev_sync(stream);
  c->profile[step] += spc_seconds() - c->step_start;
}

static inline size_t spc_align(size_t bytes, size_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

static inline void spc_cuda_destroy(spc_context *c) {
  if (!c) return;
  if (c->device) {
    spc_dev_stream_destroy(c->stream);
    spc_dev_free(c->device);
  }
  free(c->owned);
}

/* Bytes on the device for all inputs and outputs. */
static inline size_t spc_port_bytes(const spc_model_info *info) {
  size_t bytes = 0;
  for (int32_t i = 0; i < info->input_count; ++i) bytes += spc_align(info->inputs[i].bytes, info->alignment);
  for (int32_t i = 0; i < info->output_count; ++i) bytes += spc_align(info->outputs[i].bytes, info->alignment);
  return bytes;
}

/*
 * Shared part of <name>_create: host context, device memory, stream. The caller then uploads the weights.
 * `memory` holds the small host context only; device memory is always allocated here.
 */
static inline spc_status spc_cuda_create(const spc_model_info *info, size_t arena_bytes, size_t weight_bytes, const spc_options *options,
                                         void *memory, spc_context **context) {
  if (!context) return SPC_ERROR_ARGUMENT;
  *context = NULL;
  if ((uintptr_t)memory % info->alignment != 0) return SPC_ERROR_ARGUMENT;
  if (options && options->threads < 0) return SPC_ERROR_ARGUMENT;
  if (info->weights_bytes > 0 && (!options || !options->weights || options->weights_bytes != info->weights_bytes)) return SPC_ERROR_WEIGHTS;
  void *owned = NULL;
  if (!memory) {
    memory = owned = malloc(sizeof(spc_context));
    if (!memory) return SPC_ERROR_MEMORY;
  }
  spc_context *c = (spc_context *)memory;
  memset(c, 0, sizeof *c);
  c->owned = owned;
  c->profile = options ? options->profile : NULL;
  const size_t arena = spc_align(arena_bytes, info->alignment), weights = spc_align(weight_bytes, info->alignment);
  void *device = NULL;
  spc_status status = spc_dev_alloc(&device, arena + weights + spc_port_bytes(info) + info->alignment);
  if (status == SPC_OK && (status = spc_dev_stream_create(&c->stream)) != SPC_OK) spc_dev_free(device);
  if (status != SPC_OK) {
    free(owned);
    return status;
  }
  c->device = (unsigned char *)device;
  c->arena = (unsigned char *)spc_align((size_t)(uintptr_t)device, info->alignment);
  c->weights = c->arena + arena;
  c->ports = c->weights + weights;
  *context = c;
  return SPC_OK;
}

/* Host tensors in and out around `run`, which enqueues the model on device buffers. */
typedef spc_status (*spc_cuda_run)(spc_context *c, const void *const *inputs, void *const *outputs, void *stream);

static inline spc_status spc_cuda_run_host(spc_context *c, const spc_model_info *info, spc_cuda_run run, const void *const *inputs,
                                           void *const *outputs, const void **device_inputs, void **device_outputs) {
  if (!c || (info->input_count > 0 && !inputs) || (info->output_count > 0 && !outputs)) return SPC_ERROR_ARGUMENT;
  unsigned char *p = c->ports;
  spc_status status = SPC_OK;
  for (int32_t i = 0; i < info->input_count && status == SPC_OK; ++i) {
    device_inputs[i] = p;
    status = spc_dev_upload(p, inputs[i], info->inputs[i].bytes, c->stream);
    p += spc_align(info->inputs[i].bytes, info->alignment);
  }
  for (int32_t i = 0; i < info->output_count; ++i) {
    device_outputs[i] = p;
    p += spc_align(info->outputs[i].bytes, info->alignment);
  }
  if (status == SPC_OK) status = run(c, device_inputs, device_outputs, (void *)c->stream);
  for (int32_t i = 0; i < info->output_count && status == SPC_OK; ++i) {
    status = spc_dev_download(outputs[i], device_outputs[i], info->outputs[i].bytes, c->stream);
  }
  const spc_status finished = spc_dev_sync(c->stream);
  return status == SPC_OK ? finished : status;
}

#endif
