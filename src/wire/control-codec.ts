// Control messages ↔ bytes of a CONTROL frame. The bytes come from a socket: their structure is walked before msgpackr
// sees them (no extension types, bounded nesting, counts that fit the bytes present), so that a hostile message can
// neither build anything but plain values nor allocate more than it sends. Used by control links and channel hellos.

import { crc32 } from 'node:zlib'
import { Packr } from 'msgpackr'
import { GodwitError } from '../errors.ts'
import { MAX_CONTROL_FRAME_BYTES } from '../limits.ts'
import { encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from './frame.ts'
import { type ControlMessage, controlMessageSchema } from './messages.ts'

/** Deepest nesting of a control message: message → vcpus → vCPU, with room to spare. */
const MAX_DEPTH = 8
const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'bigint', copyBuffers: true })

const bad = (reason: string): GodwitError => new GodwitError('bad-message', `a control message ${reason}`)

/** One CONTROL frame, header included. Throws `internal` when the message is above the cap. */
export function encodeControl(message: ControlMessage): Buffer<ArrayBuffer> {
  const body = packr.pack(message)
  const frame = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + body.length)
  encodeHeader(frame, 0, { type: FRAME_TYPE.control, length: body.length, round: 0, check: crc32(body) })
  frame.set(body, FRAME_HEADER_BYTES)
  return frame
}

/** The message in a CONTROL frame's payload. Throws `frame-too-long` or `bad-message`. */
export function decodeControl(payload: Uint8Array): ControlMessage {
  if (payload.length > MAX_CONTROL_FRAME_BYTES) {
    throw new GodwitError('frame-too-long', `control message of ${payload.length} bytes`)
  }
  const end = walk(payload, 0, 0)
  if (end !== payload.length) throw bad('has bytes behind its end')
  let value: unknown
  try {
    value = packr.unpack(payload)
  } catch (cause) {
    throw new GodwitError('bad-message', 'a control message cannot be unpacked', { cause })
  }
  const parsed = controlMessageSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw bad(`does not match its schema: ${issue?.path.map(String).join('.') || 'message'}: ${issue?.message}`)
}

function bigEndian(bytes: Uint8Array, at: number, size: number): number {
  if (at + size > bytes.length) throw bad('is cut short')
  let value = 0
  for (let index = 0; index < size; index++) value = value * 256 + (bytes[at + index] as number)
  return value
}

/** Bytes behind the first one of fixed-size kinds 0xca–0xd3, and the width of the length of the others. */
const FIXED: Record<number, number> = { 202: 4, 203: 8, 204: 1, 205: 2, 206: 4, 207: 8, 208: 1, 209: 2, 210: 4, 211: 8 }
const BYTE_STRINGS: Record<number, number> = { 196: 1, 197: 2, 198: 4, 217: 1, 218: 2, 219: 4 }

/** Walks one MessagePack value without building it; returns where it ends. */
function walk(bytes: Uint8Array, at: number, depth: number): number {
  if (depth > MAX_DEPTH) throw bad('is nested too deeply')
  const kind = bigEndian(bytes, at, 1)
  const next = at + 1
  if (kind < 0x80 || kind >= 0xe0 || kind === 0xc0 || kind === 0xc2 || kind === 0xc3) return next
  if (kind < 0x90) return walkMany(bytes, next, kind & 15, depth, true)
  if (kind < 0xa0) return walkMany(bytes, next, kind & 15, depth, false)
  if (kind < 0xc0) return skip(bytes, next, kind & 31)
  if (kind === 0xdc || kind === 0xdd || kind === 0xde || kind === 0xdf) {
    const width = kind & 1 ? 4 : 2
    return walkMany(bytes, next + width, bigEndian(bytes, next, width), depth, kind >= 0xde)
  }
  const fixed = FIXED[kind]
  if (fixed !== undefined) return skip(bytes, next, fixed)
  const width = BYTE_STRINGS[kind]
  if (width === undefined) throw bad(`holds a value of kind 0x${kind.toString(16)}, which is not used here`)
  return skip(bytes, next + width, bigEndian(bytes, next, width))
}

function skip(bytes: Uint8Array, at: number, size: number): number {
  if (at + size > bytes.length) throw bad('is cut short')
  return at + size
}

/** Elements of an array, or pairs of a map whose keys must be strings. */
function walkMany(bytes: Uint8Array, at: number, count: number, depth: number, map: boolean): number {
  if (count * (map ? 2 : 1) > bytes.length - at) throw bad('promises more values than it holds')
  let next = at
  for (let index = 0; index < count; index++) {
    if (map) {
      const kind = bigEndian(bytes, next, 1)
      const isString = (kind >= 0xa0 && kind < 0xc0) || (kind >= 0xd9 && kind <= 0xdb)
      if (!isString) throw bad('has a key that is no string')
      next = walk(bytes, next, depth + 1)
    }
    next = walk(bytes, next, depth + 1)
  }
  return next
}

/**
 * Takes one message of each kind of the switchover through the codec, so that the first real ones, sent while the guest
 * stands still, find everything compiled. Called by both sides while the guest still runs.
 */
export function warmControlCodec(vcpus: number): void {
  const registers = new Uint8Array(1024)
  const states = Array.from({ length: vcpus }, () => ({ steps: 0, registers }))
  const digest = '0'.repeat(16)
  const samples: ControlMessage[] = [
    { type: 'placed', round: 0, bytes: 0, missing: null },
    {
      type: 'state',
      round: 0,
      epoch: 0,
      vcpus: states,
      digest,
      verify: 'digest',
      free: null,
      pull: false,
      absent: null,
      shared: false,
    },
    { type: 'prepared', epoch: 0, digest, digestMs: 0, hashes: 0 },
    { type: 'commit', epoch: 0 },
    { type: 'active', epoch: 0, leftAt: [0n], activateMs: 0 },
  ]
  for (const sample of samples) decodeControl(encodeControl(sample).subarray(FRAME_HEADER_BYTES))
}
