// Plain values ↔ MessagePack. The bytes come from a socket: their structure is walked before msgpackr sees them (no extension
// types, bounded nesting, counts that fit the bytes present), so that a hostile message can neither build anything but plain
// values nor allocate more than it sends. Used by the codecs of control and line messages.

import { Packr } from 'msgpackr'
import { GodwitError } from '../errors.ts'

/** Deepest nesting of a message: message → vcpus → vCPU, with room to spare. */
const MAX_DEPTH = 8
const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'bigint', copyBuffers: true })

export const badMessage = (reason: string): GodwitError => new GodwitError('bad-message', `a control message ${reason}`)

/** What a schema says of a message that it refuses. */
export function misfit([issue]: readonly {
  readonly path: readonly PropertyKey[]
  readonly message: string
}[]): GodwitError {
  return badMessage(`does not match its schema: ${issue?.path.map(String).join('.') || 'message'}: ${issue?.message}`)
}

export const packPlain = (value: unknown): Buffer => packr.pack(value)

/** The one value in a message, for a schema to look at. Throws `bad-message`. */
export function unpackPlain(payload: Uint8Array): unknown {
  const end = walk(payload, 0, 0)
  if (end !== payload.length) throw badMessage('has bytes behind its end')
  try {
    return packr.unpack(payload)
  } catch (cause) {
    throw new GodwitError('bad-message', 'a control message cannot be unpacked', { cause })
  }
}

function bigEndian(bytes: Uint8Array, at: number, size: number): number {
  if (at + size > bytes.length) throw badMessage('is cut short')
  let value = 0
  for (let index = 0; index < size; index++) value = value * 256 + (bytes[at + index] as number)
  return value
}

/** Bytes behind the first one of fixed-size kinds 0xca–0xd3, and the width of the length of the others. */
const FIXED: Record<number, number> = { 202: 4, 203: 8, 204: 1, 205: 2, 206: 4, 207: 8, 208: 1, 209: 2, 210: 4, 211: 8 }
const BYTE_STRINGS: Record<number, number> = { 196: 1, 197: 2, 198: 4, 217: 1, 218: 2, 219: 4 }

/** Walks one MessagePack value without building it; returns where it ends. */
function walk(bytes: Uint8Array, at: number, depth: number): number {
  if (depth > MAX_DEPTH) throw badMessage('is nested too deeply')
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
  if (width === undefined) throw badMessage(`holds a value of kind 0x${kind.toString(16)}, which is not used here`)
  return skip(bytes, next + width, bigEndian(bytes, next, width))
}

function skip(bytes: Uint8Array, at: number, size: number): number {
  if (at + size > bytes.length) throw badMessage('is cut short')
  return at + size
}

/** Elements of an array, or pairs of a map whose keys must be strings. */
function walkMany(bytes: Uint8Array, at: number, count: number, depth: number, map: boolean): number {
  if (count * (map ? 2 : 1) > bytes.length - at) throw badMessage('promises more values than it holds')
  let next = at
  for (let index = 0; index < count; index++) {
    if (map) {
      const kind = bigEndian(bytes, next, 1)
      const isString = (kind >= 0xa0 && kind < 0xc0) || (kind >= 0xd9 && kind <= 0xdb)
      if (!isString) throw badMessage('has a key that is no string')
      next = walk(bytes, next, depth + 1)
    }
    next = walk(bytes, next, depth + 1)
  }
  return next
}
