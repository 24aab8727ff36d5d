// The typed binding of reference.wat: references to pages that the destination's host holds, in this guest or in another.

import type { GuestMemory } from '../guest/memory.ts'
import { instantiate } from './module.ts'
import { MODULE_BASE64 } from './reference.bytes.ts'

/** Bytes of a record: origin page u32, hash u64. */
export const REFERENCE_BYTES = 12

/** Offsets are byte offsets into the control memory; a record may lie at any. */
export interface ReferenceKernel {
  /** XXH64 of the page copy at `from` under the session's seed. */
  hash(from: number): bigint
  /** Writes the record of the copy at `from`, whose content page `origin` has, to `to`. */
  refer(from: number, origin: number, to: number): void
  /**
   * Obeys the record at `at`, whose origin must lie in the guest: copies that page to `scratch`, checks the copy's hash,
   * and places the copy as `page`. Returns 0, with the page untouched, when the content is another.
   */
  place(at: number, page: number, scratch: number): number
  /** The same, with the content of the origin at `copy`: checks its hash and places it as `page`, or returns 0. */
  placeCopy(at: number, page: number, copy: number): number
}

/** `seed`: the session's, 0 ≤ seed < 2^64. */
export function createReferenceKernel(memory: GuestMemory, seed: bigint): ReferenceKernel {
  return instantiate<ReferenceKernel>(MODULE_BASE64, memory, { seed: BigInt.asIntN(64, seed) })
}
