// The delta encoding with its cache, as the batch encoder uses it: compares with the last version sent, keeps the new one,
// and gives up for the rest of the migration when that does not pay.

import { PAGE_BYTES } from '../limits.ts'
import { createDeltaEncoder, type DeltaEncoder } from './delta.ts'
import type { EncodingContext } from './encoding.ts'
import { type SharedVersions, VersionStore } from './version-store.ts'

/** A delta above this is worth less than what codecs make of the page. */
const LIMIT_BYTES = PAGE_BYTES / 2
/** After so many pages without enough gain the cache is given up: each costs a copy, and a comparison in vain. */
const TRIAL_PAGES = 2048
const LEAST_SHARE = 1 / 8

export class Deltas {
  readonly #store: VersionStore
  readonly #encoder: DeltaEncoder
  readonly #fromRound: number
  #tried = 0
  #succeeded = 0
  #pays = true

  constructor(context: EncodingContext, versions: SharedVersions) {
    this.#store = new VersionStore(versions)
    this.#encoder = createDeltaEncoder(context, this.#store.memory)
    this.#fromRound = this.#store.firstRoundFor(context.memory.layout.pageCount)
  }

  has(page: number): boolean {
    return this.#pays && this.#store.has(page)
  }

  /**
   * The delta of the copy at `from` against the version sent, to `to`; the copy becomes the version sent, for it travels in
   * any case. Returns its bytes; −1 when there is no version or too much has changed.
   */
  encodePage(page: number, from: number, to: number, round: number): number {
    const stored = this.#store.take(page)
    if (stored < 0) return -1
    const bytes = this.#encoder.encodePage(from, stored, to, LIMIT_BYTES)
    this.#encoder.storePage(from, stored)
    this.#store.release(page, round)
    this.#judge(bytes >= 0)
    return bytes
  }

  /** The copy at `from` is sent in `round` in another encoding. */
  put(page: number, from: number, round: number): void {
    if (!this.#pays || round < this.#fromRound) return this.forget(page)
    const stored = this.#store.claim(page, round)
    if (stored < 0) return
    this.#encoder.storePage(from, stored)
    this.#store.release(page, round)
  }

  /** R13: what the destination gets of this page is no copy that is here. */
  forget(page: number): void {
    this.#store.forget(page)
  }

  #judge(shrunk: boolean): void {
    this.#tried++
    if (shrunk) this.#succeeded++
    if (this.#tried < TRIAL_PAGES) return
    this.#pays = this.#succeeded >= LEAST_SHARE * this.#tried
    this.#tried = this.#succeeded = 0
  }
}
