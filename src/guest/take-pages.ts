// Taking runs of pages out of a set from an edge, upwards or downwards, while other threads take pages of the same set:
// up to 32 pages a word in one atomic step, so that each page has exactly one taker. Used by push orders of the pull
// phase. What is found empty on the way is a hint from plain reads; what counts is the answer of `Atomics.and`.

import type { Kernels } from '../kernels/kernels.ts'
import type { GuestMemory } from './memory.ts'
import { bitsOf, wordCount } from './page-set.ts'

export interface Taken {
  /** Pages listed in ascending order, and out of the set. */
  count: number
  /** Where to go on: the next page up (the page count at the end), or one above the next page down (0 at the end). */
  edge: number
}

const taken: Taken = { count: 0, edge: 0 }

function lowestBits(bits: number, wanted: number): number {
  if (bitsOf(bits) <= wanted) return bits
  let rest = bits
  for (let taken = 0; taken < wanted; taken++) rest &= rest - 1
  return bits ^ rest
}

function highestBits(bits: number, wanted: number): number {
  let rest = bits
  for (let surplus = bitsOf(bits) - wanted; surplus > 0; surplus--) rest &= rest - 1
  return rest
}

const lowest = (bits: number): number => 31 - Math.clz32(bits & -bits)

/** Lists the pages of one word's `bits` from word index `list` on; returns the index behind them. */
function listWord(words: Int32Array, list: number, firstPage: number, bits: number): number {
  let at = list
  for (let rest = bits; rest !== 0; rest &= rest - 1) words[at++] = firstPage + lowest(rest)
  return at
}

/**
 * Takes up to `max` pages at or above `fromPage`, nearest first, and lists them (u32[]) from word index `list` of the
 * control memory on. The answer is one object that the next call overwrites.
 */
export function takeUp(
  memory: GuestMemory,
  kernels: Kernels,
  bitmapOffset: number,
  fromPage: number,
  max: number,
  list: number,
): Readonly<Taken> {
  const words = memory.controlWords
  const first = bitmapOffset / 4
  const endWord = wordCount(memory)
  const full = list + max
  let at = list
  let edge = fromPage
  for (let index = fromPage >>> 5; at < full && index < endWord; index = edge >>> 5) {
    const pending = (words[first + index] as number) & (-1 << (edge & 31))
    if (pending === 0) {
      // What lies between two regions is passed over at memory speed.
      edge = kernels.nextMarked(bitmapOffset, index + 1, endWord) << 5
      continue
    }
    const wanted = lowestBits(pending, full - at)
    const got = Atomics.and(words, first + index, ~wanted) & wanted
    at = listWord(words, at, index << 5, got)
    edge = wanted === pending ? (index + 1) << 5 : (index << 5) + 32 - Math.clz32(wanted)
  }
  taken.count = at - list
  taken.edge = Math.min(edge, memory.layout.pageCount)
  return taken
}

/** Takes up to `max` pages below `belowPage`, nearest first; otherwise like `takeUp`, and lists in ascending order, too. */
export function takeDown(
  memory: GuestMemory,
  bitmapOffset: number,
  belowPage: number,
  max: number,
  list: number,
): Readonly<Taken> {
  const words = memory.controlWords
  const first = bitmapOffset / 4
  const full = list + max
  let at = list
  let edge = belowPage
  while (at < full && edge > 0) {
    const index = (edge - 1) >>> 5
    const pending = (words[first + index] as number) & (edge & 31 ? (1 << (edge & 31)) - 1 : -1)
    edge = index << 5
    if (pending === 0) continue
    const wanted = highestBits(pending, full - at)
    let rest = Atomics.and(words, first + index, ~wanted) & wanted
    while (rest !== 0) {
      const bit = 31 - Math.clz32(rest)
      words[at++] = (index << 5) + bit
      rest ^= 1 << bit
    }
    if (wanted !== pending) edge += lowest(wanted)
  }
  for (let [low, high] = [list, at - 1]; low < high; low++, high--) {
    const page = words[low] as number
    words[low] = words[high] as number
    words[high] = page
  }
  taken.count = at - list
  taken.edge = edge
  return taken
}
