// Bytes between a request or a reply and the guest, always through the accessors, so that each store marks its page after
// it (R1) and touches one page (R6). Short ranges go word by word: a view of a range costs more than the copy.

import type { Accessors } from '../../guest/accessors.ts'

/** Longer ranges are copied in bulk. */
const SHORT_BYTES = 128

const wordAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at] as number) |
  ((bytes[at + 1] as number) << 8) |
  ((bytes[at + 2] as number) << 16) |
  ((bytes[at + 3] as number) << 24)

/** Copies `length` bytes of `source` from `at` on into one page of the guest. */
export function copyIn(accessors: Accessors, address: number, source: Uint8Array, at: number, length: number): void {
  if (length > SHORT_BYTES) {
    accessors.storeBytes(address, source.subarray(at, at + length))
    return
  }
  let done = 0
  if (address % 4 === 0) {
    for (; done + 4 <= length; done += 4) accessors.storeU32(address + done, wordAt(source, at + done))
  }
  for (; done < length; done++) accessors.storeU8(address + done, source[at + done] as number)
}

/** Copies `length` bytes of one page of the guest into `target` from `at` on. */
export function copyOut(accessors: Accessors, address: number, target: Uint8Array, at: number, length: number): void {
  if (length > SHORT_BYTES) {
    accessors.loadBytes(address, target.subarray(at, at + length))
    return
  }
  let done = 0
  if (address % 4 === 0) {
    for (; done + 4 <= length; done += 4) {
      const word = accessors.loadU32(address + done)
      target[at + done] = word
      target[at + done + 1] = word >>> 8
      target[at + done + 2] = word >>> 16
      target[at + done + 3] = word >>> 24
    }
  }
  for (; done < length; done++) target[at + done] = accessors.loadU8(address + done)
}

/** Whether the guest holds at `address`, a multiple of 4, the same `length` bytes as `other` from `at` on. */
export function sameBytes(
  accessors: Accessors,
  address: number,
  other: Uint8Array,
  at: number,
  length: number,
): boolean {
  let done = 0
  for (; done + 4 <= length; done += 4) {
    if (accessors.loadU32(address + done) !== wordAt(other, at + done) >>> 0) return false
  }
  for (; done < length; done++) if (accessors.loadU8(address + done) !== other[at + done]) return false
  return true
}
