// What the link carries, measured with the placement of whole rounds at the destination (R12): from the later of
// "round begun" and "round before placed" to "round placed". Between two placements it is the last known rate.

import type { Clock } from './ports.ts'

/** A shorter round measures latency, not the link. */
const MEANINGFUL_MS = 5

export interface PlacedRound {
  /** From the round's begin to its placement, ms. */
  readonly ms: number
  readonly bytesPerSecond: number
}

export class LinkRate {
  readonly #clock: Clock
  #rate = 0
  #placedAt = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes in a round that is placed now. */
  placed(beganAt: number, bytes: number): PlacedRound {
    const now = this.#clock.now()
    const onLinkMs = Math.max(now - Math.max(beganAt, this.#placedAt), 0.001)
    this.#placedAt = now
    const measured = (bytes / onLinkMs) * 1000
    if (onLinkMs >= MEANINGFUL_MS || this.#rate === 0) this.#rate = measured
    else this.#rate = Math.max(this.#rate, measured)
    return { ms: Math.max(now - beganAt, 0.001), bytesPerSecond: this.#rate }
  }

  /** The best estimate now, bytes per second; before the first placement what the kernel took of round 0. */
  estimate(beganAt: number, bytes: number): number {
    if (this.#rate > 0) return this.#rate
    return (bytes / Math.max(this.#clock.now() - beganAt, 0.001)) * 1000
  }
}
