/*
 * spc_timing.cu - built beside a model by `spc bench`: inferences on device buffers, launched one by one, or as replays of a CUDA graph that one
 * inference was captured into.
 */
#include <vector>

#include "spc_timing.h"

typedef spc_status (*spc_run_device)(spc_context *, const void *const *, void *const *, void *);

struct spc_timed {
  const spc_model_info *info;
  spc_run_device run;
  spc_context *context;
  spc_stream stream;
  spc_graph graph;
  std::vector<void *> inputs, outputs;
};

static spc_status launch(spc_timed *t, bool as_graph) {
  return as_graph ? spc_dev_replay(t->graph, t->stream) : t->run(t->context, (const void *const *)t->inputs.data(), t->outputs.data(), t->stream);
}

/* Device memory for a port, with `contents` where they are given. */
static void *port(const spc_tensor_info &info, const void *contents, spc_stream stream) {
  void *p = NULL;
  if (spc_dev_alloc(&p, info.bytes ? info.bytes : 1) != SPC_OK) return NULL;
  if (!contents || spc_dev_upload(p, contents, info.bytes, stream) == SPC_OK) return p;
  spc_dev_free(p);
  return NULL;
}

/* Outputs of one inference, on the host. Memory for outputs is filled with ones before, so that what is not written shows. */
static spc_status results(spc_timed *t, bool as_graph, std::vector<unsigned char> &all) {
  spc_status status = SPC_OK;
  for (size_t i = 0; i < t->outputs.size() && status == SPC_OK; i++) {
    const std::vector<unsigned char> ones(t->info->outputs[i].bytes, 0xFF);
    status = spc_dev_upload(t->outputs[i], ones.data(), ones.size(), t->stream);
    if (status == SPC_OK) status = spc_dev_sync(t->stream);
  }
  if (status == SPC_OK) status = launch(t, as_graph);
  for (size_t i = 0; i < t->outputs.size() && status == SPC_OK; i++) {
    const size_t at = all.size(), bytes = t->info->outputs[i].bytes;
    all.resize(at + bytes);
    status = spc_dev_download(all.data() + at, t->outputs[i], bytes, t->stream);
    if (status == SPC_OK) status = spc_dev_sync(t->stream);
  }
  return status;
}

extern "C" {

/* Name of the device; empty where there is none. */
const char *spc_timed_device(void) {
  static spc_device device;
  if (spc_dev_describe(&device) != SPC_OK) device.name[0] = 0;
  return device.name;
}

void spc_timed_close(spc_timed *t) {
  for (void *p : t->inputs) if (p) spc_dev_free(p);
  for (void *p : t->outputs) if (p) spc_dev_free(p);
  if (t->graph) spc_dev_graph_destroy(t->graph);
  spc_dev_stream_destroy(t->stream);
  delete t;
}

/* Uploads the inputs and captures one inference. The context must have no profile. NULL where something failed. */
spc_timed *spc_timed_open(const spc_model_info *info, spc_run_device run, spc_context *context, const void *const *inputs) {
  spc_timed *t = new spc_timed{info, run, context, NULL, NULL, {}, {}};
  if (spc_dev_stream_create(&t->stream) != SPC_OK) {
    delete t;
    return NULL;
  }
  bool fine = true;
  for (int32_t i = 0; i < info->input_count; i++) t->inputs.push_back(port(info->inputs[i], inputs[i], t->stream)), fine &= t->inputs.back() != NULL;
  for (int32_t i = 0; i < info->output_count; i++) t->outputs.push_back(port(info->outputs[i], NULL, t->stream)), fine &= t->outputs.back() != NULL;
  /* once before: what is set up at first use is no part of a graph */
  fine = fine && launch(t, false) == SPC_OK && spc_dev_sync(t->stream) == SPC_OK && spc_dev_capture_begin(t->stream) == SPC_OK;
  if (fine) {
    const spc_status launched = launch(t, false), captured = spc_dev_capture_end(t->stream, &t->graph);
    fine = launched == SPC_OK && captured == SPC_OK;
  }
  if (fine) return t;
  spc_timed_close(t);
  return NULL;
}

/* 1 where the graph gives the bits that launches give, 0 where it does not, -1 where something failed. */
int spc_timed_same(spc_timed *t) {
  std::vector<unsigned char> launched, replayed;
  return results(t, false, launched) != SPC_OK || results(t, true, replayed) != SPC_OK ? -1 : launched == replayed;
}

/* Seconds of back-to-back inferences, until the device has done them; negative where one failed. */
double spc_timed_run(spc_timed *t, int as_graph, long runs) {
  const auto start = std::chrono::steady_clock::now();
  for (long i = 0; i < runs; i++) if (launch(t, as_graph) != SPC_OK) return -1.0;
  if (spc_dev_sync(t->stream) != SPC_OK) return -1.0;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}
