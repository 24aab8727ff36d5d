// Random numbers of the built-in programs: a generator whose state lies in vCPU registers, and a hash for values that
// must not depend on history.

/** Mixes 32-bit numbers into one; good enough that neighbours look unrelated. */
export function hash32(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b ^ (b >>> 16) ^ 0x27d4eb2f, 0xc2b2ae35)
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d)
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b)
  return (h ^ (h >>> 16)) >>> 0
}

/** Words that `nextRandom` keeps at its state's place. */
export const RANDOM_WORDS = 4

/** Puts a generator into `state[at]` … `state[at + 3]`. */
export function seedRandom(state: Uint32Array, at: number, seed: number, stream: number): void {
  for (let index = 0; index < RANDOM_WORDS; index++) state[at + index] = hash32(seed, stream * RANDOM_WORDS + index)
  state[at] = (state[at] as number) | 1
}

/** The next number of xorshift128 (Marsaglia), 32 bits, unsigned. */
export function nextRandom(state: Uint32Array, at: number): number {
  let t = state[at + 3] as number
  const s = state[at] as number
  state[at + 3] = state[at + 2] as number
  state[at + 2] = state[at + 1] as number
  state[at + 1] = s
  t ^= t << 11
  t ^= t >>> 8
  const next = (t ^ s ^ (s >>> 19)) >>> 0
  state[at] = next
  return next
}

/** A number below `limit` from 32 random bits. */
export const below = (random: number, limit: number): number => Math.floor((random * limit) / 2 ** 32)
