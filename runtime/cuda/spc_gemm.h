/*
 * spc_gemm.h - products of a constant matrix with many columns, on tensor cores: y[n][m] = finish(sum over k of w[m][k] x[n][k]).
 *
 * Weights are the first operand (the one that may be sparse), packed by the compiler in the order in which lanes read them: for every block
 * of 128 bytes of a row of w, and every 16 rows, a tile. Blocks of threads compute BM rows of w by BN columns. Weights and columns go
 * through a ring of STAGES parts in shared memory, filled by asynchronous copies, with one barrier a part. Columns lie in rows of 128 bytes
 * whose 16-byte chunks are swapped by the row's number, so that no access meets another in a bank.
 */
#ifndef SPC_GEMM_H
#define SPC_GEMM_H

#include <type_traits>

#include "spc_cuda.h"

/* ---- weights ---- */

/* All of w. A tile: four fragments of 32 bytes of a row, 16 bytes a lane each. */
struct spc_dense {
  static constexpr int tile_bytes = 2048;
  template <class Element, int HALF, int M, int N>
  SPC_DEVICE void multiply(float (&sums)[M][N][4], const unsigned char *tiles, const uint32_t (&b)[N][4], int lane, Element element) {
    SPC_UNROLL
    for (int quarter = 0; quarter < 2; quarter++) {
      SPC_UNROLL
      for (int i = 0; i < M; i++) {
        const uint4 v = spc_shared_load16(tiles + i * tile_bytes + ((2 * HALF + quarter) * 32 + lane) * 16);
        const uint32_t a[4] = {v.x, v.y, v.z, v.w};
        SPC_UNROLL
        for (int j = 0; j < N; j++) spc_mma(element, sums[i][j], a, b[j], quarter);
      }
    }
  }
  /* A lane's part of a tile; for decoding, with what turns it into fragments, and the shared memory that a warp needs for that. */
  struct part {
    uint4 fragment[4];
  };
  static constexpr int scratch_bytes = 0;
  SPC_DEVICE void expand(part &, unsigned char *, int) {}
  SPC_DEVICE part stream(const unsigned char *tile, int lane) {
    part p;
    SPC_UNROLL
    for (int i = 0; i < 4; i++) p.fragment[i] = spc_stream_load16(tile + (i * 32 + lane) * 16);
    return p;
  }
  template <class Element, int HALF, int N> SPC_DEVICE void multiply(float (&sums)[N][4], const part &p, const uint32_t (&b)[N][4], Element element) {
    SPC_UNROLL
    for (int quarter = 0; quarter < 2; quarter++) {
      const uint4 v = p.fragment[2 * HALF + quarter];
      const uint32_t a[4] = {v.x, v.y, v.z, v.w};
      SPC_UNROLL
      for (int j = 0; j < N; j++) spc_mma(element, sums[j], a, b[j], quarter);
    }
  }
};

/* Two of every four halves of a row (2:4; of tf32, one of two elements). A tile: two fragments that stand for 64 bytes of a row each, and four bytes of places a lane. */
struct spc_sparse {
  static constexpr int tile_bytes = 1152;
  template <class Element, int HALF, int M, int N>
  SPC_DEVICE void multiply(float (&sums)[M][N][4], const unsigned char *tiles, const uint32_t (&b)[N][4], int lane, Element element) {
    SPC_UNROLL
    for (int i = 0; i < M; i++) {
      const uint4 v = spc_shared_load16(tiles + i * tile_bytes + (HALF * 32 + lane) * 16);
      const uint32_t a[4] = {v.x, v.y, v.z, v.w}, places = spc_shared_load4(tiles + i * tile_bytes + 1024 + lane * 4);
      SPC_UNROLL
      for (int j = 0; j < N; j++) spc_mma_sparse<HALF>(element, sums[i][j], a, b[j], places);
    }
  }
  struct part {
    uint4 fragment[2];
    uint32_t places;
  };
  static constexpr int scratch_bytes = 0;
  SPC_DEVICE void expand(part &, unsigned char *, int) {}
  SPC_DEVICE part stream(const unsigned char *tile, int lane) {
    part p;
    SPC_UNROLL
    for (int i = 0; i < 2; i++) p.fragment[i] = spc_stream_load16(tile + (i * 32 + lane) * 16);
    p.places = spc_stream_load4(tile + 1024 + lane * 4);
    return p;
  }
  template <class Element, int HALF, int N> SPC_DEVICE void multiply(float (&sums)[N][4], const part &p, const uint32_t (&b)[N][4], Element element) {
    const uint4 v = p.fragment[HALF];
    const uint32_t a[4] = {v.x, v.y, v.z, v.w};
    SPC_UNROLL
    for (int j = 0; j < N; j++) spc_mma_sparse<HALF>(element, sums[j], a, b[j], p.places);
  }
};

