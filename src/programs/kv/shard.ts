// One vCPU's part of the store, as the commands see it: keys with their values and deadlines. All of it lies in the pages
// of the share: a shard object has no state, and a new one over the same bytes, on another host too, goes on exactly.
// Time comes with each request, so that the same requests lead to the same bytes.

import { assert } from '../../errors.ts'
import type { Accessors } from '../../guest/accessors.ts'
import { PAGE_BYTES } from '../../limits.ts'
import { hash32 } from '../rng.ts'
import { Arena } from './arena.ts'
import { firstDataPage, HEADER, MAGIC } from './arena-layout.ts'
import { BucketRows } from './bucket-rows.ts'
import { Deadlines } from './deadlines.ts'
import { Dictionaries } from './dictionary.ts'
import { Entries } from './entries.ts'
import { Hashes } from './hashes.ts'
import { PageTrees } from './page-tree.ts'
import type { Request } from './request.ts'
import type { PageRange } from './shares.ts'
import { StringValues } from './string-values.ts'

/** f64 counters, by where they lie in the header. */
export const COUNTER = {
  commands: HEADER.commands,
  hits: HEADER.hits,
  misses: HEADER.misses,
  expired: HEADER.expired,
} as const
type Counter = (typeof COUNTER)[keyof typeof COUNTER]

export class Shard {
  readonly entries: Entries
  readonly hashes: Hashes
  readonly deadlines: Deadlines
  readonly #accessors: Accessors
  readonly #arena: Arena
  readonly #dictionaries: Dictionaries
  readonly #header: number
  /** The address of the dictionary of keys. */
  readonly #keys: number

