// What deltas are made against when a guest migrates back. While it arrives, and its source keeps its memory as a copy, the
// destination puts the pages it places into a delta cache of its own: what the copy holds. When the guest goes back, every
// version is hashed and compared with what the copy's host tells of it, so none is taken on trust (R13).
//
//   arrival    page placed, or in the copy it comes into ─► version
//   way back   told hash = version's hash? ─ yes: first-round delta     no: forgotten

import type { GuestMemory } from '../guest/memory.ts'
import { createVersionHash } from '../kernels/copy-hashes.ts'
import { type DeltaKernels, loadDeltaKernels } from '../kernels/delta.ts'
import type { RunTable } from './runs.ts'
import { shared } from './shared.ts'
import { type SharedVersions, VersionStore } from './version-store.ts'
import { zero } from './zero.ts'

/** Of one transfer thread of the destination; the store is that of all. */
export class Arrivals {
  readonly #store: VersionStore
  readonly #kernels: DeltaKernels
  readonly #fromRound: number

  constructor(memory: GuestMemory, versions: SharedVersions) {
    this.#store = new VersionStore(versions)
    this.#kernels = loadDeltaKernels(memory, versions.memory)
    this.#fromRound = this.#store.firstRoundFor(memory.layout.pageCount)
  }

  /**
   * Before the first round: what is in the copy that the guest comes back into will be in the one that it leaves, too, where
   * it does not come anew. Thread `part` of `parts` takes its share, if there is a slot for every page.
   */
  keepCopy(pageCount: number, part: number, parts: number): void {
    if (this.#fromRound > 0) return
    const [first, end] = [part, part + 1].map((at) => Math.floor((at * pageCount) / parts)) as [number, number]
    for (let page = first; page < end; page++) this.#keepPage(page, 0)
  }

  /** The pages of this table were placed in `round`, and no vCPU has touched them since. */
  keep({ length, firstPage, count, encoding }: RunTable, round: number): void {
    for (let run = 0; run < length; run++) {
      const [first, pages] = [firstPage[run] as number, count[run] as number]
      // A zero page is no gain, and one of another guest is not here yet.
      const keeps = round >= this.#fromRound && encoding[run] !== zero.id && encoding[run] !== shared.id
      for (let page = first; page < first + pages; page++) {
        if (keeps) this.#keepPage(page, round)
        else this.#store.forget(page)
      }
    }
  }

  #keepPage(page: number, round: number): void {
    const stored = this.#store.claim(page, round)
    if (stored < 0) return this.#store.forget(page)
    this.#kernels.keepPage(page, stored)
    this.#store.release(page, round)
  }
}

/**
 * Source, before the first round: forgets every version that is not, bit for bit, what the destination's copy holds. Its
 * hashes under the session's seed are in `scanHashes`; `scratch`: 8 bytes of the control memory.
 */
export function keepOnlyCopied(memory: GuestMemory, versions: SharedVersions, seed: bigint, scratch: number): void {
  const { controlWords: words, layout } = memory
  const hash = createVersionHash(memory, versions.memory, seed)
  const ours = scratch / 4
  new VersionStore(versions).retain((page, stored) => {
    hash(stored, scratch)
    const told = layout.scanHashes / 4 + 2 * page
    return words[ours] === words[told] && words[ours + 1] === words[told + 1]
  })
}
