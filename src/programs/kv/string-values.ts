// What a string holds: nothing, a slot, or, above half a page, a row of whole pages. A value is two numbers that its
// entry keeps, its place and its length. Whatever fails for lack of memory leaves the old value as it was.

import type { Accessors } from '../../guest/accessors.ts'
import { PAGE_BYTES } from '../../limits.ts'
import { type Arena, MAX_SLOT_BYTES, sameSlots } from './arena.ts'
import { copyIn, copyOut } from './copying.ts'
import type { PageTrees } from './page-tree.ts'

const pagesOf = (length: number): number => Math.ceil(length / PAGE_BYTES)

export class StringValues {
  readonly #accessors: Accessors
  readonly #arena: Arena
  readonly #trees: PageTrees
  /** What moves from slot to slot; holds nothing between two calls. */
  readonly #scratch = new Uint8Array(MAX_SLOT_BYTES)

  constructor(accessors: Accessors, arena: Arena, trees: PageTrees) {
    this.#accessors = accessors
    this.#arena = arena
    this.#trees = trees
  }

  /** A new value; null: no memory is left. */
  make(source: Uint8Array, at: number, length: number): number | null {
    const value = this.#take(length)
    if (value !== null) this.#write(value, length, 0, source, at, length)
    return value
  }

  /** Another value in the place of an old one, which may stay where it was; null: no memory is left. */
  replace(old: number, oldLength: number, source: Uint8Array, at: number, length: number): number | null {
    if (this.#alike(oldLength, length)) {
      this.#write(old, length, 0, source, at, length)
      return old
    }
    const value = this.make(source, at, length)
    if (value !== null) this.give(old, oldLength)
    return value
  }

  /** The value with `added` more bytes; null: no memory is left. */
  append(old: number, length: number, source: Uint8Array, at: number, added: number): number | null {
    const total = length + added
    const value = this.#alike(length, total) ? old : this.#larger(old, length, total)
    if (value !== null) this.#write(value, total, length, source, at, added)
    return value
  }

  /** Copies the value into `target`. */
  read(value: number, length: number, target: Uint8Array, at: number): void {
    if (length <= MAX_SLOT_BYTES) {
      if (length > 0) copyOut(this.#accessors, value, target, at, length)
      return
    }
    const pages = pagesOf(length)
    for (let index = 0; index < pages; index++) {
      const done = index * PAGE_BYTES
      const part = Math.min(PAGE_BYTES, length - done)
      copyOut(this.#accessors, this.#trees.page(value, pages, index), target, at + done, part)
    }
  }

  give(value: number, length: number): void {
    if (length > MAX_SLOT_BYTES) this.#trees.give(value, pagesOf(length))
    else if (length > 0) this.#arena.give(value)
  }

  /** Whether values of both lengths take the same room. */
  #alike(a: number, b: number): boolean {
    if (a === 0 || b === 0) return a === b
    if (a <= MAX_SLOT_BYTES && b <= MAX_SLOT_BYTES) return sameSlots(a, b)
    return a > MAX_SLOT_BYTES && b > MAX_SLOT_BYTES && pagesOf(a) === pagesOf(b)
  }

  #take(length: number): number | null {
    if (length === 0) return 0
    return length <= MAX_SLOT_BYTES ? this.#arena.take(length) : this.#trees.make(pagesOf(length))
  }

  /** Room for `total` bytes that begins with the value's. */
  #larger(old: number, length: number, total: number): number | null {
    if (length > MAX_SLOT_BYTES) return this.#stretch(old, pagesOf(length), pagesOf(total))
    const value = this.#take(total)
    if (value === null || length === 0) return value
    copyOut(this.#accessors, old, this.#scratch, 0, length)
    this.#write(value, total, 0, this.#scratch, 0, length)
    this.#arena.give(old)
    return value
  }

  #stretch(old: number, oldPages: number, pages: number): number | null {
    let root = old
    for (let have = oldPages; have < pages; have++) {
      const grown = this.#trees.grow(root, have)
      if (grown === null) {
        // The tree shrinks to what it was, root and all.
        for (let left = have; left > oldPages; left--) root = this.#trees.shrink(root, left)
        return null
      }
      root = grown
    }
    return root
  }

  /** Writes `count` bytes from `offset` on into a value of `length` bytes. */
  #write(value: number, length: number, offset: number, source: Uint8Array, at: number, count: number): void {
    if (length <= MAX_SLOT_BYTES) {
      if (count > 0) copyIn(this.#accessors, value + offset, source, at, count)
      return
    }
    const pages = pagesOf(length)
    for (let done = 0; done < count; ) {
      const within = (offset + done) % PAGE_BYTES
      const part = Math.min(PAGE_BYTES - within, count - done)
      const page = this.#trees.page(value, pages, Math.floor((offset + done) / PAGE_BYTES))
      copyIn(this.#accessors, page + within, source, at + done, part)
      done += part
    }
  }
}
