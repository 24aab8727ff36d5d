// Where the mutator writes: for each workload the next page and its λ (steps per page sent, for a locked pace). Figures
// as in docs/techniques.md, the standard guests. Pure; the only state is the vCPU's registers.

import { below, hash32, nextRandom } from './rng.ts'

export const WORKLOADS = ['idle', 'web', 'hot', 'diab', 'sparse', 'phased', 'local', 'free'] as const
export type Workload = (typeof WORKLOADS)[number]

/** Steps per page record sent when a guest is locked to its transfer. `phased`: the mean of its two phases. */
export const LAMBDA: Readonly<Record<Workload, number>> = {
  idle: 0,
  web: 0.2,
  hot: 1,
  diab: 2,
  sparse: 2,
  phased: 0.6,
  local: 1,
  free: 0.2,
}

/** A share of the pages that takes a share of the writes; the rest goes anywhere. */
export interface HotSet {
  readonly writesPercent: number
  readonly pagesPercent: number
}

export const HOT_SETS: Readonly<Record<'web' | 'hot' | 'diab' | 'sparse', HotSet>> = {
  web: { writesPercent: 90, pagesPercent: 2 },
  hot: { writesPercent: 95, pagesPercent: 5 },
  diab: { writesPercent: 100, pagesPercent: 50 },
  sparse: { writesPercent: 100, pagesPercent: 10 },
}

/** Steps of all vCPUs together after which `phased` changes between web and hot. */
export const PHASE_STEPS = 16_384

/** Draws pages of a hot set that lies scattered, one page in each stretch of equal length. */
export class PageChooser {
  readonly #writesPercent: number
  readonly #firstPage: number
  readonly #pageCount: number
  readonly #hotCount: number
  readonly #span: number

  /** Chooses among `pageCount` pages from `firstPage` on. */
  constructor(set: HotSet, firstPage: number, pageCount: number) {
    this.#writesPercent = set.writesPercent
    this.#firstPage = firstPage
    this.#pageCount = pageCount
    this.#hotCount = Math.max(1, Math.floor((pageCount * set.pagesPercent) / 100))
    this.#span = Math.floor(pageCount / this.#hotCount)
  }

  /** Takes two numbers from the generator at `registers[at]`. */
  next(registers: Uint32Array, at: number): number {
    const toHot = below(nextRandom(registers, at), 100) < this.#writesPercent
    const random = nextRandom(registers, at)
    if (!toHot) return this.#firstPage + below(random, this.#pageCount)
    const index = below(random, this.#hotCount)
    return this.#firstPage + index * this.#span + (hash32(index, 0x6f7) % this.#span)
  }
}
