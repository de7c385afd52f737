/*
 * spc_emu_ptx.h - what the instructions of spc_ptx.h do, on the host. A warp's registers come together in a rendezvous, and the last lane
 * computes. Stricter than hardware: metadata must be ordered; what cp.async has not been waited for is NaN; shared memory may not be
 * left; replays by bank conflicts are counted (statistics().replays).
 *
 * Fragments, with g = lane / 4, t = lane % 4, and elements counted in 16-bit halves (a tf32 element is two of them):
 *   A        register r, half i: row g + 8 (r % 2), column 2 t + i + 8 (r / 2); where A is sparse, of its stored columns
 *   B        register r, half i: row 8 r + 2 t + i, column g
 *   C, D     element c: row g + 8 (c / 2), column 2 t + c % 2
 *   E        lane 4 g + 2 selector + p: row g in its low half, row g + 8 in its high half; nibble q is group 4 p + q of four dense columns:
 *            place of the first stored half, place of the second, 2 bits each
 */
#ifndef SPC_EMU_PTX_H
#define SPC_EMU_PTX_H

namespace spc_emu {

inline unsigned char *check_shared(const void *p, size_t bytes, const char *what) {
  Launch *l = current_launch();
  if ((uintptr_t)p % bytes) fail((std::string(what) + ": misaligned shared address").c_str(), l->current);
  if ((const unsigned char *)p < l->shared || (const unsigned char *)p + bytes > l->shared + l->shared_bytes) fail((std::string(what) + ": outside of shared memory").c_str(), l->current);
  return (unsigned char *)p;
}

inline void copy16(void *shared, const void *global, bool valid) {
  Thread *t = current_launch()->current;
  if ((uintptr_t)global % 16) fail("cp.async: misaligned global address", t);
  Copy c;
  c.to = check_shared(shared, 16, "cp.async");
  memset(c.bytes, 0, 16);
  if (valid) memcpy(c.bytes, global, 16);
  memset(shared, 0xFF, 16); /* NaN until it is waited for */
  t->copies.push_back(c);
}
inline void copy_commit() {
  Thread *t = current_launch()->current;
  t->groups.push_back(std::move(t->copies));
  t->copies.clear();
}
inline void copy_wait(size_t left) {
  Thread *t = current_launch()->current;
  while (t->groups.size() > left) {
    for (const Copy &c : t->groups.front()) {
      memcpy(c.to, c.bytes, 16);
      t->written.push_back(c.to);
    }
    t->groups.erase(t->groups.begin());
  }
}

inline void shared_store16(void *shared, uint4 v) {
  unsigned char *to = check_shared(shared, 16, "shared store");
  memcpy(to, &v, 16);
  current_launch()->current->written.push_back(to);
}

inline uint64_t address_of(const uint32_t *words) { return words[0] | (uint64_t)words[1] << 32; }

/* Counts how often rows of `lanes` consecutive lanes meet in one of the banks beyond the first time. Equal words are one access. */
inline void count_replays(const Warp &w, unsigned lanes, unsigned bytes) {
  for (unsigned first = 0; first < kWarpSize; first += lanes) {
    std::vector<uint64_t> banks[32];
    unsigned most = 1;
    for (unsigned lane = first; lane < first + lanes; lane++) {
      for (unsigned b = 0; b < bytes; b += 4) {
        const uint64_t word = address_of(w.in[lane]) / 4 + b / 4;
        std::vector<uint64_t> &bank = banks[word % 32];
        if (std::find(bank.begin(), bank.end(), word) == bank.end()) bank.push_back(word);
        most = std::max(most, (unsigned)bank.size());
      }
    }
    statistics().replays += most - 1;
  }
}

/* A load of all lanes: 128 bytes pass at a time. */
template <int WORDS> inline void shared_load(const void *p, uint32_t (&out)[WORDS], int line) {
  check_shared(p, 4 * WORDS, "shared load");
  const uint32_t in[2] = {(uint32_t)(uintptr_t)p, (uint32_t)((uint64_t)(uintptr_t)p >> 32)};
  collective(200 + WORDS, in, 2, out, WORDS, line, [](Warp &w) {
    count_replays(w, kWarpSize / WORDS, 4 * WORDS);
    for (unsigned lane = 0; lane < kWarpSize; lane++) memcpy(w.out[lane], (const void *)(uintptr_t)address_of(w.in[lane]), 4 * WORDS);
  });
}

inline void load_matrices(Warp &w) {
  count_replays(w, 8, 16);
  for (unsigned m = 0; m < 4; m++)
    for (unsigned lane = 0; lane < kWarpSize; lane++) memcpy(&w.out[lane][m], (const char *)(uintptr_t)address_of(w.in[8 * m + lane / 4]) + 4 * (lane % 4), 4);
}

/* Element [row][column] of a matrix goes where [column][row] would. */
inline void load_matrices_transposed(Warp &w) {
  count_replays(w, 8, 16);
  for (unsigned m = 0; m < 4; m++) {
    for (unsigned lane = 0; lane < kWarpSize; lane++) {
      uint16_t halves[2];
      for (unsigned i = 0; i < 2; i++) memcpy(&halves[i], (const char *)(uintptr_t)address_of(w.in[8 * m + 2 * (lane % 4) + i]) + 2 * (lane / 4), 2);
      w.out[lane][m] = (uint32_t)halves[1] << 16 | halves[0];
    }
  }
}

inline uint16_t half_of(uint32_t word, int i) { return (uint16_t)(word >> 16 * i); }

/* A row or column of halves as numbers. */
template <class Element> struct Numbers {
  static constexpr int halves = sizeof(typename Element::stored) / 2;
  static float at(const uint16_t *row, int k) {
    typename Element::stored v;
    memcpy(&v, row + halves * k, sizeof v);
    return Element::to(v);
  }
};
/* Tensor cores drop the last 13 bits of an f32. */
template <> struct Numbers<spc_tf32> {
  static constexpr int halves = 2;
  static float at(const uint16_t *row, int k) { return spc_bits_to_f32(((uint32_t)row[2 * k + 1] << 16 | row[2 * k]) & 0xFFFFE000u); }
};

/*
 * 16 rows of A from the registers of a warp: registers(lane) are its four, places(lane) the metadata where A is sparse.
 * @param selector of the metadata, or -1 where A is dense
 */
template <class Registers, class Places> inline void spread_rows(uint16_t (&a)[16][32], int selector, Registers registers, Places places) {
  for (int lane = 0; lane < 32; lane++) {
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; r++) {
      for (int i = 0; i < 2; i++) {
        const int row = g + 8 * (r % 2), column = 2 * t + i + 8 * (r / 2), group = column / 2;
        int at = column;
        if (selector >= 0) {
          const uint32_t nibble = places(4 * g + 2 * selector + group / 4) >> (16 * (r % 2) + 4 * (group % 4)) & 15u;
          if ((nibble & 3u) >= nibble >> 2) fail("sparse product: metadata is not ordered", &current_launch()->threads[0]);
          at = 4 * group + (int)(column % 2 ? nibble >> 2 : nibble & 3u);
        }
        a[row][at] = half_of(registers(lane)[r], i);
      }
    }
  }
}

