// Push order for hybrid: pages that pre-copy saw written least come first (Silo's volatility order), because what was
// written often is likely to be written again, and such a page the destination may overwrite or ask for by itself. Also
// keeps the counts: pre-copy calls `countWrites` once a round, the lanes read them.
//
// The counts lie in the first byte a page of the layout's `scanHashes`: a guest with cards leaves that region alone, and
// only such guests have write counts. With counts of 0 the order is linear.

import type { GuestMemory } from '../../guest/memory.ts'
import { takePage, wordCount } from '../../guest/page-set.ts'
import type { Kernels } from '../../kernels/kernels.ts'
import { PUSH_WORDS, type PushStrategy } from './push-strategy.ts'

const MAX_COUNT = 255
/** Levels by rounds in which a page was written: 0, 1, 2–3, 4 and more. */
const LAST_LEVEL = 3
const levelOf = (writes: number): number => Math.min(32 - Math.clz32(writes), LAST_LEVEL)

/** Forgets all counts: when a migration begins. */
export function clearWriteCounts(memory: GuestMemory): void {
  const { scanHashes, pageCount } = memory.layout
  memory.controlBytes.fill(0, scanHashes, scanHashes + pageCount)
}

/** Counts one more write for each page of the set, up to 255: once a round, with the pages that were harvested. */
export function countWrites(memory: GuestMemory, bitmapOffset: number): void {
  const { controlWords: words, controlBytes: bytes, layout } = memory
  const first = bitmapOffset / 4
  const endWord = wordCount(memory)
  for (let index = 0; index < endWord; index++) {
    for (let rest = words[first + index] as number; rest !== 0; rest &= rest - 1) {
      const at = layout.scanHashes + (index << 5) + (31 - Math.clz32(rest & -rest))
      const writes = bytes[at] as number
      if (writes < MAX_COUNT) bytes[at] = writes + 1
    }
  }
}

/** One ascending pass over `toSend` a level. */
export class LeastWrittenOrder implements PushStrategy {
  readonly #memory: GuestMemory
  readonly #kernels: Kernels

  constructor(memory: GuestMemory, kernels: Kernels) {
    this.#memory = memory
    this.#kernels = kernels
  }

  restart(): void {
    const words = this.#memory.controlWords
    words[PUSH_WORDS.level] = 0
    words[PUSH_WORDS.hi] = 0
  }

  follow(): void {}

  take(max: number, list: number): number {
    const words = this.#memory.controlWords
    let count = 0
    for (;;) {
      count += this.#takeLevel(max - count, list + count)
      const level = words[PUSH_WORDS.level] as number
      if (count === max || level === LAST_LEVEL) return count
      words[PUSH_WORDS.level] = level + 1
      words[PUSH_WORDS.hi] = 0
    }
  }

  /** Goes on in the pass under way; fewer than `max` pages when it has come to the end. */
  #takeLevel(max: number, list: number): number {
    const { controlWords: words, controlBytes: bytes, layout } = this.#memory
    const { toSend, scanHashes, pageCount } = layout
    const endWord = wordCount(this.#memory)
    const level = words[PUSH_WORDS.level] as number
    let count = 0
    let page = words[PUSH_WORDS.hi] as number
    while (count < max && page < pageCount) {
      const index = page >>> 5
      const pending = (words[toSend / 4 + index] as number) & (-1 << (page & 31))
      if (pending === 0) {
        page = this.#kernels.nextMarked(toSend, index + 1, endWord) << 5
        continue
      }
      page = (index << 5) + (31 - Math.clz32(pending & -pending))
      const due = levelOf(bytes[scanHashes + page] as number) <= level
      if (due && takePage(this.#memory, toSend, page)) words[list + count++] = page
      page++
    }
    words[PUSH_WORDS.hi] = Math.min(page, pageCount)
    return count
  }
}
