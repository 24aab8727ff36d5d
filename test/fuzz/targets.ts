// What can be fuzzed, by name. A new encoding needs one line here.

import { createReferenceWriter, dedup } from '../../src/encoding/dedup.ts'
import { delta } from '../../src/encoding/delta.ts'
import { createFillEncoder, fill } from '../../src/encoding/fill.ts'
import { createLz4Encoder, lz4 } from '../../src/encoding/lz4.ts'
import { LZ4_KERNEL } from '../../src/encoding/lz4-backend.ts'
import { createPackedEncoder, packed } from '../../src/encoding/packed.ts'
import { createPatternEncoder, pattern } from '../../src/encoding/pattern.ts'
import { raw } from '../../src/encoding/raw.ts'
import { shared } from '../../src/encoding/shared.ts'
import { createSparseEncoder, sparse } from '../../src/encoding/sparse.ts'
import { zero } from '../../src/encoding/zero.ts'
import { GodwitError } from '../../src/errors.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadLz4 } from '../../src/kernels/lz4.ts'
import { createLz4Twin } from '../../src/kernels/lz4-twin.ts'
import { GROUP_PAGES, PAGE_BYTES, READ_BYTES } from '../../src/limits.ts'
import { FRAME_TYPE } from '../../src/wire/frame.ts'
import { FrameBatch } from '../../src/wire/frame-batch.ts'
import { decodeLine, encodeLine } from '../../src/wire/line-messages.ts'
import { LineReader } from '../../src/wire/line-reader.ts'
import {
  AnswerCursor,
  answerSize,
  RequestCursor,
  requestSize,
  writeAnswerHead,
  writeRequestHead,
} from '../../src/wire/service-frames.ts'
import { atTheEnd, guarded } from '../kernels/lz4-fixture.ts'
import { feed, framesOf, guestOf, readerFor } from '../wire/streams.ts'
import { decoderTarget, pageSeeds, payloadSeeds } from './decoder-target.ts'
import type { FuzzTarget } from './loop.ts'
import { respTarget } from './resp-target.ts'

export const TARGETS: Readonly<Record<string, () => FuzzTarget>> = {
  zero: () => decoderTarget(zero),
  raw: () =>
    decoderTarget(
      raw,
      payloadSeeds(({ memory }, from, to) => memory.controlBytes.copyWithin(to, from, from + PAGE_BYTES) && PAGE_BYTES),
    ),
  fill: () => decoderTarget(fill, pageSeeds(createFillEncoder)),
  sparse: () => decoderTarget(sparse, pageSeeds(createSparseEncoder)),
  pattern: () => decoderTarget(pattern, pageSeeds(createPatternEncoder)),
  packed: () => decoderTarget(packed, pageSeeds(createPackedEncoder)),
  // A record against zeros is a delta like any other.
  delta: () => decoderTarget(delta, pageSeeds(createSparseEncoder)),
  dedup: () =>
    decoderTarget(
      dedup,
      payloadSeeds((context, from, to) => createReferenceWriter(context, 0n)(from, 3, to)),
    ),
  shared: () =>
    decoderTarget(
      shared,
      payloadSeeds((context, from, to) => createReferenceWriter(context, 0n)(from, 3, to)),
    ),
  lz4: () => decoderTarget(lz4, [...lz4Seeds(1), ...lz4Seeds(GROUP_PAGES)]),
  'lz4-block': lz4Blocks,
  'page-frame': pageFrames,
  'service-line': serviceLines,
  resp: respTarget,
}

/** Blocks of one page of content, the other pages zero. */
const lz4Seeds = (pages: number): Uint8Array[] =>
  payloadSeeds((context, _, to) => createLz4Encoder(context, LZ4_KERNEL).encodeGroup(pages, to, 4095), pages)

