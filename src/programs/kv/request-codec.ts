// A command between gateway and guest: its arguments behind their lengths, so that RESP is parsed once, by the gateway.
//
//   │ arguments u32 │ length u32 of each │ the arguments, one behind the other │       little-endian

import type { Request } from './request.ts'

const WORD_BYTES = 4

/** The bytes of a request, which has a name at least. */
export function encodeRequest({ bytes, starts, lengths, count }: Request): Uint8Array {
  let at = WORD_BYTES * (1 + count)
  let total = at
  for (let index = 0; index < count; index++) total += lengths[index] as number
  const encoded = new Uint8Array(total)
  const view = new DataView(encoded.buffer)
  view.setUint32(0, count, true)
  for (let index = 0; index < count; index++) {
    const [start, length] = [starts[index] as number, lengths[index] as number]
    view.setUint32(WORD_BYTES * (1 + index), length, true)
    encoded.set(bytes.subarray(start, start + length), at)
    at += length
  }
  return encoded
}

/** Puts what the bytes say into `request`, which refers to them. False: they are no request. */
export function decodeRequest(bytes: Uint8Array, request: Request): boolean {
  if (bytes.length < WORD_BYTES) return false
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const count = view.getUint32(0, true)
  if (count === 0 || WORD_BYTES * (1 + count) > bytes.length) return false
  if (count > request.starts.length) {
    request.starts = new Uint32Array(2 * count)
    request.lengths = new Uint32Array(2 * count)
  }
  let at = WORD_BYTES * (1 + count)
  for (let index = 0; index < count; index++) {
    const length = view.getUint32(WORD_BYTES * (1 + index), true)
    request.starts[index] = at
    request.lengths[index] = length
    at += length
  }
  request.bytes = bytes
  request.count = count
  return at === bytes.length
}
