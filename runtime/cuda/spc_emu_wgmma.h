/*
 * spc_emu_wgmma.h - what the instructions of warpgroups do (spc_ptx.h), on the host. All lanes of four warps come together, and the product takes
 * effect as late as it may: when its group is waited for. PTX ISA 8.5, section 9.7.15.
 *
 * Stricter than hardware: sums are NaN while a product is under way, and neither they nor A nor B may change meanwhile; columns are read when the
 * first lane arrives; every group begins with a fence. What a thread wrote to shared memory and has not published with fence.proxy.async may not be read.
 *
 * Fragments of warp w of the four are those of spc_emu_ptx.h for rows 16 w on; sums of columns 8 j on: d[j][c].
 */
#ifndef SPC_EMU_WGMMA_H
#define SPC_EMU_WGMMA_H

namespace spc_emu {

inline void fence_async() {
  Launch *l = current_launch();
  for (const unsigned char *p : l->current->written) memcpy(l->shared_async.data() + (p - l->shared), p, 16);
  l->current->written.clear();
}

inline Warpgroup &own_warpgroup() {
  Launch *l = current_launch();
  const unsigned first = l->current->warp / 4 * 4;
  if (first + 4 > l->warps.size()) fail("a warpgroup has four warps", l->current);
  for (unsigned w = first; w < first + 4; w++)
    if (l->warps[w].alive != kWarpSize) fail("warpgroup with lanes missing", l->current);
  return l->warpgroups[first / 4];
}

/*
 * Rows of B that a descriptor names (9.7.15.5.1): groups of 8 rows of 128 bytes, a stride apart; bits 4 to 6 of an address are swapped by bits 7 to 9.
 * `visit` is called with the offset in shared memory of each 16 bytes, row by row.
 */
template <class Visit> inline void each_chunk(const Product &p, int bytes, Visit visit) {
  Launch *l = current_launch();
  const uint64_t d = p.descriptor, start = (d & 0x3FFF) << 4, stride = (d >> 32 & 0x3FFF) << 4;
  if (d >> 62 != 1) fail("descriptor: rows are not swapped in 128 bytes", l->current);
  if (d >> 46 & 0xFFFF) fail("descriptor: a base offset, or bits that mean nothing", l->current);
  for (int row = 0; row < p.n; row++) {
    for (int at = 0; at < bytes; at += 16) {
      const uint64_t address = start + row / 8 * stride + row % 8 * 128 + at, offset = address ^ (address >> 7 & 7) << 4;
      if (offset + 16 > l->shared_bytes) fail("descriptor: outside of shared memory", l->current);
      visit((size_t)offset);
    }
  }
}

/* B as it is when a product begins. */
inline void read_columns(Product &p, int bytes) {
  Launch *l = current_launch();
  p.b.clear();
  each_chunk(p, bytes, [&](size_t offset) {
    const unsigned char *chunk = l->shared + offset;
    if (memcmp(chunk, l->shared_async.data() + offset, 16)) fail("wgmma reads what no fence.proxy.async has published", l->current);
    p.b.insert(p.b.end(), chunk, chunk + 16);
  });
}

/* The product under way that has the same sums, begun last. */
inline Product *before(Warpgroup &g, const Product &p) {
  for (auto i = g.open.rbegin(); i != g.open.rend(); ++i)
    if (i->lanes[0].sums == p.lanes[0].sums) return &*i;
  for (auto group = g.groups.rbegin(); group != g.groups.rend(); ++group)
    for (auto i = group->rbegin(); i != group->rend(); ++i)
      if (i->lanes[0].sums == p.lanes[0].sums) return &*i;
  return nullptr;
}

/* Computes g.next, and keeps what comes out until it is waited for. */
template <class Element> inline void begin_product(Warpgroup &g, int selector) {
  Product &p = g.next;
  const int halves = selector >= 0 ? 32 : 16, depth = halves / Numbers<Element>::halves;
  if (!g.fenced) fail("wgmma without wgmma.fence", current_launch()->current);
  statistics().products++;
  std::vector<double> b((size_t)p.n * depth);
  for (int n = 0; n < p.n; n++) {
    uint16_t row[32];
    memcpy(row, p.b.data() + (size_t)n * halves * 2, (size_t)halves * 2);
    for (int k = 0; k < depth; k++) b[(size_t)n * depth + k] = Numbers<Element>::at(row, k);
  }
  Product *earlier = before(g, p);
  for (int warp = 0; warp < 4; warp++) {
    const Product::Lane *from = p.lanes + warp * kWarpSize;
    uint16_t a[16][32] = {};
    spread_rows(a, selector, [&](int lane) { return (const uint32_t *)&from[lane].a_then; }, [&](int lane) { return from[lane].e_then; });
    double rows[16][32];
    for (int row = 0; row < 16; row++)
      for (int k = 0; k < depth; k++) rows[row][k] = Numbers<Element>::at(a[row], k);
    for (int lane = 0; lane < (int)kWarpSize; lane++) {
      const int at = warp * (int)kWarpSize + lane;
      Product::Lane &to = p.lanes[at];
      const float *sums = earlier ? earlier->lanes[at].results.data() : to.sums;
      to.results.resize((size_t)p.n / 2);
      for (int i = 0; i < p.n / 2; i++) {
        const double *x = rows[lane / 4 + i % 4 / 2 * 8], *y = &b[(size_t)(i / 4 * 8 + lane % 4 * 2 + i % 2) * depth];
        double sum = sums[i];
        for (int k = 0; k < depth; k++) sum += x[k] * y[k];
        to.results[(size_t)i] = (float)sum;
      }
    }
  }
  for (Product::Lane &lane : p.lanes) memset(lane.sums, 0xFF, (size_t)p.n / 2 * sizeof(float));
  g.open.push_back(std::move(p));
  g.next = Product();
}

/* Lets a product take effect, that has been removed from those under way. */
inline void end_product(Warpgroup &g, const Product &p) {
  Launch *l = current_launch();
  size_t at = 0;
  each_chunk(p, (int)p.b.size() / p.n, [&](size_t offset) {
    if (memcmp(l->shared + offset, p.b.data() + at, 16)) fail("columns changed while a product read them", l->current);
    at += 16;
  });
  const bool last = !before(g, p);
  for (const Product::Lane &lane : p.lanes) {
    if (memcmp(lane.a, &lane.a_then, 16) || (lane.e && *lane.e != lane.e_then)) fail("registers of A changed while a product read them", l->current);
    for (int i = 0; i < p.n / 2; i++)
      if (spc_f32_to_bits(lane.sums[i]) != 0xFFFFFFFFu) fail("sums changed while a product was under way", l->current);
    if (last) memcpy(lane.sums, lane.results.data(), lane.results.size() * sizeof(float));
  }
}

/* @param e metadata, or none where A is dense */
template <class Element> inline void wgmma(float *sums, int n, const uint4 &a, uint64_t descriptor, const uint32_t *e, int selector) {
  Thread *t = current_launch()->current;
  Warpgroup &g = own_warpgroup();
  if (g.arrived == 0) {
    g.next.n = n;
    g.next.descriptor = descriptor;
    read_columns(g.next, selector >= 0 ? 64 : 32);
  } else if (g.next.descriptor != descriptor) {
    fail("warps of a warpgroup bring different descriptors", t);
  }
  g.next.lanes[t->warp % 4 * kWarpSize + t->lane] = {sums, &a, e, a, e ? *e : 0, {}};
  meet(g, 4 * kWarpSize, 410 + selector, "wgmma", 0, [&] { begin_product<Element>(g, selector); });
}

inline void wgmma_fence() {
  Warpgroup &g = own_warpgroup();
  meet(g, 4 * kWarpSize, 400, "wgmma.fence", 0, [&] { g.fenced = true; });
}
inline void wgmma_commit() {
  Warpgroup &g = own_warpgroup();
  meet(g, 4 * kWarpSize, 401, "wgmma.commit_group", 0, [&] {
    g.groups.push_back(std::move(g.open));
    g.open.clear();
    g.fenced = false;
  });
}
inline void wgmma_wait(size_t left) {
  Warpgroup &g = own_warpgroup();
  meet(g, 4 * kWarpSize, 402, "wgmma.wait_group", 0, [&] {
    for (; g.groups.size() > left; g.groups.erase(g.groups.begin())) {
      for (std::vector<Product> &group = g.groups.front(); !group.empty();) {
        const Product p = std::move(group.front());
        group.erase(group.begin());
        end_product(g, p);
      }
    }
  });
}

} /* namespace spc_emu */

SPC_DEVICE unsigned spc_shared_address(const void *p) { return (unsigned)((const unsigned char *)p - spc_emu::current_launch()->shared); }
SPC_DEVICE void spc_fence_async() { spc_emu::fence_async(); }
SPC_DEVICE void spc_wgmma_fence() { spc_emu::wgmma_fence(); }
SPC_DEVICE void spc_wgmma_commit() { spc_emu::wgmma_commit(); }
template <int LEFT> SPC_DEVICE void spc_wgmma_wait() { spc_emu::wgmma_wait(LEFT); }
template <class Element, int N> SPC_DEVICE void spc_wgmma(Element, float (&d)[N][4], const uint4 &a, uint64_t columns) { spc_emu::wgmma<Element>(d[0], 8 * N, a, columns, nullptr, -1); }
template <int SELECTOR, class Element, int N> SPC_DEVICE void spc_wgmma_sparse(Element, float (&d)[N][4], const uint4 &a, uint64_t columns, const uint32_t &e) {
  spc_emu::wgmma<Element>(d[0], 8 * N, a, columns, &e, SELECTOR);
}

#endif