/* All of w as it lies in memory: a tile has 16 rows of 128 bytes, whose chunks are swapped like those of columns. */
struct spc_plain {
  static constexpr int tile_bytes = 2048;
  template <class Element, int HALF, int M, int N>
  SPC_DEVICE void multiply(float (&sums)[M][N][4], const unsigned char *tiles, const uint32_t (&b)[N][4], int lane, Element element) {
    SPC_UNROLL
    for (int quarter = 0; quarter < 2; quarter++) {
      SPC_UNROLL
      for (int i = 0; i < M; i++) {
        const int row = lane & 15, chunk = HALF * 4 + quarter * 2 + (lane >> 4);
        uint32_t a[4];
        spc_load_matrices(a, tiles + i * tile_bytes + row * 128 + (chunk ^ (row & 7)) * 16);
        SPC_UNROLL
        for (int j = 0; j < N; j++) spc_mma(element, sums[i][j], a, b[j], quarter);
      }
    }
  }
};

/*
 * The constant w: every tile of it, in the order in which blocks of threads read them. What is asked of other forms of w too: `form`, the blocks of a row from
 * begin() to end() that this block of threads sums, how 16 bytes of a tile come to shared memory, and which column of w the k-th element of a block of a row belongs to.
 * Blocks of threads that differ in blockIdx.z sum a share of the blocks each, or have products of their own.
 */
template <class Form> struct spc_tiles {
  typedef Form form;
  const unsigned char *tiles;
  int rows, blocks; /* tiles along the rows of w, blocks of 128 bytes along the columns */
  SPC_MEMBER int begin() const { return blocks * (int)blockIdx.z / (int)gridDim.z; }
  SPC_MEMBER int end() const { return blocks * ((int)blockIdx.z + 1) / (int)gridDim.z; }
  /* Rows beyond the last tile repeat it: their sums are not stored. */
  SPC_MEMBER const unsigned char *tile(int row, int block) const { return tiles + ((size_t)block * rows + (row < rows ? row : rows - 1)) * Form::tile_bytes; }
  /* A lane's part of a tile, from memory straight into registers. */
  SPC_MEMBER typename Form::part stream(int row, int block, int lane) const { return Form::stream(tile(row, block), lane); }
  template <class Element> SPC_MEMBER void copy(unsigned char *shared, int row, int block, int chunk) const { spc_copy16(shared + 16 * chunk, tile(row, block) + 16 * chunk, true); }
  template <class Element> SPC_MEMBER int column(int block, int k) const { return block * spc_per_block<Element> + k; }
};

/* As many constant matrices as there are products, one after the other. */
template <class Form> struct spc_groups {
  typedef Form form;
  const unsigned char *tiles;
  int rows, blocks;
  SPC_MEMBER int begin() const { return 0; }
  SPC_MEMBER int end() const { return blocks; }
  SPC_MEMBER const unsigned char *tile(int row, int block) const { return tiles + (((size_t)blockIdx.z * blocks + block) * rows + (row < rows ? row : rows - 1)) * Form::tile_bytes; }
  SPC_MEMBER typename Form::part stream(int row, int block, int lane) const { return Form::stream(tile(row, block), lane); }
  template <class Element> SPC_MEMBER void copy(unsigned char *shared, int row, int block, int chunk) const { spc_copy16(shared + 16 * chunk, tile(row, block) + 16 * chunk, true); }
  template <class Element> SPC_MEMBER int column(int block, int k) const { return block * spc_per_block<Element> + k; }
};

/* A w that is computed, too: its rows come as columns of x do. */
template <class Source> struct spc_moving {
  typedef spc_plain form;
  Source source;
  int blocks;
  SPC_MEMBER int begin() const { return 0; }
  SPC_MEMBER int end() const { return blocks; }
  template <class Element> SPC_MEMBER void copy(unsigned char *shared, int row, int block, int chunk) const {
    const int r = chunk / 8, part = chunk % 8;
    source.copy(shared + r * 128 + (part ^ (r & 7)) * 16, source.at(row * 16 + r), column<Element>(block, part * spc_per16<Element>));
  }
  template <class Element> SPC_MEMBER int column(int block, int k) const { return block * spc_per_block<Element> + k; }
};

/* ---- columns ---- */

