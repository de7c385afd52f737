/** Small integers side by side in bytes, least significant bit first: positions and kernel ids of a few bits a weight. */

/** Bits that tell `n` things apart; none for a single thing. */
export const bitsFor = (n: number): number => (n <= 1 ? 0 : 32 - Math.clz32(n - 1));

/** Sets `width` bits at bit `offset`, which must be clear. */
export function writeBits(bytes: Uint8Array, offset: number, width: number, value: number): void {
  for (let done = 0; done < width;) {
    const at = offset + done, shift = at & 7, count = Math.min(8 - shift, width - done);
    bytes[at >>> 3]! |= ((value >>> done) & ((1 << count) - 1)) << shift;
    done += count;
  }
}

export function readBits(bytes: Uint8Array, offset: number, width: number): number {
  let value = 0;
  for (let done = 0; done < width;) {
    const at = offset + done, shift = at & 7, count = Math.min(8 - shift, width - done);
    value |= ((bytes[at >>> 3]! >>> shift) & ((1 << count) - 1)) << done;
    done += count;
  }
  return value;
}
