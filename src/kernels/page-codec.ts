// What kernels that shrink single pages look like. Their output says by itself where it ends.

import type { GuestMemory } from '../guest/memory.ts'
import { instantiate } from './module.ts'

/** All offsets are byte offsets in the control memory; the caller owns every range it names. */
export interface PageCodec {
  /** The 4,096 bytes at `from` (multiple of 16) → `to`. Returns the length, or −1 when it would exceed `limitBytes`. */
  encode(from: number, to: number, limitBytes: number): number
  /**
   * One page at `from`, of which `availableBytes` may be read, → guest page `page`, which must exist. Returns the bytes it
   * took, or −1 when they are not what an encoder writes; the page is untouched then.
   */
  decode(from: number, availableBytes: number, page: number): number
}

/** A codec whose kernels keep their tables at `tablesOffset` of the control memory during a call. */
export function loadPageCodec(moduleBase64: string, memory: GuestMemory, tablesOffset: number): PageCodec {
  const { encode, decode } = instantiate<{
    encode(from: number, to: number, limitBytes: number, tables: number): number
    decode(from: number, availableBytes: number, page: number, tables: number): number
  }>(moduleBase64, memory)
  return {
    encode: (from, to, limitBytes) => encode(from, to, limitBytes, tablesOffset),
    decode: (from, availableBytes, page) => decode(from, availableBytes, page, tablesOffset),
  }
}
