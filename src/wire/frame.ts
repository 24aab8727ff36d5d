// The fixed header of every frame on every connection: who decodes bytes starts here. Pure; caps are checked before
// anything is allocated. Used by the control codec, the page frames and both ends of a channel.
//
//   0        4        5      6        8         12       16
//   │ 'GDWT' │ version│ type │ flags 0│ length  │ round, │ payload (length bytes)      little endian
//   │        │        │      │        │         │ check  │

import { crc32 } from 'node:zlib'
import { GodwitError } from '../errors.ts'
import {
  HELLO_FRAME_BYTES,
  MAX_CONTROL_FRAME_BYTES,
  MAX_GIVE_FRAME_BYTES,
  MAX_NEEDS,
  MAX_PAGE_FRAME_BYTES,
  MAX_PULL_FRAME_BYTES,
  MAX_RUNS_FRAME_BYTES,
  MAX_SERVICE_FRAME_BYTES,
} from '../limits.ts'
import { PROTOCOL_VERSION } from './protocol.ts'

export const FRAME_HEADER_BYTES = 16
/** 'GDWT', read as a little-endian u32. */
export const FRAME_MAGIC = 0x54574447

/**
 * What a frame is; 0 is reserved as invalid. `line` to `answers` go over lines between gateways and guests, `give` to
 * `applied` over the exchange of a soft migration, and nothing else does.
 */
export const FRAME_TYPE = {
  control: 1,
  pages: 2,
  roundEnd: 3,
  pull: 4,
  need: 5,
  got: 6,
  line: 7,
  requests: 8,
  answers: 9,
  give: 10,
  runs: 11,
  cross: 12,
  ask: 13,
  applied: 14,
} as const
export type FrameType = (typeof FRAME_TYPE)[keyof typeof FRAME_TYPE]

/** Largest payload of each type, bytes. */
export const FRAME_CAP: Readonly<Record<FrameType, number>> = {
  [FRAME_TYPE.control]: MAX_CONTROL_FRAME_BYTES,
  [FRAME_TYPE.pages]: MAX_PAGE_FRAME_BYTES,
  [FRAME_TYPE.roundEnd]: 0,
  [FRAME_TYPE.pull]: MAX_PULL_FRAME_BYTES,
  [FRAME_TYPE.need]: 4 * MAX_NEEDS,
  [FRAME_TYPE.got]: 0,
  [FRAME_TYPE.line]: HELLO_FRAME_BYTES,
  [FRAME_TYPE.requests]: MAX_SERVICE_FRAME_BYTES,
  [FRAME_TYPE.answers]: MAX_SERVICE_FRAME_BYTES,
  [FRAME_TYPE.give]: MAX_GIVE_FRAME_BYTES,
  [FRAME_TYPE.runs]: MAX_RUNS_FRAME_BYTES,
  // Number, vCPU, generation and steps, and 256 registers.
  [FRAME_TYPE.cross]: 24 + 1024,
  [FRAME_TYPE.ask]: 4 * MAX_NEEDS,
  [FRAME_TYPE.applied]: 4,
}

export interface FrameHeader {
  type: FrameType
  /** Payload bytes behind the header. */
  length: number
  /** The round that pages and their end belong to; 0 in all other frames. */
  round: number
  /**
   * `checkOf` the payload of control, need and ownership frames and of all frames of a line, of head and table where pages
   * follow; 0 in all others. A page number that was altered on its way would be a page that never comes: what no digest or
   * seal covers is covered here.
   */
  check: number
}

/** Whether frames of that type carry a check in the place of the round. */
const isChecked = (type: number): boolean =>
  type === FRAME_TYPE.control || type === FRAME_TYPE.need || type === FRAME_TYPE.pull || type >= FRAME_TYPE.line

/** Whether frames of that type belong on a line between a gateway and a guest process. */
export const isOfLine = (type: number): boolean =>
  type === FRAME_TYPE.line || type === FRAME_TYPE.requests || type === FRAME_TYPE.answers

/**
 * CRC-32 of the type and of bytes that follow it, in two parts where they lie apart. Of the type, too: one that was altered
 * would make another frame of the same payload, and a count of frames reads like the number of a page.
 */
export function checkOf(type: FrameType, bytes: Uint8Array, more?: Uint8Array): number {
  const check = crc32(bytes, type)
  return more === undefined ? check : crc32(more, check)
}

/** Throws `bad-frame` unless the check of a header is that of what came. */
export function requireCheck(header: FrameHeader, computed: number): void {
  if (header.check === computed) return
  throw new GodwitError('bad-frame', `a frame of type ${header.type} was altered on its way`)
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Writes a header at `offset` of `target`. Throws `internal` when the length is above the type's cap. */
export function encodeHeader(
  target: Uint8Array,
  offset: number,
  header: Omit<FrameHeader, 'check'> & { check?: number },
): void {
  if (header.length > FRAME_CAP[header.type]) {
    throw new GodwitError('internal', `frame of type ${header.type} with ${header.length} bytes is above its cap`)
  }
  const view = viewOf(target)
  view.setUint32(offset, FRAME_MAGIC, true)
  view.setUint8(offset + 4, PROTOCOL_VERSION)
  view.setUint8(offset + 5, header.type)
  view.setUint16(offset + 6, 0, true)
  view.setUint32(offset + 8, header.length, true)
  view.setUint32(offset + 12, isChecked(header.type) ? (header.check ?? 0) : header.round, true)
}

/**
 * Reads a header at `offset` into `into`. Throws `bad-magic`, `wrong-version`, `unknown-frame`, `bad-frame` or
 * `frame-too-long`.
 */
export function decodeHeader(source: Uint8Array, offset: number, into: FrameHeader): void {
  const view = viewOf(source)
  if (view.getUint32(offset, true) !== FRAME_MAGIC) {
    throw new GodwitError('bad-magic', 'the peer sent bytes that are no Godwit frame', {
      hint: 'check that the address and port are those of a Godwit channel',
    })
  }
  const version = view.getUint8(offset + 4)
  if (version !== PROTOCOL_VERSION) {
    throw new GodwitError('wrong-version', `the peer speaks protocol ${version}, this side ${PROTOCOL_VERSION}`, {
      hint: 'run the same Godwit version on both hosts',
    })
  }
  const type = view.getUint8(offset + 5)
  const cap = (FRAME_CAP as Record<number, number | undefined>)[type]
  if (cap === undefined) throw new GodwitError('unknown-frame', `frame type ${type} is unknown`)
  const flags = view.getUint16(offset + 6, true)
  if (flags !== 0) throw new GodwitError('bad-frame', `frame flags ${flags} are set, none is defined`)
  const length = view.getUint32(offset + 8, true)
  if (length > cap) throw new GodwitError('frame-too-long', `frame type ${type} with ${length} bytes, cap ${cap}`)
  const last = view.getUint32(offset + 12, true)
  if (type === FRAME_TYPE.got && last !== 0) throw new GodwitError('bad-frame', `a frame of type ${type} names a round`)
  into.type = type as FrameType
  into.length = length
  into.round = isChecked(type) ? 0 : last
  into.check = isChecked(type) ? last : 0
}
