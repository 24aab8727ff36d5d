// The free map as it crosses at the switch (R17): one byte a page in control memory, one bit a page on the wire. Called by
// both sessions, by the proof and by the oracle, while nothing writes the map.

import { GodwitError } from '../errors.ts'
import type { Kernels } from '../kernels/kernels.ts'
import type { GuestMemory } from './memory.ts'

/** Brings the lowest bits of the four bytes of a word side by side into bits 24 to 27; no two products meet. */
const GATHER = 0x01020408
/** Four bits back to four bytes of 0 or 1. */
const SPREAD = Int32Array.from({ length: 16 }, (_, bits) =>
  [0, 1, 2, 3].reduce((word, bit) => word | (((bits >>> bit) & 1) << (8 * bit)), 0),
)

/** Four bytes of the map as four bits. Any byte but 0 says free, as it does to the kernels; programs fill the map, too. */
function bitsOf(word: number): number {
  const flags = ((((word & 0x7f7f7f7f) + 0x7f7f7f7f) | word) >>> 7) & 0x01010101
  return (Math.imul(flags, GATHER) >>> 24) & 15
}

function pack(words: Int32Array, first: number, bytes: number): Uint8Array | null {
  let bitmap: Uint8Array | null = null
  for (let index = 0; index < bytes; index++) {
    const [low, high] = [words[first + 2 * index] as number, words[first + 2 * index + 1] as number]
    if ((low | high) === 0) continue
    bitmap ??= new Uint8Array(bytes)
    bitmap[index] = bitsOf(low) | (bitsOf(high) << 4)
  }
  return bitmap
}

function unpack(words: Int32Array, first: number, bitmap: Uint8Array): void {
  for (let index = 0; index < bitmap.length; index++) {
    const bits = bitmap[index] as number
    words[first + 2 * index] = SPREAD[bits & 15] as number
    words[first + 2 * index + 1] = SPREAD[bits >>> 4] as number
  }
}

/**
 * The free pages as a bitmap (bit p&7 of byte p>>3), pageCount / 8 bytes; null when no page is free. `kernels` find out at
 * memory speed whether there is one.
 */
export function saveFree(memory: GuestMemory, kernels: Kernels | null = null): Uint8Array | null {
  const { free, pageCount } = memory.layout
  if (kernels !== null && kernels.nextMarked(free, 0, pageCount / 4) >= pageCount / 4) return null
  return pack(memory.controlWords, memory.layout.free / 4, memory.layout.pageCount / 8)
}

/**
 * Puts the free map into its place; null: no page is free. A map that says so already is only read, with `kernels` at
 * memory speed. Throws `bad-message` for a bitmap of another guest's size.
 */
export function loadFree(memory: GuestMemory, bitmap: Uint8Array | null, kernels: Kernels | null = null): void {
  const { layout, controlWords: words } = memory
  const [first, bytes] = [layout.free / 4, layout.pageCount / 8]
  if (bitmap === null) {
    if (kernels !== null && saveFree(memory, kernels) === null) return
    words.fill(0, first, first + 2 * bytes)
    return
  }
  if (bitmap.length !== bytes) {
    throw new GodwitError('bad-message', `free map of ${bitmap.length} bytes for a guest of ${layout.pageCount} pages`)
  }
  unpack(words, first, bitmap)
}

/** A free map to warm up with: 1 GiB of pages. */
const WARM_BYTES = 32 * 1024

/** Runs the code above once before it is needed inside the pause: its first run takes ten times as long. */
export function warmFreeMap(): Uint8Array {
  const words = new Int32Array(new SharedArrayBuffer(8 * WARM_BYTES))
  unpack(words, 0, new Uint8Array(WARM_BYTES).fill(0x0f, WARM_BYTES / 2))
  return pack(words, 0, WARM_BYTES) as Uint8Array
}
