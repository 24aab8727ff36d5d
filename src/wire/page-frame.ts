// The payload of a PAGES frame: a table of runs, then their payloads in run order. The source encodes, the stream
// reader decodes and checks every number before a byte of guest memory is touched. Pure.
//
//   │ runCount u32 │ tableBytes u32 │ run 0 │ run 1 │ … │ payload of run 0 │ payload of run 1 │ …
//   run: │ firstPage u32 │ count u32 │ encoding u8, 0, 0, 0 │ payloadBytes u32 │

import { checkRun } from '../encoding/registry.ts'
import { clearRuns, type RunTable } from '../encoding/runs.ts'
import { GodwitError } from '../errors.ts'
import { BATCH_PAGES, PAGE_BYTES } from '../limits.ts'
import { encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from './frame.ts'

export const TABLE_HEAD_BYTES = 8
export const RUN_BYTES = 16
/** Header and largest run table of a PAGES frame: everything in front of the payloads. */
export const PAGE_FRAME_HEAD_BYTES = FRAME_HEADER_BYTES + TABLE_HEAD_BYTES + BATCH_PAGES * RUN_BYTES

/** Bytes of frame header, table head and table for `runs` runs. */
export const pageFrameHeadBytes = (runs: number): number => FRAME_HEADER_BYTES + TABLE_HEAD_BYTES + runs * RUN_BYTES

/** Writes frame header and run table at `offset` of `target`; the payloads follow it on the wire. Returns its bytes. */
export function encodePageFrameHead(target: Uint8Array, offset: number, runs: RunTable, round: number): number {
  const tableBytes = runs.length * RUN_BYTES
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength)
  let at = offset + FRAME_HEADER_BYTES
  view.setUint32(at, runs.length, true)
  view.setUint32(at + 4, tableBytes, true)
  at += TABLE_HEAD_BYTES
  for (let run = 0; run < runs.length; run++, at += RUN_BYTES) {
    view.setUint32(at, runs.firstPage[run] as number, true)
    view.setUint32(at + 4, runs.count[run] as number, true)
    view.setUint32(at + 8, runs.encoding[run] as number, true)
    view.setUint32(at + 12, runs.payloadBytes[run] as number, true)
  }
  const length = TABLE_HEAD_BYTES + tableBytes + runs.totalPayloadBytes
  encodeHeader(target, offset, { type: FRAME_TYPE.pages, length, round })
  return at - offset
}

/** Checks the table's head against the frame; returns the number of runs. Throws `bad-frame` or `frame-too-long`. */
export function decodeTableHead(bytes: Uint8Array, frameLength: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const runCount = view.getUint32(0, true)
  const tableBytes = view.getUint32(4, true)
  if (runCount === 0) throw new GodwitError('bad-frame', 'a page frame without runs')
  if (runCount > BATCH_PAGES)
    throw new GodwitError('frame-too-long', `${runCount} runs in one frame, cap ${BATCH_PAGES}`)
  if (tableBytes !== runCount * RUN_BYTES) {
    throw new GodwitError('bad-frame', `a run table of ${tableBytes} bytes for ${runCount} runs`)
  }
  if (TABLE_HEAD_BYTES + tableBytes > frameLength) {
    throw new GodwitError('bad-frame', `a run table of ${tableBytes} bytes in a frame of ${frameLength}`)
  }
  return runCount
}

/**
 * Reads and checks the run table that follows the head in `bytes`. Pages lie in the guest, ascend and do not overlap;
 * at most BATCH_PAGES in all; payloads fill the frame. Throws `bad-run`, `bad-encoding`, `bad-payload`, `bad-frame`.
 */
export function decodeRuns(
  bytes: Uint8Array,
  runCount: number,
  frameLength: number,
  pageCount: number,
  into: RunTable,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = TABLE_HEAD_BYTES
  let nextPage = 0
  let pages = 0
  clearRuns(into)
  for (let run = 0; run < runCount; run++, at += RUN_BYTES) {
    const firstPage = view.getUint32(at, true)
    const count = view.getUint32(at + 4, true)
    const encodingId = view.getUint8(at + 8)
    const payloadBytes = view.getUint32(at + 12, true)
    if (view.getUint32(at + 8, true) !== encodingId) {
      throw new GodwitError('bad-frame', 'reserved bytes of a run are not zero')
    }
    const encoding = checkRun(pageCount, firstPage, count, encodingId, payloadBytes)
    if (firstPage < nextPage) throw new GodwitError('bad-run', `runs overlap or descend at page ${firstPage}`)
    nextPage = firstPage + count
    pages += count
    if (pages > BATCH_PAGES) throw new GodwitError('frame-too-long', `over ${BATCH_PAGES} pages in one frame`)
    into.firstPage[run] = firstPage
    into.count[run] = count
    into.encoding[run] = encodingId
    into.payloadBytes[run] = payloadBytes
    into.totalPayloadBytes += payloadBytes
    if (encoding.place === 'none') into.zeroPages += count
    else if (encoding.place === 'staging') into.codedPages += count
    else {
      into.rawPages += count
      into.rawRuns++
    }
  }
  // A block that several runs share is told by the first of them; even so a frame never needs more than raw pages would.
  if (into.totalPayloadBytes > pages * PAGE_BYTES) {
    throw new GodwitError('bad-frame', `${into.totalPayloadBytes} payload bytes for ${pages} pages`)
  }
  if (TABLE_HEAD_BYTES + runCount * RUN_BYTES + into.totalPayloadBytes !== frameLength) {
    throw new GodwitError('bad-frame', `runs of ${into.totalPayloadBytes} payload bytes in a frame of ${frameLength}`)
  }
  if (into.codedPages > 0 && into.totalPayloadBytes === 0) {
    throw new GodwitError('bad-frame', `${into.codedPages} pages to decode without a payload`)
  }
  into.length = runCount
}
