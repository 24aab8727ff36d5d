// New inputs from old ones, as fuzzers make them: bits, bytes and numbers altered, pieces cut, repeated and moved, two
// inputs joined. Everything follows from one seed.

/** Numbers at which decoders tend to decide something. */
const EDGES = [0, 1, 2, 3, 4, 7, 8, 14, 15, 16, 17, 31, 32, 63, 64, 127, 128, 239, 240, 254, 255]
const WIDE_EDGES = [0, 1, 255, 256, 1024, 4095, 4096, 4097, 32_767, 32_768, 65_534, 65_535]

/** A generator of 32 bits (xorshift), good enough to choose with. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x6d2b79f5) | 1
  }

  /** 0 ≤ n < limit. */
  below(limit: number): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return (x >>> 0) % limit
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }
}

type Mutation = (bytes: number[], dice: Dice, other: Uint8Array) => void

const at = (bytes: readonly number[], dice: Dice): number => dice.below(Math.max(1, bytes.length))
/** A place to insert at: the end is one. */
const between = (bytes: readonly number[], dice: Dice): number => dice.below(bytes.length + 1)
const span = (bytes: readonly number[], dice: Dice): [number, number] => {
  const from = at(bytes, dice)
  return [from, Math.min(bytes.length - from, 1 + dice.below(dice.of([4, 16, 64, 256])))]
}

const MUTATIONS: readonly Mutation[] = [
  (bytes, dice) => {
    const index = at(bytes, dice)
    bytes[index] = (bytes[index] ?? 0) ^ (1 << dice.below(8))
  },
  (bytes, dice) => {
    bytes[at(bytes, dice)] = dice.below(256)
  },
  (bytes, dice) => {
    bytes[at(bytes, dice)] = dice.of(EDGES)
  },
  (bytes, dice) => {
    const index = at(bytes, dice)
    bytes[index] = ((bytes[index] ?? 0) + dice.below(9) - 4) & 255
  },
  (bytes, dice) => {
    const [index, value] = [at(bytes, dice), dice.of(WIDE_EDGES)]
    bytes.splice(index, 2, value & 255, value >> 8)
  },
  (bytes, dice) => {
    const index = at(bytes, dice)
    const value = ((bytes[index] ?? 0) | ((bytes[index + 1] ?? 0) << 8)) + dice.below(33) - 16
    bytes.splice(index, 2, value & 255, (value >> 8) & 255)
  },
  (bytes, dice) => {
    bytes.splice(between(bytes, dice), 0, ...Array.from({ length: 1 + dice.below(8) }, () => dice.below(256)))
  },
  (bytes, dice) => {
    bytes.splice(
      between(bytes, dice),
      0,
      ...Array<number>(1 + dice.below(dice.of([8, 64, 400]))).fill(dice.of([0, 255, dice.below(256)])),
    )
  },
  (bytes, dice) => {
    bytes.splice(...span(bytes, dice))
  },
  (bytes, dice) => {
    const [from, length] = span(bytes, dice)
    bytes.splice(between(bytes, dice), 0, ...bytes.slice(from, from + length))
  },
  (bytes, dice) => {
    const [from, length] = span(bytes, dice)
    const piece = bytes.slice(from, from + length)
    bytes.splice(at(bytes, dice), piece.length, ...piece)
  },
  (bytes, dice, other) => {
    const cut = at(bytes, dice)
    const from = dice.below(Math.max(1, other.length))
    bytes.splice(cut, bytes.length, ...other.subarray(from))
  },
]

/** A new input of at most `most` bytes: `input` after a few mutations, some with pieces of `other`. */
export function mutate(input: Uint8Array, other: Uint8Array, dice: Dice, most: number): Uint8Array {
  const bytes = [...input]
  for (let turn = 1 << dice.below(4); turn > 0; turn--) dice.of(MUTATIONS)(bytes, dice, other)
  return Uint8Array.from(bytes.slice(0, most))
}
