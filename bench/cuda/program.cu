/*
 * Times one layer that spc compiled (a model called `layer`, linked in) beside NVIDIA's libraries, in one process: y[n][m] = sum over k of w[m][k] x[n][k],
 * everything in f16, sums in f32.
 *
 *   program ROWS DEPTH COLUMNS PATTERN warm|cold ROUNDS BLOCK_MILLISECONDS
 *
 * In the working folder: layer_weights.bin (as the model reads it), dense.f16 (w), input.f16 (the model's input), and where that is not x already
 * (a convolution: x are its windows) columns.f16.
 *
 * Each engine's launches are captured into a graph, so that no host overhead is in the times. In every round each engine runs one block of replays between two
 * events of the stream, in turns, after a warm-up of a fifth of it. `cold`: launches read copies of the weights in turn that are together more than twice the
 * second-level cache. `again` is spc a second time: how far its times are from spc's is what a difference means on this machine. Clocks are as they are.
 *
 * Prints JSON, one object a line: the device, the check of results, then each engine. Libraries are loaded at run time, so that one that is missing is reported, not
 * an error. Built by a C++ compiler the layer is emulated, there are no libraries, and times say nothing.
 */
#include <math.h>
#include <stdio.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "spc_timing.h"

extern "C" {
spc_status layer_create(const spc_options *options, void *memory, spc_context **context);
spc_status layer_run_device(spc_context *context, const void *const *inputs, void *const *outputs, void *stream);
void layer_destroy(spc_context *context);
}

typedef std::vector<uint16_t> halves;

[[noreturn]] static void fail(const std::string &what) {
  printf("{\"failed\":\"%s\"}\n", what.c_str());
  exit(1);
}
static void must(spc_status status, const std::string &what) {
  if (status != SPC_OK) fail(what + ": status " + std::to_string((int)status));
}

template <class T> static bool read_file(const char *path, std::vector<T> &contents) {
  FILE *file = fopen(path, "rb");
  if (!file) return false;
  fseek(file, 0, SEEK_END);
  contents.resize((size_t)ftell(file) / sizeof(T));
  rewind(file);
  const size_t got = fread(contents.data(), sizeof(T), contents.size(), file);
  fclose(file);
  return got == contents.size();
}

/* What the bits of an f16 stand for; infinity is NaN, too. */
static double value(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 31) return NAN;
  return (bits >> 15 ? -1.0 : 1.0) * ldexp(exponent ? 1024 + fraction : fraction, (exponent ? exponent : 1) - 25);
}

struct problem {
  size_t rows, depth, columns;
  std::string pattern;
  halves dense, x;
  size_t outputs() const { return rows * columns; }
};

/* Memory on the device, for as long as the program runs. */
static void *on_device(size_t bytes, const void *contents, spc_stream stream) {
  void *p = NULL;
  must(spc_dev_alloc(&p, bytes), "memory on the device");
  if (contents) must(spc_dev_upload(p, contents, bytes, stream), "upload");
  must(spc_dev_sync(stream), "upload");
  return p;
}

struct engine {
  std::string name, about; /* `about`: version, or why it does not run */
  size_t weight_bytes;     /* of one copy */
  int sets;                /* copies */
  std::function<spc_status(int set)> launch; /* enqueues the product with that copy; none where the engine does not run */
  const void *y;
  spc_graph graph;
  int launches; /* in the graph */
  long replays; /* in a block */
  std::vector<double> seconds; /* a launch, by block */
};

static engine absent(const char *name, const std::string &why) { return {name, why, 0, 0, nullptr, NULL, NULL, 0, 0, {}}; }

/* Copies of so many bytes that are together more than twice the cache. */
static int sets_for(size_t bytes, size_t cache, bool cold) { return cold ? (int)(2 * cache / bytes) + 2 : 1; }

/* ---- engines ---- */

