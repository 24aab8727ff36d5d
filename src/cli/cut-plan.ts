// When the demo cuts the link of a pull, so that every cut falls into the pull and they are spread over it. A policy:
// it is told what was seen, and answers whether to cut now. link-cutter.ts asks it, chaos-relay.ts cuts.

import { PAGE_BYTES } from '../limits.ts'

/** Of the bytes that are missing at the switch this share is counted on: all-zero pages travel without content. */
const SHARE_WITH_CONTENT = 0.5
/** A recovery itself sends less than this to the destination; so the pull flows again before the next cut. */
const LEAST_BYTES_BETWEEN = 32 * 1024

export class CutPlan {
  readonly #cuts: number
  #made = 0
  #pulling = false
  #missingPages: number
  /** Missing pages when the pull began; a guess until the pull itself has told. */
  #missingAtFirst = 0
  #told = false
  #bytesSinceCut = 0

  /** `missingPages`: what has to be pulled at most, until something better is known. */
  constructor(cuts: number, missingPages: number) {
    this.#cuts = cuts
    this.#missingPages = missingPages
  }

  /** Cuts that were made. */
  get made(): number {
    return this.#made
  }

  /** Pages missing at the destination, from any progress of the migration. */
  missing(pages: number): boolean {
    this.#missingPages = pages
    if (this.#pulling && !this.#told) {
      this.#told = true
      this.#missingAtFirst = pages
    }
    return this.#due()
  }

  /** The guest runs at the destination: from here on a cut only pauses the pull. */
  pullBegan(): void {
    this.#pulling = true
    this.#missingAtFirst = this.#missingPages
    this.#bytesSinceCut = 0
  }

  /** Bytes have passed towards the destination. */
  forwarded(bytes: number): boolean {
    this.#bytesSinceCut += bytes
    return this.#due()
  }

  /** True once for each cut: after enough bytes since the one before, or when the missing pages have come so far down. */
  #due(): boolean {
    if (!this.#pulling || this.#made >= this.#cuts || this.#bytesSinceCut < LEAST_BYTES_BETWEEN) return false
    const parts = this.#cuts + 1
    const enoughBytes = (this.#missingAtFirst * PAGE_BYTES * SHARE_WITH_CONTENT) / parts
    const fewPages = this.#missingAtFirst * (1 - (this.#made + 1) / parts)
    if (this.#bytesSinceCut < enoughBytes && this.#missingPages > fewPages) return false
    this.#made++
    this.#bytesSinceCut = 0
    return true
  }
}