/* in: d[4], a[4], b[4], e. @param selector of the metadata, or -1 where A is dense; @param half of B where A is dense */
template <class Element> inline void mma(Warp &w, int selector, int half) {
  const bool sparse = selector >= 0;
  const int halves = sparse ? 32 : 16, depth = halves / Numbers<Element>::halves;
  uint16_t a[16][32] = {}, b[8][32] = {};
  statistics().products++;
  spread_rows(a, selector, [&](int lane) { return w.in[lane] + 4; }, [&](int lane) { return w.in[lane][12]; });
  for (int lane = 0; lane < 32; lane++)
    for (int r = 0; r < (sparse ? 4 : 2); r++)
      for (int i = 0; i < 2; i++) b[lane / 4][8 * r + 2 * (lane % 4) + i] = half_of(w.in[lane][8 + r + (sparse ? 0 : 2 * half)], i);
  for (int lane = 0; lane < 32; lane++) {
    for (int c = 0; c < 4; c++) {
      const int row = lane / 4 + 8 * (c / 2), column = 2 * (lane % 4) + c % 2;
      double sum = spc_bits_to_f32(w.in[lane][c]);
      for (int k = 0; k < depth; k++) sum += (double)Numbers<Element>::at(a[row], k) * Numbers<Element>::at(b[column], k);
      w.out[lane][c] = spc_f32_to_bits((float)sum);
    }
  }
}

