/*
 * spc_dispatch.h - a model compiled for several instruction sets in one library: create takes the best that the processor has, and the
 * context remembers it. Included by <name>.c only.
 */
#ifndef SPC_DISPATCH_H
#define SPC_DISPATCH_H

#include "spc.h"

/* The model for one instruction set. */
struct spc_path {
  int (*fits)(void); /* whether this processor has it */
  const spc_model_info *(*info)(void);
  spc_status (*create)(const spc_options *options, void *memory, spc_context **context);
  spc_status (*run)(spc_context *context, const void *const *inputs, void *const *outputs);
  void (*destroy)(spc_context *context);
};

/* Paths before this one are not taken: for tests of the others. */
#ifndef SPC_CPU_FIRST
#define SPC_CPU_FIRST 0
#endif

/* The first path, best first, that this processor can run; NULL: none. */
static inline const struct spc_path *spc_path_of(const struct spc_path *paths, int count) {
  for (int i = SPC_CPU_FIRST; i < count; ++i) {
    if (paths[i].fits()) return &paths[i];
  }
  return NULL;
}

/* A context begins with its path (spc_runtime.h). */
static inline const struct spc_path **spc_path_in(spc_context *context) {
  return (const struct spc_path **)(void *)context;
}
#endif
