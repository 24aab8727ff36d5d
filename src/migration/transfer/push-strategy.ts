// What the push orders have in common: the words that their lanes share, and a bubble that grows on both sides. All
// orders use the same words, each in its own way; bulk lanes read and write them under the select lock.
//
//   bubble     … sent ◄──── lo │ pivot │ hi ────► sent …      a fault puts lo and hi to its page

import { HEADER } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { takeDown, takeUp } from '../../guest/take-pages.ts'
import type { Kernels } from '../../kernels/kernels.ts'

/** What the orders differ in; `createPushOrder` adds what they have in common. */
export interface PushStrategy {
  /** Begins anew around `page`: pages may lie anywhere. */
  restart(page: number): void
  /** Faults came since the last batch: the latest was number `turn`, on `page`, and `fresh` of them are new. */
  follow(page: number, turn: number, fresh: number): void
  /** Takes up to `max` pages, lists them from word index `list` on, returns how many; 0: its edges have met the ends. */
  take(max: number, list: number): number
}

/** Words of `pushEdges`, Int32 indices of the control memory. */
export const PUSH_WORDS = {
  /** The last `pivotTurn` that was followed; -1: not begun. */
  seenTurn: HEADER.pushEdges,
  /** several-pivots: bubbles in use, and the one whose turn it is; least-written: the level. */
  bubbles: HEADER.pushEdges + 1,
  level: HEADER.pushEdges + 1,
  nextBubble: HEADER.pushEdges + 2,
  /** Edges: the first page that is not yet below, and the first that is not yet above. several-pivots has four pairs. */
  lo: HEADER.pushEdges + 4,
  hi: HEADER.pushEdges + 5,
  /** The pages of the last four faults, by turn. */
  recent: HEADER.pushEdges + 12,
} as const
export const RECENT_FAULTS = 4

/**
 * Takes up to `max` pages from both sides of the bubble whose edges are the words `lo` and `lo + 1`: half above and half
 * below (a forward bias does not pay, as test/migration/transfer/push-model.ts shows); one exhausted side gives
 * its share to the other. Lists them in ascending order.
 */
export function takeAround(memory: GuestMemory, kernels: Kernels, lo: number, max: number, list: number): number {
  const words = memory.controlWords
  const { toSend } = memory.layout
  const hi = lo + 1
  const goUp = (most: number, at: number): number => {
    const { count, edge } = takeUp(memory, kernels, toSend, words[hi] as number, most, at)
    words[hi] = edge
    return count
  }
  const goDown = (most: number): number => {
    const { count, edge } = takeDown(memory, toSend, words[lo] as number, most, list)
    words[lo] = edge
    return count
  }
  const below = goDown(Math.floor(max / 2))
  const count = below + goUp(max - below, list + below)
  if (count === max) return count
  // Nothing is left above: what lies further below goes in front of the list.
  words.copyWithin(list + max - count, list, list + count)
  const more = goDown(max - count)
  words.copyWithin(list + more, list + max - count, list + max)
  return more + count
}