template <class Element> inline void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t e, int selector, int half) {
  uint32_t in[13], out[4];
  for (int i = 0; i < 4; i++) in[i] = spc_f32_to_bits(d[i]), in[4 + i] = a[i], in[8 + i] = b[i];
  in[12] = e;
  collective(300 + 4 * selector + half, in, 13, out, 4, 0, [=](Warp &w) { mma<Element>(w, selector, half); });
  for (int i = 0; i < 4; i++) d[i] = spc_bits_to_f32(out[i]);
}

} /* namespace spc_emu */

SPC_DEVICE void spc_copy16(void *shared, const void *global, bool valid) { spc_emu::copy16(shared, global, valid); }
SPC_DEVICE void spc_copy_commit() { spc_emu::copy_commit(); }
template <int LEFT> SPC_DEVICE void spc_copy_wait() { spc_emu::copy_wait(LEFT); }
SPC_DEVICE uint4 spc_shared_load16(const void *shared) {
  uint32_t v[4];
  spc_emu::shared_load(shared, v, 0);
  return uint4{v[0], v[1], v[2], v[3]};
}
SPC_DEVICE uint32_t spc_shared_load4(const void *shared) {
  uint32_t v[1];
  spc_emu::shared_load(shared, v, 0);
  return v[0];
}
SPC_DEVICE void spc_shared_store16(void *shared, uint4 v) { spc_emu::shared_store16(shared, v); }
SPC_DEVICE uint4 spc_stream_load16(const void *global) {
  if ((uintptr_t)global % 16) spc_emu::fail("misaligned load of 16 bytes", spc_emu::current_launch()->current);
  return *(const uint4 *)global;
}
SPC_DEVICE uint32_t spc_stream_load4(const void *global) {
  if ((uintptr_t)global % 4) spc_emu::fail("misaligned load of 4 bytes", spc_emu::current_launch()->current);
  return *(const uint32_t *)global;
}
SPC_DEVICE void spc_load_matrices(uint32_t (&r)[4], const void *row) {
  spc_emu::check_shared(row, 16, "ldmatrix");
  const uint32_t in[2] = {(uint32_t)(uintptr_t)row, (uint32_t)((uint64_t)(uintptr_t)row >> 32)};
  spc_emu::collective(200, in, 2, r, 4, 0, spc_emu::load_matrices);
}
SPC_DEVICE void spc_load_matrices_transposed(uint32_t (&r)[4], const void *row) {
  spc_emu::check_shared(row, 16, "ldmatrix.trans");
  const uint32_t in[2] = {(uint32_t)(uintptr_t)row, (uint32_t)((uint64_t)(uintptr_t)row >> 32)};
  spc_emu::collective(210, in, 2, r, 4, 0, spc_emu::load_matrices_transposed);
}
template <class Element> SPC_DEVICE void spc_mma(Element, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], int half) { spc_emu::multiply<Element>(d, a, b, 0, -1, half); }
template <int SELECTOR, class Element> SPC_DEVICE void spc_mma_sparse(Element, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t e) {
  spc_emu::multiply<Element>(d, a, b, e, SELECTOR, 0);
}

#endif
