// Streams for the reader tests: real ones made by the batch sender, and a generator of hostile ones made from them.

import fc from 'fast-check'
import { GuestMemory } from '../../src/guest/memory.ts'
import { fillAll } from '../../src/guest/page-set.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { BatchSender, beginRound } from '../../src/migration/transfer/batch.ts'
import { checkOf, encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE, type FrameType } from '../../src/wire/frame.ts'
import { encodeControl } from '../../src/wire/message-frame.ts'
import { StreamReader } from '../../src/wire/stream-reader.ts'

/** A source guest whose pages are of the given kinds, repeated: z zero, r random. */
export function guestOf(pattern: string, memoryBytes: number, seed = 1): GuestMemory {
  const memory = GuestMemory.create(memoryBytes, 1)
  let state = seed | 1
  for (let page = 0; page < memory.layout.pageCount; page++) {
    if (pattern[page % pattern.length] === 'z') continue
    for (let at = page * 4096; at < (page + 1) * 4096; at++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      memory.bytes[at] = state >>> 24
    }
  }
  return memory
}

export function roundEnd(round: number): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES)
  encodeHeader(frame, 0, { type: FRAME_TYPE.roundEnd, length: 0, round })
  return frame
}

/** The frames of one round over all of memory, copied out of the sender's buffers. */
export function framesOf(memory: GuestMemory, round: number, hash = true): Uint8Array[] {
  const sender = new BatchSender({ memory, kernels: loadKernels(memory), channel: 0 })
  const frames: Uint8Array[] = []
  fillAll(memory, memory.layout.toSend)
  beginRound(memory)
  for (;;) {
    const { count, last } = sender.select({ round, skip: false })
    if (count > 0) {
      const { buffers, bytes } = sender.prepare(count, frames.length % 2, { round, hash })
      const frame = Buffer.concat(buffers)
      if (frame.length !== bytes) throw new Error(`a batch says ${bytes} bytes and has ${frame.length}`)
      frames.push(frame)
    }
    if (last) break
  }
  frames.push(roundEnd(round))
  return frames
}

export function readerFor(memory: GuestMemory, more: { awaitWelcome?: boolean } = {}): StreamReader {
  return new StreamReader({ memory, kernels: loadKernels(memory), channel: 0, hash: true, ...more })
}

/** Feeds a stream in portions of at most `portion()` bytes; returns the rounds that ended, in order. */
export function feed(reader: StreamReader, stream: Uint8Array, portion: () => number): number[] {
  const ended: number[] = []
  let at = 0
  while (at < stream.length) {
    const target = reader.next()
    const size = Math.min(target.length, portion(), stream.length - at)
    target.set(stream.subarray(at, at + size))
    at += size
    if (reader.advance(size) === 'round-end') ended.push(reader.round - 1)
  }
  return ended
}

/** One thing a hostile peer does to a good list of frames. */
export const hostility = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: fc.nat(), value: fc.integer({ min: 1, max: 255 }) }),
  fc.record({
    kind: fc.constant('header' as const),
    at: fc.nat(),
    field: fc.nat({ max: 15 }),
    value: fc.nat({ max: 255 }),
  }),
  fc.record({
    kind: fc.constant('table' as const),
    at: fc.nat(),
    field: fc.nat({ max: 23 }),
    value: fc.nat({ max: 255 }),
  }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat(), by: fc.nat({ max: 5000 }) }),
  fc.record({ kind: fc.constant('swap' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('repeat' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('drop' as const), at: fc.nat() }),
  fc.record({
    kind: fc.constant('noise' as const),
    at: fc.nat(),
    bytes: fc.uint8Array({ minLength: 16, maxLength: 64 }),
  }),
  fc.record({ kind: fc.constant('control' as const), at: fc.nat() }),
)
export type Hostility = typeof hostility extends fc.Arbitrary<infer T> ? T : never

/** Applies it; the frames are copies. */
export function spoil(frames: readonly Uint8Array[], how: Hostility): Uint8Array[] {
  const result: Uint8Array[] = frames.map((frame) => Uint8Array.from(frame))
  const index = how.at % result.length
  const frame = result[index] as Uint8Array
  switch (how.kind) {
    case 'flip':
      frame[how.at % frame.length] = (frame[how.at % frame.length] as number) ^ how.value
      return result
    case 'header':
      frame[how.field] = how.value
      return result
    case 'table':
      if (frame.length > 40) frame[16 + how.field] = how.value
      return result
    case 'cut':
      result[index] = frame.subarray(0, Math.max(0, frame.length - 1 - how.by))
      return result
    case 'swap':
      result.push(...result.splice(index, 1))
      return result
    case 'repeat':
      result.splice(index, 0, frame)
      return result
    case 'drop':
      result.splice(index, 1)
      return result
    case 'noise':
      result.splice(index, 0, how.bytes)
      return result
    case 'control':
      result.splice(index, 0, encodeControl({ type: 'commit', epoch: 1 }))
      return result
  }
}

/** Puts the right check into a control or need frame, or, with the size of its table, a pull frame that was altered. */
export function recheck<T extends Uint8Array>(frame: T, end: number = frame.length): T {
  new DataView(frame.buffer, frame.byteOffset).setUint32(
    12,
    checkOf(frame[5] as FrameType, frame.subarray(FRAME_HEADER_BYTES, end)),
    true,
  )
  return frame
}