/*
 * A part of the ring with BN columns, each a row of 128 bytes, whose chunks are swapped by the row's number. A source of columns says what its parts are
 * (`part`); what is asked of them: find() where in the source a block of w has its columns, one block ahead (up to the one after the last), since lists of columns
 * lie in memory; fill() a part with the block last asked for; load() eight columns of half of a part in registers.
 */
template <class Element, class Source, int BN, int THREADS> struct spc_column_part {
  static constexpr int count = BN * 8 / THREADS;
  static_assert(BN * 8 % THREADS == 0 && THREADS % 8 == 0, "threads copy equally many chunks, each thread the same one of every column");
  const Source &source;
  typename Source::column columns[count];
  int k; /* first element of the thread's chunk */
  SPC_MEMBER typename Source::column own(int i) const { return source.at((int)blockIdx.x * BN + ((int)threadIdx.x + i * THREADS) / 8); }
  SPC_MEMBER spc_column_part(const Source &s) : source(s) {
    SPC_UNROLL
    for (int i = 0; i < count; i++) columns[i] = own(i);
  }
  template <class Weights> SPC_MEMBER void find(const Weights &weights, int block) { k = weights.template column<Element>(block, (int)threadIdx.x % 8 * spc_per16<Element>); }
  SPC_MEMBER void copy(unsigned char *part, int i, typename Source::column column) const {
    const int c = (int)threadIdx.x + i * THREADS, row = c / 8, chunk = c % 8;
    source.copy(part + row * 128 + (chunk ^ (row & 7)) * 16, column, k);
  }
  SPC_MEMBER void fill(unsigned char *part) const {
    if (Source::aligned) {
      SPC_UNROLL
      for (int i = 0; i < count; i++) copy(part, i, columns[i]);
    } else {
      SPC_ROLL
      for (int i = 0; i < count; i++) copy(part, i, own(i));
    }
  }
  template <int HALF> SPC_DEVICE void load(uint32_t (&b)[4], const unsigned char *part, int eight, int lane) {
    const int row = eight * 8 + (lane & 7), chunk = HALF * 4 + (lane >> 3);
    spc_load_matrices(b, part + row * 128 + (chunk ^ (row & 7)) * 16);
  }
};

/* 16 bytes of elements, one at a time: where rows are not aligned or of another type in memory. `at(i)` gives the address of the i-th, or none where it is 0. */
template <class Element, class Memory, class At> SPC_DEVICE void spc_gather16(void *shared, At at) {
  union {
    typename Element::stored element[spc_per16<Element>];
    uint4 all;
  } chunk;
  SPC_UNROLL
  for (int i = 0; i < spc_per16<Element>; i++) {
    const typename Memory::stored *p = at(i);
    chunk.element[i] = Element::from(p ? Memory::to(*p) : 0.0f);
  }
  spc_shared_store16(shared, chunk.all);
}

/* Copies of 16 bytes do where memory has the very elements that are multiplied, whole chunks of them at a place. */
template <class Element, class Memory, int RUN>
constexpr bool spc_copies = std::is_base_of<Memory, Element>::value && RUN % spc_per16<Element> == 0;

/* Rows of a matrix x[N][K]. @tparam NEXT elements from the matrix of one blockIdx.z to the next */
template <class Element, class Memory, int N, int K, int NEXT = 0> struct spc_rows {
  typedef typename Memory::stored stored;
  static constexpr bool aligned = spc_copies<Element, Memory, K> && NEXT % spc_per16<Element> == 0;
  template <int BN, int THREADS> using part = spc_column_part<Element, spc_rows, BN, THREADS>;
  const stored *x;
  struct column {
    const stored *row; /* none beyond the last */
  };
  SPC_MEMBER column at(int n) const { return {n < N ? x + (size_t)blockIdx.z * NEXT + (size_t)n * K : nullptr}; }
  /* Fills 16 bytes of shared memory with the column's elements from k on. */
  SPC_MEMBER void copy(void *shared, column c, int k) const {
    if (aligned) spc_copy16(shared, c.row && k < K ? c.row + k : x, c.row && k < K);
    else spc_gather16<Element, Memory>(shared, [&](int i) { return c.row && k + i < K ? c.row + k + i : nullptr; });
  }
};

/* Columns of a matrix x[K][N]: gathered one element at a time. */
template <class Element, class Memory, int N, int K, int NEXT = 0> struct spc_columns {
  typedef typename Memory::stored stored;
  static constexpr bool aligned = false;
  template <int BN, int THREADS> using part = spc_column_part<Element, spc_columns, BN, THREADS>;
  const stored *x;
  struct column {
    const stored *top;
  };
  SPC_MEMBER column at(int n) const { return {n < N ? x + (size_t)blockIdx.z * NEXT + n : nullptr}; }
  SPC_MEMBER void copy(void *shared, column c, int k) const {
    spc_gather16<Element, Memory>(shared, [&](int i) { return c.top && k + i < K ? c.top + (size_t)(k + i) * N : nullptr; });
  }
};

