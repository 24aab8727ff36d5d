// The last version sent of the pages that are sent again and again, for the delta encoding: a cache in a shared memory of
// its own, used by all transfer threads of the source. Direct-mapped, a slot per page number modulo their count; a slot
// changes hands by compare-exchange, and a page that is fresh keeps its slot (techniques.md §21). What it holds equals the
// destination's page bit for bit (R13), once the round in which it was sent has arrived.
//
//   │ tags: u32 a slot, page + 1 or 0, BUSY while a thread works on it │ rounds: u32 a slot │ versions: 4,096 bytes a slot │

import type { GuestMemory } from '../guest/memory.ts'
import { MAX_MEMORY_BYTES, PAGE_BYTES, WASM_PAGE_BYTES } from '../limits.ts'

const BUSY = -1
/** A page keeps its slot until it was not sent for so many rounds. */
const LIFETIME_ROUNDS = 2

const align = (bytes: number): number => Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES

/** What a thread needs to attach: structured-cloneable. */
export interface SharedVersions {
  readonly memory: WebAssembly.Memory
  readonly slots: number
}

/** A store is one memory, 4 GiB at most, of which each version takes a page, a tag and a round. */
const MOST_SLOTS = Math.floor((MAX_MEMORY_BYTES - PAGE_BYTES) / (PAGE_BYTES + 8))

const slotsOf = (cacheBytes: number, pageCount: number): number =>
  Math.min(pageCount, Math.floor(cacheBytes / PAGE_BYTES), MOST_SLOTS)

/**
 * A store of at most `cacheBytes` of versions for a guest of `pageCount` pages; null: too small for one, or this host has
 * no room for it. A migration does without.
 */
export function createVersions(cacheBytes: number, pageCount: number): SharedVersions | null {
  const slots = slotsOf(cacheBytes, pageCount)
  if (slots === 0) return null
  const size = Math.ceil((align(8 * slots) + slots * PAGE_BYTES) / WASM_PAGE_BYTES)
  try {
    return { memory: new WebAssembly.Memory({ initial: size, maximum: size, shared: true }), slots }
  } catch {
    return null
  }
}

/**
 * By the guest's pages: an attempt that failed, or a copy that its guest comes back into, leaves its store to the next, for the
 * collector does not see how much such a memory holds.
 */
const stores = new WeakMap<WebAssembly.Memory, SharedVersions>()

/**
 * The store of the guest's attempt before, with whatever is in it, or one as `createVersions` makes it. No other attempt may
 * be under way.
 */
export function versionsOf({ pages, layout }: GuestMemory, cacheBytes: number): SharedVersions | null {
  const last = stores.get(pages)
  if (last?.slots === slotsOf(cacheBytes, layout.pageCount)) return last
  stores.delete(pages)
  const versions = createVersions(cacheBytes, layout.pageCount)
  if (versions !== null) stores.set(pages, versions)
  return versions
}

/** Before an attempt, when no thread works. */
export function clearVersions({ memory, slots }: SharedVersions): void {
  new Int32Array(memory.buffer).fill(0, 0, 2 * slots)
}

export class VersionStore {
  readonly memory: WebAssembly.Memory
  readonly #words: Int32Array
  readonly #slots: number
  readonly #versions: number

  constructor({ memory, slots }: SharedVersions) {
    this.memory = memory
    this.#words = new Int32Array(memory.buffer)
    this.#slots = slots
    this.#versions = align(8 * slots)
  }

  /**
   * The first round whose pages are worth a slot. If every page can have one of its own it is round 0; else that would fill
   * the cache with pages of no future.
   */
  firstRoundFor(pageCount: number): 0 | 1 {
    return this.#slots >= pageCount ? 0 : 1
  }

  /** Forgets the versions for which `isRight` says no, and how old the others are. No other thread may be at work. */
  retain(isRight: (page: number, stored: number) => boolean): void {
    const words = this.#words
    for (let slot = 0; slot < this.#slots; slot++) {
      const page = (words[slot] as number) - 1
      if (page < 0 || !isRight(page, this.#versions + slot * PAGE_BYTES)) words[slot] = 0
    }
    words.fill(0, this.#slots, 2 * this.#slots)
  }

  /** Whether a version of the page is there; it may be gone a moment later. */
  has(page: number): boolean {
    return Atomics.load(this.#words, page % this.#slots) === page + 1
  }

  /** Takes the page's slot for this thread; byte offset of its version, −1: there is none. `release` gives it back. */
  take(page: number): number {
    const slot = page % this.#slots
    if (Atomics.compareExchange(this.#words, slot, page + 1, BUSY) !== page + 1) return -1
    return this.#versions + slot * PAGE_BYTES
  }

  /** Takes a slot to put a version of the page in, sent in `round`; −1: it belongs to a page that is fresh, or is busy. */
  claim(page: number, round: number): number {
    const slot = page % this.#slots
    const tag = Atomics.load(this.#words, slot)
    if (tag === BUSY) return -1
    const fresh = tag !== 0 && tag !== page + 1 && (this.#words[this.#slots + slot] as number) + LIFETIME_ROUNDS > round
    if (fresh || Atomics.compareExchange(this.#words, slot, tag, BUSY) !== tag) return -1
    return this.#versions + slot * PAGE_BYTES
  }

  /** Gives the taken or claimed slot back: it holds the version of the page that was sent in `round`. */
  release(page: number, round: number): void {
    const slot = page % this.#slots
    this.#words[this.#slots + slot] = round
    Atomics.store(this.#words, slot, page + 1)
  }

  /** R13: the page was sent in a way that leaves no copy behind. */
  forget(page: number): void {
    const slot = page % this.#slots
    Atomics.compareExchange(this.#words, slot, page + 1, 0)
  }
}
