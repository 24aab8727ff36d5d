// What needs the vCPUs of a guest to itself: one thing at a time; meanwhile nothing else may pause, resume or move them. Used by
// host.ts.

import * as refusals from './refusals.ts'

export class Exclusive {
  readonly #guest: string
  /** What they are held for right now. */
  #held: string | null = null

  constructor(guest: string) {
    this.#guest = guest
  }

  async hold<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.requireFree()
    this.#held = what
    try {
      return await work()
    } finally {
      this.#held = null
    }
  }

  /** Throws `guest-busy`. */
  requireFree(): void {
    if (this.#held !== null) throw refusals.held(this.#guest, this.#held)
  }
}
