// The typed binding of delta.wat: pages that need few bytes. Encoders read a copy of a page in the control memory and
// write there; delta also reads the last version sent, which lies in a memory of its own, the store. Decoders write
// straight into guest pages. `scratchOffset` names MAP_BYTES of the control memory that a call may use.

import type { GuestMemory } from '../guest/memory.ts'
import { MODULE_BASE64 } from './delta.bytes.ts'
import { assertRun } from './kernels.ts'
import { instantiate } from './module.ts'

/** Scratch of one call: a bit for each byte of a page, and one word behind. */
export const MAP_BYTES = 520

/** Lengths are bytes, page numbers select pages, all other offsets are byte offsets into the control memory. */
export interface DeltaKernels {
  /** A page's one repeated word → 8 bytes at `to`: 8, or −1 if it has none or the limit is below 8. */
  encodeFill(from: number, to: number, limitBytes: number): number
  /** A word of 8 bytes for each page → a run. */
  placeFill(firstPage: number, count: number, from: number): void
  /** A page → its record against zeros. Returns its length, or −1 when that exceeds the limit. */
  encodeSparse(from: number, to: number, limitBytes: number, scratchOffset: number): number
  /** A page → its record against the version at byte `stored` of the store: 2 for an equal page; −1 above the limit. */
  encodeDelta(from: number, stored: number, to: number, limitBytes: number, scratchOffset: number): number
  /**
   * Records of a run → its pages, onto zeros (sparse) or onto what they hold (delta). Returns how many of `availableBytes`
   * the records take, or −1 at the first that breaks a rule. Reads nothing behind them, writes to no page outside the run.
   */
  placeRecords(firstPage: number, count: number, from: number, availableBytes: number, onto: 'zeros' | 'pages'): number
  /** A page → the store. */
  storePage(from: number, stored: number): void
  /** A guest page → the store. */
  keepPage(page: number, stored: number): void
  /** Whether the store has the page, bit for bit. */
  matches(from: number, stored: number): boolean
}

interface Exports extends Omit<DeltaKernels, 'placeRecords' | 'matches'> {
  placeRecords(firstPage: number, count: number, from: number, availableBytes: number, clear: 0 | 1): number
  matches(from: number, stored: number): 0 | 1
}

let noStore: WebAssembly.Memory | undefined

/** Stands in for the store where nothing is compared: the module imports one, receivers have none. */
function emptyStore(): WebAssembly.Memory {
  noStore ??= new WebAssembly.Memory({ initial: 0, maximum: 0, shared: true })
  return noStore
}

/** Loads the kernels over one guest's memories. `store` is a shared memory; without one only `delta` cannot be encoded. */
export function loadDeltaKernels(memory: GuestMemory, store: WebAssembly.Memory = emptyStore()): DeltaKernels {
  const exports = instantiate<Exports>(MODULE_BASE64, memory, { store })
  return {
    encodeFill: exports.encodeFill,
    placeFill(firstPage, count, from) {
      assertRun(memory, firstPage, count)
      exports.placeFill(firstPage, count, from)
    },
    encodeSparse: exports.encodeSparse,
    encodeDelta: exports.encodeDelta,
    placeRecords(firstPage, count, from, availableBytes, onto) {
      assertRun(memory, firstPage, count)
      return exports.placeRecords(firstPage, count, from, availableBytes, onto === 'zeros' ? 1 : 0)
    },
    storePage: exports.storePage,
    keepPage(page, stored) {
      assertRun(memory, page, 1)
      exports.keepPage(page, stored)
    },
    matches: (from, stored) => exports.matches(from, stored) === 1,
  }
}
