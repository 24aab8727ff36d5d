// Operations of one connection that were sent and not answered, oldest first: a ring in typed arrays that grows as the
// server falls behind. Replies come in the order of requests, so the oldest is always the one that a reply belongs to.

import { LOAD_MAX_OUTSTANDING } from '../limits.ts'
import type { Operation } from './operations.ts'

const FIRST_PLACES = 64

export class Outstanding {
  length = 0
  #first = 0
  /** When each was due, and when it was written to the socket, ms. */
  #dueMs = new Float64Array(FIRST_PLACES)
  #sentMs = new Float64Array(FIRST_PLACES)
  #key = new Uint32Array(FIRST_PLACES)
  #added = new Uint8Array(FIRST_PLACES)
  #kind = new Uint8Array(FIRST_PLACES)

  get full(): boolean {
    return this.length === LOAD_MAX_OUTSTANDING
  }

  push(kind: Operation, key: number, added: number, dueMs: number, sentMs: number): void {
    if (this.length === this.#kind.length) this.#grow()
    const at = (this.#first + this.length++) & (this.#kind.length - 1)
    this.#kind[at] = kind
    this.#key[at] = key
    this.#added[at] = added
    this.#dueMs[at] = dueMs
    this.#sentMs[at] = sentMs
  }

  /** The oldest; there is one. */
  get kind(): Operation {
    return this.#kind[this.#first] as Operation
  }
  get key(): number {
    return this.#key[this.#first] as number
  }
  get added(): number {
    return this.#added[this.#first] as number
  }
  get dueMs(): number {
    return this.#dueMs[this.#first] as number
  }
  get sentMs(): number {
    return this.#sentMs[this.#first] as number
  }

  /** Drops the oldest. */
  shift(): void {
    this.#first = (this.#first + 1) & (this.#kind.length - 1)
    this.length--
  }

  #grow(): void {
    const places = this.#kind.length
    const larger = <T extends Uint8Array | Uint32Array | Float64Array>(column: T, next: T): T => {
      // What lies before the first in the ring comes behind the last.
      next.set(column.subarray(this.#first))
      next.set(column.subarray(0, this.#first), places - this.#first)
      return next
    }
    this.#dueMs = larger(this.#dueMs, new Float64Array(2 * places))
    this.#sentMs = larger(this.#sentMs, new Float64Array(2 * places))
    this.#key = larger(this.#key, new Uint32Array(2 * places))
    this.#added = larger(this.#added, new Uint8Array(2 * places))
    this.#kind = larger(this.#kind, new Uint8Array(2 * places))
    this.#first = 0
  }
}
