// Where the source finds a page whose content it has sent already. The candidates are the page hashes of the digest, so
// they cost nothing extra: an index from hash to page, and per page when and on which channel it was sent last. All of it
// is shared by the transfer threads without a lock. It gives hints only: what a hint leads to is checked by the destination
// under a seeded hash (R13), so neither a race nor a forged collision can do worse than "send it".

import type { GuestMemory } from '../guest/memory.ts'

/** Channels in a stamp: round × 32 + channel + 1. */
const CHANNELS = 32

export class ReferenceIndex {
  readonly #words: Int32Array
  readonly #hashes: number
  readonly #index: number
  readonly #stamps: number
  readonly #mask: number
  readonly #pageCount: number
  readonly #channel: number

  constructor({ layout, controlWords }: GuestMemory, channel: number) {
    this.#words = controlWords
    this.#hashes = layout.hashes / 4
    this.#index = layout.references / 4
    this.#stamps = layout.sentStamps / 4
    this.#mask = layout.referenceSlots - 1
    this.#pageCount = layout.pageCount
    this.#channel = channel
  }

  /** Forgets everything; before an attempt, when no thread works. */
  static clear({ layout, controlBytes }: GuestMemory): void {
    controlBytes.fill(0, layout.references, layout.sentStamps + 4 * layout.pageCount)
  }

  /**
   * A page, other than `page`, that should have the content which `scan` has just hashed `page` by, and that is there when
   * a reference in this channel's next frame of `round` arrives: sent on this channel, or in an earlier round (R12). −1: none.
   */
  find(page: number, round: number): number {
    const words = this.#words
    const at = this.#hashes + 2 * page
    const [low, high] = [words[at] as number, words[at + 1] as number]
    const origin = (words[this.#index + (low & this.#mask)] as number) - 1
    if (origin < 0 || origin === page || origin >= this.#pageCount) return -1
    const from = this.#hashes + 2 * origin
    if (words[from] !== low || words[from + 1] !== high) return -1
    const stamp = words[this.#stamps + origin] as number
    if (stamp === 0) return -1
    const sentEarlier = stamp <= round * CHANNELS
    return sentEarlier || stamp === round * CHANNELS + this.#channel + 1 ? origin : -1
  }

  /** The page was sent from a copy, on this channel in this round. */
  note(page: number, round: number): void {
    const words = this.#words
    words[this.#stamps + page] = round * CHANNELS + this.#channel + 1
    const slot = this.#index + ((words[this.#hashes + 2 * page] as number) & this.#mask)
    words[slot] = page + 1
  }

  /** R13: the page was sent live, or as zeros: nothing refers to it. */
  forget(page: number): void {
    this.#words[this.#stamps + page] = 0
  }
}
