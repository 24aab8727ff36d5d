// The kernels once more in plain TypeScript: what they mean, in the most obvious way. Property tests hold kernels.wat to
// it, and a runtime without SIMD or several memories could run on it. Same interface, some hundred times slower.

import type { GuestMemory } from '../guest/memory.ts'
import { PAGE_BYTES } from '../limits.ts'
import { assertHarvest, assertRun, type Kernels, PAGE_CLASS } from './kernels.ts'

const PAGE_WORDS = PAGE_BYTES / 8
const P1 = 0x9e3779b185ebca87n
const P2 = 0xc2b2ae3d27d4eb4fn
const P3 = 0x165667b19e3779f9n
const P4 = 0x85ebca77c2b2ae63n
const GOLDEN = 0x9e3779b97f4a7c15n
const MIX = 0xd6e8feb86659fd93n

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value)
const rotate = (value: bigint, bits: bigint): bigint => wrap((value << bits) | (value >> (64n - bits)))
const round = (accumulator: bigint, lane: bigint): bigint => wrap(rotate(wrap(accumulator + wrap(lane * P2)), 31n) * P1)

/** XXH64 with seed 0 of the 4,096 bytes at word `first` (Yann Collet's specification, four lanes and no tail). */
export function xxh64OfPage(words: BigUint64Array, first: number): bigint {
  let [a, b, c, d] = [wrap(P1 + P2), P2, 0n, wrap(-P1)]
  for (let index = first; index < first + PAGE_WORDS; index += 4) {
    a = round(a, words[index] ?? 0n)
    b = round(b, words[index + 1] ?? 0n)
    c = round(c, words[index + 2] ?? 0n)
    d = round(d, words[index + 3] ?? 0n)
  }
  let hash = wrap(rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n))
  for (const lane of [a, b, c, d]) hash = wrap((hash ^ round(0n, lane)) * P1 + P4)
  hash = wrap(hash + BigInt(PAGE_BYTES))
  hash = wrap((hash ^ (hash >> 33n)) * P2)
  hash = wrap((hash ^ (hash >> 29n)) * P3)
  return hash ^ (hash >> 32n)
}

/** A page's term of the digest (R15): 0 for hash 0, which stands for a zero page. */
export function digestTerm(hash: bigint, page: number): bigint {
  return hash === 0n ? 0n : sealOf(hash, page)
}

/** What travels with a page after the switch (R10). */
export function sealOf(hash: bigint, page: number): bigint {
  let x = hash ^ wrap(BigInt(page + 1) * GOLDEN)
  x = wrap((x ^ (x >> 32n)) * MIX)
  x = wrap((x ^ (x >> 32n)) * MIX)
  return x ^ (x >> 32n)
}

