// The typed binding of page-runs.wat: runs of pages that change their owner without data, for the exchange of soft
// (migration/exchange/shared-pages.ts). Tables are named by their byte offsets in the control memory.

import type { GuestMemory } from '../guest/memory.ts'
import { instantiate } from './module.ts'
import { MODULE_BASE64 } from './page-runs.bytes.ts'

/** `runs`: where `count` runs lie, u32s: first page, count (not 0), generation and home. They lie in the guest. */
export interface PageRuns {
  /** Sum of the digest terms of all pages, as a signed number. */
  sum(runs: number, count: number, hashes: number): bigint
  /** The first page whose byte of `presence` is above `most`, or whose generation is not 1 to `ahead` below its run's; or −1. */
  refused(runs: number, count: number, presence: number, most: number, generations: number, ahead: number): number
  /** Enters generation, arrival and home (0 says nothing) of every page; takes its cards and its bit of `dirty` out. */
  arrive(
    runs: number,
    count: number,
    cardsA: number,
    cardsB: number,
    dirty: number,
    generations: number,
    homes: number,
    arrivals: number,
    now: number,
  ): void
  /** The byte of every page in a table becomes `value`. */
  fill(runs: number, count: number, table: number, value: number): void
}

export const loadPageRuns = (memory: GuestMemory): PageRuns => instantiate<PageRuns>(MODULE_BASE64, memory)
