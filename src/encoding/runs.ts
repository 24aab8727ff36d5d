// Run tables: a batch of pages with their classes becomes runs of neighbours of one encoding, in the batch's order. Pure;
// the sender fills one reused table per batch, the receiver one per frame.
//
//   list     7 8 9 │ 12 13 │ 14         classes   raw raw raw │ zero zero │ raw
//   runs     7×3 raw, 12×2 zero, 14×1 raw

import type { GuestMemory } from '../guest/memory.ts'
import { BATCH_PAGES, DIRECT_RUN_PAGES } from '../limits.ts'
import { raw } from './raw.ts'
import { zero } from './zero.ts'

/** The runs of one batch; entries 0 ≤ i < length are valid. Created once per transfer thread. */
export interface RunTable {
  length: number
  readonly firstPage: Uint32Array
  readonly count: Uint32Array
  /** Wire ids. */
  readonly encoding: Uint8Array
  readonly payloadBytes: Uint32Array
  /** Pages and runs of the raw encoding. */
  rawPages: number
  rawRuns: number
  zeroPages: number
  /** Sum of payloadBytes. */
  totalPayloadBytes: number
}

/** Encoding ids by page class, as `scan` writes them: 0 raw, 1 zero. */
const ENCODING_OF_CLASS = Uint8Array.of(raw.id, zero.id)
/** Payload of one page by class. */
const BYTES_OF_CLASS = Uint32Array.of(raw.maxPayloadBytes(1), zero.maxPayloadBytes(1))

/** An empty table for batches of up to `capacity` pages. */
export function createRunTable(capacity = BATCH_PAGES): RunTable {
  return {
    length: 0,
    firstPage: new Uint32Array(capacity),
    count: new Uint32Array(capacity),
    encoding: new Uint8Array(capacity),
    payloadBytes: new Uint32Array(capacity),
    rawPages: 0,
    rawRuns: 0,
    zeroPages: 0,
    totalPayloadBytes: 0,
  }
}

/**
 * Fills the table from a list of `count` page numbers (u32[] at `listOffset` of control) and their classes. Pages that
 * follow each other in the list and in the guest, of one class, become one run. Allocates nothing.
 */
export function buildRuns(
  table: RunTable,
  memory: GuestMemory,
  listOffset: number,
  classesOffset: number,
  count: number,
): void {
  const { controlWords, controlBytes } = memory
  let [last, nextPage, lastClass] = [-1, -1, -1]
  table.rawPages = table.rawRuns = table.zeroPages = table.totalPayloadBytes = 0
  for (let index = 0; index < count; index++) {
    const page = (controlWords[listOffset / 4 + index] as number) >>> 0
    const pageClass = controlBytes[classesOffset + index] as number
    const bytes = BYTES_OF_CLASS[pageClass] as number
    if (page === nextPage && pageClass === lastClass) {
      table.count[last] = (table.count[last] as number) + 1
      table.payloadBytes[last] = (table.payloadBytes[last] as number) + bytes
    } else {
      last++
      table.firstPage[last] = page
      table.count[last] = 1
      table.encoding[last] = ENCODING_OF_CLASS[pageClass] as number
      table.payloadBytes[last] = bytes
      if (bytes !== 0) table.rawRuns++
    }
    if (bytes === 0) table.zeroPages++
    else table.rawPages++
    table.totalPayloadBytes += bytes
    nextPage = page + 1
    lastClass = pageClass
  }
  table.length = last + 1
}

/** Whether raw payload should go straight from and into guest memory: runs are long enough on average. */
export function directPays(table: RunTable): boolean {
  return table.rawRuns > 0 && table.rawPages >= DIRECT_RUN_PAGES * table.rawRuns
}

/**
 * Writes the pages of all runs of one encoding to a list (u32[] at `listOffset` of control), in table order, for the
 * gather and scatter kernels. The list may be the one the table was built from. Returns the number of pages.
 */
export function listRunPages(table: RunTable, encodingId: number, memory: GuestMemory, listOffset: number): number {
  let at = listOffset / 4
  for (let run = 0; run < table.length; run++) {
    if (table.encoding[run] !== encodingId) continue
    const first = table.firstPage[run] as number
    const end = first + (table.count[run] as number)
    for (let page = first; page < end; page++) memory.controlWords[at++] = page
  }
  return at - listOffset / 4
}