static engine spc_engine(const problem &p, size_t cache, bool cold, spc_stream stream) {
  std::vector<unsigned char> packed;
  halves input;
  if (!read_file("layer_weights.bin", packed) || !read_file("input.f16", input)) fail("files of the layer are missing");
  spc_options options = {};
  options.weights = packed.data();
  options.weights_bytes = packed.size();
  const int sets = sets_for(packed.size(), cache, cold);
  std::vector<spc_context *> contexts((size_t)sets);
  for (spc_context *&context : contexts) must(layer_create(&options, NULL, &context), "layer_create");
  const void *x = on_device(input.size() * 2, input.data(), stream);
  void *y = on_device(p.outputs() * 2, NULL, stream);
  return {"spc", "", packed.size(), sets, [=](int set) { return layer_run_device(contexts[(size_t)set], &x, &y, stream); }, y, NULL, 0, 0, {}};
}

#if defined(__CUDACC__) && !defined(_WIN32)
#include <dlfcn.h>

/* The first of these libraries that is there. */
static void *open_library(const std::vector<const char *> &names) {
  for (const char *name : names)
    if (void *library = dlopen(name, RTLD_NOW)) return library;
  return NULL;
}
template <class F> static F function(void *library, const char *name) { return (F)dlsym(library, name); }
#define SPC_FUNCTION(library, name) function<decltype(&name)>(library, #name)
#endif

#if defined(__CUDACC__) && !defined(_WIN32) && __has_include(<cublas_v2.h>)
#include <cublas_v2.h>

/* In column-major terms y is w' x: w as it lies is depth x rows, transposed. The layout that cuBLAS is fastest with. */
static engine cublas_engine(const problem &p, size_t cache, bool cold, const void *x, spc_stream stream) {
  /* the header overloads it, so that its type has to be written down */
  typedef cublasStatus_t (*gemm_ex)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void *, const void *, cudaDataType, int, const void *, cudaDataType, int,
                                    const void *, void *, cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);
  void *library = open_library({"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"});
  if (!library) return absent("cublas", "libcublas.so is not found");
  const gemm_ex gemm = function<gemm_ex>(library, "cublasGemmEx");
  const auto create = SPC_FUNCTION(library, cublasCreate_v2);
  const auto set_stream = SPC_FUNCTION(library, cublasSetStream_v2);
  const auto set_workspace = SPC_FUNCTION(library, cublasSetWorkspace_v2);
  const auto get_version = SPC_FUNCTION(library, cublasGetVersion_v2);
  cublasHandle_t handle = NULL;
  int version = 0;
  if (!gemm || !create || !set_stream || !set_workspace || !get_version || create(&handle)) return absent("cublas", "libcublas.so cannot be used");
  /* as much as its documentation asks for on the largest devices; a workspace of its own could not be captured */
  const size_t room = (size_t)32 << 20;
  set_stream(handle, stream);
  set_workspace(handle, on_device(room, NULL, stream), room);
  get_version(handle, &version);
  const size_t bytes = p.dense.size() * 2;
  const int sets = sets_for(bytes, cache, cold);
  std::vector<const void *> w;
  for (int i = 0; i < sets; i++) w.push_back(on_device(bytes, p.dense.data(), stream));
  void *y = on_device(p.outputs() * 2, NULL, stream);
  const int m = (int)p.rows, n = (int)p.columns, k = (int)p.depth;
  auto launch = [=](int set) {
    const float one = 1.0f, zero = 0.0f;
    return gemm(handle, CUBLAS_OP_T, CUBLAS_OP_N, m, n, k, &one, w[(size_t)set], CUDA_R_16F, k, x, CUDA_R_16F, k, &zero, y, CUDA_R_16F, m, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) ? SPC_ERROR_DEVICE : SPC_OK;
  };
  return {"cublas", "cuBLAS " + std::to_string(version), bytes, sets, launch, y, NULL, 0, 0, {}};
}
#else
static engine cublas_engine(const problem &, size_t, bool, const void *, spc_stream) { return absent("cublas", "built without its header"); }
#endif

#if defined(__CUDACC__) && !defined(_WIN32) && __has_include(<cusparseLt.h>)
#include <cusparseLt.h>

