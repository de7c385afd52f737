/*
 * spc_element.h - element types of products and activations: how they lie in memory, and what they become in f32. Tensor cores read
 * f16, bf16 and tf32; sums are always f32.
 */
#ifndef SPC_ELEMENT_H
#define SPC_ELEMENT_H

struct spc_f16 {
  typedef uint16_t stored;
  SPC_DEVICE stored from(float v) { return spc_f32_to_f16(v); }
  SPC_DEVICE float to(stored v) { return spc_f16_to_f32(v); }
};
struct spc_bf16 {
  typedef uint16_t stored;
  SPC_DEVICE stored from(float v) { return spc_f32_to_bf16(v); }
  SPC_DEVICE float to(stored v) { return spc_bf16_to_f32(v); }
};
struct spc_f32 {
  typedef float stored;
  SPC_DEVICE stored from(float v) { return v; }
  SPC_DEVICE float to(stored v) { return v; }
};
/* f32 in memory, of which tensor cores read the first 19 bits. */
struct spc_tf32 : spc_f32 {};

/* Elements in 16 bytes, the unit of copies, and in 128, the part of a row that one k block has. */
template <class Element> constexpr int spc_per16 = 16 / (int)sizeof(typename Element::stored);
template <class Element> constexpr int spc_per_block = 128 / (int)sizeof(typename Element::stored);

#endif
