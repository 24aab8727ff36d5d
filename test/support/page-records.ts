// The record format of sparse and delta once more, in the plainest TypeScript: what delta.wat is held to. Written from the
// format's rules, with no eye on the kernel.

import { PAGE_BYTES } from '../kernels/memory-fixture.ts'

/** Gaps of this many equal bytes or fewer go with the run: a new pair takes two bytes at least. */
const CLOSED_GAP_BYTES = 2

const uleb128 = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, value >> 7])

/** Runs of bytes that differ, as [first, end), with short gaps closed. */
export function runsOf(old: Uint8Array, page: Uint8Array): [number, number][] {
  const runs: [number, number][] = []
  for (let at = 0; at < PAGE_BYTES; at++) {
    if (old[at] === page[at]) continue
    const last = runs.at(-1)
    if (last !== undefined && at - last[1] <= CLOSED_GAP_BYTES) last[1] = at + 1
    else runs.push([at, at + 1])
  }
  return runs
}

/** The record of a page against its old version. */
export function recordOf(old: Uint8Array, page: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = []
  let end = 0
  for (const [first, next] of runsOf(old, page)) {
    parts.push(Uint8Array.of(...uleb128(first - end), ...uleb128(next - first)), page.subarray(first, next))
    end = next
  }
  const body = Buffer.concat(parts)
  return Buffer.concat([Uint8Array.of(body.length & 255, body.length >> 8), body])
}

/** Places the records of `payload` onto `pages`, in place. False where a rule is broken or bytes are left over. */
export function placeRecords(payload: Uint8Array, pages: Uint8Array[]): boolean {
  let at = 0
  const byte = (): number => payload[at++] ?? Number.NaN
  for (const page of pages) {
    const end = byte() + 256 * byte() + at
    if (!(end <= payload.length)) return false
    let position = 0
    for (let pair = 0; at < end; pair++) {
      const [leave, length] = [readLength(), readLength()]
      if ((leave === 0 && pair > 0) || length === 0) return false
      position += leave
      // Every comparison is false for a NaN: a length that could not be read.
      if (!(position + length <= PAGE_BYTES && at + length <= end)) return false
      page.set(payload.subarray(at, at + length), position)
      position += length
      at += length
    }
    if (at !== end) return false
  }
  return at === payload.length

  function readLength(): number {
    const low = byte()
    if (!(low >= 128)) return low
    const high = byte()
    return high >= 1 && high < 128 ? (low & 127) + 128 * high : Number.NaN
  }
}
