// Decoders for `pattern` and `packed` in plain TypeScript, written from the drawings of the formats and not from the
// kernels, and the counts that decide how long a WKdm page is.

import { PAGE_BYTES } from '../kernels/memory-fixture.ts'

/** A page and the bytes that it took, or undefined when the bytes are not an encoder's. */
export type Decoded = { page: Uint8Array; bytes: number } | undefined

const WORDS = PAGE_BYTES / 4
const slotOf = (word: number): number => Math.imul(word >>> 10, 0x9e3779b1) >>> 28
const pageOf = (words: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(words).buffer)
const wordsOf = (bytes: Uint8Array): number[] => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: bytes.length >> 2 }, (_, index) => view.getUint32(index * 4, true))
}
/** Fields of `bits` bits, `each` of them in a u32; undefined if what is left over is not zero. */
function unpack(words: readonly number[], count: number, bits: number, each: number): number[] | undefined {
  const fields: number[] = []
  for (const word of words) {
    let rest = word
    for (let index = 0; index < each; index++) {
      fields.push(rest % 2 ** bits)
      rest = Math.floor(rest / 2 ** bits)
    }
    if (rest !== 0) return undefined
  }
  return fields.splice(count).some((field) => field !== 0) ? undefined : fields
}

export function decodePattern(payload: Uint8Array): Decoded {
  if (payload.length < 268) return undefined
  const [misses = 0, hits = 0, partials = 0] = wordsOf(payload.subarray(0, 12))
  const tags = unpack(wordsOf(payload.subarray(12, 268)), WORDS, 2, 16) as number[]
  const counted = (...wanted: number[]): number => tags.filter((tag) => wanted.includes(tag)).length
  if (counted(2) !== misses || counted(1, 3) !== hits || counted(1) !== partials) return undefined
  const ends = [268]
  for (const length of [misses, Math.ceil(hits / 8), Math.ceil(partials / 3)]) {
    ends.push((ends.at(-1) as number) + 4 * length)
  }
  if ((ends[3] as number) > payload.length) return undefined
  const [full, slotWords, lowWords] = [0, 1, 2].map((part) => wordsOf(payload.subarray(ends[part], ends[part + 1])))
  const slots = unpack(slotWords ?? [], hits, 4, 8)
  const lows = unpack(lowWords ?? [], partials, 10, 3)
  if (full === undefined || slots === undefined || lows === undefined) return undefined
  const dictionary = new Array<number>(16).fill(0)
  const words = tags.map((tag) => {
    if (tag === 0) return 0
    if (tag === 2) {
      const word = full.shift() as number
      dictionary[slotOf(word)] = word
      return word
    }
    const slot = slots.shift() as number
    if (tag === 1) dictionary[slot] = (((dictionary[slot] as number) & ~0x3ff) | (lows.shift() as number)) >>> 0
    return dictionary[slot] as number
  })
  return { page: pageOf(words), bytes: ends[3] as number }
}

/** The size law of WKdm, counted with a dictionary of its own. */
export function patternBytes(page: Uint8Array): number {
  const dictionary = new Array<number>(16).fill(0)
  let [misses, hits, partials] = [0, 0, 0]
  for (const word of wordsOf(page)) {
    if (word === 0) continue
    const before = dictionary[slotOf(word)] as number
    if (before >>> 10 !== word >>> 10) misses++
    else {
      hits++
      if (before !== word) partials++
    }
    dictionary[slotOf(word)] = word
  }
  return 12 + 256 + 4 * misses + 4 * Math.ceil(hits / 8) + 4 * Math.ceil(partials / 3)
}

/** Value `index` of a column of `width` bits a value, bit by bit. */
function valueAt(bytes: Uint8Array, index: number, width: number): number {
  const lane = index % 4
  let value = 0
  for (let bit = 0; bit < width; bit++) {
    const place = (index >> 2) * width + bit
    const at = (place >> 5) * 16 + lane * 4 + ((place & 31) >> 3)
    if ((bytes[at] as number) & (1 << (place & 7))) value += 2 ** bit
  }
  return value
}

export function decodePacked(payload: Uint8Array): Decoded {
  if (payload.length < 24) return undefined
  const bases = wordsOf(payload.subarray(0, 16))
  const words = new Array<number>(WORDS)
  let at = 24
  for (let column = 0; column < 4; column++) {
    const [shift, width] = [payload[16 + column] as number, payload[20 + column] as number]
    if (shift + width > 32 || (width === 0 && shift !== 0)) return undefined
    const bits = payload.subarray(at, at + 32 * width)
    if (bits.length < 32 * width) return undefined
    for (let record = 0; record < WORDS / 4; record++) {
      const value = valueAt(bits, record, width) * 2 ** shift
      words[record * 4 + column] = ((bases[column] as number) + value) % 2 ** 32
    }
    at += 32 * width
  }
  return { page: pageOf(words), bytes: at }
}

/** Length of a `packed` page: the smaller of the ranges as unsigned and as signed words, without the low bits all share. */
export function packedBytes(page: Uint8Array): number {
  const words = wordsOf(page)
  const widths = [0, 1, 2, 3].map((column) => {
    const own = words.filter((_, index) => index % 4 === column)
    const ranges = [own, own.map((word) => word | 0)].map((all) => Math.max(...all) - Math.min(...all))
    const least = Math.min(...own)
    let width = Math.min(...ranges.map((range) => range.toString(2).length))
    for (let bit = 0; bit < 32 && own.every((word) => (word - least) % 2 ** (bit + 1) === 0); bit++) width--
    return Math.max(...ranges) === 0 ? 0 : width
  })
  return 24 + 32 * widths.reduce((sum, width) => sum + width, 0)
}