/* Sparse by dense, the library's fastest algorithm by its own search. The layouts are those of cuBLAS above. */
static engine cusparselt_engine(const problem &p, size_t cache, bool cold, const void *x, spc_stream stream) {
  if (p.pattern != "2:4") return absent("cusparselt", "the weights are not 2:4");
  void *library = open_library({"libcusparseLt.so.0", "libcusparseLt.so"});
  if (!library) return absent("cusparselt", "libcusparseLt.so is not found");
  const auto init = SPC_FUNCTION(library, cusparseLtInit);
  const auto get_version = SPC_FUNCTION(library, cusparseLtGetVersion);
  const auto sparse_matrix = SPC_FUNCTION(library, cusparseLtStructuredDescriptorInit);
  const auto dense_matrix = SPC_FUNCTION(library, cusparseLtDenseDescriptorInit);
  const auto describe = SPC_FUNCTION(library, cusparseLtMatmulDescriptorInit);
  const auto select = SPC_FUNCTION(library, cusparseLtMatmulAlgSelectionInit);
  const auto plan_for = SPC_FUNCTION(library, cusparseLtMatmulPlanInit);
  const auto workspace_for = SPC_FUNCTION(library, cusparseLtMatmulGetWorkspace);
  const auto compressed_size = SPC_FUNCTION(library, cusparseLtSpMMACompressedSize);
  const auto compress = SPC_FUNCTION(library, cusparseLtSpMMACompress);
  const auto search = SPC_FUNCTION(library, cusparseLtMatmulSearch);
  const auto multiply = SPC_FUNCTION(library, cusparseLtMatmul);
  if (!init || !get_version || !sparse_matrix || !dense_matrix || !describe || !select || !plan_for || !workspace_for || !compressed_size || !compress || !search || !multiply)
    return absent("cusparselt", "libcusparseLt.so cannot be used");

  /* for as long as the program runs, as the plan points at them */
  static cusparseLtHandle_t handle;
  static cusparseLtMatDescriptor_t a, b, c;
  static cusparseLtMatmulDescriptor_t product;
  static cusparseLtMatmulAlgSelection_t selection;
  static cusparseLtMatmulPlan_t plan;
  const int64_t m = (int64_t)p.rows, n = (int64_t)p.columns, k = (int64_t)p.depth;
  const float one = 1.0f, zero = 0.0f;
  if (init(&handle)) return absent("cusparselt", "the library does not start on this device");
  if (sparse_matrix(&handle, &a, k, m, k, 16, CUDA_R_16F, CUSPARSE_ORDER_COL, CUSPARSELT_SPARSITY_50_PERCENT) || dense_matrix(&handle, &b, k, n, k, 16, CUDA_R_16F, CUSPARSE_ORDER_COL) ||
      dense_matrix(&handle, &c, m, n, m, 16, CUDA_R_16F, CUSPARSE_ORDER_COL) ||
      describe(&handle, &product, CUSPARSE_OPERATION_TRANSPOSE, CUSPARSE_OPERATION_NON_TRANSPOSE, &a, &b, &c, &c, CUSPARSE_COMPUTE_32F) ||
      select(&handle, &selection, &product, CUSPARSELT_MATMUL_ALG_DEFAULT) || plan_for(&handle, &plan, &product, &selection))
    return absent("cusparselt", "the library does not take these sizes");
  size_t bytes = 0, extra = 0, room = 0;
  if (compressed_size(&handle, &plan, &bytes, &extra)) return absent("cusparselt", "the library cannot compress the weights");
  void *dense = on_device(p.dense.size() * 2, p.dense.data(), stream), *scratch = on_device(extra ? extra : 16, NULL, stream), *y = on_device(p.outputs() * 2, NULL, stream);
  const int sets = sets_for(bytes, cache, cold);
  std::vector<void *> w;
  for (int i = 0; i < sets; i++) {
    w.push_back(on_device(bytes, NULL, stream));
    if (compress(&handle, &plan, dense, w.back(), scratch, stream)) return absent("cusparselt", "the library cannot compress the weights");
  }
  cudaStream_t own = stream;
  if (search(&handle, &plan, &one, w[0], x, &zero, y, y, NULL, &own, 1) || workspace_for(&handle, &plan, &room) || spc_dev_sync(stream) != SPC_OK) return absent("cusparselt", "the search for an algorithm fails");
  void *workspace = room ? on_device(room, NULL, stream) : NULL;
  int version = 0;
  get_version(&handle, &version);
  auto launch = [=](int set) {
    cudaStream_t s = stream;
    const float alpha = 1.0f, beta = 0.0f;
    return multiply(&handle, &plan, &alpha, w[(size_t)set], x, &beta, y, y, workspace, &s, 1) ? SPC_ERROR_DEVICE : SPC_OK;
  };
  return {"cusparselt", "cuSPARSELt " + std::to_string(version), bytes, sets, launch, y, NULL, 0, 0, {}};
}
#else
static engine cusparselt_engine(const problem &, size_t, bool, const void *, spc_stream) { return absent("cusparselt", "built without its header"); }
#endif

