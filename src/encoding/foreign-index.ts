// Where the source finds a page of another guest at the destination by its content. The destination has told the hashes of
// those guests' pages under the session's seed (migration/neighbours.ts); here they become an index that all transfer
// threads read. It is complete before the first of them sees it and never changes, so it needs no lock.
//
//   hashes   u64 a foreign page                       slots   u32, a power of two: foreign page + 1, open addressing

/** The form to hand to a worker thread. */
export interface SharedForeignIndex {
  readonly hashes: SharedArrayBuffer
  readonly slots: SharedArrayBuffer
}

/** A content that finds no place within so many slots is left out: at most half of the slots are in use. */
const PROBES = 16

export class ForeignIndex {
  /** Pairs: low and high half of each hash. */
  readonly #hashes: Int32Array
  readonly #slots: Int32Array
  readonly #mask: number

  constructor({ hashes, slots }: SharedForeignIndex) {
    this.#hashes = new Int32Array(hashes)
    this.#slots = new Int32Array(slots)
    this.#mask = this.#slots.length - 1
  }

  /** Memory for an index of `pages` foreign pages, empty. */
  static create(pages: number): SharedForeignIndex {
    const slots = 2 ** Math.ceil(Math.log2(2 * Math.max(1, pages)))
    return { hashes: new SharedArrayBuffer(8 * pages), slots: new SharedArrayBuffer(4 * slots) }
  }

  /** Takes in the hashes (u64 each, little endian) of the pages from `first` on; 0, a page of zeros, is never found. */
  add(first: number, hashes: Uint8Array): void {
    new Uint8Array(this.#hashes.buffer).set(hashes, 8 * first)
    for (let page = first; page < first + hashes.length / 8; page++) {
      const [low, high] = [this.#hashes[2 * page] as number, this.#hashes[2 * page + 1] as number]
      if (low === 0 && high === 0) continue
      const slot = this.#slotOf(low, high)
      // The first page of a content stays: guests that came earlier are likelier to be there still.
      if (slot >= 0 && this.#slots[slot] === 0) this.#slots[slot] = page + 1
    }
  }

  /** A foreign page whose hash this is, or −1. */
  find(low: number, high: number): number {
    const slot = this.#slotOf(low, high)
    return slot < 0 ? -1 : (this.#slots[slot] as number) - 1
  }

  /** The slot that has this content, or else the free one where it belongs; −1: neither. */
  #slotOf(low: number, high: number): number {
    for (let probe = 0; probe < PROBES; probe++) {
      const slot = (low + probe) & this.#mask
      const page = (this.#slots[slot] as number) - 1
      if (page < 0) return slot
      if (this.#hashes[2 * page] === low && this.#hashes[2 * page + 1] === high) return slot
    }
    return -1
  }
}
