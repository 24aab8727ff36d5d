// A hash table that grows and shrinks by one bucket at a time (linear hashing: Litwin, VLDB 1980), so that no step does
// more than a bucket's work. The keys of a shard are one; the fields of each hash are another.
//
//   buckets 0 … n-1, p the largest power of two ≤ n:   bucket of h = h mod 2p, or h mod p where that is not there yet
//   grow: bucket n takes from bucket n-p what belongs to it      shrink: bucket n-1 goes into bucket n-1-p again

import type { Accessors } from '../../guest/accessors.ts'
import { DICTIONARY, ENTRY } from './arena-layout.ts'
import { type BucketRows, MIN_BUCKETS } from './bucket-rows.ts'
import { sameBytes } from './copying.ts'

/** Largest power of two that is not above `count`, 1 or more. */
const powerBelow = (count: number): number => 1 << (31 - Math.clz32(count))

function bucketOf(hash: number, buckets: number): number {
  const power = powerBelow(buckets)
  const bucket = hash & (2 * power - 1)
  return bucket < buckets ? bucket : bucket - power
}

/** Works on the dictionary at an address; its words are zero while it is empty. */
export class Dictionaries {
  readonly #accessors: Accessors
  readonly #rows: BucketRows

  constructor(accessors: Accessors, rows: BucketRows) {
    this.#accessors = accessors
    this.#rows = rows
  }

  count(at: number): number {
    return this.#accessors.loadU32(at + DICTIONARY.entries)
  }

  buckets(at: number): number {
    return this.#accessors.loadU32(at + DICTIONARY.buckets)
  }

  /** The first entry of a bucket, or 0; the others follow by `ENTRY.next`. */
  first(at: number, bucket: number): number {
    return this.#accessors.loadU32(this.#rows.at(at, bucket))
  }

  /** The entry of a key, or 0. */
  find(at: number, hash: number, bytes: Uint8Array, start: number, length: number): number {
    const accessors = this.#accessors
    const buckets = this.buckets(at)
    if (buckets === 0) return 0
    let entry = accessors.loadU32(this.#rows.at(at, bucketOf(hash, buckets)))
    for (; entry !== 0; entry = accessors.loadU32(entry + ENTRY.next)) {
      if (accessors.loadU32(entry + ENTRY.hash) !== hash) continue
      if (accessors.loadU16(entry + ENTRY.keyLength) !== length) continue
      if (sameBytes(accessors, entry + ENTRY.key, bytes, start, length)) return entry
    }
    return 0
  }

  /** Makes sure that `insert` has a bucket. False: no memory is left. */
  prepare(at: number): boolean {
    if (this.buckets(at) !== 0) return true
    if (!this.#rows.begin(at)) return false
    this.#accessors.storeU32(at + DICTIONARY.buckets, MIN_BUCKETS)
    return true
  }

  /** Gives the buckets of a dictionary without entries back. */
  trim(at: number): void {
    if (this.count(at) !== 0 || this.buckets(at) === 0) return
    this.#rows.end(at)
    this.#accessors.storeU32(at + DICTIONARY.buckets, 0)
  }

  /** Adds an entry whose key is not there yet; it was prepared for. Without memory to grow, buckets get longer. */
  insert(at: number, entry: number): void {
    const accessors = this.#accessors
    this.#push(this.#rows.at(at, bucketOf(accessors.loadU32(entry + ENTRY.hash), this.buckets(at))), entry)
    const count = this.count(at) + 1
    accessors.storeU32(at + DICTIONARY.entries, count)
    // A second one catches up with what could not grow before.
    for (let times = 0; times < 2 && count > this.buckets(at); times++) if (!this.#grow(at)) return
  }

  /** Puts an entry into the place of another with the same key. */
  exchange(at: number, old: number, entry: number): void {
    const accessors = this.#accessors
    const link = this.#linkTo(at, old)
    accessors.storeU32(entry + ENTRY.next, accessors.loadU32(old + ENTRY.next))
    accessors.storeU32(link, entry)
  }

  /** Takes an entry out; it is not given back. */
  remove(at: number, entry: number): void {
    const accessors = this.#accessors
    const link = this.#linkTo(at, entry)
    accessors.storeU32(link, accessors.loadU32(entry + ENTRY.next))
    const count = this.count(at) - 1
    accessors.storeU32(at + DICTIONARY.entries, count)
    this.trim(at)
    // Two at a time: the last buckets leave with the last entry.
    const least = Math.max(MIN_BUCKETS, 2 * count)
    for (let times = 0; times < 2 && count > 0 && this.buckets(at) > least; times++) this.#shrink(at)
  }

  /** Takes any entry out of a dictionary whose keys nobody looks for any more; 0: none is left. */
  takeAny(at: number): number {
    const accessors = this.#accessors
    const count = this.count(at)
    if (count === 0) return 0
    let bucket = this.buckets(at) - 1
    while (this.first(at, bucket) === 0) bucket--
    // The buckets behind it are never looked at again; their room goes with the last entry.
    accessors.storeU32(at + DICTIONARY.buckets, bucket + 1)
    const link = this.#rows.at(at, bucket)
    const entry = accessors.loadU32(link)
    accessors.storeU32(link, accessors.loadU32(entry + ENTRY.next))
    accessors.storeU32(at + DICTIONARY.entries, count - 1)
    return entry
  }

  /** Where the address of an entry stands: in its bucket, or in the entry before it (`ENTRY.next` is 0). */
  #linkTo(at: number, entry: number): number {
    const accessors = this.#accessors
    let link = this.#rows.at(at, bucketOf(accessors.loadU32(entry + ENTRY.hash), this.buckets(at)))
    for (let next = accessors.loadU32(link); next !== entry; next = accessors.loadU32(link)) link = next
    return link
  }

  #push(link: number, entry: number): void {
    this.#accessors.storeU32(entry + ENTRY.next, this.#accessors.loadU32(link))
    this.#accessors.storeU32(link, entry)
  }

  #grow(at: number): boolean {
    const accessors = this.#accessors
    const buckets = this.buckets(at)
    if (!this.#rows.makeRoom(at, buckets)) return false
    accessors.storeU32(at + DICTIONARY.buckets, buckets + 1)
    const to = this.#rows.at(at, buckets)
    accessors.storeU32(to, 0)
    let link = this.#rows.at(at, buckets - powerBelow(buckets))
    for (let entry = accessors.loadU32(link); entry !== 0; entry = accessors.loadU32(link)) {
      if (bucketOf(accessors.loadU32(entry + ENTRY.hash), buckets + 1) !== buckets) {
        link = entry
        continue
      }
      accessors.storeU32(link, accessors.loadU32(entry + ENTRY.next))
      this.#push(to, entry)
    }
    return true
  }

  #shrink(at: number): void {
    const accessors = this.#accessors
    const last = this.buckets(at) - 1
    const from = this.#rows.at(at, last)
    const into = this.#rows.at(at, last - powerBelow(last))
    for (let entry = accessors.loadU32(from); entry !== 0; entry = accessors.loadU32(from)) {
      accessors.storeU32(from, accessors.loadU32(entry + ENTRY.next))
      this.#push(into, entry)
    }
    accessors.storeU32(at + DICTIONARY.buckets, last)
    this.#rows.giveRoom(at, last)
  }
}
