// Run tables: a batch of pages becomes runs of neighbours of one encoding, in the batch's order. Pure; the sender fills
// one reused table per batch, the receiver one per frame.
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
  /** Pages whose payload must be decoded. */
  codedPages: number
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
    codedPages: 0,
    totalPayloadBytes: 0,
  }
}

/** Makes the table empty. */
export function clearRuns(table: RunTable): void {
  table.length = table.rawPages = table.rawRuns = table.zeroPages = table.codedPages = table.totalPayloadBytes = 0
}

/**
 * Appends a page and its payload: to the last run if it is of the same encoding and ends where the page begins, else, or
 * with `apart`, as a run of its own.
 */
export function appendPage(table: RunTable, page: number, id: number, payloadBytes: number, apart = false): void {
  const last = table.length - 1
  const count = table.count[last] as number
  table.totalPayloadBytes += payloadBytes
  if (id === raw.id) table.rawPages++
  else if (id === zero.id) table.zeroPages++
  else table.codedPages++
  if (last >= 0 && !apart && table.encoding[last] === id && (table.firstPage[last] as number) + count === page) {
    table.count[last] = count + 1
    table.payloadBytes[last] = (table.payloadBytes[last] as number) + payloadBytes
    return
  }
  if (id === raw.id) table.rawRuns++
  const next = table.length++
  table.firstPage[next] = page
  table.count[next] = 1
  table.encoding[next] = id
  table.payloadBytes[next] = payloadBytes
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
  clearRuns(table)
  for (let index = 0; index < count; index++) {
    const pageClass = controlBytes[classesOffset + index] as number
    const page = (controlWords[listOffset / 4 + index] as number) >>> 0
    appendPage(table, page, ENCODING_OF_CLASS[pageClass] as number, BYTES_OF_CLASS[pageClass] as number)
  }
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
