// The typed binding of packed.wat: columns of words by frame of reference, one page at a time. The encoding `packed`
// uses it.

import type { GuestMemory } from '../guest/memory.ts'
import { MODULE_BASE64 } from './packed.bytes.ts'
import { loadPageCodec, type PageCodec } from './page-codec.ts'

/** The header; a page whose 16-byte records are all equal has no more. */
export const PACKED_LEAST_BYTES = 24

/** Bit packing over one guest's memories, with its tables (12 KiB at most) at `tablesOffset` of the control memory. */
export const loadPacked = (memory: GuestMemory, tablesOffset: number): PageCodec =>
  loadPageCodec(MODULE_BASE64, memory, tablesOffset)
