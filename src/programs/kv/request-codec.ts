// A command between gateway and guest: its arguments behind their lengths, so that RESP is parsed once, by the gateway.
//
//   │ arguments u32 │ length u32 of each │ the arguments, one behind the other │       little-endian

import type { Request } from './request.ts'

const WORD_BYTES = 4
const SHORT_BYTES = 64

/** How long a request is when it is encoded. */
export function encodedBytes({ lengths, count }: Request): number {
  let total = WORD_BYTES * (1 + count)
  for (let index = 0; index < count; index++) total += lengths[index] as number
  return total
}

/** The bytes of a request, which has a name at least. */
export function encodeRequest(request: Request): Uint8Array {
  const encoded = new Uint8Array(encodedBytes(request))
  encodeRequestInto(request, encoded, 0)
  return encoded
}

/** Writes the request to `into` from `at` on, where there is room; returns where it ends. Allocates nothing. */
export function encodeRequestInto({ bytes, starts, lengths, count }: Request, into: Uint8Array, at: number): number {
  writeWord(into, at, count)
  let end = at + WORD_BYTES * (1 + count)
  for (let index = 0; index < count; index++) {
    const start = starts[index] as number
    const length = lengths[index] as number
    writeWord(into, at + WORD_BYTES * (1 + index), length)
    // A call costs more than a few bytes do.
    if (length > SHORT_BYTES) into.set(bytes.subarray(start, start + length), end)
    else for (let byte = 0; byte < length; byte++) into[end + byte] = bytes[start + byte] as number
    end += length
  }
  return end
}

function writeWord(into: Uint8Array, at: number, value: number): void {
  into[at] = value
  into[at + 1] = value >>> 8
  into[at + 2] = value >>> 16
  into[at + 3] = value >>> 24
}

/** Byte by byte: a view of a short request costs more than all of it. */
const wordAt = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)) >>>
  0

/** Puts what `size` bytes from `from` on say into `request`, which refers to them. False: they are no request. */
export function decodeRequest(bytes: Uint8Array, request: Request, from = 0, size: number = bytes.length): boolean {
  if (size < WORD_BYTES) return false
  const count = wordAt(bytes, from)
  if (count === 0 || WORD_BYTES * (1 + count) > size) return false
  if (count > request.starts.length) {
    request.starts = new Uint32Array(2 * count)
    request.lengths = new Uint32Array(2 * count)
  }
  let at = from + WORD_BYTES * (1 + count)
  for (let index = 0; index < count; index++) {
    const length = wordAt(bytes, from + WORD_BYTES * (1 + index))
    request.starts[index] = at
    request.lengths[index] = length
    at += length
  }
  request.bytes = bytes
  request.count = count
  return at === from + size
}
