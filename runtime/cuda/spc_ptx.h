/*
 * spc_ptx.h - the PTX instructions that kernels use, one function each, for nvcc. What each one does is written down as code in
 * spc_emu_ptx.h, which takes the place of this file in the emulation. PTX ISA 8.5, sections 9.7.9.25 (cp.async), 9.7.14 (mma), 9.7.15 (wgmma).
 */
#ifndef SPC_PTX_H
#define SPC_PTX_H

/* Ordered metadata is what fast paths of newer GPUs ask for; assemblers before CUDA 12.5 do not know the word, and the meaning is the same. */
#if __CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ >= 5)
#define SPC_MMA_SPARSE "mma.sp::ordered_metadata.sync.aligned."
#else
#define SPC_MMA_SPARSE "mma.sp.sync.aligned."
#endif

SPC_DEVICE unsigned spc_shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

/* Starts copying 16 bytes from global to shared memory, or writing 16 zero bytes there where `valid` is false. */
SPC_DEVICE void spc_copy16(void *shared, const void *global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(spc_shared_address(shared)), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
/* Makes a group of the copies that this thread has started since the last group. */
SPC_DEVICE void spc_copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Waits until at most the last LEFT groups of this thread are under way. */
template <int LEFT> SPC_DEVICE void spc_copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory"); }

/* 16 or 4 bytes from shared memory, by all lanes of a warp together. */
SPC_DEVICE uint4 spc_shared_load16(const void *shared) { return *(const uint4 *)shared; }
SPC_DEVICE uint32_t spc_shared_load4(const void *shared) { return *(const uint32_t *)shared; }
SPC_DEVICE void spc_shared_store16(void *shared, uint4 v) { *(uint4 *)shared = v; }
/* 16 or 4 bytes that are read once: past the first cache. */
SPC_DEVICE uint4 spc_stream_load16(const void *global) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(global));
  return v;
}
SPC_DEVICE uint32_t spc_stream_load4(const void *global) {
  uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(global));
  return v;
}

/* Four matrices of 8 rows of 16 bytes; lane L brings the address of row L % 8 of matrix L / 8. */
SPC_DEVICE void spc_load_matrices(uint32_t (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(spc_shared_address(row)) : "memory");
}
/* The same, each matrix transposed: of rows of two-byte elements, a lane gets what it would of columns. */
SPC_DEVICE void spc_load_matrices_transposed(uint32_t (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(spc_shared_address(row)) : "memory");
}

/*
 * d += A B: 16 rows of 32 bytes of A, 8 columns of B, sums in f32. `half` is the part of B that takes part: b[2 half], b[2 half + 1].
 * The sparse one has 64 bytes of a row of A, of which 32 are stored; e: their places, in the pair of lanes of every quad that SELECTOR names.
 */
