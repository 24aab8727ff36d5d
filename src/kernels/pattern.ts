// The typed binding of pattern.wat: WKdm, one page at a time. The encoding `pattern` uses it.

import type { GuestMemory } from '../guest/memory.ts'
import { loadPageCodec, type PageCodec } from './page-codec.ts'
import { MODULE_BASE64 } from './pattern.bytes.ts'

/** Counts and tags; a page of zeros has no more. */
export const PATTERN_LEAST_BYTES = 268

/** WKdm over one guest's memories, with its tables (12 KiB at most) at `tablesOffset` of the control memory. */
export const loadPattern = (memory: GuestMemory, tablesOffset: number): PageCodec =>
  loadPageCodec(MODULE_BASE64, memory, tablesOffset)
