// NEED frames of the pull phase, destination → source on the urgent lane: pages that vCPUs wait for, pages that came with
// a wrong hash, and pages that need not come because they were written as a whole. Pure.
//
//   entry, u32   │ kind, 2 bits │ page, 30 bits │

import { GodwitError } from '../errors.ts'
import { MAX_NEEDS } from '../limits.ts'
import { checkOf, encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from './frame.ts'

/** fault: a vCPU waits for the page. again: it came with a wrong hash (R10). unneeded: it was written here (R9). */
export const NEED = { fault: 0, again: 1, unneeded: 2 } as const
export type Need = (typeof NEED)[keyof typeof NEED]

const KIND_SHIFT = 30
const PAGE_MASK = 0x3fff_ffff

export const needOf = (kind: Need, page: number): number => ((kind << KIND_SHIFT) | page) >>> 0
export const kindOf = (entry: number): number => entry >>> KIND_SHIFT
export const pageOf = (entry: number): number => entry & PAGE_MASK

/** One NEED frame with the first `count` entries, header included. */
export function encodeNeeds(entries: Uint32Array, count: number): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + 4 * count)
  for (let index = 0; index < count; index++) {
    frame.writeUInt32LE(entries[index] as number, FRAME_HEADER_BYTES + 4 * index)
  }
  const check = checkOf(FRAME_TYPE.need, frame.subarray(FRAME_HEADER_BYTES))
  encodeHeader(frame, 0, { type: FRAME_TYPE.need, length: 4 * count, round: 0, check })
  return frame
}

/** The entries of a NEED frame's payload. Throws `bad-frame`; that pages lie in the guest is for the lane to check. */
export function decodeNeeds(payload: Uint8Array): Uint32Array {
  const { length } = payload
  if (length === 0 || length % 4 !== 0 || length > 4 * MAX_NEEDS) {
    throw new GodwitError('bad-frame', `a need of ${length} bytes`)
  }
  const view = new DataView(payload.buffer, payload.byteOffset, length)
  const entries = new Uint32Array(length / 4)
  for (let index = 0; index < entries.length; index++) {
    const entry = view.getUint32(4 * index, true)
    if (kindOf(entry) > NEED.unneeded) throw new GodwitError('bad-frame', `a need of kind ${kindOf(entry)}`)
    entries[index] = entry
  }
  return entries
}