#define SPC_DEFINE_MMA(ELEMENT, SHAPE, SPARSE_SHAPE, TYPE)                                                                                            \
  SPC_DEVICE void spc_mma(ELEMENT, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], int half) {                                        \
    asm volatile("mma.sync.aligned." SHAPE ".row.col.f32." TYPE "." TYPE ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                                                     \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[2 * half]), "r"(b[2 * half + 1]));                                               \
  }                                                                                                                                                   \
  template <int SELECTOR> SPC_DEVICE void spc_mma_sparse(ELEMENT, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t e) {       \
    asm volatile(SPC_MMA_SPARSE SPARSE_SHAPE ".row.col.f32." TYPE "." TYPE ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, %13;" \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                                                     \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(e), "n"(SELECTOR));                    \
  }
SPC_DEFINE_MMA(spc_f16, "m16n8k16", "m16n8k32", "f16")
SPC_DEFINE_MMA(spc_bf16, "m16n8k16", "m16n8k32", "bf16")
SPC_DEFINE_MMA(spc_tf32, "m16n8k8", "m16n8k16", "tf32")

/* ---- warpgroups: four consecutive warps, sm_90a only ---- */

/* What this thread wrote to shared memory, copies that it waited for included, becomes visible to products of warpgroups: before the barrier. */
SPC_DEVICE void spc_fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/* Orders what was done to registers before products that read or sum into them. */
SPC_DEVICE void spc_wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/* Makes a group of the products that this warpgroup has started since the last group. */
SPC_DEVICE void spc_wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/* Waits until at most the last LEFT groups are under way. */
template <int LEFT> SPC_DEVICE void spc_wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory"); }

/*
 * Starts d += A B for N columns: 16 rows of A a warp, fragments and places as for spc_mma; `columns` describes where B lies in shared memory. Until the
 * product has been waited for, none of the three may change. d: four sums of each 8 columns, as of spc_mma.
 */
#define SPC_TEN(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define SPC_SUMS_64 SPC_TEN() SPC_TEN(1) SPC_TEN(2) "%30,%31"
#define SPC_SUMS_128 SPC_TEN() SPC_TEN(1) SPC_TEN(2) SPC_TEN(3) SPC_TEN(4) SPC_TEN(5) "%60,%61,%62,%63"
#define SPC_SUMS_256 SPC_TEN() SPC_TEN(1) SPC_TEN(2) SPC_TEN(3) SPC_TEN(4) SPC_TEN(5) SPC_TEN(6) SPC_TEN(7) SPC_TEN(8) SPC_TEN(9) SPC_TEN(10) SPC_TEN(11) "%120,%121,%122,%123,%124,%125,%126,%127"
#define SPC_D(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define SPC_D_64(j) SPC_D(j), SPC_D(j + 1), SPC_D(j + 2), SPC_D(j + 3), SPC_D(j + 4), SPC_D(j + 5), SPC_D(j + 6), SPC_D(j + 7)
#define SPC_D_128(j) SPC_D_64(j), SPC_D_64(j + 8)
#define SPC_D_256(j) SPC_D_128(j), SPC_D_128(j + 16)
/* Operands after the sums: A, the descriptor; where A is sparse, places and their selector. Then: add to d, no signs, rows of B are along the depth. */
#define SPC_AFTER_64 "{%32,%33,%34,%35}, %36"
#define SPC_AFTER_128 "{%64,%65,%66,%67}, %68"
#define SPC_AFTER_256 "{%128,%129,%130,%131}, %132"
#define SPC_PLACES_64 ", %37, %38"
#define SPC_PLACES_128 ", %69, %70"
#define SPC_PLACES_256 ", %133, %134"
#define SPC_DEFINE_WGMMA(ELEMENT, N, DEPTH, SPARSE_DEPTH, TYPE, FLAGS)                                                                          \
  SPC_DEVICE void spc_wgmma(ELEMENT, float (&d)[N / 8][4], const uint4 &a, uint64_t columns) {                                                 \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #N DEPTH ".f32." TYPE "." TYPE " {" SPC_SUMS_##N "}, " SPC_AFTER_##N FLAGS                \
                 : SPC_D_##N(0) : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(columns));                                                       \
  }                                                                                                                                             \
  template <int SELECTOR> SPC_DEVICE void spc_wgmma_sparse(ELEMENT, float (&d)[N / 8][4], const uint4 &a, uint64_t columns, uint32_t e) {      \
    asm volatile("wgmma.mma_async.sp.sync.aligned.m64n" #N SPARSE_DEPTH ".f32." TYPE "." TYPE " {" SPC_SUMS_##N "}, " SPC_AFTER_##N SPC_PLACES_##N FLAGS \
                 : SPC_D_##N(0) : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(columns), "r"(e), "n"(SELECTOR));                                \
  }
#define SPC_DEFINE_WGMMAS(N)                                                   \
  SPC_DEFINE_WGMMA(spc_f16, N, "k16", "k32", "f16", ", 1, 1, 1, 0;")          \
  SPC_DEFINE_WGMMA(spc_bf16, N, "k16", "k32", "bf16", ", 1, 1, 1, 0;")        \
  SPC_DEFINE_WGMMA(spc_tf32, N, "k8", "k16", "tf32", ", 1, 1, 1;")
SPC_DEFINE_WGMMAS(64)
SPC_DEFINE_WGMMAS(128)
SPC_DEFINE_WGMMAS(256)

#endif
