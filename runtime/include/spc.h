/*
 * spc.h - the C interface of every model that spc compiles. Stable within SPC_ABI_VERSION.
 *
 * A model <name> exports:
 *   const spc_model_info *<name>_info(void);
 *   spc_status <name>_create(const spc_options *options, void *memory, spc_context **context);
 *   spc_status <name>_run(spc_context *context, const void *const *inputs, void *const *outputs);
 *   void <name>_destroy(spc_context *context);
 *
 * All sizes are known before create: info()->context_bytes is how much memory create needs. Give it that memory (aligned to
 * info()->alignment), or NULL to have create allocate it. Nothing is allocated after create, nothing is printed, there are no
 * globals: contexts are independent, one context runs one inference at a time.
 */
#ifndef SPC_H
#define SPC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SPC_ABI_VERSION 1

typedef enum {
  SPC_OK = 0,
  SPC_ERROR_ARGUMENT = 1,  /* a null pointer, or misaligned memory */
  SPC_ERROR_MEMORY = 2,    /* allocation failed */
  SPC_ERROR_THREADS = 3,   /* threads could not be started */
  SPC_ERROR_WEIGHTS = 4,   /* weights missing, or not those of this model */
  SPC_ERROR_DEVICE = 5,    /* no fitting device, or it failed */
  SPC_ERROR_CPU = 6        /* the processor lacks the instructions that the model was compiled for */
} spc_status;

typedef enum {
  SPC_F32, SPC_F64, SPC_F16, SPC_BF16, SPC_I8, SPC_I16, SPC_I32, SPC_I64, SPC_U8, SPC_U16, SPC_U32, SPC_U64, SPC_BOOL
} spc_dtype;

typedef struct {
  const char *name;      /* the ONNX name */
  spc_dtype dtype;
  int32_t rank;
  const int64_t *shape;  /* row-major */
  size_t bytes;
} spc_tensor_info;

typedef struct {
  int32_t abi_version;
  const char *name;      /* of the model; with _ARCH, where it has code for several architectures, the one that this machine takes */
  int32_t input_count, output_count;
  const spc_tensor_info *inputs, *outputs;
  size_t context_bytes;  /* memory that create needs, working memory included */
  size_t alignment;      /* of that memory */
  size_t weights_bytes;  /* size of the weights file; 0 where weights are part of the code */
  int32_t step_count;    /* layers, for profiles */
  const char *const *step_names;
} spc_model_info;

/* Runs task(argument, begin, end) over a partition of 0..extent, returning when all of it is done. */
typedef void (*spc_task)(void *argument, long begin, long end);
typedef void (*spc_parallel_for)(void *user, spc_task task, void *argument, long extent);

typedef struct {
  int32_t threads;                /* 0 or 1: the calling thread only */
  spc_parallel_for parallel_for;  /* the caller's own scheduler; then `threads` is only its width */
  void *parallel_user;
  const void *weights;            /* contents of the weights file, where info()->weights_bytes > 0; kept, not copied */
  size_t weights_bytes;
  double *profile;                /* step_count seconds, added to by every run; NULL for no profile */
} spc_options;

typedef struct spc_context spc_context;

#ifdef __cplusplus
}
#endif
#endif
