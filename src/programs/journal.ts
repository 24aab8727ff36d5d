// The mutator's journal: in the first pages of the guest each vCPU keeps (word, value) of its latest writes, in words it
// owns. A read compares a word with its entry, so that a page that is older than the journal fails at the next read.

import type { Accessors } from '../guest/accessors.ts'
import { PAGE_BYTES } from '../limits.ts'
import { below, hash32 } from './rng.ts'
import { firstOwned } from './words.ts'

/** At most this many pages a vCPU, and never more than 1/64 of the guest, but at least one page. */
const PAGES_PER_VCPU = 2
const SHARE_SHIFT = 6

/** Pages at the guest's start that hold journals. */
export function journalPages(memoryBytes: number, vcpus: number): number {
  const pageCount = memoryBytes / PAGE_BYTES
  return Math.min(Math.max(1, pageCount >>> SHARE_SHIFT), PAGES_PER_VCPU * vcpus)
}

export class Journal {
  readonly #first: number
  readonly #stride: number
  readonly #entries: number

  constructor(memoryBytes: number, vcpu: number, vcpus: number) {
    this.#first = firstOwned(0, vcpu, vcpus)
    this.#stride = vcpus
    const words = (journalPages(memoryBytes, vcpus) * PAGE_BYTES) / 4
    this.#entries = Math.floor((words - this.#first) / vcpus / 2)
  }

  /** Notes that `word` (its index in the guest) now holds `value`; forgets whatever word shared its entry. */
  write(accessors: Accessors, word: number, value: number): void {
    const at = this.#addressOf(hash32(word, 0x10a) % this.#entries)
    accessors.storeU32(at, word)
    accessors.storeU32(at + this.#stride * 4, value)
  }

  /** Checks the word of an entry drawn with `random`. Throws when it does not hold what was last written. */
  checkAny(accessors: Accessors, random: number): void {
    this.#check(accessors, this.#addressOf(below(random, this.#entries)))
  }

  /** Reads `word` and checks it if it has an entry. */
  read(accessors: Accessors, word: number): void {
    const at = this.#addressOf(hash32(word, 0x10a) % this.#entries)
    if (accessors.loadU32(at) === word) this.#check(accessors, at)
    else accessors.loadU32(word * 4)
  }

  #check(accessors: Accessors, at: number): void {
    const word = accessors.loadU32(at)
    if (word === 0) return
    const expected = accessors.loadU32(at + this.#stride * 4)
    const found = accessors.loadU32(word * 4)
    if (found === expected) return
    const page = Math.floor((word * 4) / PAGE_BYTES)
    throw new Error(`stale page ${page}: word ${word} holds ${found} where ${expected} was written last`)
  }

  #addressOf(entry: number): number {
    return (this.#first + this.#stride * 2 * entry) * 4
  }
}
