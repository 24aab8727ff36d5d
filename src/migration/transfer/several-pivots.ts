// Push order with several bubbles, for guests with several streams of accesses (Hines and Gopalan's dual pivot): each of
// the latest places of faults has a bubble that grows both ways, and they take turns. Wins only with four or more
// long-lived streams and a guest slower than the link (techniques.md section 2); used by benchmarks.

import type { GuestMemory } from '../../guest/memory.ts'
import type { Kernels } from '../../kernels/kernels.ts'
import { PUSH_WORDS, type PushStrategy, RECENT_FAULTS, takeAround } from './push-strategy.ts'

const MAX_BUBBLES = 4
/** A fault this close to a bubble belongs to its stream, pages. */
const NEAR_PAGES = 64

/** Bubbles lie in the order of their last faults, the latest first; each is a pair of edges, lo and hi. */
export class SeveralPivotsOrder implements PushStrategy {
  readonly #memory: GuestMemory
  readonly #kernels: Kernels

  constructor(memory: GuestMemory, kernels: Kernels) {
    this.#memory = memory
    this.#kernels = kernels
  }

  restart(page: number): void {
    const words = this.#memory.controlWords
    words[PUSH_WORDS.lo] = page
    words[PUSH_WORDS.hi] = page
    words[PUSH_WORDS.bubbles] = 1
    words[PUSH_WORDS.nextBubble] = 0
  }

  follow(_page: number, turn: number, fresh: number): void {
    const words = this.#memory.controlWords
    for (let age = Math.min(fresh, RECENT_FAULTS) - 1; age >= 0; age--) {
      this.#moveTo(Atomics.load(words, PUSH_WORDS.recent + ((turn - age) % RECENT_FAULTS)))
    }
    words[PUSH_WORDS.nextBubble] = 0
  }

  take(max: number, list: number): number {
    const words = this.#memory.controlWords
    const bubbles = words[PUSH_WORDS.bubbles] as number
    const share = Math.ceil(max / bubbles)
    let count = 0
    // A bubble with nothing left around it has met both ends, so there is nothing left for any other.
    for (let turn = 0; turn < bubbles && count < max; turn++) {
      const bubble = (words[PUSH_WORDS.nextBubble] as number) % bubbles
      words[PUSH_WORDS.nextBubble] = bubble + 1
      const wanted = Math.min(share, max - count)
      count += takeAround(this.#memory, this.#kernels, PUSH_WORDS.lo + 2 * bubble, wanted, list + count)
    }
    return count
  }

  /** The bubble near the page moves there, or the one whose fault is the oldest is given up for it. */
  #moveTo(page: number): void {
    const words = this.#memory.controlWords
    const bubbles = words[PUSH_WORDS.bubbles] as number
    let place = 0
    while (place < bubbles && !this.#isNear(place, page)) place++
    if (place === bubbles && bubbles < MAX_BUBBLES) words[PUSH_WORDS.bubbles] = bubbles + 1
    place = Math.min(place, MAX_BUBBLES - 1)
    words.copyWithin(PUSH_WORDS.lo + 2, PUSH_WORDS.lo, PUSH_WORDS.lo + 2 * place)
    words[PUSH_WORDS.lo] = page
    words[PUSH_WORDS.hi] = page
  }

  #isNear(bubble: number, page: number): boolean {
    const words = this.#memory.controlWords
    const lo = words[PUSH_WORDS.lo + 2 * bubble] as number
    const hi = words[PUSH_WORDS.hi + 2 * bubble] as number
    return page >= lo - NEAR_PAGES && page <= hi + NEAR_PAGES
  }
}
