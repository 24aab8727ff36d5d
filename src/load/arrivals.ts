// When operations are due, whatever the server does: an open loop. A connection asks for the next time when it has sent
// what was due; a time that it is late for stays the time from which the operation's latency counts.

import type { Random } from './random.ts'

export const ARRIVALS = ['poisson', 'fixed'] as const
export type ArrivalKind = (typeof ARRIVALS)[number]

export class Arrivals {
  /** When the next operation is due, ms on the clock of the load. */
  nextMs: number
  readonly #kind: ArrivalKind
  readonly #meanMs: number
  readonly #random: Random

  /** `perSecond` operations of this connection from `beginMs` on. The first is due within an interval, at random. */
  constructor(kind: ArrivalKind, perSecond: number, beginMs: number, random: Random) {
    this.#kind = kind
    this.#meanMs = 1000 / perSecond
    this.#random = random
    this.nextMs = beginMs + (kind === 'fixed' ? this.#meanMs * random.share() : this.#interval())
  }

  /** Goes on to the operation behind, or so many further, which then lie as far apart as they do on average. */
  advance(count = 1): void {
    this.nextMs += count === 1 ? this.#interval() : count * this.#meanMs
  }

  /** About how many are due until then. */
  expected(untilMs: number): number {
    return Math.max(0, (untilMs - this.nextMs) / this.#meanMs)
  }

  #interval(): number {
    return this.#kind === 'fixed' ? this.#meanMs : -Math.log(1 - this.#random.share()) * this.#meanMs
  }
}
