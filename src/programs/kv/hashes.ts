// Hash values: a dictionary of fields each. One that is removed goes onto a list and its fields are given back a few at
// a time, so that removing a large hash takes no longer than removing a small one.

import type { Accessors } from '../../guest/accessors.ts'
import type { Arena } from './arena.ts'
import { DICTIONARY, ENTRY, HASH, HEADER } from './arena-layout.ts'
import type { Dictionaries } from './dictionary.ts'
import type { Entries } from './entries.ts'
import type { Reply } from './reply.ts'
import type { Request } from './request.ts'

export class Hashes {
  readonly #accessors: Accessors
  readonly #arena: Arena
  readonly #dictionaries: Dictionaries
  readonly #entries: Entries
  /** The address of the word that begins the list of removed hashes. */
  readonly #removed: number

  constructor(accessors: Accessors, arena: Arena, dictionaries: Dictionaries, entries: Entries, header: number) {
    this.#accessors = accessors
    this.#arena = arena
    this.#dictionaries = dictionaries
    this.#entries = entries
    this.#removed = header + HEADER.removed
  }

  /** An empty hash; null: no memory is left. */
  make(): number | null {
    const hash = this.#arena.take(HASH.bytes)
    if (hash !== null) for (let at = 0; at < HASH.bytes; at += 4) this.#accessors.storeU32(hash + at, 0)
    return hash
  }

  /**
   * Sets the fields that are pairs of arguments from `first` on; how many are new. Null: no memory is left for all of them,
   * and nothing has changed.
   */
  set(hash: number, request: Request, first: number): number | null {
    // One field that is there needs no new entry, and dirties fewer pages without.
    const field = request.count === first + 2 ? this.find(hash, request, first) : 0
    if (field !== 0) return this.#entries.setString(field, request, first + 1) ? 0 : null
    const before = this.count(hash)
    const head = this.#dictionaries.prepare(hash) ? this.#entries.makePairs(request, first) : null
    if (head === null) {
      this.#dictionaries.trim(hash)
      return null
    }
    this.#entries.placePairs(hash, head, request, first, (old) => this.#entries.give(old))
    return this.count(hash) - before
  }

  count(hash: number): number {
    return this.#dictionaries.count(hash)
  }

  /** The entry of a field, or 0. */
  find(hash: number, request: Request, index: number): number {
    return this.#entries.find(hash, request, index)
  }

  /** Takes a field out and gives it back. */
  remove(hash: number, field: number): void {
    this.#dictionaries.remove(hash, field)
    this.#entries.give(field)
  }

  /** All fields, each with its value. */
  replyAll(hash: number, reply: Reply): void {
    reply.array(2 * this.count(hash))
    for (let bucket = this.#dictionaries.buckets(hash) - 1; bucket >= 0; bucket--) {
      let field = this.#dictionaries.first(hash, bucket)
      for (; field !== 0 && !reply.overflowed; field = this.#accessors.loadU32(field + ENTRY.next)) {
        this.#entries.replyKey(field, reply)
        this.#entries.replyString(field, reply)
      }
    }
  }

  /** Puts a hash that nobody can find any more onto the list. */
  bury(hash: number): void {
    if (this.count(hash) === 0) {
      this.#give(hash)
      return
    }
    this.#accessors.storeU32(hash + HASH.removed, this.#accessors.loadU32(this.#removed))
    this.#accessors.storeU32(this.#removed, hash)
  }

  /** Gives at most `entries` fields of removed hashes back; false: there were none. */
  reap(entries: number): boolean {
    const accessors = this.#accessors
    let hash = accessors.loadU32(this.#removed)
    if (hash === 0) return false
    for (let left = entries; left > 0 && hash !== 0; left--) {
      const field = this.#dictionaries.takeAny(hash)
      if (field !== 0) this.#entries.give(field)
      if (accessors.loadU32(hash + DICTIONARY.entries) !== 0) continue
      const next = accessors.loadU32(hash + HASH.removed)
      this.#give(hash)
      accessors.storeU32(this.#removed, next)
      hash = next
    }
    return true
  }

  #give(hash: number): void {
    this.#dictionaries.trim(hash)
    this.#arena.give(hash)
  }
}
