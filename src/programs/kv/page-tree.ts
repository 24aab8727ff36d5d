// A row of whole pages that grows and shrinks at its end, found through pages of 1,024 addresses: one page is its own
// root, up to 1,024 have one page above them, more have two. So nothing needs pages that lie side by side.

import type { Accessors } from '../../guest/accessors.ts'
import type { Arena } from './arena.ts'

/** Addresses in a page, and the shift from a page to the one above it. */
const FAN = 1024
const FAN_SHIFT = 10

/** A tree is two numbers that its owner keeps: the root's address and how many pages the row has. */
export class PageTrees {
  readonly #accessors: Accessors
  readonly #arena: Arena

  constructor(accessors: Accessors, arena: Arena) {
    this.#accessors = accessors
    this.#arena = arena
  }

  /** The address of page `index` of the row. */
  page(root: number, pages: number, index: number): number {
    if (pages <= 1) return root
    const accessors = this.#accessors
    if (pages <= FAN) return accessors.loadU32(root + 4 * index)
    return accessors.loadU32(accessors.loadU32(root + 4 * (index >>> FAN_SHIFT)) + 4 * (index & (FAN - 1)))
  }

  /** Adds a zero page; the new root, or null, and then nothing has changed: no memory is left. */
  grow(root: number, pages: number): number | null {
    const leaf = this.#arena.takePage()
    if (leaf === null || pages === 0) return leaf
    const grown = pages < FAN ? this.#growLow(root, pages, leaf) : this.#growHigh(root, pages, leaf)
    if (grown === null) this.#arena.givePage(leaf)
    return grown
  }

  #growLow(root: number, pages: number, leaf: number): number | null {
    const top = pages === 1 ? this.#above(root) : root
    if (top !== null) this.#accessors.storeU32(top + 4 * pages, leaf)
    return top
  }

  #growHigh(root: number, pages: number, leaf: number): number | null {
    const accessors = this.#accessors
    if (pages % FAN !== 0) {
      accessors.storeU32(accessors.loadU32(root + 4 * (pages >>> FAN_SHIFT)) + 4 * (pages % FAN), leaf)
      return root
    }
    const middle = this.#above(leaf)
    if (middle === null) return null
    const top = pages === FAN ? this.#above(root) : root
    if (top === null) this.#arena.givePage(middle)
    else accessors.storeU32(top + 4 * (pages >>> FAN_SHIFT), middle)
    return top
  }

  /** A page of addresses whose first is `child`. */
  #above(child: number): number | null {
    const page = this.#arena.takePage()
    if (page !== null) this.#accessors.storeU32(page, child)
    return page
  }

  /** Gives the last page of the row back; the new root, 0 of a row without pages. */
  shrink(root: number, pages: number): number {
    const last = pages - 1
    this.#arena.givePage(this.page(root, pages, last))
    if (last === 0) return 0
    if (last > FAN || (last > 1 && last < FAN)) {
      if (last % FAN === 0) this.#arena.givePage(this.#accessors.loadU32(root + 4 * (last >>> FAN_SHIFT)))
      return root
    }
    // One page, or one page of addresses, remains: it is the root.
    if (last === FAN) this.#arena.givePage(this.#accessors.loadU32(root + 4))
    const child = this.#accessors.loadU32(root)
    this.#arena.givePage(root)
    return child
  }

  /** A row of `pages` zero pages; null: no memory is left, and nothing is taken. */
  make(pages: number): number | null {
    let root = 0
    for (let made = 0; made < pages; made++) {
      const grown = this.grow(root, made)
      if (grown === null) {
        this.give(root, made)
        return null
      }
      root = grown
    }
    return root
  }

  /** Gives every page of the row back. */
  give(root: number, pages: number): void {
    let rest = root
    for (let left = pages; left > 0; left--) rest = this.shrink(rest, left)
  }
}
