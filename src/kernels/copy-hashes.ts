// The typed binding of copy-hashes.wat: which pages of a stale copy are still right. A destination that begins with one tells
// the hashes of its pages, and the source leaves out what is the same there (migration/kept-copy.ts, transfer/batch.ts).

import type { GuestMemory } from '../guest/memory.ts'
import { PAGE_BYTES } from '../limits.ts'
import { MODULE_BASE64 } from './copy-hashes.bytes.ts'
import { assertRun } from './kernels.ts'
import { instantiate } from './module.ts'

/**
 * A table holds u64, one a page, at a byte offset of the control memory: 0 for a page of zeros, else the page's XXH64 under
 * the session's seed, with 1 in place of 0.
 */
export interface CopyHashes {
  /** Writes the entries of a run of pages as they are now, free or not. Throws `internal` for a run outside the guest. */
  tell(firstPage: number, count: number, table: number): void
  /**
   * Takes the pages that are as the table says out of the `count` listed ones: u32[] at `list`, a PAGE_CLASS each at
   * `classes`, as `scan` writes it; both close up. Returns how many stay.
   */
  leaveOut(list: number, classes: number, count: number, table: number): number
}

/** Writes the entry of the 4,096 bytes at `stored` of a store of versions to `to` of the control memory. */
export type VersionHash = (stored: number, to: number) => void

export function createVersionHash(memory: GuestMemory, store: WebAssembly.Memory, seed: bigint): VersionHash {
  const raw = instantiate<CopyHashes>(MODULE_BASE64, memory, { seed: BigInt.asIntN(64, seed), pages: store })
  return (stored, to) => {
    const page = stored / PAGE_BYTES
    raw.tell(page, 1, to - 8 * page)
  }
}

/** `seed`: the session's, 0 ≤ seed < 2^64. */
export function createCopyHashes(memory: GuestMemory, seed: bigint): CopyHashes {
  const raw = instantiate<CopyHashes>(MODULE_BASE64, memory, { seed: BigInt.asIntN(64, seed) })
  return {
    tell(firstPage, count, table) {
      assertRun(memory, firstPage, count)
      raw.tell(firstPage, count, table)
    },
    leaveOut: raw.leaveOut,
  }
}