  /**
   * Opens the store in a share of the guest's pages, or makes an empty one where every byte is zero. The object is good for
   * these accessors: when a vCPU gets others, at a step boundary, it makes another. `seed` keys the hash function.
   */
  constructor(accessors: Accessors, range: PageRange, seed: number) {
    const header = range.from * PAGE_BYTES
    this.#accessors = accessors
    this.#header = header
    this.#keys = header + HEADER.keys
    if (accessors.loadU32(header + HEADER.magic) === 0) format(accessors, range, seed)
    assert(accessors.loadU32(header + HEADER.magic) === MAGIC, `page ${range.from} begins no key-value store`)
    assert(accessors.loadU32(header + HEADER.pages) === range.to - range.from, 'the store is of another size')
    this.#arena = new Arena(accessors, range)
    const trees = new PageTrees(accessors, this.#arena)
    this.#dictionaries = new Dictionaries(accessors, new BucketRows(accessors, this.#arena, trees))
    const values = new StringValues(accessors, this.#arena, trees)
    const hashKey = [
      accessors.loadI32(header + HEADER.hashKey),
      accessors.loadI32(header + HEADER.hashKey + 4),
    ] as const
    this.entries = new Entries(accessors, this.#arena, values, this.#dictionaries, hashKey)
    this.hashes = new Hashes(accessors, this.#arena, this.#dictionaries, this.entries, header)
    this.deadlines = new Deadlines(accessors, trees, header)
  }

  /** Milliseconds: the latest time that any request brought. It never runs backwards. */
  get nowMs(): number {
    return this.#accessors.loadF64(this.#header + HEADER.clock)
  }

  advance(nowMs: number): void {
    if (nowMs > this.nowMs) this.#accessors.storeF64(this.#header + HEADER.clock, nowMs)
  }

  /** Keys, those included whose time is over and that nobody has met since. */
  get count(): number {
    return this.#dictionaries.count(this.#keys)
  }

  get usedBytes(): number {
    return this.#arena.usedPages * PAGE_BYTES
  }

  get maxBytes(): number {
    return (this.#arena.range.to - firstDataPage(this.#arena.range)) * PAGE_BYTES
  }

  counter(counter: Counter): number {
    return this.#accessors.loadF64(this.#header + counter)
  }

  note(counter: Counter): void {
    this.#accessors.storeF64(this.#header + counter, this.counter(counter) + 1)
  }

  /** The entry of a key, or 0; one whose time is over is removed. */
  find(request: Request, index: number): number {
    const entry = this.entries.find(this.#keys, request, index)
    if (entry === 0) return 0
    const deadline = this.deadlines.of(entry)
    if (deadline === null || deadline >= this.nowMs) return entry
    this.note(COUNTER.expired)
    this.remove(entry)
    return 0
  }

  /** Like `find`, for commands that read: counted as hit or miss. */
  lookUp(request: Request, index: number): number {
    const entry = this.find(request, index)
    this.note(entry === 0 ? COUNTER.misses : COUNTER.hits)
    return entry
  }

  /** Adds a key, which is not there, with an empty string. Null: no memory is left, nothing has changed. */
  add(request: Request, keyIndex: number): number | null {
    const entry = this.#dictionaries.prepare(this.#keys) ? this.entries.make(request, keyIndex) : null
    if (entry === null) this.#dictionaries.trim(this.#keys)
    else this.#dictionaries.insert(this.#keys, entry)
    return entry
  }

  /**
   * The key holds the string that an argument says, whatever it held; `entry` is what `find` said. Its deadline is another
   * matter. The entry; null: no memory is left, nothing has changed.
   */
  put(entry: number, request: Request, keyIndex: number, valueIndex: number): number | null {
    const place = entry === 0 ? this.add(request, keyIndex) : entry
    if (place === null) return null
    const hash = this.entries.isString(place) ? 0 : this.entries.dictionary(place)
    if (hash !== 0) this.entries.becomeString(place)
    if (this.entries.setString(place, request, valueIndex)) {
      if (hash !== 0) this.hashes.bury(hash)
      return place
    }
    if (hash !== 0) this.entries.becomeHash(place, hash)
    if (entry === 0) this.remove(place)
    return null
  }

  /** Sets the pairs of arguments from `first` on, all or none; without deadlines. False: no memory is left. */
  putPairs(request: Request, first: number): boolean {
    const head = this.#dictionaries.prepare(this.#keys) ? this.entries.makePairs(request, first) : null
    if (head === null) this.#dictionaries.trim(this.#keys)
    else this.entries.placePairs(this.#keys, head, request, first, (old) => this.#drop(old))
    return head !== null
  }

  /** Adds a key, which is not there, with an empty hash, which is to be filled at once. Null: no memory is left. */
  addHash(request: Request, keyIndex: number): number | null {
    const entry = this.add(request, keyIndex)
    const hash = entry === null ? null : this.hashes.make()
    if (entry !== null && hash === null) this.remove(entry)
    if (entry === null || hash === null) return null
    this.entries.becomeHash(entry, hash)
    return entry
  }

  /** Takes a key out with all it holds. */
  remove(entry: number): void {
    this.#dictionaries.remove(this.#keys, entry)
    this.#drop(entry)
  }

  /** Gives an entry back that stands in no dictionary any more. */
  #drop(entry: number): void {
    this.deadlines.clear(entry)
    if (!this.entries.isString(entry)) this.hashes.bury(this.entries.dictionary(entry))
    this.entries.give(entry)
  }

  /** Removes at most `keys` whose time is over; false: there are none. */
  sweep(keys: number): boolean {
    const nowMs = this.nowMs
    for (let left = keys; left > 0; left--) {
      const entry = this.deadlines.over(nowMs)
      if (entry === 0) return left < keys
      this.note(COUNTER.expired)
      this.remove(entry)
    }
    return true
  }

  /** Removes everything: every page is free. Takes a while for each page that was used. */
  flush(): void {
    this.#arena.reset()
    const { removed, keys, heapRoot, heapNodes } = HEADER
    this.#accessors.storeU32(this.#header + removed, 0)
    for (let at = keys; at < keys + 16; at += 4) this.#accessors.storeU32(this.#header + at, 0)
    for (let at = heapRoot; at <= heapNodes; at += 4) this.#accessors.storeU32(this.#header + at, 0)
  }
}

/** The header of an empty store; all else in it is zero. */
function format(accessors: Accessors, range: PageRange, seed: number): void {
  const header = range.from * PAGE_BYTES
  accessors.storeU32(header + HEADER.pages, range.to - range.from)
  accessors.storeU32(header + HEADER.fresh, firstDataPage(range))
  accessors.storeU32(header + HEADER.hashKey, hash32(seed, range.from))
  accessors.storeU32(header + HEADER.hashKey + 4, hash32(~seed, range.from))
  accessors.storeU32(header + HEADER.magic, MAGIC)
}
