// Which pages a bulk lane pushes next while the guest already runs at the destination. Pure policies over the bitmap
// `toSend`: no socket, no thread. Bulk lanes call `select` under the select lock, the urgent lane calls `noteFault`
// without it; what they share lies in the words of `pushEdges` (push-strategy.ts).

import { HEADER } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { wordCount } from '../../guest/page-set.ts'
import { takeUp } from '../../guest/take-pages.ts'
import type { Kernels } from '../../kernels/kernels.ts'
import type { PushOrderName } from '../settings.ts'
import { LeastWrittenOrder } from './least-written.ts'
import { PUSH_WORDS, type PushStrategy, RECENT_FAULTS, takeAround } from './push-strategy.ts'
import { SeveralPivotsOrder } from './several-pivots.ts'

export interface PushOrder {
  /**
   * Takes up to `max` pages out of `toSend` and lists them (u32[] at `listOffset` of control), runs of neighbours
   * together and ascending; returns how many. 0: none are left. The caller holds the select lock.
   */
  select(max: number, listOffset: number): number
}

/** Ascending from page 0; faults change nothing. */
class LinearOrder implements PushStrategy {
  readonly #memory: GuestMemory
  readonly #kernels: Kernels

  constructor(memory: GuestMemory, kernels: Kernels) {
    this.#memory = memory
    this.#kernels = kernels
  }

  restart(): void {
    this.#memory.controlWords[PUSH_WORDS.hi] = 0
  }

  follow(): void {}

  take(max: number, list: number): number {
    const { controlWords: words, layout } = this.#memory
    const from = words[PUSH_WORDS.hi] as number
    const { count, edge } = takeUp(this.#memory, this.#kernels, layout.toSend, from, max, list)
    words[PUSH_WORDS.hi] = edge
    return count
  }
}

/** Bubbling with a single pivot, in both directions (Hines and Gopalan, VEE 2009). */
class AroundTheFaultOrder implements PushStrategy {
  readonly #memory: GuestMemory
  readonly #kernels: Kernels

  constructor(memory: GuestMemory, kernels: Kernels) {
    this.#memory = memory
    this.#kernels = kernels
  }

  restart(page: number): void {
    this.#memory.controlWords[PUSH_WORDS.lo] = page
    this.#memory.controlWords[PUSH_WORDS.hi] = page
  }

  follow(page: number): void {
    this.restart(page)
  }

  take(max: number, list: number): number {
    return takeAround(this.#memory, this.#kernels, PUSH_WORDS.lo, max, list)
  }
}

const strategies: Record<PushOrderName, new (memory: GuestMemory, kernels: Kernels) => PushStrategy> = {
  linear: LinearOrder,
  'around-the-fault': AroundTheFaultOrder,
  'least-written': LeastWrittenOrder,
  'several-pivots': SeveralPivotsOrder,
}

/** The order of that name over `toSend`. Lanes may each make one of their own: all state lies in the control memory. */
export function createPushOrder(name: PushOrderName, memory: GuestMemory, kernels: Kernels): PushOrder {
  const words = memory.controlWords
  const { toSend } = memory.layout
  const strategy = new strategies[name](memory, kernels)
  const endWord = wordCount(memory)
  return {
    select(max, listOffset) {
      const turn = Atomics.load(words, HEADER.pivotTurn)
      const pivot = Atomics.load(words, HEADER.pivot)
      const seen = words[PUSH_WORDS.seenTurn] as number
      const fresh = turn - Math.max(seen, 0)
      words[PUSH_WORDS.seenTurn] = turn
      if (seen < 0) strategy.restart(pivot)
      // A pivot that moves between the two loads is followed once more by the next batch, which does no harm.
      if (fresh > 0) strategy.follow(pivot, turn, fresh)
      for (;;) {
        const count = strategy.take(max, listOffset / 4)
        if (count > 0 || kernels.nextMarked(toSend, 0, endWord) >= endWord) return count
        // Pages that were returned (`returnPage`) lie behind the edges.
        strategy.restart(pivot)
      }
    },
  }
}

/** Before the pull begins: edges and pivot start anew, around `page`. */
export function resetPushOrder(memory: GuestMemory, page = 0): void {
  const words = memory.controlWords
  words.fill(0, HEADER.pushEdges, HEADER.pushEdges + 16)
  words[PUSH_WORDS.seenTurn] = -1
  Atomics.store(words, HEADER.pivot, page)
  Atomics.store(words, HEADER.pivotTurn, 0)
}

/** The urgent lane served a fault on this page: the push follows it. One thread calls this; it needs no lock. */
export function noteFault(memory: GuestMemory, page: number): void {
  const words = memory.controlWords
  const turn = Atomics.load(words, HEADER.pivotTurn) + 1
  Atomics.store(words, PUSH_WORDS.recent + (turn % RECENT_FAULTS), page)
  Atomics.store(words, HEADER.pivot, page)
  Atomics.store(words, HEADER.pivotTurn, turn)
}
