// Streams of the pull phase for the reader tests: a guest whose pages are absent, real frames made by the pull sender,
// hand-made ones of any shape, and a hostile change to a stream.

import fc from 'fast-check'
import { beginAbsent } from '../../src/guest/installing.ts'
import { HEADER } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { sealOf, xxh64OfPage } from '../../src/kernels/twin.ts'
import { PullSender } from '../../src/migration/transfer/pull-batch.ts'
import { checkOf, encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from '../../src/wire/frame.ts'
import { StreamReader } from '../../src/wire/stream-reader.ts'

export const PAGE = 4096

/** A guest whose pages are all absent, and what reads into it. `dirt`: what absent pages hold. */
export function absentGuest(
  pages: number,
  dirt = 0xdd,
): {
  to: GuestMemory
  reader: StreamReader
  spoilt: number[]
  ends: { last: number }
} {
  const to = GuestMemory.create(pages * PAGE, 1)
  to.bytes.fill(dirt)
  beginAbsent(to, null)
  Atomics.store(to.controlWords, HEADER.pulling, 1)
  const spoilt: number[] = []
  const ends = { last: 0 }
  const reader = new StreamReader({
    memory: to,
    kernels: loadKernels(to),
    channel: 0,
    hash: true,
    onSpoilt: (page) => spoilt.push(page),
    onLast: () => ends.last++,
  })
  return { to, reader, spoilt, ends }
}

export const presenceOf = (memory: GuestMemory, page: number): number =>
  Atomics.load(memory.controlBytes, memory.layout.presence + page)
export const missingOf = (memory: GuestMemory): number => memory.controlWords[HEADER.missing] as number
export const pageBytes = (memory: GuestMemory, page: number): Uint8Array =>
  memory.bytes.subarray(page * PAGE, (page + 1) * PAGE)

/** Frames of these batches of pages, as a lane of the source sends them, both staging halves in turn. */
export function pullFrames(from: GuestMemory, batches: readonly (readonly number[])[]): Uint8Array[] {
  const sender = new PullSender({ memory: from, kernels: loadKernels(from), channel: 1 })
  return batches.map((pages, index) => {
    from.controlWords.set(pages, sender.listOffset / 4)
    const { buffers, bytes, pages: count } = sender.prepare(pages.length, index % 2)
    const frame = Buffer.concat(buffers)
    if (frame.length !== bytes) throw new Error(`a batch says ${bytes} bytes and has ${frame.length}`)
    if (count !== pages.length) throw new Error('a batch has other pages than it was given')
    return frame
  })
}

/** The right seal of a page of this content. */
export function sealFor(page: number, content: Uint8Array | null): bigint {
  if (content === null) return sealOf(0n, page)
  return sealOf(xxh64OfPage(new BigUint64Array(content.slice().buffer), 0), page)
}

export interface Entry {
  page: number
  encoding: number
  seal: bigint
}
/** A pull frame of any shape, right or wrong. */
export function frameOf(
  entries: readonly Entry[],
  content: Uint8Array = new Uint8Array(0),
  more: { count?: number; second?: number; length?: number; check?: number } = {},
): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + 8 + 16 * entries.length + content.length)
  const length = more.length ?? frame.length - FRAME_HEADER_BYTES
  const view = new DataView(frame.buffer)
  view.setUint32(16, more.count ?? entries.length, true)
  view.setUint32(20, more.second ?? 0, true)
  entries.forEach(({ page, encoding, seal }, index) => {
    view.setUint32(24 + 16 * index, page, true)
    view.setUint32(28 + 16 * index, encoding, true)
    view.setBigUint64(32 + 16 * index, seal, true)
  })
  frame.set(content, 24 + 16 * entries.length)
  const check = more.check ?? checkOf(FRAME_TYPE.pull, frame.subarray(FRAME_HEADER_BYTES, 24 + 16 * entries.length))
  encodeHeader(frame, 0, { type: FRAME_TYPE.pull, length, round: 0, check })
  return frame
}
export const zeroEntry = (page: number): Entry => ({ page, encoding: 1, seal: sealFor(page, null) })
export const rawEntry = (page: number, content: Uint8Array): Entry => ({
  page,
  encoding: 2,
  seal: sealFor(page, content),
})

/** One change to a stream of good frames. */
export const tampering = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: fc.nat(), value: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constant('head' as const), at: fc.nat(), field: fc.nat(23), value: fc.nat(255) }),
  fc.record({ kind: fc.constant('table' as const), at: fc.nat(), field: fc.nat(63), value: fc.nat(255) }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 5000 }) }),
  fc.record({ kind: fc.constant('repeat' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('drop' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('swap' as const), at: fc.nat() }),
)
export type Tampering = typeof tampering extends fc.Arbitrary<infer T> ? T : never

export function tamper(frames: readonly Uint8Array[], how: Tampering): Uint8Array[] {
  const result: Uint8Array[] = frames.map((frame) => Uint8Array.from(frame))
  const index = how.at % result.length
  const frame = result[index] as Uint8Array
  const set = (at: number, value: number): void => {
    if (at < frame.length) frame[at] = value
  }
  if (how.kind === 'flip') set(how.at % frame.length, (frame[how.at % frame.length] as number) ^ how.value)
  if (how.kind === 'head') set(how.field, how.value)
  if (how.kind === 'table') set(24 + how.field, how.value)
  if (how.kind === 'cut') result[index] = frame.subarray(0, Math.max(1, frame.length - how.by))
  if (how.kind === 'repeat') result.splice(index, 0, frame)
  if (how.kind === 'drop' && result.length > 1) result.splice(index, 1)
  if (how.kind === 'swap') result.push(...result.splice(index, 1))
  return result
}
