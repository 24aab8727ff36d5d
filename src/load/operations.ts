// What a load does next: reads, writes and increments in the shares that were asked for, on keys by their distribution.
// A connection increments counters of its own only, so that every reply to an increment can be checked when it comes.

import type { Random } from './random.ts'

/** Operations on the wire; the numbers stand in typed arrays. */
export const OPERATION = { get: 0, set: 1, increment: 2, readCounter: 3, remove: 4 } as const
export type Operation = (typeof OPERATION)[keyof typeof OPERATION]

export const DISTRIBUTIONS = ['uniform', 'zipf'] as const

/** YCSB's constant: the hottest of 10,000 keys gets a tenth of the operations. */
const ZIPF_EXPONENT = 0.99
/** An increment adds 1 to so much. */
const MOST_ADDED = 9

/** Shares of keys up to each, for the inverse of the distribution. */
export function zipfTable(keys: number): Float64Array {
  const table = new Float64Array(keys)
  let sum = 0
  for (let key = 0; key < keys; key++) {
    sum += (key + 1) ** -ZIPF_EXPONENT
    table[key] = sum
  }
  for (let key = 0; key < keys; key++) table[key] = (table[key] as number) / sum
  return table
}

/** The first key whose share up to it is above `share`. */
export function keyAt(table: Float64Array, share: number): number {
  let [from, to] = [0, table.length - 1]
  while (from < to) {
    const middle = (from + to) >>> 1
    if ((table[middle] as number) > share) to = middle
    else from = middle + 1
  }
  return from
}

export interface Mix {
  /** Share of all operations that write; of these the share that increments. */
  readonly writes: number
  readonly increments: number
  readonly keys: number
  readonly counters: number
  readonly connections: number
}

export class Operations {
  /** The operation that `next` chose: kind, key or counter, and what an increment adds. */
  kind: Operation = OPERATION.get
  key = 0
  added = 0
  readonly #mix: Mix
  readonly #random: Random
  readonly #table: Float64Array | null
  readonly #connection: number
  readonly #ownCounters: number

  /** `table`: shares by zipfTable; null: all keys alike. */
  constructor(mix: Mix, connection: number, random: Random, table: Float64Array | null) {
    this.#mix = mix
    this.#random = random
    this.#table = table
    this.#connection = connection
    this.#ownCounters = Math.ceil((mix.counters - connection) / mix.connections)
  }

  next(): void {
    const { writes, increments, keys, connections } = this.#mix
    const share = this.#random.share()
    if (share < writes * increments) {
      this.kind = OPERATION.increment
      this.key = this.#connection + connections * this.#random.below(this.#ownCounters)
      this.added = 1 + this.#random.below(MOST_ADDED)
      return
    }
    this.kind = share < writes ? OPERATION.set : OPERATION.get
    this.key = this.#table === null ? this.#random.below(keys) : keyAt(this.#table, this.#random.share())
    this.added = 0
  }
}