/* ---- are results right? ---- */

static halves results(const engine &e, size_t count, spc_stream stream) {
  halves y(count, 0xFFFF);
  must(spc_dev_upload((void *)e.y, y.data(), count * 2, stream), "upload");
  must(e.launch(e.sets - 1), e.name);
  must(spc_dev_download(y.data(), e.y, count * 2, stream), "download");
  must(spc_dev_sync(stream), e.name);
  return y;
}

/* Elements that are compared with sums in double precision; all, where there are fewer. */
static const size_t SAMPLES = 8192;

/*
 * The largest share of its tolerance that an element's error takes. The tolerance is half a unit of f16 at the result, and 2^-20 of the sum of
 * magnitudes for sums in f32 in any order.
 */
static double worst_share(const problem &p, const halves &y) {
  double worst = 0;
  const size_t count = std::min(p.outputs(), SAMPLES);
  for (size_t i = 0; i < count; i++) {
    /* another column and another row each time, all where there are no more */
    const size_t at = count == p.outputs() ? i : (i * 2654435761u + 12345) % p.outputs(), n = at / p.rows, m = at % p.rows;
    double sum = 0, magnitude = 0;
    for (size_t k = 0; k < p.depth; k++) {
      const double product = value(p.dense[m * p.depth + k]) * value(p.x[n * p.depth + k]);
      sum += product;
      magnitude += fabs(product);
    }
    const double share = fabs(value(y[at]) - sum) / (fabs(sum) * 0x1p-11 + magnitude * 0x1p-20 + 0x1p-24);
    if (!(share <= worst)) worst = std::isnan(share) ? INFINITY : share;
  }
  return worst;
}

/* Of all elements: the largest difference, over the largest result. */
static double difference(const halves &a, const halves &b) {
  double largest = 0, most = 0;
  for (size_t i = 0; i < a.size(); i++) {
    const double x = value(a[i]), d = fabs(x - value(b[i]));
    largest = std::max(largest, fabs(x));
    if (!(d <= most)) most = std::isnan(d) ? INFINITY : d;
  }
  return most / largest;
}
/* Two roundings to f16 of sums that are nearly the same. */
static const double MOST_DIFFERENCE = 0x1p-9;

static void check(const problem &p, const std::vector<engine> &engines, spc_stream stream) {
  const halves ours = results(engines[0], p.outputs(), stream);
  for (const engine &e : engines) {
    if (!e.launch || e.name == "again") continue;
    const halves y = results(e, p.outputs(), stream);
    const double share = worst_share(p, y), apart = difference(ours, y);
    if (!(share <= 1.0)) fail(e.name + " is wrong: an error is " + std::to_string(share) + " of what is tolerated");
    if (!(apart <= MOST_DIFFERENCE)) fail(e.name + " and spc differ by " + std::to_string(apart) + " of the largest result");
    printf("{\"check\":\"%s\",\"worstShare\":%.4g,\"difference\":%.4g}\n", e.name.c_str(), share, apart);
  }
}

/* ---- times ---- */

/* Launches in a graph: enough that starting it does not count. */
static const int FEWEST_LAUNCHES = 16;
static const double WARM_UP = 0.2;

