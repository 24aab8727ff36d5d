// When keys end: a heap, the earliest on top, each node with up to four below it. An entry knows its node and a node its
// entry, so a deadline is changed or taken out where it stands, and a sweep looks at no key whose time is not over.

import type { Accessors } from '../../guest/accessors.ts'
import { PAGE_BYTES } from '../../limits.ts'
import { ENTRY, HEADER } from './arena-layout.ts'
import type { PageTrees } from './page-tree.ts'

/** Byte offsets in a node: f64 milliseconds, u32 entry. */
const NODE = { deadline: 0, entry: 8, bytes: 16 } as const
const PAGE_NODES = PAGE_BYTES / NODE.bytes
/** A page leaves when another half is unused, too, so that it does not come and go. */
const SPARE_NODES = PAGE_NODES + PAGE_NODES / 2

export class Deadlines {
  readonly #accessors: Accessors
  readonly #trees: PageTrees
  readonly #header: number

  /** `header` is the address of the shard's header. */
  constructor(accessors: Accessors, trees: PageTrees, header: number) {
    this.#accessors = accessors
    this.#trees = trees
    this.#header = header
  }

  get count(): number {
    return this.#accessors.loadU32(this.#header + HEADER.heapNodes)
  }

  /** The entry that ends first, if its time is over, or 0. */
  over(nowMs: number): number {
    if (this.count === 0) return 0
    const top = this.#node(0)
    return this.#accessors.loadF64(top) < nowMs ? this.#accessors.loadU32(top + NODE.entry) : 0
  }

  /** When an entry ends, ms; null: it does not. */
  of(entry: number): number | null {
    const place = this.#accessors.loadU32(entry + ENTRY.deadline)
    return place === 0 ? null : this.#accessors.loadF64(this.#node(place - 1))
  }

  /** Makes sure that `set` has room for one more. False: no memory is left. */
  reserve(): boolean {
    const accessors = this.#accessors
    const pages = accessors.loadU32(this.#header + HEADER.heapPages)
    if (this.count < pages * PAGE_NODES) return true
    const root = this.#trees.grow(accessors.loadU32(this.#header + HEADER.heapRoot), pages)
    if (root === null) return false
    this.#keep(root, pages + 1)
    return true
  }

  /** The entry ends then; for one without a deadline, room was reserved. */
  set(entry: number, deadline: number): void {
    const place = this.#accessors.loadU32(entry + ENTRY.deadline)
    const count = this.count
    if (place === 0) this.#accessors.storeU32(this.#header + HEADER.heapNodes, count + 1)
    this.#settle(place === 0 ? count : place - 1, deadline, entry)
  }

  /** The entry does not end any more. */
  clear(entry: number): void {
    const accessors = this.#accessors
    const place = accessors.loadU32(entry + ENTRY.deadline)
    if (place === 0) return
    accessors.storeU32(entry + ENTRY.deadline, 0)
    const last = this.count - 1
    const node = this.#node(last)
    const [deadline, moved] = [accessors.loadF64(node), accessors.loadU32(node + NODE.entry)]
    accessors.storeU32(this.#header + HEADER.heapNodes, last)
    if (moved !== entry) this.#settle(place - 1, deadline, moved)
    this.#trim(SPARE_NODES)
  }

  /** Gives back what `reserve` took, when nothing is to be set after all. */
  unreserve(): void {
    this.#trim(PAGE_NODES)
  }

  /** Gives the last page back if `spare` nodes are unused, and the last two when there is no node. */
  #trim(spare: number): void {
    const accessors = this.#accessors
    const pages = accessors.loadU32(this.#header + HEADER.heapPages)
    const count = this.count
    if (pages === 0 || (count > 0 && pages * PAGE_NODES - count < spare)) return
    this.#keep(this.#trees.shrink(accessors.loadU32(this.#header + HEADER.heapRoot), pages), pages - 1)
    if (count === 0) this.#trim(spare)
  }

  /** Finds the place of a deadline, from `index` upwards or downwards, and puts it there. */
  #settle(index: number, deadline: number, entry: number): void {
    const risen = this.#rise(index, deadline)
    this.#put(risen === index ? this.#sink(index, deadline) : risen, deadline, entry)
  }

  #rise(from: number, deadline: number): number {
    let index = from
    while (index > 0) {
      const above = (index - 1) >>> 2
      if (this.#accessors.loadF64(this.#node(above)) <= deadline) break
      this.#move(above, index)
      index = above
    }
    return index
  }

  #sink(from: number, deadline: number): number {
    const count = this.count
    let index = from
    for (;;) {
      let [least, earliest] = [index, deadline]
      for (let below = 4 * index + 1; below <= 4 * index + 4 && below < count; below++) {
        const other = this.#accessors.loadF64(this.#node(below))
        if (other < earliest) [least, earliest] = [below, other]
      }
      if (least === index) return index
      this.#move(least, index)
      index = least
    }
  }

  #move(from: number, to: number): void {
    const node = this.#node(from)
    this.#put(to, this.#accessors.loadF64(node), this.#accessors.loadU32(node + NODE.entry))
  }

  #put(index: number, deadline: number, entry: number): void {
    const node = this.#node(index)
    this.#accessors.storeF64(node, deadline)
    this.#accessors.storeU32(node + NODE.entry, entry)
    this.#accessors.storeU32(entry + ENTRY.deadline, index + 1)
  }

  #node(index: number): number {
    const accessors = this.#accessors
    const root = accessors.loadU32(this.#header + HEADER.heapRoot)
    const pages = accessors.loadU32(this.#header + HEADER.heapPages)
    return this.#trees.page(root, pages, Math.floor(index / PAGE_NODES)) + (index % PAGE_NODES) * NODE.bytes
  }

  #keep(root: number, pages: number): void {
    this.#accessors.storeU32(this.#header + HEADER.heapRoot, root)
    this.#accessors.storeU32(this.#header + HEADER.heapPages, pages)
  }
}