/* Windows over images x[image][H][W][C], the order of a window's elements being (ky, kx, channel): convolution as a product, without a copy of its windows.
 * @tparam PITCH channels of an image, of which C are read: those of group blockIdx.z where there are more */
template <class Element, class Memory, int IMAGES, int H, int W, int C, int KH, int KW, int SY, int SX, int TOP, int LEFT, int DY, int DX, int OH, int OW, int PITCH = C> struct spc_windows {
  typedef typename Memory::stored stored;
  static constexpr bool aligned = spc_copies<Element, Memory, C> && PITCH % spc_per16<Element> == 0;
  static constexpr int N = IMAGES * OH * OW, K = KH * KW * C;
  template <int BN, int THREADS> using part = spc_column_part<Element, spc_windows, BN, THREADS>;
  const stored *x;
  struct column {
    const stored *image;
    int y, x; /* of the window's first tap */
  };
  SPC_MEMBER column at(int n) const {
    const int pixel = n % (OH * OW);
    return {n < N ? x + (size_t)(n / (OH * OW)) * H * W * PITCH + (PITCH == C ? 0 : (int)blockIdx.z * C) : nullptr, pixel / OW * SY - TOP, pixel % OW * SX - LEFT};
  }
  SPC_MEMBER const stored *element(column c, int k) const {
    const int tap = k / C, y = c.y + tap / KW * DY, x = c.x + tap % KW * DX;
    return c.image && k < K && (unsigned)y < (unsigned)H && (unsigned)x < (unsigned)W ? c.image + (y * W + x) * PITCH + k % C : nullptr;
  }
  SPC_MEMBER void copy(void *shared, column c, int k) const {
    if (aligned) {
      const stored *from = element(c, k);
      spc_copy16(shared, from ? from : x, from != nullptr);
    } else spc_gather16<Element, Memory>(shared, [&](int i) { return element(c, k + i); });
  }
};

/* ---- results ---- */

/* Sums of a share of the depth, to be added up: sums[share][N][PITCH]. */
template <int N, int PITCH> struct spc_share {
  float *sums;
  SPC_MEMBER void operator()(float (&v)[4], int m, int n) const {
    if (n < N) *(float4 *)(sums + ((size_t)blockIdx.z * N + n) * PITCH + m) = float4{v[0], v[1], v[2], v[3]};
  }
};

/* ---- the product ---- */

/**
 * How a block of threads divides BM rows of w and BN columns among its warps: what all kernels with a ring of parts in shared memory do alike.
 * @tparam WARPS_M, WARPS_N warps along rows of w and along columns
 * @tparam RING_BYTES of the ring, where sums lie on their way out
 */
template <class Element, int BM, int BN, int WARPS_M, int WARPS_N, int RING_BYTES> struct spc_tiling {
  static constexpr int threads = 32 * WARPS_M * WARPS_N, MI = BM / WARPS_M / 16, NI = BN / WARPS_N / 8;
  /* Sums on their way out are f32, so many columns at a time as there is room for. */
  static constexpr int pitch = BM + 4, wanted = RING_BYTES / (pitch * 4) / (8 * WARPS_N) * (8 * WARPS_N);
  static constexpr int drain = wanted < 8 * WARPS_N ? 8 * WARPS_N : wanted > BN ? BN : wanted;
  static constexpr int shared_bytes = RING_BYTES > drain * pitch * 4 ? RING_BYTES : drain * pitch * 4;
  static_assert(BM % (16 * WARPS_M) == 0 && BN % (8 * WARPS_N) == 0, "warps take whole tiles");

  /* Sums go through shared memory, so that neighbouring threads store neighbouring rows of w. */
  template <class Store> SPC_DEVICE void drain_sums(float *sheet, const float (&sums)[MI][NI][4], int warp_m, int warp_n, int lane, Store store) {
    constexpr int at_once = drain / (8 * WARPS_N); /* of the NI tiles that a warp has along columns */
    const int g = lane / 4, t = lane % 4;
    SPC_UNROLL
    for (int first = 0; first < NI; first += at_once) {
      __syncthreads();
      SPC_UNROLL
      for (int j = first; j < first + at_once && j < NI; j++)
        SPC_UNROLL
        for (int i = 0; i < MI; i++)
          SPC_UNROLL
          for (int c = 0; c < 4; c++) sheet[((warp_n * at_once + j - first) * 8 + 2 * t + c % 2) * pitch + (warp_m * MI + i) * 16 + g + 8 * (c / 2)] = sums[i][j][c];
      __syncthreads();
      for (int q = (int)threadIdx.x; q < drain * BM / 4; q += threads) {
        const int column = q / (BM / 4), row = q % (BM / 4) * 4, j = first + column / 8 % at_once;
        if (j >= NI) continue;
        const float4 v = *(const float4 *)(sheet + column * pitch + row);
        float quad[4] = {v.x, v.y, v.z, v.w};
        const int m = (int)blockIdx.y * BM + row, n = (int)blockIdx.x * BN + (column / 8 / at_once * NI + j) * 8 + column % 8;
        if constexpr (std::is_invocable<Store, float(&)[4], int, int, int>::value) store(quad, m, n, (int)blockIdx.z);
        else store(quad, m, n);
      }
    }
  }
};

