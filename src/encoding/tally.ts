// How many pages, payload bytes and milliseconds each encoding took: counted by transfer threads, summed up for the
// report.

import { ENCODINGS } from './registry.ts'

/** Counts by encoding name; only encodings that occurred. */
export type EncodingCounts = Record<string, { pages: number; bytes: number; cpuMs?: number }>

/** Stands for pages that do not travel because the destination's stale copy has them; no wire id. */
export const KEPT = 0
const COUNTED = [{ id: KEPT, name: 'kept' }, ...ENCODINGS]

export class EncodingTally {
  readonly #pages = new Float64Array(256)
  readonly #bytes = new Float64Array(256)
  readonly #ms = new Float64Array(256)

  /** `pages` pages of an encoding's wire id, or KEPT, became `bytes` of payload in `ms`. Allocates nothing. */
  add(id: number, pages: number, bytes: number, ms: number): void {
    this.#pages[id] = (this.#pages[id] as number) + pages
    this.#bytes[id] = (this.#bytes[id] as number) + bytes
    this.#ms[id] = (this.#ms[id] as number) + ms
  }

  /** The counts since the last call. */
  take(): EncodingCounts {
    const counts: EncodingCounts = {}
    for (const { id, name } of COUNTED) {
      // Pages of one lz4 block share its bytes, in fractions.
      const bytes = Math.round(this.#bytes[id] as number)
      const [pages, ms] = [this.#pages[id] as number, this.#ms[id] as number]
      if (pages > 0) counts[name] = ms > 0 ? { pages, bytes, cpuMs: ms } : { pages, bytes }
    }
    this.#pages.fill(0)
    this.#bytes.fill(0)
    this.#ms.fill(0)
    return counts
  }
}

/** Adds `more` to `sum`. */
export function addCounts(sum: EncodingCounts, more: EncodingCounts): void {
  for (const [name, { pages, bytes, cpuMs }] of Object.entries(more)) {
    const one = sum[name] ?? { pages: 0, bytes: 0 }
    sum[name] = one
    one.pages += pages
    one.bytes += bytes
    if (cpuMs !== undefined) one.cpuMs = (one.cpuMs ?? 0) + cpuMs
  }
}
