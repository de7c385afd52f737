/** A small host program around the C ABI: raw tensors from files in, raw tensors out. Tests and users' first runs. */

/** main.c (C11, also valid as C++) for model `name`; `top` is the comment at the head of every file. */
export function mainProgram(name: string, top: string): string {
  return `${top}/* usage: ${name}_main [-w weights.bin] input0.bin input1.bin ... ; raw row-major tensors in, <output index>.bin out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "${name}.h"

static int fail(const char *what) {
  fprintf(stderr, "${name}_main: %s\\n", what);
  return 1;
}

/* The block that malloc gave is remembered in front of the aligned memory. */
static void *aligned(size_t bytes, size_t alignment) {
  unsigned char *block = malloc(bytes + alignment + sizeof(void *));
  if (!block) return NULL;
  unsigned char *p = block + sizeof(void *);
  p += alignment - (uintptr_t)p % alignment;
  memcpy(p - sizeof block, &block, sizeof block);
  return p;
}
static void release(const void *p) {
  unsigned char *block;
  if (!p) return;
  memcpy(&block, (const unsigned char *)p - sizeof block, sizeof block);
  free(block);
}

static int read_file(const char *path, void *to, size_t bytes) {
  FILE *f = fopen(path, "rb");
  if (!f) return 0;
  const size_t got = fread(to, 1, bytes, f);
  fclose(f);
  return got == bytes;
}

int main(int argc, char **argv) {
  const spc_model_info *info = ${name}_info();
  spc_options options;
  memset(&options, 0, sizeof options);
  int next = 1;
  if (argc > 2 && strcmp(argv[1], "-w") == 0) {
    void *weights = aligned(info->weights_bytes, info->alignment);
    if (!weights || !read_file(argv[2], weights, info->weights_bytes)) return fail("cannot read the weights file");
    options.weights = weights;
    options.weights_bytes = info->weights_bytes;
    next = 3;
  }
  if (argc - next != info->input_count) return fail("wrong number of input files");
  const void **inputs = calloc((size_t)info->input_count + 1, sizeof *inputs);
  void **outputs = calloc((size_t)info->output_count + 1, sizeof *outputs);
  if (!inputs || !outputs) return fail("out of memory");
  for (int32_t i = 0; i < info->input_count; ++i) {
    void *p = aligned(info->inputs[i].bytes, info->alignment);
    if (!p || !read_file(argv[next + i], p, info->inputs[i].bytes)) return fail(argv[next + i]);
    inputs[i] = p;
  }
  for (int32_t i = 0; i < info->output_count; ++i) {
    outputs[i] = aligned(info->outputs[i].bytes, info->alignment);
    if (!outputs[i]) return fail("out of memory");
  }
  spc_context *context;
  if (${name}_create(&options, NULL, &context) != SPC_OK) return fail("create failed");
  if (${name}_run(context, inputs, outputs) != SPC_OK) return fail("run failed");
  ${name}_destroy(context);
  for (int32_t i = 0; i < info->output_count; ++i) {
    char path[32];
    snprintf(path, sizeof path, "%d.bin", (int)i);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(outputs[i], 1, info->outputs[i].bytes, f) != info->outputs[i].bytes) return fail("cannot write an output");
    fclose(f);
    printf("%s -> %s (%lu bytes)\\n", info->outputs[i].name, path, (unsigned long)info->outputs[i].bytes);
  }
  for (int32_t i = 0; i < info->input_count; ++i) release(inputs[i]);
  for (int32_t i = 0; i < info->output_count; ++i) release(outputs[i]);
  release(options.weights);
  free((void *)inputs);
  free((void *)outputs);
  return 0;
}
`;
}