static void capture(engine &e, spc_stream stream) {
  e.launches = (FEWEST_LAUNCHES + e.sets - 1) / e.sets * e.sets;
  must(spc_dev_capture_begin(stream), "capture of " + e.name);
  spc_status status = SPC_OK;
  for (int i = 0; i < e.launches && status == SPC_OK; i++) status = e.launch(i % e.sets);
  const spc_status ended = spc_dev_capture_end(stream, &e.graph);
  must(status == SPC_OK ? ended : status, "capture of " + e.name);
}

/* Seconds of so many replays. */
static double replay(const engine &e, long count, spc_stream stream) {
  static spc_clock clock;
  clock.start(stream);
  for (long i = 0; i < count; i++) must(spc_dev_replay(e.graph, stream), e.name);
  const double seconds = clock.stop(stream);
  if (seconds < 0) fail(e.name + " failed while it was timed");
  return seconds;
}

static void calibrate(engine &e, double block, spc_stream stream) {
  replay(e, 1, stream);
  const double once = std::max(replay(e, 2, stream) / 2, 1e-7);
  e.replays = std::max(1L, (long)(block / once + 0.5));
}

static void measure(std::vector<engine *> &engines, int rounds, spc_stream stream) {
  for (int round = 0; round < rounds; round++)
    for (size_t i = 0; i < engines.size(); i++) {
      /* each engine is first as often as any other */
      engine &e = *engines[(i + (size_t)round) % engines.size()];
      replay(e, (long)ceil(WARM_UP * (double)e.replays), stream);
      e.seconds.push_back(replay(e, e.replays, stream) / (double)e.replays / e.launches);
    }
}

static void print(const engine &e) {
  printf("{\"engine\":\"%s\",\"about\":\"%s\"", e.name.c_str(), e.about.c_str());
  if (e.launch) {
    printf(",\"weightBytes\":%zu,\"sets\":%d,\"launchesPerBlock\":%ld,\"us\":[", e.weight_bytes, e.sets, e.replays * e.launches);
    for (size_t i = 0; i < e.seconds.size(); i++) printf("%s%.6g", i ? "," : "", e.seconds[i] * 1e6);
    printf("]");
  }
  printf("}\n");
}

int main(int count, char **arguments) {
  if (count != 8) fail("seven arguments are wanted");
  problem p = {strtoul(arguments[1], NULL, 10), strtoul(arguments[2], NULL, 10), strtoul(arguments[3], NULL, 10), arguments[4], {}, {}};
  const bool cold = !strcmp(arguments[5], "cold");
  const int rounds = atoi(arguments[6]);
  const double block = 1e-3 * atof(arguments[7]);
  if (!read_file("dense.f16", p.dense) || (!read_file("columns.f16", p.x) && !read_file("input.f16", p.x))) fail("files of the layer are missing");
  if (p.dense.size() != p.rows * p.depth || p.x.size() != p.columns * p.depth) fail("files of the layer have other sizes");

  spc_device device = {};
  must(spc_dev_describe(&device), "no device");
  printf("{\"device\":\"%s\",\"capability\":\"%d.%d\",\"multiprocessors\":%d,\"l2Bytes\":%zu}\n", device.name, device.major, device.minor, device.multiprocessors, device.l2_bytes);
  spc_stream stream;
  must(spc_dev_stream_create(&stream), "stream");
  const void *x = on_device(p.x.size() * 2, p.x.data(), stream);

  std::vector<engine> engines = {spc_engine(p, device.l2_bytes, cold, stream)};
  engines.push_back(engines[0]);
  engines.back().name = "again";
  engines.push_back(cublas_engine(p, device.l2_bytes, cold, x, stream));
  engines.push_back(cusparselt_engine(p, device.l2_bytes, cold, x, stream));
  check(p, engines, stream);
  std::vector<engine *> present;
  for (engine &e : engines) if (e.launch) present.push_back(&e);
  for (engine *e : present) capture(*e, stream), calibrate(*e, block, stream);
  measure(present, rounds, stream);
  for (const engine &e : engines) print(e);
  return 0;
}
