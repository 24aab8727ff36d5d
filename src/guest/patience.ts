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

  /** What would count if it looked now, ms: never less than before, also when it looks late. */
  get countedNowMs(): number {
    return this.countedMs + this.#counts(this.#nowMs())
  }

  /** Returns what counts since the look before, ms. */
  look(): number {
    const ms = this.#nowMs()
    const counts = this.#counts(ms)
    this.countedMs += counts
    this.ms = ms
    return counts
  }

  #nowMs(): number {
    return performance.now() - this.#startedAt
  }

  #counts(ms: number): number {
    return Math.min(ms - this.ms, this.#mostMs)
  }
}
