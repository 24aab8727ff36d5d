// R30: numbers under which no gateway begins a session any more, because there was no place for it, or because its session is
// forgotten. Each goes on under another number, and copies of its first request may still come, long after a place has become free:
// executed then, they would be executed twice. sessions.ts has the latest of them in its header page, so that they move along.
//
//   position u32 │ … number u32, why u32 │ …          the oldest gives way to the newest

import type { Accessors } from '../../guest/accessors.ts'
import type { ServiceAnswer } from '../../guest/program.ts'
import { KV_TURNED_AWAY } from '../../limits.ts'

const ENTRY_BYTES = 8
const WHY = ['refused', 'forgotten'] as const satisfies ServiceAnswer['what'][]
type Why = (typeof WHY)[number]

export class TurnedAway {
  readonly #accessors: Accessors
  readonly #position: number
  readonly #entries: number

  /** `at`: address of 4 + KV_TURNED_AWAY × 8 bytes within one page, zero at first. */
  constructor(accessors: Accessors, at: number) {
    this.#accessors = accessors
    this.#position = at
    this.#entries = at + 4
  }

  note(gateway: number, why: Why): void {
    const accessors = this.#accessors
    const position = accessors.loadU32(this.#position)
    const entry = this.#entries + position * ENTRY_BYTES
    accessors.storeU32(entry, gateway)
    accessors.storeU32(entry + 4, WHY.indexOf(why))
    accessors.storeU32(this.#position, (position + 1) % KV_TURNED_AWAY)
  }

  /** What the gateway is told that comes under a number on the list; null: it is not. */
  why(gateway: number): Why | null {
    for (let index = 0; index < KV_TURNED_AWAY; index++) {
      const entry = this.#entries + index * ENTRY_BYTES
      if (this.#accessors.loadU32(entry) === gateway) return WHY[this.#accessors.loadU32(entry + 4)] ?? null
    }
    return null
  }
}
