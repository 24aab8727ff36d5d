// Where a dictionary's buckets lie: up to 512 in one slot, which doubles and halves; more in a row of whole pages, which
// grows and shrinks by one. A bucket is one word, the address of its first entry.

import type { Accessors } from '../../guest/accessors.ts'
import { PAGE_BYTES } from '../../limits.ts'
import { type Arena, MAX_SLOT_BYTES } from './arena.ts'
import { DICTIONARY } from './arena-layout.ts'
import type { PageTrees } from './page-tree.ts'

export const MIN_BUCKETS = 4
const PAGE_BUCKETS = PAGE_BYTES / 4

/** Works on the words `root` and `pages` of the dictionary at an address. */
export class BucketRows {
  readonly #accessors: Accessors
  readonly #arena: Arena
  readonly #trees: PageTrees

  constructor(accessors: Accessors, arena: Arena, trees: PageTrees) {
    this.#accessors = accessors
    this.#arena = arena
    this.#trees = trees
  }

  /** The address of a bucket. */
  at(dictionary: number, bucket: number): number {
    const accessors = this.#accessors
    const root = accessors.loadU32(dictionary + DICTIONARY.root)
    const pages = accessors.loadU32(dictionary + DICTIONARY.pages)
    if (pages === 0) return root + 4 * bucket
    return this.#trees.page(root, pages, Math.floor(bucket / PAGE_BUCKETS)) + 4 * (bucket % PAGE_BUCKETS)
  }

  /** The first, empty buckets of a dictionary that has none. False: no memory is left. */
  begin(dictionary: number): boolean {
    const slot = this.#arena.take(4 * MIN_BUCKETS)
    if (slot === null) return false
    for (let bucket = 0; bucket < MIN_BUCKETS; bucket++) this.#accessors.storeU32(slot + 4 * bucket, 0)
    this.#set(dictionary, slot, 0)
    return true
  }

  /** Gives all buckets back. */
  end(dictionary: number): void {
    const [root, pages] = this.#get(dictionary)
    if (pages === 0) this.#arena.give(root)
    else this.#trees.give(root, pages)
    this.#set(dictionary, 0, 0)
  }

  /** Room for one bucket more than `buckets`, with any content. False: no memory is left. */
  makeRoom(dictionary: number, buckets: number): boolean {
    const [root, pages] = this.#get(dictionary)
    if (pages === 0) {
      const slotBytes = this.#arena.slotBytes(root)
      return 4 * buckets < slotBytes || this.#move(dictionary, buckets, 2 * slotBytes)
    }
    if (buckets < pages * PAGE_BUCKETS) return true
    const grown = this.#trees.grow(root, pages)
    if (grown !== null) this.#set(dictionary, grown, pages + 1)
    return grown !== null
  }

  /** Gives back what is not needed for `buckets`; not having the memory to move into less is no harm. */
  giveRoom(dictionary: number, buckets: number): void {
    const [root, pages] = this.#get(dictionary)
    if (pages > 1) {
      if (buckets <= (pages - 1) * PAGE_BUCKETS) this.#set(dictionary, this.#trees.shrink(root, pages), pages - 1)
      return
    }
    const half = (pages === 0 ? this.#arena.slotBytes(root) : PAGE_BYTES) / 2
    if (4 * buckets <= half && buckets >= MIN_BUCKETS) this.#move(dictionary, buckets, half)
  }

  /** Moves all buckets into a slot, or a page, of `bytes`. */
  #move(dictionary: number, buckets: number, bytes: number): boolean {
    const accessors = this.#accessors
    const to = bytes > MAX_SLOT_BYTES ? this.#arena.takePage() : this.#arena.take(bytes)
    if (to === null) return false
    const [root] = this.#get(dictionary)
    for (let at = 0; at < 4 * buckets; at += 4) accessors.storeU32(to + at, accessors.loadU32(root + at))
    this.end(dictionary)
    this.#set(dictionary, to, bytes > MAX_SLOT_BYTES ? 1 : 0)
    return true
  }

  #get(dictionary: number): readonly [root: number, pages: number] {
    const accessors = this.#accessors
    return [accessors.loadU32(dictionary + DICTIONARY.root), accessors.loadU32(dictionary + DICTIONARY.pages)]
  }

  #set(dictionary: number, root: number, pages: number): void {
    this.#accessors.storeU32(dictionary + DICTIONARY.root, root)
    this.#accessors.storeU32(dictionary + DICTIONARY.pages, pages)
  }
}
