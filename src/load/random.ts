// The random numbers of a load: one generator a connection, so that what each sends follows from the seed, whatever the
// others do.

import { below, nextRandom, RANDOM_WORDS, seedRandom } from '../programs/rng.ts'

export class Random {
  readonly #state = new Uint32Array(RANDOM_WORDS)

  constructor(seed: number, stream: number) {
    seedRandom(this.#state, 0, seed, stream)
  }

  /** At least 0, below 1. */
  share(): number {
    return nextRandom(this.#state, 0) / 2 ** 32
  }

  /** A whole number below `limit`. */
  below(limit: number): number {
    return below(nextRandom(this.#state, 0), limit)
  }
}
