// What the link carries, measured with the placement of whole rounds at the destination (R12): from the later of
// "round begun" and "round before placed" to "round placed". Between two placements it is the last known rate.

import type { Clock } from './ports.ts'

/** A shorter or smaller round measures latency, not the link. */
const MEANINGFUL_MS = 5
const MEANINGFUL_BYTES = 256 * 1024

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

  /** Takes in a round that is placed now. `roundTripMs`: of a small message, part of any round that had the link alone. */
  placed(beganAt: number, bytes: number, roundTripMs = 0): PlacedRound {
    const now = this.#clock.now()
    const alone = beganAt >= this.#placedAt
    const onLinkMs = now - Math.max(beganAt, this.#placedAt)
    this.#placedAt = now
    const transferMs = alone && onLinkMs > 2 * roundTripMs ? onLinkMs - roundTripMs : onLinkMs
    const meaningful = transferMs >= MEANINGFUL_MS && bytes >= MEANINGFUL_BYTES
    if (meaningful || (this.#rate === 0 && bytes > 0)) this.#rate = (bytes / Math.max(transferMs, 0.1)) * 1000
    return { ms: Math.max(now - beganAt, 0.001), bytesPerSecond: this.#rate }
  }

  /** The best estimate now, bytes per second; before the first placement what the kernel took of round 0. */
  estimate(beganAt: number, bytes: number): number {
    if (this.#rate > 0) return this.#rate
    return (bytes / Math.max(this.#clock.now() - beganAt, 0.001)) * 1000
  }
}
