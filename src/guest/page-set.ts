// Sets of pages as bitmaps in the control memory: bit p&7 of byte p>>3, which is bit p&31 of word p>>5 on the
// little-endian machines WebAssembly runs on. Used by batch selection (transfer threads, under the select lock) and
// by the session between rounds. Nothing is allocated. Only the functions that say so are atomic: those of the pull
// phase, where the urgent lane takes single pages while a bulk lane under the lock takes batches (take-pages.ts).

import { GodwitError, type Side } from '../errors.ts'
import type { Kernels } from '../kernels/kernels.ts'
import type { GuestMemory } from './memory.ts'

/** Words of a guest's bitmap; the last one may be half used (16 pages are the smallest step of a guest). */
export const wordCount = (memory: GuestMemory): number => Math.ceil(memory.layout.pageCount / 32)

/** Puts every page into the set; bits behind the last page stay clear. */
export function fillAll(memory: GuestMemory, bitmapOffset: number): void {
  const { pageCount } = memory.layout
  const first = bitmapOffset / 4
  const whole = first + (pageCount >>> 5)
  memory.controlWords.fill(-1, first, whole)
  if (pageCount & 31) memory.controlWords[whole] = (1 << (pageCount & 31)) - 1
}

/** Takes every page out of the set. */
export function clearAll(memory: GuestMemory, bitmapOffset: number): void {
  memory.controlWords.fill(0, bitmapOffset / 4, bitmapOffset / 4 + wordCount(memory))
}

/** How many bits of a 32-bit word are set. */
export function bitsOf(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555)
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/** How many pages are in the set. */
export function countBits(memory: GuestMemory, bitmapOffset: number): number {
  const words = memory.controlWords
  const end = bitmapOffset / 4 + wordCount(memory)
  let count = 0
  for (let index = bitmapOffset / 4; index < end; index++) {
    const word = words[index] as number
    if (word !== 0) count += bitsOf(word)
  }
  return count
}

/** Moves all pages of one set into another: ORs `fromOffset` into `intoOffset` and empties `fromOffset`. */
export function mergeInto(memory: GuestMemory, intoOffset: number, fromOffset: number): void {
  const words = memory.controlWords
  const [into, from] = [intoOffset / 4, fromOffset / 4]
  const count = wordCount(memory)
  for (let index = 0; index < count; index++) {
    const word = words[from + index] as number
    if (word === 0) continue
    words[into + index] = (words[into + index] as number) | word
    words[from + index] = 0
  }
}

/** Puts one page into the set. */
export function addPage(memory: GuestMemory, bitmapOffset: number, page: number): void {
  const index = bitmapOffset / 4 + (page >>> 5)
  memory.controlWords[index] = (memory.controlWords[index] as number) | (1 << (page & 31))
}

/** A set of pages as it travels: one bit a page. */
export function bitmapOf(pages: readonly number[], pageCount: number): Uint8Array {
  const bitmap = new Uint8Array(pageCount / 8)
  for (const page of pages) bitmap[page >>> 3] = (bitmap[page >>> 3] as number) | (1 << (page & 7))
  return bitmap
}

/** The first page of such a set that is not below `page`; -1: there is none. Behind the last page no bit is set. */
export function pageFrom(bitmap: Uint8Array, page: number): number {
  let byte = page >>> 3
  for (let bits = (bitmap[byte] ?? 0) & (0xff << (page & 7)); byte < bitmap.length; bits = bitmap[++byte] ?? 0) {
    if (bits !== 0) return byte * 8 + (31 - Math.clz32(bits & -bits))
  }
  return -1
}

/** Whether the page is in such a set. */
export const isNamed = (bitmap: Uint8Array, page: number): boolean =>
  ((bitmap[page >>> 3] as number) & (1 << (page & 7))) !== 0

/** Puts the pages of a set that came from the peer, `side`, into another. Throws `bad-message` unless it fits the guest. */
export function addBitmap(
  { layout, controlBytes }: GuestMemory,
  bitmapOffset: number,
  bitmap: Uint8Array,
  side: Side,
): void {
  if (bitmap.length !== layout.pageCount / 8) {
    const message = `a set of ${bitmap.length * 8} pages for a guest of ${layout.pageCount}`
    throw new GodwitError('bad-message', message, { side })
  }
  for (const [index, byte] of bitmap.entries()) {
    if (byte !== 0) controlBytes[bitmapOffset + index] = (controlBytes[bitmapOffset + index] as number) | byte
  }
}