/** The twin of `loadKernels`. */
export function createTwin(memory: GuestMemory): Kernels {
  const { bytes, controlBytes, controlWords, controlLongs } = memory
  const pageWords = new BigUint64Array(bytes.buffer)
  const listed = (listOffset: number, index: number): number => (controlWords[listOffset / 4 + index] ?? 0) >>> 0
  const pageBytes = (page: number): Uint8Array => bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
  const staged = (offset: number, index: number): Uint8Array =>
    controlBytes.subarray(offset + index * PAGE_BYTES, offset + (index + 1) * PAGE_BYTES)
  const tableHash = (hashesOffset: number, page: number): bigint => wrap(controlLongs[hashesOffset / 8 + page] ?? 0n)
  const isZero = (page: number): boolean => pageBytes(page).every((byte) => byte === 0)
  const isFree = (page: number): boolean => controlBytes[memory.layout.free + page] !== 0
  const countsAsZero = (page: number): boolean => isFree(page) || isZero(page) // R17
  const pageHash = (page: number): bigint => (countsAsZero(page) ? 0n : xxh64OfPage(pageWords, page * PAGE_WORDS))

  const rehash = (page: number, hashesOffset: number, digestOffset: number): void => {
    const hash = pageHash(page)
    const change = digestTerm(hash, page) - digestTerm(tableHash(hashesOffset, page), page)
    controlLongs[hashesOffset / 8 + page] = hash
    controlLongs[digestOffset / 8] = (controlLongs[digestOffset / 8] ?? 0n) + change
  }

  return {
    scan(listOffset, count, classesOffset, hashesOffset, digestOffset, hash) {
      let zeroPages = 0
      for (let index = 0; index < count; index++) {
        const page = listed(listOffset, index)
        const zero = countsAsZero(page)
        controlBytes[classesOffset + index] = zero ? PAGE_CLASS.zero : PAGE_CLASS.raw
        if (zero) zeroPages++
        if (hash) rehash(page, hashesOffset, digestOffset)
      }
      return zeroPages
    },
    hashRun(firstPage, count, hashesOffset, digestOffset) {
      assertRun(memory, firstPage, count)
      for (let index = 0; index < count; index++) rehash(firstPage + index, hashesOffset, digestOffset)
    },
    seal(listOffset, count, tableOffset, hashesOffset, digestOffset) {
      let zeroPages = 0
      for (let index = 0; index < count; index++) {
        const page = listed(listOffset, index)
        const hash = pageHash(page)
        if (hash === 0n) zeroPages++
        const entry = tableOffset + index * 16
        controlWords[entry / 4] = page
        controlWords[entry / 4 + 1] = hash === 0n ? 1 : 2
        controlLongs[entry / 8 + 1] = sealOf(hash, page)
        rehash(page, hashesOffset, digestOffset)
      }
      return zeroPages
    },
    unseal(tableOffset, count, hashesOffset, digestOffset) {
      for (let index = 0; index < count; index++) {
        const page = listed(tableOffset, index * 4)
        const seal = wrap(controlLongs[tableOffset / 8 + index * 2 + 1] ?? 0n)
        if (seal !== sealOf(pageHash(page), page)) return index
        rehash(page, hashesOffset, digestOffset)
      }
      return count
    },
    forget(bitmapOffset, words, hashesOffset, digestOffset) {
      for (let page = 0; page < words * 32; page++) {
        if (((controlBytes[bitmapOffset + (page >> 3)] ?? 0) & (1 << (page & 7))) === 0) continue
        const change = digestTerm(tableHash(hashesOffset, page), page)
        controlLongs[hashesOffset / 8 + page] = 0n
        controlLongs[digestOffset / 8] = (controlLongs[digestOffset / 8] ?? 0n) - change
      }
    },
    publish(bitmapOffset, words, presenceOffset) {
      for (let page = 0; page < words * 32; page++) {
        if ((controlBytes[bitmapOffset + (page >> 3)] ?? 0) & (1 << (page & 7))) controlBytes[presenceOffset + page] = 5
      }
      controlWords.fill(0, bitmapOffset / 4, bitmapOffset / 4 + words)
    },
    findBytes(bytesOffset, count, value, bitmapOffset) {
      assertHarvest(count)
      let found = 0
      controlBytes.fill(0, bitmapOffset, bitmapOffset + count / 8)
      for (let index = 0; index < count; index++) {
        if (controlBytes[bytesOffset + index] !== value) continue
        const byte = bitmapOffset + (index >> 3)
        controlBytes[byte] = (controlBytes[byte] ?? 0) | (1 << (index & 7))
        found++
      }
      return found
    },
    zeroRun(firstPage, count) {
      assertRun(memory, firstPage, count)
      for (let index = 0; index < count; index++) if (!isZero(firstPage + index)) pageBytes(firstPage + index).fill(0)
    },
    gather(listOffset, count, stagingOffset) {
      for (let index = 0; index < count; index++) staged(stagingOffset, index).set(pageBytes(listed(listOffset, index)))
    },
    scatter(listOffset, count, stagingOffset) {
      for (let index = 0; index < count; index++) pageBytes(listed(listOffset, index)).set(staged(stagingOffset, index))
    },
    takeRun(firstPage, count, stagingOffset) {
      assertRun(memory, firstPage, count)
      for (let index = 0; index < count; index++) staged(stagingOffset, index).set(pageBytes(firstPage + index))
    },
    placeRun(firstPage, count, stagingOffset) {
      assertRun(memory, firstPage, count)
      for (let index = 0; index < count; index++) pageBytes(firstPage + index).set(staged(stagingOffset, index))
    },
    harvest(cardsOffset, pageCount, bitmapOffset) {
      assertHarvest(pageCount)
      let marked = 0
      for (let page = 0; page < pageCount; page++) {
        if (controlBytes[cardsOffset + page] === 0) continue
        const byte = bitmapOffset + (page >> 3)
        controlBytes[byte] = (controlBytes[byte] ?? 0) | (1 << (page & 7))
        controlBytes[cardsOffset + page] = 0
        marked++
      }
      return marked
    },
    nextMarked(bitmapOffset, fromWord, endWord) {
      for (let word = fromWord; word < endWord; word++) {
        if (controlWords[bitmapOffset / 4 + word] !== 0) return word
      }
      return Math.max(fromWord, endWord)
    },
    compare(firstPage, count, stagingOffset) {
      assertRun(memory, firstPage, count)
      for (let index = 0; index < count; index++) {
        const other = staged(stagingOffset, index)
        if (pageBytes(firstPage + index).some((byte, at) => byte !== other[at])) return index
      }
      return -1
    },
    audit(firstPage, count, hashesOffset) {
      assertRun(memory, firstPage, count)
      for (let page = firstPage; page < firstPage + count; page++) {
        if (pageHash(page) !== tableHash(hashesOffset, page)) return page
      }
      return -1
    },
    digestOf(hashesOffset, firstPage, count) {
      assertRun(memory, firstPage, count)
      let sum = 0n
      for (let page = firstPage; page < firstPage + count; page++)
        sum += digestTerm(tableHash(hashesOffset, page), page)
      return wrap(sum)
    },
  }
}
