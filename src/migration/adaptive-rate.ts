// Clark's dynamic rate limiting: the first round goes at a low rate, each later one at the last dirty rate plus a
// constant, never above the operator's limit. Spares the network while a lower rate is enough. Pure.

const MEGABIT = 125_000

/** Xen's defaults: start at 100 Mbit/s, step 50 Mbit/s, ceiling 500 Mbit/s when the operator gave none. */
export const ADAPTIVE_START = 100 * MEGABIT
export const ADAPTIVE_STEP = 50 * MEGABIT
export const ADAPTIVE_CEILING = 500 * MEGABIT

/** The limit for the next round, bytes per second. */
export class AdaptiveRate {
  readonly #ceiling: number
  #rate: number

  /** `ceiling` in bytes per second; null takes Xen's. */
  constructor(ceiling: number | null) {
    this.#ceiling = ceiling ?? ADAPTIVE_CEILING
    this.#rate = Math.min(ADAPTIVE_START, this.#ceiling)
  }

  get bytesPerSecond(): number {
    return this.#rate
  }

  /** True once the rate cannot grow: only then does "more pages than last time" mean losing ground. */
  get atMaximum(): boolean {
    return this.#rate >= this.#ceiling
  }

  get ceiling(): number {
    return this.#ceiling
  }

  /** Takes in the dirty rate of the round that ended, bytes per second. */
  observe(dirtyBytesPerSecond: number): void {
    if (dirtyBytesPerSecond > this.#rate) this.#rate = Math.min(dirtyBytesPerSecond + ADAPTIVE_STEP, this.#ceiling)
  }
}
