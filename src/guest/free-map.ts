// The free map as it crosses at the switch (R17): one byte a page in control memory, one bit a page on the wire. Called by
// both sessions, by the proof and by the oracle, while nothing writes the map.

import { GodwitError } from '../errors.ts'
import type { GuestMemory } from './memory.ts'

/** Brings the lowest bits of the four bytes of a word side by side into bits 24 to 27; no two products meet. */
const GATHER = 0x01020408
/** Four bits back to four bytes of 0 or 1. */
const SPREAD = Int32Array.from({ length: 16 }, (_, bits) =>
  [0, 1, 2, 3].reduce((word, bit) => word | (((bits >>> bit) & 1) << (8 * bit)), 0),
)

/** The free pages as a bitmap (bit p&7 of byte p>>3), pageCount / 8 bytes; null when no page is free. */
export function saveFree(memory: GuestMemory): Uint8Array | null {
  const { layout, controlWords: words } = memory
  const first = layout.free / 4
  let bitmap: Uint8Array | null = null
  for (let index = 0; index < layout.pageCount / 4; index++) {
    const word = words[first + index] as number
    if (word === 0) continue
    bitmap ??= new Uint8Array(layout.pageCount / 8)
    // Any byte but 0 says free, as it does to the kernels; programs fill the map, too.
    const flags = ((((word & 0x7f7f7f7f) + 0x7f7f7f7f) | word) >>> 7) & 0x01010101
    const bits = (Math.imul(flags, GATHER) >>> 24) & 15
    bitmap[index >>> 1] = (bitmap[index >>> 1] as number) | (bits << (4 * (index & 1)))
  }
  return bitmap
}

/** Puts the free map into its place; null: no page is free. Throws `bad-message` for a bitmap of another guest's size. */
export function loadFree(memory: GuestMemory, bitmap: Uint8Array | null): void {
  const { layout, controlWords: words } = memory
  const bytes = layout.pageCount / 8
  const first = layout.free / 4
  if (bitmap === null) {
    words.fill(0, first, first + 2 * bytes)
    return
  }
  if (bitmap.length !== bytes) {
    throw new GodwitError('bad-message', `free map of ${bitmap.length} bytes for a guest of ${layout.pageCount} pages`)
  }
  for (let index = 0; index < bytes; index++) {
    const bits = bitmap[index] as number
    words[first + 2 * index] = SPREAD[bits & 15] as number
    words[first + 2 * index + 1] = SPREAD[bits >>> 4] as number
  }
}
