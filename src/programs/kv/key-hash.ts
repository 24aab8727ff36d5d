// HalfSipHash-1-3 (Aumasson and Bernstein; Linux uses it for its hash tables on 32-bit machines): a keyed hash, so that
// clients who do not know the guest's seed cannot choose keys that fall into one bucket.

/** A 32-bit hash of `length` bytes from `start` on, under the key of two words. */
export function keyHash(key0: number, key1: number, bytes: Uint8Array, start: number, length: number): number {
  let v0 = key0
  let v1 = key1
  let v2 = key0 ^ 0x6c796765
  let v3 = key1 ^ 0x74656462
  const words = length >>> 2
  // One round for each word and for the rest with the length, three to finish.
  for (let index = 0; index < words + 4; index++) {
    let word = 0
    if (index <= words) {
      const at = start + 4 * index
      const rest = index < words ? 4 : length & 3
      if (rest > 0) word = bytes[at] as number
      if (rest > 1) word |= (bytes[at + 1] as number) << 8
      if (rest > 2) word |= (bytes[at + 2] as number) << 16
      word |= (index < words ? (bytes[at + 3] as number) : length) << 24
      v3 ^= word
    }
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    if (index <= words) v0 ^= word
    if (index === words) v2 ^= 0xff
  }
  return (v1 ^ v3) >>> 0
}
