/*
 * spc_dispatch.h - a model compiled for several architectures in one library: create takes the best that the machine has, and the
 * context remembers it. Included by the file of the model's own functions only.
 */
#ifndef SPC_DISPATCH_H
#define SPC_DISPATCH_H

#include "spc.h"

/* The model for one architecture. */
struct spc_path {
  int (*fits)(void); /* whether this machine has it */
  const spc_model_info *(*info)(void);
  spc_status (*create)(const spc_options *options, void *memory, spc_context **context);
  spc_status (*run)(spc_context *context, const void *const *inputs, void *const *outputs);
  void (*destroy)(spc_context *context);
  spc_status (*run_device)(spc_context *context, const void *const *inputs, void *const *outputs, void *stream); /* of GPUs */
};

/* Paths before this one are not taken: for tests of the others. */
#ifndef SPC_FIRST_PATH
#define SPC_FIRST_PATH 0
#endif

/* The first path, best first, that this machine can run; NULL: none. */
static inline const struct spc_path *spc_path_of(const struct spc_path *paths, int count) {
  for (int i = SPC_FIRST_PATH; i < count; ++i) {
    if (paths[i].fits()) return &paths[i];
  }
  return NULL;
}

/* A context begins with its path (spc_runtime.h, spc_cuda_context.h). */
static inline const struct spc_path **spc_path_in(spc_context *context) {
  return (const struct spc_path **)(void *)context;
}
#endif