/** Whether the page is in the set; atomic. */
export function hasPage(memory: GuestMemory, bitmapOffset: number, page: number): boolean {
  return (Atomics.load(memory.controlWords, bitmapOffset / 4 + (page >>> 5)) & (1 << (page & 31))) !== 0
}

/** Takes one page out of the set; atomic: of all that try, exactly one gets true and has to handle the page. */
export function takePage(memory: GuestMemory, bitmapOffset: number, page: number): boolean {
  const bit = 1 << (page & 31)
  return (Atomics.and(memory.controlWords, bitmapOffset / 4 + (page >>> 5), ~bit) & bit) !== 0
}

/** Puts a taken page back, because it was not delivered; atomic. */
export function returnPage(memory: GuestMemory, bitmapOffset: number, page: number): void {
  Atomics.or(memory.controlWords, bitmapOffset / 4 + (page >>> 5), 1 << (page & 31))
}

/** What `selectBatch` is asked for; offsets are byte offsets into the control memory. */
export interface SelectOrder {
  bitmapOffset: number
  /** Pages before this one stay in the set. */
  fromPage: number
  /** Pages to list at most. */
  max: number
  /** The card table in use: pages marked there are skipped (Clark's to_skip). Null: take every page. */
  peekCardsOffset: number | null
  /** The free map: pages marked there need not travel (R17). Null: they are listed like any other. */
  freeOffset: number | null
  /** Where the u32 page numbers go. */
  listOffset: number
}

export interface Selected {
  /** Pages listed, in ascending order, and taken out of the set. */
  count: number
  /** Where the next batch begins; the guest's page count when nothing is left. */
  nextPage: number
  /** Pages taken out of the set unlisted, because their card is marked: the next harvest brings them again. */
  skipped: number
  /** Pages taken out of the set unlisted, because they are free. */
  freed: number
}

const selected: Selected = { count: 0, nextPage: 0, skipped: 0, freed: 0 }

/**
 * Takes the next batch of pages out of the set, in ascending order from `fromPage` on. The answer is one object that
 * the next call overwrites. The caller holds the select lock.
 */
export function selectBatch(memory: GuestMemory, kernels: Kernels, order: SelectOrder): Selected {
  const { controlWords: words, controlBytes: bytes } = memory
  const { pageCount } = memory.layout
  const { bitmapOffset, fromPage, max, peekCardsOffset, freeOffset } = order
  const firstWord = bitmapOffset / 4
  const endWord = wordCount(memory)
  const list = order.listOffset / 4
  let count = 0
  let skipped = 0
  let freed = 0
  let nextPage = Math.min(fromPage, pageCount)
  let mask = -1 << (fromPage & 31)
  for (let index = fromPage >>> 5; index < endWord && count < max; index++, mask = -1) {
    const word = words[firstWord + index] as number
    if (word === 0) {
      // Few pages in a large guest: what lies between them is passed over at memory speed.
      index = kernels.nextMarked(bitmapOffset, index + 1, endWord) - 1
      continue
    }
    let pending = word & mask
    // Bits that stay: those before `fromPage`, and those left over when the batch is full.
    const kept = word & ~mask
    while (pending !== 0 && count < max) {
      const page = (index << 5) + (31 - Math.clz32(pending & -pending))
      pending &= pending - 1
      nextPage = page + 1
      if (freeOffset !== null && bytes[freeOffset + page] !== 0) freed++
      else if (peekCardsOffset !== null && bytes[peekCardsOffset + page] !== 0) skipped++
      else words[list + count++] = page
    }
    words[firstWord + index] = kept | pending
  }
  selected.count = count
  selected.skipped = skipped
  selected.freed = freed
  // A batch that is not full has looked at every page; a full one goes on behind its last page.
  selected.nextPage = count < max ? pageCount : nextPage
  return selected
}
