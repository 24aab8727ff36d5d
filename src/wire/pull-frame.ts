// The payload of a PULL frame: pages sent after the switch, each with its seal (R10), then the bytes of the raw ones in
// table order. The seal mixes the page's hash with its number, so that neither can be altered unnoticed. The table lies
// in control memory on both sides, where the kernels seal and check it.
//
//   │ count u32 │ 0 u32 │ entry 0 │ entry 1 │ … │ raw page │ raw page │ …
//   entry: │ page u32 │ encoding u32 │ seal u64 │

import { raw } from '../encoding/raw.ts'
import { zero } from '../encoding/zero.ts'
import { GodwitError } from '../errors.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { BATCH_PAGES, PAGE_BYTES } from '../limits.ts'
import { checkOf, encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from './frame.ts'

export const PULL_HEAD_BYTES = 8
export const PULL_ENTRY_BYTES = 16

/** Bytes in front of the raw pages: frame header, head and table. */
export const pullHeadBytes = (count: number): number => FRAME_HEADER_BYTES + PULL_HEAD_BYTES + count * PULL_ENTRY_BYTES

/** Writes header, head and the table of `count` entries (copied from `tableOffset`) at `offset` of the control memory. */
export function encodePullHead(
  memory: GuestMemory,
  offset: number,
  tableOffset: number,
  count: number,
  rawPages: number,
): void {
  const { controlBytes, controlWords } = memory
  const tableBytes = count * PULL_ENTRY_BYTES
  const length = PULL_HEAD_BYTES + tableBytes + rawPages * PAGE_BYTES
  const head = offset + FRAME_HEADER_BYTES
  controlWords[head / 4] = count
  controlWords[head / 4 + 1] = 0
  controlBytes.copyWithin(head + PULL_HEAD_BYTES, tableOffset, tableOffset + tableBytes)
  const check = checkOf(FRAME_TYPE.pull, controlBytes.subarray(head, head + PULL_HEAD_BYTES + tableBytes))
  encodeHeader(controlBytes, offset, { type: FRAME_TYPE.pull, length, round: 0, check })
}

/** Number of entries. Throws `bad-frame` or `frame-too-long`. */
export function decodePullHead(bytes: Uint8Array, frameLength: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const count = view.getUint32(0, true)
  if (count === 0 || view.getUint32(4, true) !== 0) throw new GodwitError('bad-frame', 'a pull frame without pages')
  if (count > BATCH_PAGES) throw new GodwitError('frame-too-long', `${count} pages in one frame, cap ${BATCH_PAGES}`)
  if (PULL_HEAD_BYTES + count * PULL_ENTRY_BYTES > frameLength) {
    throw new GodwitError('bad-frame', `a table of ${count} pages in a frame of ${frameLength} bytes`)
  }
  return count
}

/** Checks the table that came from a peer: pages in the guest, known encodings, payloads that fill the frame. */
export function checkPullTable(memory: GuestMemory, tableOffset: number, count: number, frameLength: number): void {
  const { pageCount } = memory.layout
  let rawPages = 0
  for (let index = 0; index < count; index++) {
    const page = pullPage(memory, tableOffset, index)
    if (page >= pageCount) throw new GodwitError('bad-run', `page ${page} in a guest of ${pageCount} pages`)
    const encoding = pullEncoding(memory, tableOffset, index)
    if (encoding === raw.id) rawPages++
    else if (encoding !== zero.id) throw new GodwitError('bad-encoding', `page encoding ${encoding} in a pull frame`)
  }
  if (PULL_HEAD_BYTES + count * PULL_ENTRY_BYTES + rawPages * PAGE_BYTES !== frameLength) {
    throw new GodwitError('bad-frame', `${rawPages} raw pages of ${count} in a frame of ${frameLength} bytes`)
  }
}

export const pullPage = (memory: GuestMemory, tableOffset: number, index: number): number =>
  (memory.controlWords[(tableOffset + index * PULL_ENTRY_BYTES) / 4] as number) >>> 0

export const pullEncoding = (memory: GuestMemory, tableOffset: number, index: number): number =>
  (memory.controlWords[(tableOffset + index * PULL_ENTRY_BYTES) / 4 + 1] as number) >>> 0