/** Blocks into the kernel, the first two bytes being the room for their content: byte for byte what the twin makes. */
function lz4Blocks(): FuzzTarget {
  const [memory, twinMemory] = [GuestMemory.create(64 * 1024, 1), GuestMemory.create(64 * 1024, 1)]
  const [kernel, twin] = [loadLz4(memory), createLz4Twin(twinMemory)]
  const to = memory.layout.staging + 4096
  return {
    seeds: lz4Seeds(1).map((seed) => Uint8Array.from([0, 16, ...seed.subarray(5)])),
    most: 8192,
    run(input) {
      const block = input.subarray(2)
      const room = (input[0] ?? 0) | ((input[1] ?? 0) << 8)
      const source = atTheEnd(memory, block.length)
      const target = guarded(memory, to, room)
      for (const { controlBytes } of [memory, twinMemory]) controlBytes.set(block, source.at)
      const length = kernel.decompress(source.at, block.length, to, room)
      target.check()
      if (length !== twin.decompress(source.at, block.length, to, room)) throw new Error('kernel and twin disagree')
      const [ours, theirs] = [memory, twinMemory].map(({ controlBytes }) => controlBytes.subarray(to, to + length))
      if (length > 0 && Buffer.compare(ours as Uint8Array, theirs as Uint8Array) !== 0) throw new Error('not the same')
      return length < 0 ? 'refused' : length === room ? 'full' : 'fits'
    },
  }
}

/** Streams of a gateway into the guest's end of a line, and of a guest into the gateway's: any named error is right. */
function serviceLines(): FuzzTarget {
  const portions = [7, 100, 4096, READ_BYTES]
  const batchOf = (type: typeof FRAME_TYPE.requests | typeof FRAME_TYPE.answers): Buffer => {
    const frames: Uint8Array[] = []
    const batch = new FrameBatch(type, (frame) => frames.push(frame))
    for (const length of [0, 8, 100]) {
      const requests = type === FRAME_TYPE.requests
      const at = batch.reserve(requests ? requestSize(length) : answerSize(length))
      if (requests) writeRequestHead(batch.view, at, length, 1, length + 1, length, 5)
      else writeAnswerHead(batch.view, at, length, 1, 0, length + 1)
    }
    batch.flush()
    return Buffer.concat(frames)
  }
  const hello = encodeLine({ type: 'hello', version: 1, gateway: 7, guest: 'kv' })
  const gone = encodeLine({ type: 'gone', vcpu: 3 })
  return {
    // The first byte says whose end it is.
    seeds: [
      Buffer.concat([Buffer.of(0), hello, batchOf(FRAME_TYPE.requests), batchOf(FRAME_TYPE.requests)]),
      Buffer.concat([Buffer.of(1), gone, batchOf(FRAME_TYPE.answers), gone]),
    ],
    most: 12 * 1024,
    run(input) {
      const guest = (input[0] ?? 0) % 2 === 0
      const reader = new LineReader(guest ? FRAME_TYPE.requests : FRAME_TYPE.answers)
      reader.greeted = true
      const cursor = guest ? new RequestCursor() : new AnswerCursor()
      const portion = portions[input.length % portions.length] as number
      let [messages, entries] = [0, 0]
      try {
        for (let from = 1; from < input.length; from += portion) {
          reader.push(input.subarray(from, from + portion))
          while (reader.next()) {
            if (reader.type === FRAME_TYPE.line) {
              decodeLine(reader.payload)
              messages++
              continue
            }
            for (cursor.begin(reader.payload); cursor.next(); entries++) {
              if (cursor.at + cursor.length > reader.payload.length) throw new Error('an entry beyond its frame')
            }
          }
        }
      } catch (error) {
        if (!(error instanceof GodwitError) || error.code === 'internal') throw error
        return `${error.code}: ${error.message.replace(/\d+/g, 'n')}`
      }
      return `${messages} messages, ${entries} entries${reader.midFrame ? ', in a frame' : ''}`
    },
  }
}

/** Streams of page frames into a reader: any named error is right, `internal` is none of them. */
function pageFrames(): FuzzTarget {
  const memory = GuestMemory.create(64 * 1024, 1)
  const portions = [7, 100, 4096, READ_BYTES]
  return {
    seeds: ['z', 'zzzzzzzzr', 'rzzzzzzzzzzzzzzr'].map((pattern) =>
      Buffer.concat(framesOf(guestOf(pattern, 64 * 1024), 0)),
    ),
    most: 12 * 1024,
    run(input) {
      const reader = readerFor(memory)
      let ended: number[] = []
      try {
        ended = feed(reader, input, () => portions[input.length % portions.length] as number)
      } catch (error) {
        if (!(error instanceof GodwitError) || error.code === 'internal') throw error
        return `${error.code}: ${error.message.replace(/\d+/g, 'n')}`
      }
      return `${ended.length} rounds, ${reader.betweenFrames ? 'between frames' : 'in a frame'}`
    },
  }
}
