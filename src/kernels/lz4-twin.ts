// The LZ4 kernel once more in plain TypeScript: what it means, in the most obvious way. Property tests hold lz4.wat to it,
// block for block and refusal for refusal.

import type { GuestMemory } from '../guest/memory.ts'
import { type Lz4Kernel, lz4TableBits } from './lz4.ts'

const MIN_MATCH = 4
/** The last bytes of a block are literals, and its last match begins this long before the end. */
const LAST_LITERALS = 5
const LAST_MATCH = 12
/** A match shorter than this is not taken before the next byte has been tried. */
const LAZY_BELOW = 32
/** Misses until the search takes wider steps, as a power of two. */
const SKIP_SHIFT = 6

/** Where a reader stands in the block; a read beyond its end throws the one symbol that ends decompression. */
class BlockReader {
  static readonly malformed = Symbol('malformed')
  at: number
  readonly end: number
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array, from: number, length: number) {
    this.#bytes = bytes
    this.at = from
    this.end = from + length
  }

  byte(): number {
    if (this.at >= this.end) throw BlockReader.malformed
    return this.#bytes[this.at++] as number
  }

  /** A nibble's value with the bytes that follow when it is 15. */
  count(nibble: number): number {
    if (nibble < 15) return nibble
    for (let count = nibble; ; ) {
      const byte = this.byte()
      count += byte
      if (byte !== 255) return count
    }
  }
}

/** Decompresses; throws BlockReader.malformed. */
function decompress(bytes: Uint8Array, from: number, length: number, to: number, capacity: number): number {
  const reader = new BlockReader(bytes, from, length)
  let at = to
  const put = (byte: number): void => {
    if (at >= to + capacity) throw BlockReader.malformed
    bytes[at++] = byte
  }
  for (;;) {
    const token = reader.byte()
    for (let count = reader.count(token >> 4); count > 0; count--) put(reader.byte())
    if (reader.at === reader.end) return at - to
    const offset = reader.byte() | (reader.byte() << 8)
    if (offset === 0 || offset > at - to) throw BlockReader.malformed
    for (let count = reader.count(token & 15) + MIN_MATCH; count > 0; count--) put(bytes[at - offset] as number)
  }
}

/** The bytes of one sequence; `offset` 0: the last one, without a match. */
function sequence(literals: Uint8Array, offset: number, match: number): number[] {
  const more = (count: number): number[] =>
    count < 15 ? [] : [...Array<number>(Math.floor((count - 15) / 255)).fill(255), (count - 15) % 255]
  const extra = offset === 0 ? 0 : match - MIN_MATCH
  const token = (Math.min(15, literals.length) << 4) | Math.min(15, extra)
  const tail = offset === 0 ? [] : [offset & 255, offset >> 8, ...more(extra)]
  return [token, ...more(literals.length), ...literals, ...tail]
}

function compress(content: Uint8Array): number[] {
  const bits = lz4TableBits(content.length)
  const table = new Uint16Array(1 << bits)
  const byte = (at: number): number => content[at] as number
  const word = (at: number): number => byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24)
  /** The last place of the same hash; `at` takes its place. */
  const exchange = (at: number): number => {
    const slot = Math.imul(word(at), 0x9e3779b1) >>> (32 - bits)
    const last = table[slot] as number
    table[slot] = at
    return last
  }
  /** Where the bytes from `at` on stop being those from `match` on. */
  const agree = (at: number, match: number): number => {
    let stop = at
    while (stop < content.length - LAST_LITERALS && byte(stop) === byte(stop - at + match)) stop++
    return stop
  }
  const lastStart = content.length - LAST_MATCH
  const block: number[] = []
  let anchor = 0
  let next = 1
  for (let tries = 1 << SKIP_SHIFT; content.length > LAST_MATCH && next <= lastStart; ) {
    let here = next
    next += tries++ >> SKIP_SHIFT
    let match = exchange(here)
    if (word(match) !== word(here)) continue
    let stop = agree(here, match)
    if (stop - here < LAZY_BELOW && here < lastStart) {
      const later = exchange(here + 1)
      const laterStop = word(later) === word(here + 1) ? agree(here + 1, later) : 0
      if (laterStop > stop + 2) [here, match, stop] = [here + 1, later, laterStop]
    }
    for (; here > anchor && match > 0 && byte(here - 1) === byte(match - 1); here--) match--
    block.push(...sequence(content.subarray(anchor, here), here - match, stop - here))
    anchor = next = stop
    if (next <= lastStart) exchange(next - 2)
    tries = 1 << SKIP_SHIFT
  }
  block.push(...sequence(content.subarray(anchor), 0, 0))
  return block
}

/** The twin of `loadLz4`. It keeps its table to itself. */
export function createLz4Twin(memory: GuestMemory): Lz4Kernel {
  const bytes = memory.controlBytes
  return {
    compress(from, length, to, limit) {
      const block = compress(bytes.slice(from, from + length))
      if (block.length > limit) return -1
      bytes.set(block, to)
      return block.length
    },
    decompress(from, length, to, capacity) {
      try {
        return decompress(bytes, from, length, to, capacity)
      } catch (thrown) {
        if (thrown === BlockReader.malformed) return -1
        throw thrown
      }
    },
  }
}
