// A seeded generator for the simulation: mulberry32, one 32-bit state.

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A 32-bit unsigned word. */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return this.word() % limit
  }

  /** A number in [0, 1). */
  share(): number {
    return this.word() / 2 ** 32
  }

  chance(share: number): boolean {
    return this.share() < share
  }
}
