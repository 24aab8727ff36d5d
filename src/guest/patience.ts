// How long somebody has waited for another, as far as it counts against that other: whoever looks much later than it meant to stood
// still itself, as all threads of a stopped process or machine do. Used by vcpus.ts and the gateway.

/** Looks are so much later than they were meant to be at the most; what is above that does not count. */
const LATE = 5

export class Patience {
  /** Since it began, by the latest look, ms. */
  ms = 0
  /** Of these what counts, ms. */
  countedMs = 0
  readonly #mostMs: number
  readonly #startedAt = performance.now()

  /** `lookEveryMs`: what lies between two looks as a rule, at most. */
  constructor(lookEveryMs: number) {
    this.#mostMs = LATE * lookEveryMs
  }

  /** Returns what counts since the look before, ms. */
  look(): number {
    const ms = performance.now() - this.#startedAt
    const counts = Math.min(ms - this.ms, this.#mostMs)
    this.countedMs += counts
    this.ms = ms
    return counts
  }
}