/**
 * @tparam WARPS_M, WARPS_N warps along rows of w and along columns
 * @tparam STAGES parts of the ring, at least 2
 */
template <class Element, class Weights, int BM, int BN, int WARPS_M, int WARPS_N, int STAGES> struct spc_gemm {
  typedef typename Weights::form Form;
  static constexpr int tiles = BM / 16, weight_bytes = tiles * Form::tile_bytes, stage_bytes = weight_bytes + BN * 128;
  typedef spc_tiling<Element, BM, BN, WARPS_M, WARPS_N, STAGES * stage_bytes> Tiling;
  static constexpr int threads = Tiling::threads, MI = Tiling::MI, NI = Tiling::NI;
  static_assert(STAGES >= 2, "one part is filled while another is read");

  template <class Columns> SPC_DEVICE void fill(unsigned char *stage, const Weights &weights, Columns &columns, int block) {
    constexpr int tile_chunks = Form::tile_bytes / 16, chunks = tiles * tile_chunks;
    const int first = (int)blockIdx.y * tiles;
    SPC_UNROLL
    for (int i = 0; i < (chunks + threads - 1) / threads; i++) {
      const int c = (int)threadIdx.x + i * threads;
      if (chunks % threads != 0 && c >= chunks) break;
      weights.template copy<Element>(stage + c / tile_chunks * Form::tile_bytes, first + c / tile_chunks, block, c % tile_chunks);
    }
    columns.fill(stage + weight_bytes);
    columns.find(weights, block + 1);
  }

  template <int HALF, class Columns> SPC_DEVICE void multiply(float (&sums)[MI][NI][4], const unsigned char *stage, int warp_m, int warp_n, int lane) {
    uint32_t b[NI][4];
    SPC_UNROLL
    for (int j = 0; j < NI; j++) Columns::template load<HALF>(b[j], stage + weight_bytes, warp_n * NI + j, lane);
    Form::template multiply<Element, HALF>(sums, stage + warp_m * MI * Form::tile_bytes, b, lane, Element());
  }

  /**
   * The thread block (blockIdx.x, blockIdx.y) of the product: columns and rows of w.
   * @param weights w, as spc_tiles
   * @param source of columns: spc_rows, spc_columns, spc_windows, spc_features
   * @param store called for groups of four neighbouring rows of w: store(float (&v)[4], m, n), or store(v, m, n, blockIdx.z)
   */
  template <class Source, class Store> SPC_DEVICE void run(const Weights &weights, const Source &source, Store store) {
    SPC_SHARED(memory);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, warp_m = warp % WARPS_M, warp_n = warp / WARPS_M;
    const int from = weights.begin(), to = weights.end();
    typedef typename Source::template part<BN, threads> Columns;
    Columns columns(source);
    columns.find(weights, from);
    float sums[MI][NI][4] = {};
    SPC_UNROLL
    for (int s = 0; s < STAGES - 1; s++) {
      if (from + s < to) fill(memory + s * stage_bytes, weights, columns, from + s);
      spc_copy_commit();
    }
    for (int block = from; block < to; block++) {
      spc_copy_wait<STAGES - 2>();
      __syncthreads();
      const int ahead = block + STAGES - 1;
      if (ahead < to) fill(memory + (ahead - from) % STAGES * stage_bytes, weights, columns, ahead);
      spc_copy_commit();
      const unsigned char *stage = memory + (block - from) % STAGES * stage_bytes;
      multiply<0, Columns>(sums, stage, warp_m, warp_n, lane);
      multiply<1, Columns>(sums, stage, warp_m, warp_n, lane);
    }
    spc_copy_wait<0>();
    Tiling::drain_sums((float *)memory, sums, warp_m, warp_n, lane, store);
  }
};

#endif
